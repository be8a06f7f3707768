"""Services and image stages in a real cluster."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from airflow_stagecoach.backends._services import evaluate
from airflow_stagecoach.backends.conformance import Log
from airflow_stagecoach.backends.kubernetes import KubernetesBackend
from airflow_stagecoach.backends.work import StillRunning
from tests.backends import images

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.backends.cluster.cluster import Cluster

pytest_plugins = ["tests.backends.cluster.fixture"]
pytestmark = pytest.mark.runs


@pytest.fixture(scope="module")
def settings(cluster: Cluster) -> Iterator[dict[str, Any]]:
    namespace = cluster.make_namespace("containers")
    yield {"image": images.PYTHON, "namespace": namespace, "config-file": cluster.kubeconfig}
    assert cluster.left(namespace) == []


def unit(stage: dict[str, Any], **more: Any) -> Any:
    identity = {
        "dag_id": "containers",
        "run_id": f"run {time.time_ns()}",
        "task_id": "job.stage",
        "map_index": -1,
        "try_number": 1,
    }
    return {"stages": [stage], "identity": identity, **more}


def run(settings: dict[str, Any], the_unit: Any, log: Log | None = None) -> Any:
    (stage,) = KubernetesBackend(settings).run(the_unit, (log or Log()).hooks)["stages"].values()
    return stage


# -- services ---------------------------------------------------------------------------------

#: A web server that gives one file, /x.
WEB = {
    "image": images.BUSYBOX,
    "env": {"TEXT": "hello"},
    "command": ["sh", "-c", "mkdir /www; echo $TEXT >/www/x; exec httpd -f -p 8000 -h /www"],
    "health": {"command": "test -e /www/x", "interval": 1},
}

GET = {
    "kind": "python",
    "id": "get",
    "run": "import urllib.request\ntext = urllib.request.urlopen('http://web:8000/x', timeout=20).read().decode().strip()",
}


def services(**plans: Any) -> Any:
    return evaluate(plans, lambda value: value, float)


@pytest.mark.parametrize("kind", ["pod", "job"])
def test_a_stage_reaches_a_service(settings: dict[str, Any], kind: str) -> None:
    stage = run({**settings, "kind": kind}, unit(GET, services=services(web=WEB)))
    assert stage["outputs"] == {"text": "hello"}, stage["error"]


@pytest.mark.parametrize(
    ("plan", "category", "reasons"),
    [
        (
            {
                "command": ["sh", "-c", "echo I am up; sleep 600"],
                "health": {"command": "false", "interval": 1, "retries": 2},
            },
            "component",
            {"ServiceUnhealthy", "ServiceFailed"},
        ),
        ({"command": ["sh", "-c", "exit 3"], "health": {"command": "false"}}, "component", {"ServiceFailed"}),
        ({"image": "127.0.0.1:1/nowhere:1"}, "network", {"RegistryUnavailable"}),
    ],
    ids=["unhealthy", "ended", "no-image"],
)
def test_a_service_that_does_not_come(
    settings: dict[str, Any], plan: dict[str, Any], category: str, reasons: set[str]
) -> None:
    log = Log()
    stage = {"kind": "bash", "id": "a", "bash": "echo the stage runs"}
    found = run(settings, unit(stage, services=services(bad={"image": images.BUSYBOX, **plan})), log)
    error = found["error"]
    assert (error["category"], error["reason"] in reasons) == (category, True), error
    assert "'bad'" in error["message"]
    assert "the stage runs" not in log.lines


# -- image stages -----------------------------------------------------------------------------


def container(script: str, **more: Any) -> dict[str, Any]:
    spec = {"kind": "image", "id": "a", "image": images.BUSYBOX}
    return {**spec, "entrypoint": ["sh", "-c"], "command": [script], **more}


def test_an_image_stage(settings: dict[str, Any]) -> None:
    log = Log()
    script = "echo $GREETING; echo x=4 >>$STAGE_OUTPUT; cat $WORKFLOW_DIR/none 2>/dev/null; exit 0"
    stage = run(settings, unit(container(script, env={"GREETING": "hello"})), log)
    assert stage["state"] == "success", stage["error"]
    assert (stage["outputs"]["stdout"], stage["outputs"]["x"]) == ("hello", "4")
    assert "hello" in log.lines


@pytest.mark.parametrize(
    ("spec", "category", "reason"),
    [
        (container("exit 5"), "component", "exit-5"),
        ({**container(""), "entrypoint": ["/nowhere/x"]}, "configuration", None),
        ({**container(""), "image": "Not A Name"}, "configuration", "InvalidImageName"),
    ],
    ids=["exit-code", "no-program", "no-image"],
)
def test_an_image_stage_that_fails(
    settings: dict[str, Any], spec: dict[str, Any], category: str, reason: str | None
) -> None:
    error = run(settings, unit(spec))["error"]
    assert error["category"] == category, error
    assert reason in (None, error["reason"]), error


def test_the_next_try_finds_an_image_stage_that_runs(settings: dict[str, Any]) -> None:
    the_unit = unit(container("echo start; sleep 6; echo done; echo n=1 >>$STAGE_OUTPUT"))
    with pytest.raises(StillRunning) as caught:
        KubernetesBackend(settings).run(the_unit, Log().hooks, wait=0.5)
    again = {**the_unit, "identity": {**the_unit["identity"], "try_number": 2}}
    log = Log()
    stage = run(settings, again, log)
    assert (stage["outputs"]["stdout"], stage["outputs"]["n"]) == ("start\ndone", "1")
    assert any(caught.value.handle["name"] in line for line in log.lines)
