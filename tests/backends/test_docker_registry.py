"""Images from a registry: logins, policies, and registries that do not give."""

from __future__ import annotations

import base64
import json
import logging
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_stagecoach.backends.conformance import Log
from airflow_stagecoach.backends.docker import DockerBackend
from tests.backends import images
from tests.backends.docker_engine import DockerEngine, why_not
from tests.backends.registry_server import Registry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_stagecoach.engine.contract import Result

pytest.importorskip("airflow.providers.docker")
pytestmark = pytest.mark.runs

NAME, PASSWORD = "puller", "hunter2-and-more"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerEngine]:
    """An engine that reaches the loopback of this machine, where the registries are."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    with DockerEngine(Path(tempfile.mkdtemp(prefix="sc-docker-")), isolated=False) as engine:
        yield engine


@pytest.fixture(autouse=True)
def nothing_is_left(hub: DockerEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # Logins of whoever runs the tests.
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    yield
    assert hub.containers() == []


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry() as started:
        yield started


@pytest.fixture
def private() -> Iterator[Registry]:
    with Registry((NAME, PASSWORD)) as started:
        yield started


def push(registry: Registry, name: str = "team/tool:1", **more: Any) -> str:
    # No two images are the same: else the daemon asks for no layer.
    layer = images.busybox_layer(mark=str(time.time_ns()))
    return registry.push(name, layer, images.BUSYBOX_CHANGES, **more)


def connection(monkeypatch: pytest.MonkeyPatch, registry: Registry, password: str = PASSWORD) -> None:
    value = {"conn_type": "docker", "host": registry.address, "login": NAME, "password": password}
    monkeypatch.setenv("AIRFLOW_CONN_REGISTRY", json.dumps(value))


def run(hub: DockerEngine, image: str, log: Log | None = None, **settings: Any) -> Result:
    identity: Any = {
        "dag_id": "registry",
        "run_id": f"run {time.time_ns()}",
        "task_id": "job.stage",
        "map_index": -1,
        "try_number": 1,
    }
    stage = {"kind": "bash", "id": "a", "bash": "cat /etc/mark"}
    backend = DockerBackend({"image": image, "host": hub.url, **settings})
    return backend.run({"stages": [stage], "identity": identity}, (log or Log()).hooks)


def refused(result: Result, category: str, reason: str, image: str) -> str:
    (error,) = [stage["error"] for stage in result["stages"].values()]
    assert error is not None, "it ran"
    assert (error["category"], error["reason"]) == (category, reason), error["message"]
    assert image in error["message"]
    return error["message"]


# -- logins -----------------------------------------------------------------------------------


def test_a_login(
    hub: DockerEngine, private: Registry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    image = push(private)
    connection(monkeypatch, private)
    log = Log()
    result = run(hub, image, log, conn="registry", **{"auto-remove": "never"})
    assert result["state"] == "success"
    (container,) = hub.containers()
    shown = [
        json.dumps(hub.client.inspect_container(container["Id"])),
        json.dumps(hub.client.inspect_image(image)),
    ]
    hub.client.remove_container(container["Id"])
    said = "\n".join([*log.lines, caplog.text, json.dumps(result), *shown])
    assert PASSWORD not in said
    assert base64.b64encode(f"{NAME}:{PASSWORD}".encode()).decode() not in said


@pytest.mark.parametrize("password", ["wrong-password", ""])
def test_a_wrong_login(
    hub: DockerEngine,
    private: Registry,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    password: str,
) -> None:
    connection(monkeypatch, private, password)
    image = push(private)
    log = Log()
    message = refused(run(hub, image, log, conn="registry"), "configuration", "unauthorized", image)
    assert "'registry'" in message
    assert "wrong-password" not in "\n".join([message, caplog.text, *log.lines])


def test_no_login(hub: DockerEngine, private: Registry) -> None:
    image = push(private)
    assert "`conn`" in refused(run(hub, image), "configuration", "ErrImagePull", image)


def test_a_connection_that_is_not_there(hub: DockerEngine, private: Registry) -> None:
    (error,) = [stage["error"] for stage in run(hub, push(private), conn="nowhere")["stages"].values()]
    assert error is not None
    assert error["category"] == "configuration"
    assert "nowhere" in error["message"]


def test_a_registry_is_asked_for_nothing_but_images(
    hub: DockerEngine, private: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image that is there needs no login; nor does whoever follows the work."""
    image = push(private)
    connection(monkeypatch, private)
    assert run(hub, image, conn="registry")["state"] == "success"
    private.requests.clear()
    private.answer = (503, "closed")
    assert run(hub, image, conn="registry")["state"] == "success"
    assert private.requests == []
    assert "conn" not in DockerBackend({"image": image, "host": hub.url, "conn": "registry"}).reach()


