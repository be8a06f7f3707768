"""Services in Docker: what the daemon is asked for, and real ones in an engine."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_stagecoach.backends._docker_networks import Network, hosts_of, make_network, network_of
from airflow_stagecoach.backends._docker_services import (
    ServiceGroup,
    handle_services,
    healthcheck,
    not_usable,
    service_request,
)
from airflow_stagecoach.backends._services import evaluate
from airflow_stagecoach.backends.conformance import Log
from airflow_stagecoach.backends.docker import DockerBackend
from airflow_stagecoach.backends.failures import BackendFailure
from airflow_stagecoach.backends.work import StillRunning, Work
from tests.backends import images

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_stagecoach.backends._services import Service
    from tests.backends.docker_engine import DockerEngine

needs_engine = pytest.mark.runs

#: A web server that gives one file, /x.
WEB = {
    "image": images.BUSYBOX,
    "env": {"TEXT": "hello"},
    "command": ["sh", "-c", "mkdir /www; echo $TEXT >/www/x; echo serving; exec httpd -f -p 8000 -h /www"],
    "health": {"command": "test -e /www/x", "interval": 0.1},
}

#: What it gives becomes an output.
GET = (
    "import urllib.request\n"
    "def get(url):\n"
    "    return urllib.request.urlopen(url, timeout=20).read().decode().strip()\n"
    "text = get('http://web:8000/x')"
)


def services(**plans: Any) -> list[Service]:
    return evaluate(plans, lambda value: value, float)


def one(**plan: Any) -> Service:
    (found,) = services(db={"image": "x", **plan})
    return found


def identity(run_id: str, index: int = -1) -> Any:
    return {
        "dag_id": "services",
        "run_id": run_id,
        "task_id": "job.__stages__",
        "map_index": index,
        "try_number": 1,
    }


def unit(of: Any, *stages: dict[str, Any], **plans: Any) -> Any:
    return {"stages": list(stages), "identity": of, "services": services(**plans)}


WORK = Work.of(identity("r"), unit(identity("r")))


# -- without an engine ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "network", "joins"),
    [
        (None, Network("name", "name"), None),
        ("default", Network("name", "name"), None),
        ("host", Network("host", None), None),
        ("bridge", Network("bridge", "name"), "name"),
        ("mine", Network("mine", "name"), "name"),
    ],
)
def test_networks(wanted: str | None, network: Network, joins: str | None) -> None:
    found = network_of(wanted, "name")
    assert found == network
    assert found.joins == joins


@pytest.mark.parametrize("wanted", ["none", "container:x"])
def test_networks_without_services(wanted: str) -> None:
    with pytest.raises(
        BackendFailure, match=f"with `network: {wanted}` a job cannot reach its services"
    ) as raised:
        network_of(wanted, "name")
    assert raised.value.error["category"] == "configuration"


def test_host_names_where_all_share_a_network() -> None:
    both = services(a={"image": "x"}, b={"image": "y"})
    assert hosts_of(both, Network("host", None)) == {"a": "127.0.0.1", "b": "127.0.0.1"}
    assert hosts_of(both, Network("n", "n")) == {}


def test_a_daemon_that_has_no_address_left() -> None:
    errors = pytest.importorskip("docker.errors")

    class Client:
        def __init__(self, text: str) -> None:
            self.text = text

        def create_network(self, name: str, **_: Any) -> None:
            raise errors.APIError("no", explanation=self.text)

    client: Any = Client("could not find an available, non-overlapping IPv4 address pool among the defaults")
    with pytest.raises(BackendFailure, match="max-parallel") as raised:
        make_network(client, "n", {})
    assert raised.value.error["category"] == "resource"
    with pytest.raises(errors.APIError):
        make_network(Client("network with name n already exists"), "n", {})  # type: ignore[arg-type]  # a stand-in


def test_what_the_daemon_is_asked_for() -> None:
    service = one(
        env={"A": "b"},
        ports=["1", "2:3/udp"],
        volumes=["data:/data:ro", "/cache"],
        command=["c"],
        entrypoint=["e"],
        health={"command": "h"},
    )
    request = service_request(service, WORK, Network("n", "n"), {"there": "10.0.0.1"})
    labels = request.pop("labels")
    assert labels["stagecoach.service"] == "db"
    assert labels["stagecoach.work"] == WORK.name
    assert labels["stagecoach.key"] == WORK.key
    assert json.loads(labels["stagecoach.owner"]) == WORK.identity
    assert request == {
        "image": "x",
        "command": ["c"],
        "entrypoint": ["e"],
        "environment": {"A": "b"},
        "ports": [(1, "tcp"), (3, "udp")],
        "volumes": ["/cache"],
        "healthcheck": {
            "test": ["CMD-SHELL", "h"],
            "interval": 2_000_000_000,
            "timeout": 10_000_000_000,
            "retries": 30,
            "start_period": 0,
        },
        "name": f"{WORK.name}.db",
        "host_config": {
            "binds": ["data:/data:ro"],
            "port_bindings": {"3/udp": 2},
            "network_mode": "n",
            "extra_hosts": {"there": "10.0.0.1"},
        },
    }


def test_ports_on_the_machines_own_network() -> None:
    request = service_request(one(ports=["1:1", "2"]), WORK, Network("host", None), {})
    assert "port_bindings" not in request["host_config"]
    with pytest.raises(BackendFailure, match="cannot publish port 3 as 2"):
        service_request(one(ports=["2:3"]), WORK, Network("host", None), {})


def test_a_check_without_a_shell() -> None:
    service = one(health={"command": ["a", "b"], "interval": 0.0001, "start_period": 0.5})
    assert service["health"] is not None
    check = healthcheck(service["health"])
    assert (check["test"], check["interval"], check["start_period"]) == (
        ["CMD", "a", "b"],
        1_000_000,
        500_000_000,
    )


@pytest.mark.parametrize(
    ("state", "category", "reason", "part"),
    [
        ({"Status": "exited", "ExitCode": 1}, "component", "ServiceFailed", "ended with exit code 1"),
        ({"Status": "exited", "ExitCode": 0}, "component", "ServiceFailed", "ended with exit code 0"),
        ({"Status": "exited", "ExitCode": 137}, "system", "ServiceFailed", "exit code 137"),
        ({"Status": "exited", "ExitCode": 137, "OOMKilled": True}, "resource", "OOMKilled", "memory"),
        ({"Status": "dead", "ExitCode": 1, "Error": "no disk"}, "component", "ServiceFailed", ": no disk"),
        (
            {
                "Status": "running",
                "Health": {"Status": "unhealthy", "Log": [{"Output": "a"}, {"Output": "b\n"}]},
            },
            "component",
            "ServiceUnhealthy",
            "its check says: b",
        ),
        (
            {"Status": "running", "Health": {"Status": "unhealthy"}},
            "component",
            "ServiceUnhealthy",
            "nothing",
        ),
    ],
)
def test_a_service_that_cannot_be_used(state: dict[str, Any], category: str, reason: str, part: str) -> None:
    failure = not_usable(one(), state)
    assert failure is not None
    assert (failure.error["category"], failure.error["reason"]) == (category, reason)
    assert failure.error["message"].startswith("service 'db' (x) ")
    assert part in failure.error["message"]


@pytest.mark.parametrize(
    "state",
    [{"Status": "running"}, {"Status": "created"}, {"Status": "running", "Health": {"Status": "starting"}}],
)
def test_a_service_that_may_come(state: dict[str, Any]) -> None:
    assert not_usable(one(), state) is None


def test_our_container_tells_of_its_services() -> None:
    backend = DockerBackend({"image": "x"})
    of = identity("r")
    rendered = backend.render(Work.of(of, unit(of, a={"image": "y"}, b={"image": "z"})))
    assert handle_services(rendered["labels"]) == ["a", "b"]
    assert rendered["host_config"]["network_mode"] == rendered["name"]
    assert [service["image"] for service in rendered["services"]] == ["y", "z"]
    plain = backend.render(Work.of(of, unit(of)))
    assert handle_services(plain["labels"]) == []
    assert "services" not in plain
    assert "network_mode" not in plain["host_config"]


def test_what_is_shown_of_a_service_holds_no_secret() -> None:
    of = identity("r")
    the_unit = unit(of, db={"image": "x", "env": {"P": "is hunter2-hunter2"}})
    the_unit["contexts"] = {"secrets": {"P": "hunter2-hunter2"}}
    rendered = DockerBackend({"image": "x"}).render(Work.of(of, the_unit))
    assert rendered["services"][0]["environment"] == {"P": "is ***"}


def test_images_are_pulled_with_their_own_login(monkeypatch: pytest.MonkeyPatch) -> None:
    pulled = []

    def pull(self: DockerBackend, image: str, conn: str | None = None) -> None:
        pulled.append((image, conn))
        if image == "z":
            raise BackendFailure("denied", category="configuration", reason="ErrImagePull")

    monkeypatch.setattr(DockerBackend, "pull", pull)
    of = identity("r")
    the_unit = unit(of, a={"image": "y"}, b={"image": "z", "conn": "hub"})
    group = ServiceGroup(DockerBackend({"image": "x"}), Work.of(of, the_unit))
    with pytest.raises(BackendFailure) as raised:
        group.start()
    assert pulled == [("y", None), ("z", "hub")]
    assert raised.value.error["message"] == "service 'b' (z) cannot be started: denied"
    assert (raised.value.error["category"], raised.value.error["reason"]) == ("configuration", "ErrImagePull")
    group.remove()  # It has made nothing, so it asks no daemon.


def test_services_do_not_travel_to_the_stages() -> None:
    import io
    import tarfile

    of = identity("r")
    stage = {"kind": "bash", "id": "a", "bash": "echo"}
    packed = DockerBackend({"image": "x"}).pack(
        Work.of(of, unit(of, stage, db={"image": "x", "env": {"P": "secret"}}))
    )
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        file = archive.extractfile("unit.json")
        assert file is not None
        assert "services" not in json.loads(file.read())


# -- with an engine ---------------------------------------------------------------------------


@needs_engine
class TestInAnEngine:
    @pytest.fixture(autouse=True)
    def nothing_is_left(self, engine: DockerEngine) -> Iterator[None]:
        engine.need_networks()
        self.engine = engine
        self.of = identity(f"run {time.time_ns()}")
        yield
        assert engine.containers() == []
        assert engine.networks() == []

    def backend(self, **settings: Any) -> DockerBackend:
        return DockerBackend({"image": images.PYTHON, "host": self.engine.url, "pull": "never", **settings})

    def run(self, the_unit: Any, log: Log | None = None, **settings: Any) -> Any:
        return self.backend(**settings).run(the_unit, (log or Log()).hooks)

    def starts(self) -> list[str]:
        """Names of containers of this run that were started, one for each start."""
        key = Work.of(self.of, {"stages": []}).key
        return sorted(one["name"] for one in self.engine.starts(f"stagecoach.key={key}"))

    def test_stages_reach_services_and_services_each_other(self) -> None:
        copy = "until wget -q -O /www/x http://web:8000/x; do sleep 0.1; done; exec httpd -f -p 80 -h /www"
        mirror = {
            "image": images.BUSYBOX,
            "entrypoint": ["sh", "-c"],
            "command": [f"mkdir /www; {copy}"],
            "health": {"command": ["test", "-s", "/www/x"], "interval": 0.1},
        }
        stages = [
            {"kind": "python", "id": "get", "run": f"{GET}\nagain = get('http://mirror/x')"},
            {"kind": "bash", "id": "after", "bash": "echo ${{ stages.get.outputs.text }}"},
        ]
        log = Log()
        result = self.run(unit(self.of, *stages, web=WEB, mirror=mirror), log)
        assert result["stages"]["get"]["outputs"] == {"text": "hello", "again": "hello"}, result
        assert result["stages"]["after"]["outputs"]["stdout"] == "hello"
        name = Work.of(self.of, {"stages": []}).name
        assert self.starts() == [name, f"{name}.mirror", f"{name}.web"]
        assert f"Started service web ({images.BUSYBOX})" in log.lines
        assert "serving" not in log.lines

    def test_legs_have_services_of_their_own(self) -> None:
        results: dict[int, Any] = {}

        def work(index: int) -> None:
            web = {**WEB, "env": {"TEXT": f"leg {index}"}}
            stage = {
                "kind": "python",
                "id": "get",
                "run": f"{GET}\nimport time\ntime.sleep(2)\nagain = get('http://web:8000/x')",
            }
            results[index] = self.run(unit(identity(self.of["run_id"], index), stage, web=web))

        threads = [threading.Thread(target=work, args=(index,)) for index in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert {index: result["stages"]["get"]["outputs"] for index, result in results.items()} == {
            index: {"text": f"leg {index}", "again": f"leg {index}"} for index in range(2)
        }

    def test_stages_wait_until_a_service_is_ready(self) -> None:
        slow = "mkdir /www; httpd -p 8000 -h /www; sleep 2; echo late >/www/x; sleep 600"
        log = Log()
        web = {
            **WEB,
            "command": ["sh", "-c", slow],
            "health": {"command": "test -e /www/x", "interval": 0.2, "retries": 300},
        }
        result = self.run(unit(self.of, {"kind": "python", "id": "get", "run": GET}, web=web), log)
        assert result["stages"]["get"]["outputs"] == {"text": "late"}, result
        assert "Waiting for web" in log.lines

    @pytest.mark.parametrize(
        ("plan", "category", "reason", "message", "line"),
        [
            (
                {
                    "command": ["sh", "-c", "echo I am up; sleep 600"],
                    "health": {"command": "echo no such table; exit 1", "interval": 0.1, "retries": 2},
                },
                "component",
                "ServiceUnhealthy",
                "is unhealthy; its check says: no such table",
                "I am up",
            ),
            (
                {"command": ["sh", "-c", "echo no password is set; exit 3"], "health": {"command": "false"}},
                "component",
                "ServiceFailed",
                "ended with exit code 3 before the job could start",
                "no password is set",
            ),
            (
                {"image": "nowhere:1"},
                "configuration",
                "ErrImageNeverPull",
                "the daemon has no image 'nowhere:1'",
                None,
            ),
            ({"command": ["/no/such"]}, "configuration", "StartError", "cannot run '/no/such'", None),
            ({"volumes": ["a:/b:what"]}, "configuration", "CreateContainerError", "cannot be started", None),
        ],
    )
    def test_a_service_that_does_not_come(
        self, plan: dict[str, Any], category: str, reason: str, message: str, line: str | None
    ) -> None:
        log = Log()
        stage = {"kind": "bash", "id": "a", "bash": "echo the stage runs"}
        result = self.run(unit(self.of, stage, ok=WEB, bad={"image": images.BUSYBOX, **plan}), log)
        error = result["stages"]["a"]["error"]
        assert (error["category"], error["reason"]) == (category, reason), error
        assert error["began"] is False, "another try may begin anew"
        assert error["message"].startswith("service 'bad' (")
        assert message in error["message"]
        assert "the stage runs" not in log.lines
        if line is not None:
            assert log.lines[log.lines.index("::group::Service bad: its last lines") + 1] == line

    def test_a_port_that_is_taken(self) -> None:
        stage = {"kind": "bash", "id": "a", "bash": "echo"}
        services = {name: {**WEB, "ports": ["18080:8000"]} for name in ("one", "two")}
        error = self.run(unit(self.of, stage, **services))["stages"]["a"]["error"]
        assert (error["category"], error["reason"]) == ("resource", "PortTaken"), error

    def test_a_failed_job_tells_what_its_services_wrote(self) -> None:
        log = Log()
        noisy = {
            "image": images.BUSYBOX,
            "command": ["sh", "-c", "seq 1 60; sleep 0.5; echo 'out of disk' >&2; sleep 600"],
        }
        stage = {"kind": "bash", "id": "a", "bash": "sleep 2; exit 1"}
        result = self.run(
            unit(self.of, stage, noisy=noisy, silent={"image": images.BUSYBOX, "command": ["sleep", "600"]}),
            log,
        )
        assert result["stages"]["a"]["error"]["exit_code"] == 1
        (start,) = [
            number for number, line in enumerate(log.lines) if line.startswith("::group::Service noisy (Up")
        ]
        assert log.lines[start + 1 : start + 52] == [*map(str, range(12, 61)), "out of disk", "::endgroup::"]
        assert any(line.startswith("::group::Service silent") for line in log.lines)

    def test_a_network_of_the_author(self) -> None:
        client = self.engine.client
        client.create_network("authors", driver="bridge")
        mine = client.create_container(
            images.BUSYBOX,
            ["sh", "-c", "mkdir /www; echo mine >/www/x; exec httpd -f -p 8000 -h /www"],
            name="authors-own",
            host_config=client.create_host_config(network_mode="authors"),
        )["Id"]
        client.start(mine)
        try:
            code = f"{GET}\nown = get('http://authors-own:8000/x')"
            result = self.run(
                unit(self.of, {"kind": "python", "id": "get", "run": code}, web=WEB), network="authors"
            )
            assert result["stages"]["get"]["outputs"] == {"text": "hello", "own": "mine"}, result
            assert self.engine.networks() == ["authors"]
        finally:
            client.remove_container(mine, force=True)
            client.remove_network("authors")

    def test_the_network_of_the_machine(self) -> None:
        result = self.run(unit(self.of, {"kind": "python", "id": "get", "run": GET}, web=WEB), network="host")
        assert result["stages"]["get"]["outputs"] == {"text": "hello"}, result

    def test_no_network(self) -> None:
        error = self.run(unit(self.of, {"kind": "bash", "id": "a", "bash": "echo"}, web=WEB), network="none")[
            "stages"
        ]["a"]["error"]
        assert (error["category"], error["reason"]) == ("configuration", "NetworkUnavailable")

    @pytest.mark.parametrize("moment", ["while it waits for a service", "while the stages run"])
    def test_cancelling_leaves_nothing(self, moment: str) -> None:
        waits = moment == "while it waits for a service"
        web = {**WEB, "health": {"command": "false", "interval": 0.2, "retries": 1000}} if waits else WEB
        backend, log, results = self.backend(), Log(), []
        the_unit = unit(self.of, {"kind": "bash", "id": "a", "bash": "echo up; sleep 600"}, web=web)
        thread = threading.Thread(target=lambda: results.append(backend.run(the_unit, log.hooks)))
        thread.start()
        log.wait_for("Waiting for web" if waits else "up")
        asked = time.monotonic()
        backend.cancel()
        thread.join(60)
        assert results[0]["outcome"] == "cancelled"
        assert time.monotonic() - asked < 30

    # Another thread only reads from a socket of its own.
    @pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
    @pytest.mark.parametrize(
        "moment",
        [("create_network", 1), ("create_container", 1), ("start", 1), ("start", 2), ("create_container", 3)],
        ids=lambda moment: f"{moment[0]}-{moment[1]}",
    )
    def test_a_worker_that_dies_while_it_starts(self, moment: tuple[str, int]) -> None:
        """Whatever is there is found: by a sweep, and by the next try, which begins anew."""
        stage = {"kind": "python", "id": "get", "run": GET}
        the_unit = unit(self.of, stage, web=WEB, other={"image": images.BUSYBOX, "command": ["sleep", "600"]})
        self.die_after(the_unit, *moment)
        assert self.engine.containers() or self.engine.networks()
        found = {leftover.identity["run_id"] for leftover in self.backend().leftovers()}
        assert found == {self.of["run_id"]}
        if moment[0] == "start":
            again = {**the_unit, "identity": {**self.of, "try_number": 2}}
            result = self.run(again)
            assert result["stages"]["get"]["outputs"] == {"text": "hello"}, result
            assert self.engine.containers() == []
        self.backend().sweep(lambda one: one.identity["run_id"] != self.of["run_id"])

    @pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
    def test_the_next_try_finds_work_with_services(self) -> None:
        code = f"import time\ntime.sleep(3)\n{GET}"
        the_unit = unit(self.of, {"kind": "python", "id": "get", "run": code}, web=WEB)
        self.die_after(the_unit, "start", 2)
        again = {**the_unit, "identity": {**self.of, "try_number": 2}}
        result = self.run(again)
        assert result["stages"]["get"]["outputs"] == {"text": "hello"}, result
        name = Work.of(self.of, the_unit).name
        assert self.starts() == [name, f"{name}.web"]

    def test_a_trigger_ends_all_of_it(self) -> None:
        """Another process has nothing but the handle."""
        the_unit = unit(self.of, {"kind": "bash", "id": "a", "bash": "sleep 600"}, web=WEB)
        with pytest.raises(StillRunning) as still:
            self.backend().run(the_unit, Log().hooks, wait=3)
        handle = json.loads(json.dumps(still.value.handle))
        other = DockerBackend(self.backend().reach())
        for _ in range(2):
            other.stop(handle)
            other.clean(handle)

    def test_one_try_is_started_once(self) -> None:
        the_unit = unit(self.of, {"kind": "bash", "id": "a", "bash": "sleep 600"}, web=WEB)
        backend, work = self.backend(), Work.of(self.of, the_unit)
        handle = backend.start(work)
        before = sorted(container["Id"] for container in self.engine.containers())
        with contextlib.suppress(Exception):
            assert backend.start(work)["id"] == handle["id"]
        assert sorted(container["Id"] for container in self.engine.containers()) == before
        assert backend.find(work) == handle
        backend.clean(handle)

    def die_after(self, the_unit: Any, method: str, times: int) -> None:
        """Start work in a process that dies, without a word, after a call of the daemon's API."""
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                backend = self.backend()
                backend.__dict__["client"] = _Dying(backend.client, method, times)
                backend.start(Work.of(self.of, the_unit))
            os._exit(1)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 9, "it did not get so far"


