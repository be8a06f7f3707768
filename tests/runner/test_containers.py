"""Jobs of a runner in containers, with a real Docker engine."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from airflow_stagecoach.backends.conformance import BackendConformance, Log
from airflow_stagecoach.backends.self_hosted import SelfHostedBackend
from airflow_stagecoach.backends.work import Work
from airflow_stagecoach.cli.main import main
from airflow_stagecoach.runner.containers import Containers
from airflow_stagecoach.runner.jobs import Jobs, Refused
from airflow_stagecoach.runner.settings import TOKEN_VARIABLE, RunnerError, Settings
from airflow_stagecoach.runner.settings import Containers as ContainerSettings
from airflow_stagecoach.runner.store import Job, Order
from tests.backends import images
from tests.runner.server import TOKEN, Server
from tests.runner.test_http import Client, pack
from tests.runner.test_self_hosted import unit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.backends.docker_engine import DockerEngine

needs_engine = pytest.mark.runs


# -- without an engine


def test_no_docker_sdk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "docker", None)
    with pytest.raises(
        RunnerError, match=r"needs Docker's SDK: pip install 'airflow-provider-stagecoach\[runner,docker\]'"
    ):
        Jobs(Settings(str(tmp_path / "runner"), ("t" * 16,), containers=ContainerSettings("python:3")))


def jobs_at(folder: Path, **more: Any) -> Jobs:
    return Jobs(Settings(str(folder / "runner"), ("t" * 16,), **more))


def nowhere(folder: Path, **more: Any) -> ContainerSettings:
    pytest.importorskip("docker")
    return ContainerSettings(host=f"unix://{folder}/none.sock", **more)


@pytest.mark.parametrize(
    ("settings", "image", "says"),
    [
        ({"image": "python:3"}, None, None),
        ({"image": "python:3"}, "python:3", None),
        ({"image": "python:3"}, "python:2", "this runner does not allow image 'python:2'; allowed: python:3"),
        ({"allowed": ("python:*",)}, "python:2", None),
        ({"allowed": ("python:*",)}, "x/python:2", "does not allow image 'x/python:2'; allowed: python:*"),
        ({"image": "a", "allowed": ("b", "c:[12]")}, "c:3", "allowed: a, b, c:[12]"),
        ({"allowed": ("python:*",)}, None, "no image of its own, and the job names none in image"),
    ],
)
def test_which_images(settings: dict[str, Any], image: str | None, says: str | None, tmp_path: Path) -> None:
    jobs = jobs_at(tmp_path, containers=nowhere(tmp_path, **settings))
    try:
        if says is None:
            assert jobs.admit(Order("a", "k", image=image)) is None
            return
        with pytest.raises(Refused) as refused:
            jobs.admit(Order("a", "k", image=image))
        assert (refused.value.status, says in str(refused.value)) == (422, True)
    finally:
        jobs.close()


def test_an_image_for_a_process(tmp_path: Path) -> None:
    jobs = jobs_at(tmp_path)
    with pytest.raises(
        Refused, match="as processes, in no image: remove image, or name a runner that was started"
    ):
        jobs.admit(Order("a", "k", image="python:3"))
    jobs.close()


def test_jobs_in_containers_need_a_runner_that_knows_them(tmp_path: Path) -> None:
    jobs = jobs_at(tmp_path, containers=nowhere(tmp_path, image="python:3"))
    (tmp_path / "archive").write_bytes(pack("true"))
    jobs.accept(Order("a", "k"), str(tmp_path / "archive"))
    jobs.close()
    for _ in range(2):
        with pytest.raises(RunnerError, match=r"are in containers \(a\): start it with --isolation docker"):
            jobs_at(tmp_path)


def test_processes_of_a_runner_from_before_go_on(tmp_path: Path) -> None:
    jobs = jobs_at(tmp_path)
    (tmp_path / "archive").write_bytes(pack(f"until [ -e {tmp_path}/go ]; do sleep 0.05; done"))
    jobs.accept(Order("a", "k"), str(tmp_path / "archive"))
    jobs.close()
    jobs = jobs_at(tmp_path, containers=nowhere(tmp_path, image="python:3"))
    (tmp_path / "go").touch()
    until = time.monotonic() + 60
    while (job := jobs.get("a")) is None or not job.over:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert (job.state, job.exit_code, job.image) == ("ended", 0, None)
    jobs.close()


@pytest.mark.runs
def test_a_daemon_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = (
        "--isolation",
        "docker",
        "--image",
        "python:3",
        "--docker-host",
        f"unix://{tmp_path}/none.sock",
    )
    with Server(tmp_path / "runner", *options) as server:
        backend = SelfHostedBackend({"host": server.url, "token": TOKEN})
        error: Any = backend.run(unit(), Log().hooks)["stages"]["a"]["error"]
        assert f"{tmp_path}/none.sock" in error["message"]
        assert error["category"] in ("configuration", "network", "system")
        assert "none.sock" in backend.check()
        monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
        assert main(["runner", "status", "--url", server.url]) == 0
        shown = capsys.readouterr().out
        assert "jobs run in containers: " in shown
        assert "image: python:3, jobs may name: none" in shown
        with Client(server) as client:
            assert client.get("/health").json()["isolation"] == "docker"


# -- with one


@pytest.fixture(scope="module")
def server(engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    options = ["--isolation", "docker", "--image", images.PYTHON, "--allow-image", "stagecoach-test/*"]
    options += ["--allow-image", "Not-an-image", "--docker-host", engine.url, "--jobs", "4"]
    with Server(tmp_path_factory.mktemp("containers") / "runner", *options) as started:
        yield started
    assert engine.containers() == (engine.client.volumes()["Volumes"] or []) == [], "something is left"


@pytest.fixture
def backend(server: Server) -> SelfHostedBackend:
    return SelfHostedBackend({"host": server.url, "token": TOKEN})


@needs_engine
class TestInContainers(BackendConformance):
    @pytest.fixture(autouse=True)
    def runner(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        connection = {"conn_type": "http", "host": "127.0.0.1", "port": server.port}
        text = json.dumps({**connection, "schema": "http", "password": TOKEN})
        monkeypatch.setenv("AIRFLOW_CONN_CONTAINERS", text)

    def backend(self) -> SelfHostedBackend:
        return SelfHostedBackend({"conn": "containers"})


@needs_engine
def test_nothing_of_the_machine_is_there(server: Server, engine: DockerEngine) -> None:
    with Client(server) as client:
        name = client.start("echo up; hostname; ls /stagecoach; sleep 60")
        client.wait_for_output(name, b"up")
        (found,) = (one for one in engine.containers() if one["Names"] == [f"/{name}"])
        host = engine.client.inspect_container(found["Id"])["HostConfig"]
        assert (host["NetworkMode"], host["Binds"], host["Privileged"]) == ("default", None, False)
        assert client.job(name)["image"] == images.PYTHON
        client.delete(f"/jobs/{name}")
        until = time.monotonic() + 60
        while client.job(name) is not None or engine.containers():
            assert time.monotonic() < until
            time.sleep(0.1)


@needs_engine
def test_an_image_that_the_job_names(server: Server, backend: SelfHostedBackend) -> None:
    named = SelfHostedBackend({**backend.config, "image": images.BUSYBOX})
    result = named.run(unit("command -v python3 || echo none", "named"), Log().hooks)
    assert result["stages"]["a"]["outputs"]["stdout"] == "none"
    refused: Any = SelfHostedBackend({**backend.config, "image": "python:3"}).run(unit(), Log().hooks)
    error = refused["stages"]["a"]["error"]
    assert (error["category"], error["reason"]) == ("configuration", "Refused")
    assert f"does not allow image 'python:3'; allowed: {images.PYTHON}, stagecoach-test/*" in error["message"]
    bad: Any = SelfHostedBackend({**backend.config, "image": "Not-an-image"}).run(unit(), Log().hooks)
    error = bad["stages"]["a"]["error"]
    assert (error["category"], "Not-an-image" in error["message"]) == ("configuration", True)


@needs_engine
def test_memory_is_limited(backend: SelfHostedBackend) -> None:
    spec = {"kind": "python", "id": "a", "run": "x = bytearray(300 * 1024 * 1024)\nx[::4096] = x[::4096]"}
    limit = {"memory": 64 * 1024 * 1024}
    one: Any = {**unit(run_id="memory"), "stages": [{**spec, "resources": limit}], "resources": limit}
    error = backend.run(one, Log().hooks)["stages"]["a"]["error"]
    assert error is not None
    assert (error["category"], error["reason"]) == ("resource", "OOMKilled")


@needs_engine
def test_a_container_that_somebody_removes(backend: SelfHostedBackend, engine: DockerEngine) -> None:
    one = unit("sleep 60", "removed")
    handle = backend.start(Work.of(one["identity"], one))
    until = time.monotonic() + 60
    name = f"/{handle['name']}"
    while not (
        there := [one for one in engine.containers() if (one["Names"], one["State"]) == ([name], "running")]
    ):
        assert time.monotonic() < until
        time.sleep(0.05)
    engine.client.remove_container(there[0]["Id"], force=True)
    error: Any = backend.follow(handle, one, Log().hooks)["stages"]["a"]["error"]
    assert (error["category"], "container" in error["message"]) == ("system", True)


@needs_engine
def test_jobs_go_on_while_the_runner_is_away(engine: DockerEngine, tmp_path: Path) -> None:
    go = engine.folder / "go-away"
    go.mkdir()
    script = "echo x >>/go/count; seq 1 2000; echo up; until [ -e /go/on ]; do sleep 0.05; done; seq 1 2000; echo done"
    options = ["--isolation", "docker", "--image", images.PYTHON, "--docker-host", engine.url]
    with Server(tmp_path / "runner", *options, "--volume", f"{go}:/go") as server, Client(server) as client:
        name = client.start(script)
        client.wait_for_output(name, b"up")
        before = client.get(f"/jobs/{name}/log")
        server.kill(signal.SIGKILL)
        server.start()
        assert client.job(name)["state"] == "running"
        (go / "on").touch()
        assert client.wait_for(name, "ended")["exit_code"] == 0
        numbers = "".join(f"{n}\n" for n in range(1, 2001)).encode()
        assert client.get(f"/jobs/{name}/log").content == numbers + b"up\n" + numbers + b"done\n"
        position = before.headers["Stagecoach-Position"]
        rest = client.get(f"/jobs/{name}/log", params={"from": position}).content
        assert before.content + rest == numbers + b"up\n" + numbers + b"done\n"
        assert client.get(f"/jobs/{name}/result").json()["state"] == "success"
        assert (go / "count").read_text() == "x\n"
        assert [c for c in engine.containers() if c["Names"] == [f"/{name}"]] == []


@needs_engine
def test_a_job_that_takes_too_long(engine: DockerEngine, tmp_path: Path) -> None:
    jobs = jobs_at(tmp_path, containers=ContainerSettings(images.PYTHON, host=engine.url), longest_run=2.0)
    try:
        (tmp_path / "archive").write_bytes(pack("echo up; sleep 600"))
        jobs.accept(Order("late", "k"), str(tmp_path / "archive"))
        until = time.monotonic() + 60
        while (job := jobs.get("late")) is None or not job.over:
            assert time.monotonic() < until
            time.sleep(0.05)
        assert (job.state, job.reason, jobs.result(job)) == ("ended", "DeadlineExceeded", None)
        assert jobs.output("late", 0)[0].startswith(b"up\n")
        assert jobs.delete("late")
        assert [one for one in engine.containers() if one["Names"] == ["/late"]] == []
    finally:
        jobs.close()


class Place:
    """Containers without a runner around them, for what a runner finds that was killed at a bad moment."""

    def __init__(self, folder: Path, engine: DockerEngine) -> None:
        self.engine = engine
        self.go = engine.folder / f"place-{time.monotonic_ns()}"
        self.go.mkdir()
        self.folder = folder
        self.settings = ContainerSettings(images.PYTHON, host=engine.url, volumes=(f"{self.go}:/go",))
        self.job = Job(f"place-{time.monotonic_ns()}", "k", "running", 0.0, image=images.PYTHON)
        self.home = folder / "jobs"
        (self.home / self.job.name).mkdir(parents=True)
        (folder / "archive").write_bytes(pack("echo x >>/go/count"))
        self.runner().prepare(str(folder / "archive"), str(self.home / self.job.name), "", None)

    def runner(self) -> Containers:
        """A runner that was just started."""
        return Containers(self.settings, str(self.folder), str(self.home))

    def end(self, runner: Containers) -> Any:
        until = time.monotonic() + 60
        while (seen := runner.look(self.job)).state == "running":
            assert time.monotonic() < until
            time.sleep(0.05)
        return seen

    @property
    def count(self) -> int:
        path = self.go / "count"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def has_container(self) -> bool:
        return any(one["Names"] == [f"/{self.job.name}"] for one in self.engine.containers())

    def killed_before(self, moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Start the job with a runner that dies before a call to the daemon."""
        runner = self.runner()
        container = runner._container(self.job)
        client = container._backend.client

        class Killed(BaseException):
            pass

        def die(*_: Any, **__: Any) -> Any:
            raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(client, moment, die)
            patch.setattr(client, "remove_container", die)
            with pytest.raises(Killed):
                container._launch()


