"""What goes wrong with Docker: every cause has its own words and category, in a real engine where one is needed."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_stagecoach.backends import _endings, remote
from airflow_stagecoach.backends._docker_errors import explain, failed_pull, missing_image
from airflow_stagecoach.backends.conformance import Log
from airflow_stagecoach.backends.docker import DockerBackend
from airflow_stagecoach.backends.settings import BackendConfigError
from airflow_stagecoach.backends.shipment import ShipmentError
from airflow_stagecoach.backends.work import Status, Work
from airflow_stagecoach.engine.retry import decide
from tests.backends import images
from tests.backends.docker_engine import DockerEngine, why_not

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_stagecoach.engine.contract import Result

needs_engine = pytest.mark.runs

SLEEP = {"kind": "bash", "id": "a", "bash": "echo up; sleep 60"}


def unit(*stages: dict[str, Any], **more: Any) -> Any:
    identity = {
        "dag_id": "errors",
        "run_id": f"run {time.time_ns()}",
        "task_id": "job.stage",
        "map_index": -1,
        "try_number": 1,
    }
    return {"stages": list(stages), "identity": identity, **more}


def error_of(result: Result) -> dict[str, Any]:
    (error,) = [stage["error"] for stage in result["stages"].values() if stage["error"]]
    return dict(error)


def run(backend: DockerBackend, the_unit: Any, log: Log | None = None) -> dict[str, Any]:
    return error_of(backend.run(the_unit, (log or Log()).hooks))


# -- without an engine ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "category", "reason", "part"),
    [
        ("pull access denied for x, repository does not exist", "configuration", "ErrImagePull", "`conn`"),
        ("manifest for x:9 not found: manifest unknown", "configuration", "ErrImagePull", "name and tag"),
        ("no matching manifest for linux/arm64 in the list", "configuration", "ErrImagePull", "arm64"),
        ("Get https://r/v2/: dial tcp: lookup r: no such host", "network", "RegistryUnavailable", "no such"),
        ("toomanyrequests: You have reached your rate limit", "network", "RegistryUnavailable", "`conn`"),
        ("error parsing HTTP 429 response body: EOF", "network", "RegistryUnavailable", "limits how often"),
        ("x509: certificate signed by unknown authority", "configuration", "certificate", "does not trust"),
        ("received unexpected HTTP status: 503 Service", "network", "RegistryUnavailable", "503"),
        ("write /var/lib/x: no space left on device", "resource", "disk-full", "disk"),
        ("unauthorized: dial tcp", "configuration", "ErrImagePull", "`conn`"),
    ],
)
def test_pulling(text: str, category: str, reason: str, part: str) -> None:
    error = failed_pull("x:9", text).error
    assert (error["category"], error["reason"]) == (category, reason)
    assert "x:9" in error["message"]
    assert part in error["message"]


@pytest.mark.parametrize(
    ("status", "text", "category", "reason"),
    [
        (400, "invalid volume specification", "configuration", "CreateContainerError"),
        (404, "network inner not found", "configuration", "CreateContainerError"),
        (
            400,
            'OCI runtime create failed: exec: "/bin/sh": stat /bin/sh: no such file',
            "configuration",
            "StartError",
        ),
        (500, "layer does not exist", "system", "http-500"),
        (500, "unable to find user me: no matching entries", "configuration", "CreateContainerError"),
        (500, "mkdir: no space left on device", "resource", "disk-full"),
        (401, "login attempt to https://r/v2/ failed", "configuration", "unauthorized"),
        (
            404,
            "image with reference x:9 was found but does not match the specified platform",
            "configuration",
            "ErrImageNeverPull",
        ),
    ],
)
def test_refusals(status: int, text: str, category: str, reason: str) -> None:
    errors = pytest.importorskip("docker.errors")
    requests = pytest.importorskip("requests")
    response = requests.Response()
    response.status_code = status
    found = explain(errors.APIError("no", response=response, explanation=text), "unix:///x", "x:9")
    assert found is not None
    assert (found.get("category"), found.get("reason")) == (category, reason)


def test_a_failure_that_is_not_dockers() -> None:
    pytest.importorskip("docker")
    assert explain(KeyError("x"), "unix:///x", "x:9") is None
    assert explain(ModuleNotFoundError("no", name="tasks"), "unix:///x", "x:9") is None


def test_without_the_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "airflow.providers.docker.hooks.docker", None)
    error = run(DockerBackend({"image": "x"}), unit(SLEEP))
    assert error["category"] == "configuration"
    assert "pip install 'airflow-provider-stagecoach[docker]'" in error["message"]


@pytest.mark.parametrize("host", ["unix:///nowhere/docker.sock", "tcp://name:pass-word@127.0.0.1:1"])
def test_no_daemon(host: str) -> None:
    pytest.importorskip("airflow.providers.docker")
    error = run(DockerBackend({"image": "x", "host": host}), unit(SLEEP))
    assert (error["category"], error["reason"]) == ("network", "daemon-unreachable")
    assert "no Docker daemon answers at" in error["message"]
    assert "DOCKER_HOST" in error["message"]
    assert "pass-word" not in error["message"]


def test_the_host_of_the_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("airflow.providers.docker")
    monkeypatch.setenv("DOCKER_HOST", "unix:///else/where.sock")
    assert "unix:///else/where.sock" in run(DockerBackend({"image": "x"}), unit(SLEEP))["message"]


def test_certificates_that_are_not_there(tmp_path: Path) -> None:
    pytest.importorskip("airflow.providers.docker")
    paths = {name: str(tmp_path / name) for name in ("ca-cert", "client-cert", "client-key")}
    backend = DockerBackend({"image": "x", "host": "tcp://127.0.0.1:1", "tls": paths})
    assert run(backend, unit(SLEEP))["category"] == "configuration"


def test_a_socket_that_the_user_may_not_use() -> None:
    docker = pytest.importorskip("docker.errors")
    error = docker.DockerException("Error while fetching server API version")
    error.__cause__ = ConnectionError("Connection aborted.", PermissionError(13, "Permission denied"))
    found = explain(error, "unix:///var/run/docker.sock", "x:9")
    assert found is not None
    assert (found.get("category"), found.get("reason")) == ("configuration", "permission-denied")
    assert "group" in found["message"]


@pytest.mark.parametrize("where", ["urllib3", "requests", "below"])
def test_a_daemon_that_does_not_answer_in_time(where: str) -> None:
    urllib3 = pytest.importorskip("urllib3.exceptions")
    requests = pytest.importorskip("requests.exceptions")
    docker = pytest.importorskip("docker.errors")
    error: Exception = urllib3.ReadTimeoutError(None, "/x", "Read timed out.")
    if where != "urllib3":
        error = requests.ReadTimeout(error)
    if where == "below":
        outer = docker.DockerException("Error while fetching server API version")
        outer.__cause__ = error
        error = outer
    found = explain(error, "unix:///x", "x:9")
    assert found is not None
    assert (found.get("category"), found.get("reason")) == ("network", "connection-timed-out")


def test_configuration_is_not_tried_again() -> None:
    error = missing_image("x:9").error
    assert not decide({"max": 3, "delay": 1}, error, 1, rng=lambda: 0.0).repeat  # type: ignore[arg-type]


def test_what_cannot_travel() -> None:
    backend = DockerBackend({"image": "x"})
    assert backend.explain(ShipmentError("ship: no file"))["category"] == "configuration"


# -- with an engine ---------------------------------------------------------------------------


@needs_engine
class TestImages:
    def backend(self, engine: DockerEngine, image: str, **settings: Any) -> DockerBackend:
        return DockerBackend({"image": image, "host": engine.url, "pull": "never", **settings})

    @pytest.fixture(autouse=True)
    def nothing_is_left(self, engine: DockerEngine) -> Iterator[None]:
        yield
        assert engine.containers() == []

    def test_no_such_image(self, engine: DockerEngine) -> None:
        error = run(self.backend(engine, "nowhere:1"), unit(SLEEP))
        assert (error["category"], error["reason"]) == ("configuration", "ErrImageNeverPull")
        assert "nowhere:1" in error["message"]

    def test_no_registry(self, engine: DockerEngine) -> None:
        backend = self.backend(engine, "127.0.0.1:1/nowhere:1", pull="missing")
        error = run(backend, unit(SLEEP))
        assert (error["category"], error["reason"]) == ("network", "RegistryUnavailable")

    def test_no_python(self, engine: DockerEngine) -> None:
        stages = [
            {"kind": "bash", "id": "first", "bash": "echo 1"},
            {"kind": "python", "id": "load", "run": "a = 1"},
        ]
        result = self.backend(engine, images.BUSYBOX).run(unit(*stages), Log().hooks)
        error = error_of(result)
        assert (error["type"], error["category"]) == ("NoPython", "configuration")
        assert "'load' (python)" in error["message"]
        assert result["stages"]["load"]["state"] == "upstream_failed"

    @pytest.mark.parametrize(
        ("code", "category"), [(125, "component"), (126, "configuration"), (127, "configuration")]
    )
    def test_an_entrypoint_that_does_not_go_on(self, engine: DockerEngine, code: int, category: str) -> None:
        backend = self.backend(engine, images.BUSYBOX, entrypoint=["/bin/sh", "-c", f"exit {code}"])
        error = run(backend, unit({"kind": "python", "id": "a", "run": "b = 1"}))
        assert (error["exit_code"], error["category"]) == (code, category)
        assert "left no result" in error["message"]

    def test_an_entrypoint_that_is_not_there(self, engine: DockerEngine) -> None:
        error = run(self.backend(engine, images.PYTHON, entrypoint="/no/entry"), unit(SLEEP))
        assert (error["category"], error["reason"]) == ("configuration", "StartError")

    def test_a_wrong_volume(self, engine: DockerEngine) -> None:
        error = run(self.backend(engine, images.PYTHON, volumes=["relative/path:/there"]), unit(SLEEP))
        assert (error["category"], error["reason"]) == ("configuration", "CreateContainerError")

    @pytest.mark.parametrize(
        "spec",
        [
            {"kind": "python", "id": "a", "run": "b = bytearray(200_000_000)"},
            {"kind": "bash", "id": "a", "bash": "python3 -c 'b = bytearray(200_000_000)'"},
        ],
    )
    def test_out_of_memory(self, engine: DockerEngine, spec: dict[str, Any]) -> None:
        the_unit = unit(spec, resources={"memory": 64 * 1024 * 1024})
        error = run(self.backend(engine, images.PYTHON), the_unit)
        assert (error["category"], error["reason"]) == ("resource", "OOMKilled")

    def test_a_damaged_result(self, engine: DockerEngine) -> None:
        code = "import os, atexit\nos.register = atexit.register(lambda: open('/stagecoach/result.json', 'w').write('{'))"
        error = run(self.backend(engine, images.PYTHON), unit({"kind": "python", "id": "a", "run": code}))
        assert (error["type"], error["category"]) == ("DamagedResult", "system")

    def test_a_missing_result(self, engine: DockerEngine) -> None:
        code = "import os, atexit\natexit.register(lambda: os.remove('/stagecoach/result.json'))"
        error = run(self.backend(engine, images.PYTHON), unit({"kind": "python", "id": "a", "run": code}))
        assert (error["type"], error["category"]) == ("NoResult", "system")

    @pytest.mark.parametrize(
        ("forge", "type_"),
        [
            ("os.symlink('/etc/passwd', F)", "NoResult"),
            ("os.symlink(F, F)", "NoResult"),
            ("os.mkdir(F); open(F + '/x', 'w').write('{}')", "NoResult"),
            ("os.mkfifo(F)", "NoResult"),
            ("open(F, 'w').truncate(4 << 30)", "ResultTooLarge"),
            ("open(F, 'wb').write(b'[' * 1_000_000)", "DamagedResult"),
            ('open(F, \'w\').write(\'{"state": "success", "stages": {"a": 1}}\')', "DamagedResult"),
        ],
    )
    def test_a_forged_result(self, engine: DockerEngine, forge: str, type_: str) -> None:
        code = (
            "import atexit\nF = '/stagecoach/result.json'\n"
            f"def forge():\n    import os\n    os.remove(F)\n    {forge}\natexit.register(forge)"
        )
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        backend = self.backend(engine, images.PYTHON)
        error = run(backend, unit({"kind": "python", "id": "a", "run": code}))
        assert error["type"] == type_, error
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown < 200 * 1024, "the worker has read all of it"

    @pytest.mark.parametrize(("size", "fits"), [(9_900_000, True), (10 * 1024 * 1024 + 1, False)])
    def test_large_outputs(self, engine: DockerEngine, size: int, fits: bool) -> None:
        stage = {"kind": "python", "id": "a", "run": f"text = 'x' * {size}"}
        result = self.backend(engine, images.PYTHON).run(unit(stage), Log().hooks)
        if fits:
            assert len(result["stages"]["a"]["outputs"]["text"]) == size
        else:
            assert "10 MiB" in error_of(result)["message"]

    def test_a_user_who_may_not_write_to_the_folder(self, engine: DockerEngine) -> None:
        for image in (images.PYTHON, images.BUSYBOX):
            backend = self.backend(engine, image, user="1000:1000", **{"working-dir": "/etc/work"})
            error = run(backend, unit({**SLEEP, "bash": "echo x >file"}))
            assert error["category"] == "configuration", error
            assert "look at `working-dir`" in error["message"]

    def test_a_folder_that_is_made(self, engine: DockerEngine) -> None:
        for image in (images.PYTHON, images.BUSYBOX):
            backend = self.backend(engine, image, **{"working-dir": "/srv/new/folder"})
            result = backend.run(unit({**SLEEP, "bash": "pwd"}), Log().hooks)
            assert result["stages"]["a"]["outputs"]["stdout"] == "/srv/new/folder"


def backend_of(engine: DockerEngine) -> DockerBackend:
    return DockerBackend({"image": images.PYTHON, "host": engine.url, "pull": "never"})


def follow(
    engine: DockerEngine, backend: DockerBackend | None = None
) -> tuple[Any, Log, threading.Thread, list[Any]]:
    """Start a unit that sleeps, in a thread; wait until it is up."""
    backend = backend or backend_of(engine)
    log, results = Log(), []
    the_unit = unit({**SLEEP, "bash": "echo up; sleep 8; echo done"})
    thread = threading.Thread(target=lambda: results.append(backend.run(the_unit, log.hooks)))
    thread.start()
    log.wait_for("up")
    return the_unit, log, thread, results


@needs_engine
@pytest.mark.parametrize(
    ("meddle", "category", "reason"),
    [
        ("remove_container", "system", "Removed"),
        ("kill", "system", "killed"),
        ("stop", "system", "terminated"),
    ],
)
def test_somebody_meddles(engine: DockerEngine, meddle: str, category: str, reason: str) -> None:
    _, _, thread, results = follow(engine)
    (container,) = engine.containers()
    options = {"force": True} if meddle == "remove_container" else {}
    getattr(engine.client, meddle)(container["Id"], **options)
    thread.join(60)
    error = error_of(results[0])
    assert (error["category"], error["reason"]) == (category, reason)
    assert results[0]["outcome"] == "failure"
    assert engine.containers() == []


@needs_engine
def test_work_that_is_taken_away_from_a_next_try_starts_anew(engine: DockerEngine) -> None:
    backend = DockerBackend({"image": images.PYTHON, "host": engine.url, "pull": "never"})
    first = unit({**SLEEP, "bash": 'if [ "$T" = 1 ]; then sleep 60; fi; echo "try $T"', "env": {"T": "1"}})
    backend.start(Work.of(first["identity"], first))
    second: Any = {**first, "identity": {**first["identity"], "try_number": 2}}
    second["stages"] = [{**first["stages"][0], "env": {"T": "2"}}]
    log, results = Log(), []
    thread = threading.Thread(target=lambda: results.append(backend.run(second, log.hooks)))
    thread.start()
    log.wait_for("following it")
    (container,) = engine.containers()
    engine.client.remove_container(container["Id"], force=True)
    thread.join(60)
    assert results[0]["stages"]["a"]["outputs"]["stdout"] == "try 2"
    assert engine.containers() == []


@needs_engine
class TestADaemonThatGoesAway:
    """The work survives it where Docker lets it, and the error names the cause where not."""

    @pytest.fixture(params=[False, True], ids=["containers-stop", "live-restore"])
    def daemon(self, request: pytest.FixtureRequest) -> Iterator[DockerEngine]:
        reason = why_not()
        if reason is not None:
            pytest.skip(reason)
        folder = Path(tempfile.mkdtemp(prefix="sc-docker-"))
        options = ["--live-restore", "--log-driver=local"] if request.param else []
        # The time stamps of that driver are those of the daemon's own zone.
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TZ", "Asia/Bangkok")
            with DockerEngine(folder, options) as started:
                yield started

    def test_it_comes_back(self, daemon: DockerEngine) -> None:
        backend = backend_of(daemon)
        _, log, thread, results = follow(daemon, backend)
        if daemon.options:
            backend.client.timeout = 2
            os.kill(daemon.pid, signal.SIGSTOP)
            log.wait_for("does not answer in time")
            backend.client.timeout = 60
            daemon.kill()
        else:
            daemon.stop()
        log.wait_for("no Docker daemon answers")
        daemon.start()
        thread.join(60)
        if daemon.options:
            assert results[0]["state"] == "success"
            assert log.lines.count("done") == 1
        else:
            error = error_of(results[0])
            assert (error["category"], results[0]["outcome"]) == ("system", "failure")
        assert daemon.containers() == []

    def test_it_stays_away(self, daemon: DockerEngine, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(remote, "PATIENCE", 2.0)
        the_unit, _, thread, results = follow(daemon)
        daemon.stop()
        thread.join(60)
        error = error_of(results[0])
        assert (error["category"], error["reason"]) == ("network", "Unreachable")
        assert "no Docker daemon answers" in error["message"]
        daemon.start()
        again = DockerBackend({"image": images.PYTHON, "host": daemon.url, "pull": "never"})
        assert again.find(Work.of(the_unit["identity"], the_unit)) is not None, "its work was lost"


@pytest.fixture(scope="module")
def small() -> Iterator[DockerEngine]:
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="sc-docker-"))
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=150m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        folder.rmdir()
        pytest.skip("no file system can be mounted here")
    try:
        with DockerEngine(folder) as started:
            yield started
    finally:
        subprocess.run(["umount", "-l", folder], check=False)
        folder.rmdir()


@needs_engine
class TestADiskThatIsFull:
    @pytest.mark.parametrize(
        ("image", "spec"),
        [
            (images.PYTHON, {"kind": "python", "run": "open('big', 'wb').write(bytes(300_000_000))"}),
            (images.PYTHON, {"kind": "bash", "bash": "dd if=/dev/zero of=big bs=1M count=300"}),
            (images.BUSYBOX, {"kind": "bash", "bash": "dd if=/dev/zero of=big bs=1M count=300"}),
        ],
    )
    def test_a_stage_fills_it(self, small: DockerEngine, image: str, spec: dict[str, Any]) -> None:
        backend = DockerBackend({"image": image, "host": small.url, "pull": "never"})
        error = run(backend, unit({"id": "a", **spec}))
        assert (error["category"], error["reason"]) == ("resource", "disk-full"), error
        assert small.containers() == []

    def test_it_is_full_before(self, small: DockerEngine) -> None:
        with pytest.raises(OSError, match="No space"), open(small.folder / "big", "wb") as file:
            file.write(bytes(200_000_000))
        try:
            backend = DockerBackend({"image": images.BUSYBOX, "host": small.url, "pull": "never"})
            error = run(backend, unit(SLEEP))
        finally:
            (small.folder / "big").unlink()
        assert (error["category"], error["reason"]) == ("resource", "disk-full"), error
        assert small.containers() == []


def test_a_reason_without_a_result() -> None:
    handle: Any = {"id": "1", "name": "work"}
    found = _endings.read(
        unit(SLEEP), handle, Status("ended", 137, "OOMKilled", "the container ran out of memory"), None
    )
    error = error_of(found)
    assert (error["category"], error["exit_code"]) == ("resource", 137)
    assert "ran out of memory" in error["message"]


@pytest.mark.parametrize("volume", ["x:y:z:w", "/only", ":/there"])
def test_a_volume_that_no_daemon_takes_is_a_wrong_setting(volume: str) -> None:
    with pytest.raises(BackendConfigError, match=r"volumes\.0"):
        DockerBackend({"image": "x", "volumes": [volume]})