class _Dying:
    """A client of the daemon whose process ends with code 9 after the n-th call of a method."""

    def __init__(self, client: Any, method: str, times: int) -> None:
        self._client = client
        self._method = method
        self._left = times

    def __getattr__(self, name: str) -> Any:
        found: Callable[..., Any] = getattr(self._client, name)
        if name != self._method:
            return found

        def call(*arguments: Any, **named: Any) -> Any:
            answer = found(*arguments, **named)
            self._left -= 1
            if not self._left:
                os._exit(9)
            return answer

        return call


# -- whole documents ----------------------------------------------------------------------------

DOCUMENT = """
beside:
  type: Workflow
  params: {fails: {type: bool, default: false}}
  jobs:
    first: {stages: [{id: a, bash: "echo n=7 >>$STAGE_OUTPUT"}]}
    legs:
      needs: first
      runs-on: {type: docker, with: {image: PYTHON, host: "URL", pull: never}}
      strategy: {matrix: {leg: [x, y]}}
      services:
        web:
          image: BUSYBOX
          env: {TEXT: "${{ matrix.leg }}-${{ needs.first.outputs.n }}", TOKEN: "${{ secrets.suite_token }}"}
          command: [sh, -c, 'mkdir /www; echo $TEXT >/www/x; echo "token $TOKEN"; exec httpd -f -p 8000 -h /www']
          options: --health-cmd "test -e /www/x" --health-interval 100ms
        cache: {image: "${{ matrix.leg == 'x' ? 'BUSYBOX' : '' }}", command: sleep 600}
      stages:
        - id: get
          run: |
            import socket, urllib.request
            text = urllib.request.urlopen("http://web:8000/x").read().decode().strip()
        - id: check
          bash: if ${{ params.fails }}; then exit 3; fi
"""