# -- policies ---------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["always", "missing", "never"])
def test_policies(hub: DockerEngine, registry: Registry, policy: str) -> None:
    image = push(registry)
    if policy == "never":
        refused(run(hub, image, pull=policy), "configuration", "ErrImageNeverPull", image)
        assert registry.requests == []
        return
    first = run(hub, image, pull=policy)["stages"]["a"]["outputs"].get("stdout")
    push(registry)
    second = run(hub, image, pull=policy)["stages"]["a"]["outputs"].get("stdout")
    assert first
    assert (second != first) is (policy == "always")


def test_an_image_without_a_tag_is_the_latest(hub: DockerEngine, registry: Registry) -> None:
    push(registry, "team/tool:1")
    image = push(registry, "team/tool:latest").removesuffix(":latest")
    assert run(hub, image)["state"] == "success"
    assert not any("manifests/1" in request for request in registry.requests)


# -- registries that do not give --------------------------------------------------------------


def test_no_such_tag(hub: DockerEngine, registry: Registry) -> None:
    image = push(registry).replace(":1", ":2")
    assert "name and tag" in refused(run(hub, image), "configuration", "ErrImagePull", image)


@pytest.mark.parametrize("conn", [None, "registry"])
@pytest.mark.parametrize(
    ("status", "part"), [(429, "limits how often"), (503, "does not answer"), (502, "does not answer")]
)
def test_a_registry_with_too_much_to_do(
    hub: DockerEngine,
    private: Registry,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    part: str,
    conn: str | None,
) -> None:
    image = push(private)
    connection(monkeypatch, private)
    private.answer = (status, "come back later")
    result = run(hub, image, conn=conn)
    assert part in refused(result, "network", "RegistryUnavailable", image)


@pytest.mark.parametrize("conn", [None, "registry"])
def test_a_registry_that_is_away(
    hub: DockerEngine, monkeypatch: pytest.MonkeyPatch, conn: str | None
) -> None:
    with Registry((NAME, PASSWORD)) as registry:
        image = push(registry)
    connection(monkeypatch, registry)
    result = run(hub, image, conn=conn)
    refused(result, "network", "RegistryUnavailable", image)


def test_other_platforms(hub: DockerEngine, registry: Registry) -> None:
    push(registry, "team/tool:amd64")
    image = registry.push_list("team/tool:1", "amd64", architecture="amd64")
    message = refused(run(hub, image, platform="linux/arm64"), "configuration", "ErrImagePull", image)
    assert "linux/arm64" in message
    assert run(hub, image, platform="linux/amd64")["state"] == "success"
    # It is there, but not for this platform: it is looked for again, or not.
    refused(run(hub, image, platform="linux/arm64"), "configuration", "ErrImagePull", image)
    never = run(hub, image, platform="linux/arm64", pull="never")
    assert "linux/arm64" in refused(never, "configuration", "ErrImageNeverPull", image)


def test_an_image_for_another_machine(hub: DockerEngine, registry: Registry) -> None:
    layer = bytearray(images.busybox_layer(mark=str(time.time_ns())))
    machine = layer.index(b"\x7fELF") + 18
    layer[machine : machine + 2] = b"\xb7\0"  # 64-bit ARM.
    image = registry.push("team/tool:1", bytes(layer), images.BUSYBOX_CHANGES, architecture="arm64")
    log = Log()
    message = refused(run(hub, image, log), "configuration", "StartError", image)
    assert "another platform" in message