@pytest.fixture
def place(engine: DockerEngine, tmp_path: Path) -> Place:
    return Place(tmp_path, engine)


@needs_engine
@pytest.mark.parametrize(
    ("moment", "started"), [("create_container", False), ("put_archive", False), ("start", True)]
)
def test_a_runner_that_is_killed_while_it_starts_a_job(
    moment: str, started: bool, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.killed_before(moment, monkeypatch)
    runner = place.runner()
    assert runner.has_started(place.job) is started
    if not started:
        runner.start(place.job)
    seen = place.end(runner)
    assert (seen.state, seen.exit_code, place.count) == ("ended", 0, 1)
    assert not place.has_container()


@needs_engine
def test_a_runner_that_is_killed_when_a_job_has_ended(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = place.runner()
    runner.start(place.job)
    with monkeypatch.context() as patch:
        patch.setattr("airflow_stagecoach.runner.containers._Container.clean", lambda self: None)
        place.end(runner)
    assert place.has_container()
    seen = place.end(place.runner())
    assert (seen.state, seen.exit_code, place.count, place.has_container()) == ("ended", 0, 1, False)
    result = json.loads((place.home / place.job.name / "result.json").read_text())
    assert result["state"] == "success"
    assert not (place.home / place.job.name / "archive.tar").exists()


@needs_engine
def test_a_job_whose_container_is_gone_is_lost(place: Place) -> None:
    runner = place.runner()
    runner.start(place.job)
    place.end(runner)
    os.unlink(place.home / place.job.name / "ending")
    seen = place.end(place.runner())
    assert (seen.state, "its container is gone" in seen.message, place.count) == ("lost", True, 1)


@needs_engine
def test_what_belongs_to_no_job_is_swept(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.killed_before("start", monkeypatch)
    assert place.has_container()
    place.runner().sweep({place.job.name})
    assert place.has_container()
    place.runner().sweep({"another"})
    assert not place.has_container()


@needs_engine
def test_a_job_that_is_stopped_before_it_began(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = place.runner()
    container = runner._container(place.job)
    container.signal(signal.SIGTERM)
    container._launch()
    assert container.look().state == "ended"
    result = json.loads((place.home / place.job.name / "result.json").read_text())
    assert (result["outcome"], place.count, place.has_container()) == ("cancelled", 0, False)