def stagecoach_run(engine: DockerEngine, file: Path, *arguments: str) -> tuple[dict[str, Any], str]:
    """The outcome of ``stagecoach run``, and what it wrote."""
    command = [sys.executable, "-m", "airflow_stagecoach.cli.main", "run", "--json", str(file), *arguments]
    environment = {**os.environ, "DOCKER_HOST": engine.url, "AIRFLOW_VAR_SUITE_TOKEN": "swordfish-swordfish"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)
    assert done.stdout, done.stderr
    outcome: dict[str, Any] = json.loads(done.stdout)
    assert outcome["errors"] == []
    assert engine.containers() == []
    assert engine.networks() == []
    return outcome, done.stderr


@needs_engine
def test_each_leg_evaluates_its_services(engine: DockerEngine, tmp_path: Path) -> None:
    engine.need_networks()
    file = tmp_path / "beside.yaml"
    text = (
        DOCUMENT.replace("PYTHON", images.PYTHON)
        .replace("BUSYBOX", images.BUSYBOX)
        .replace("URL", engine.url)
    )
    file.write_text(text)
    outcome, log = stagecoach_run(engine, file, "-p", "fails=true")
    legs = outcome["jobs"]["legs"]["legs"]
    assert [leg["stages"]["get"]["outputs"]["text"] for leg in legs] == ["x-7", "y-7"]
    assert outcome["state"] == "failed"
    assert "token ***" in log
    assert "swordfish" not in log + json.dumps(outcome)
    assert log.count("Service web (Up") == 2
    assert log.count("Service cache (Up") == 1, "an empty image starts nothing"


@needs_engine
def test_the_example(engine: DockerEngine) -> None:
    engine.need_networks()
    engine.client.tag(images.PYTHON, "python", "3.12-slim")
    example = Path(__file__).parents[2] / "dags_examples" / "20_services.yaml"
    outcome, _ = stagecoach_run(engine, example)
    assert outcome["state"] == "success"
    assert outcome["jobs"]["report"]["outputs"] == {"by_city": {"oslo": ["tea"], "lyon": []}}
