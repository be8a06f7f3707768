"""Every setting of the container holds: each would be missed if the daemon were not told of it."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from airflow_stagecoach.backends._docker_errors import explain
from airflow_stagecoach.backends.conformance import Log
from airflow_stagecoach.backends.docker import DockerBackend
from airflow_stagecoach.backends.work import Work
from tests.backends import images

if TYPE_CHECKING:
    from tests.backends.docker_engine import DockerEngine

runs = pytest.mark.runs

#: What a container sees of itself.
LOOK = """
import os
status = dict(line.rstrip().split(":\\t", 1) for line in open("/proc/self/status") if ":\\t" in line)
user = [os.getuid(), os.getgid()]
caps = [number for number in range(40) if int(status["CapBnd"], 16) >> number & 1]
shm = os.statvfs("/dev/shm")
shm = shm.f_blocks * shm.f_frsize
hosts = open("/etc/hosts").read()
folder = os.getcwd()
env = {name: os.environ.get(name) for name in ("MARK", "BY_ENTRYPOINT")}
network = os.readlink("/proc/self/ns/net")
def first(*paths):
    return next((open(path).read().strip() for path in paths if os.path.exists(path)), None)
memory = first("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory.max")
quota = first("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu.max")
data = sorted(os.listdir("/data")) if os.path.exists("/data") else None
try:
    open("/data/new", "w")
    writable = True
except OSError:
    writable = False
"""

CHOWN, NET_ADMIN, SYS_ADMIN = 0, 12, 21


def unit(run: str = LOOK, **more: Any) -> Any:
    identity = {
        "dag_id": "settings",
        "run_id": f"run {time.time_ns()}",
        "task_id": "job.stage",
        "map_index": -1,
        "try_number": 1,
    }
    return {"stages": [{"kind": "python", "id": "a", "run": run}], "identity": identity, **more}


def look(engine: DockerEngine, the_unit: Any = None, **settings: Any) -> dict[str, Any]:
    backend = DockerBackend({"image": images.PYTHON, "host": engine.url, "pull": "never", **settings})
    stage = backend.run(the_unit or unit(), Log().hooks)["stages"]["a"]
    assert stage["error"] is None, stage["error"]
    return stage["outputs"]


@runs
def test_nothing_is_set(engine: DockerEngine) -> None:
    seen = look(engine)
    assert seen["user"] == [0, 0]
    assert CHOWN in seen["caps"]
    assert NET_ADMIN not in seen["caps"]
    assert (seen["data"], seen["writable"], seen["env"]) == (
        None,
        False,
        {"MARK": None, "BY_ENTRYPOINT": None},
    )
    assert seen["shm"] == 64 * 1024 * 1024
    assert "stagecoach.test" not in seen["hosts"]
    assert seen["network"] != os.readlink(f"/proc/{engine.pid}/ns/net")
    assert int(seen["memory"] if seen["memory"] != "max" else 1 << 60) > 1 << 40


@runs
def test_everything_is_set(engine: DockerEngine) -> None:
    try:
        seen = look(
            engine,
            unit(resources={"memory": 256 * 1024 * 1024, "cpu": 0.5}),
            **{
                "user": "1000:1001",
                "entrypoint": ["/bin/env", "BY_ENTRYPOINT=yes"],
                "working-dir": "/tmp/inner/folder",
                "env": {"MARK": "here"},
                "volumes": ["stagecoach-test-data:/data:ro"],
                "extra-hosts": {"stagecoach.test": "10.1.2.3"},
                "shm-size": "16m",
                "cap-add": ["NET_ADMIN"],
                "cap-drop": ["CHOWN"],
            },
        )
    finally:
        engine.client.remove_volume("stagecoach-test-data")
    assert seen["user"] == [1000, 1001]
    assert seen["env"] == {"MARK": "here", "BY_ENTRYPOINT": "yes"}
    assert seen["folder"] == "/tmp/inner/folder"
    assert (seen["data"], seen["writable"]) == ([], False)
    assert ["10.1.2.3", "stagecoach.test"] in [line.split() for line in seen["hosts"].splitlines()]
    assert seen["shm"] == 16 * 1024 * 1024
    assert NET_ADMIN in seen["caps"]
    assert CHOWN not in seen["caps"]
    assert seen["memory"] == str(256 * 1024 * 1024)
    assert seen["quota"].split()[0] == "50000"


@runs
def test_the_network_of_the_machine(engine: DockerEngine) -> None:
    seen = look(engine, network="host")
    assert seen["network"] == os.readlink(f"/proc/{engine.pid}/ns/net")


@runs
def test_a_volume_to_write_to(engine: DockerEngine) -> None:
    try:
        seen = look(engine, volumes=["stagecoach-test-data:/data"])
    finally:
        engine.client.remove_volume("stagecoach-test-data")
    assert seen["writable"] is True


@runs
def test_privileged(engine: DockerEngine) -> None:
    backend = DockerBackend({"image": images.PYTHON, "host": engine.url, "pull": "never", "privileged": True})
    stage = backend.run(unit(), Log().hooks)["stages"]["a"]
    if stage["error"] is not None:
        # Where this machine has not all capabilities itself, the daemon fails to give them.
        assert "caps" in stage["error"]["message"]
    else:
        assert SYS_ADMIN in stage["outputs"]["caps"]


@runs
@pytest.mark.parametrize("wanted", [{"gpus": 1}, {"gpus": "all"}, {"resources": {"gpu": 2}}])
def test_gpus_where_there_are_none(engine: DockerEngine, wanted: dict[str, Any]) -> None:
    settings = {"gpus": wanted["gpus"]} if "gpus" in wanted else {}
    the_unit = unit(**{name: value for name, value in wanted.items() if name == "resources"})
    backend = DockerBackend({"image": images.PYTHON, "host": engine.url, "pull": "never", **settings})
    error = backend.run(the_unit, Log().hooks)["stages"]["a"]["error"]
    assert error is not None
    assert (error["category"], error["reason"]) == ("configuration", "resources-unavailable")
    assert "GPU" in error["message"]
    assert engine.containers() == []


@pytest.mark.parametrize(
    ("settings", "resources", "count"),
    [
        ({"gpus": 1}, {}, 1),
        ({"gpus": "all"}, {"gpu": 3}, -1),
        ({}, {"gpu": 2}, 2),
        ({"gpus": 0}, {"gpu": 2}, None),
    ],
)
def test_devices_that_are_asked_for(
    settings: dict[str, Any], resources: dict[str, Any], count: int | None
) -> None:
    pytest.importorskip("docker")
    from airflow_stagecoach.backends.docker import _sdk

    the_unit = unit(resources=resources)
    request = DockerBackend({"image": "x", **settings}).render(Work.of(the_unit["identity"], the_unit))
    devices = _sdk(request["host_config"]).get("device_requests", [])
    assert [(one["Count"], one["Capabilities"]) for one in devices] == (
        [] if count is None else [(count, [["gpu"]])]
    )


def test_the_refusal_of_a_daemon_without_a_driver() -> None:
    errors = pytest.importorskip("docker.errors")
    requests = pytest.importorskip("requests")
    response = requests.Response()
    response.status_code = 500
    text = 'could not select device driver "" with capabilities: [[gpu]]'
    found = explain(errors.APIError("no", response=response, explanation=text), "unix:///x", "x:9")
    assert found is not None
    assert (found.get("category"), found.get("reason")) == ("configuration", "resources-unavailable")
