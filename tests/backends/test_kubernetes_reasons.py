"""What goes wrong in a cluster: every cause has its own words and category, within seconds and for real."""

from __future__ import annotations

import re
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from airflow_stagecoach.backends import _kubernetes_api, remote
from airflow_stagecoach.backends.conformance import Log
from airflow_stagecoach.backends.kubernetes import KubernetesBackend
from airflow_stagecoach.backends.work import Work
from tests.backends import images

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_stagecoach.engine.contract import Result
    from tests.backends.cluster.cluster import Cluster

pytest_plugins = ["tests.backends.cluster.fixture"]
pytestmark = pytest.mark.runs

#: Seconds within which a reason is told on a busy machine. What waits for nothing but its limit takes minutes.
SOON = 120.0

#: In the cluster's own network: it answers, and has nothing.
REGISTRY = "127.0.0.1:5000"

SLEEP = {"kind": "bash", "id": "a", "bash": "echo up; sleep 60"}

LITTLE = {"kind": "python", "id": "a", "run": "n = 1"}


def unit(*stages: dict[str, Any], **more: Any) -> Any:
    identity = {
        "dag_id": "reasons",
        "run_id": f"run {time.time_ns()}",
        "task_id": "job.stage",
        "map_index": -1,
        "try_number": 1,
    }
    return {"stages": list(stages), "identity": identity, **more}


def error_of(result: Result) -> dict[str, Any]:
    (error,) = [stage["error"] for stage in result["stages"].values() if stage["error"]]
    return dict(error)


class Place:
    """A namespace, and backends that work in it."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace

    def backend(self, **settings: Any) -> KubernetesBackend:
        ours = {
            "image": images.PYTHON,
            "namespace": self.namespace,
            "config-file": self.cluster.kubeconfig,
        }
        return KubernetesBackend({**ours, **settings})

    def run(self, the_unit: Any, log: Log | None = None, /, **settings: Any) -> dict[str, Any]:
        """The error of a unit, which comes soon."""
        began = time.monotonic()
        error = error_of(self.backend(**settings).run(the_unit, (log or Log()).hooks))
        assert time.monotonic() - began < SOON, error
        return error

    def follow(self, **settings: Any) -> tuple[Any, Log, threading.Thread, list[Any]]:
        """Start a unit that sleeps, in a thread; wait until it is up."""
        log, results = Log(), []
        the_unit = unit({**SLEEP, "bash": "echo up; sleep 8; echo done"})
        backend = self.backend(**settings)
        thread = threading.Thread(target=lambda: results.append(backend.run(the_unit, log.hooks)))
        thread.start()
        log.wait_for("up", SOON)
        return the_unit, log, thread, results

    def pods(self) -> list[Any]:
        found: list[Any] = self.cluster.core.list_namespaced_pod(self.namespace).items
        return found


@pytest.fixture(scope="module")
def place(cluster: Cluster) -> Iterator[Place]:
    folder = cluster.folder / "registry"
    folder.mkdir()
    host, _, port = REGISTRY.partition(":")
    command = [sys.executable, "-m", "http.server", port, "--bind", host, "--directory", str(folder)]
    cluster.serve("registry", command)
    name = cluster.make_namespace("reasons")
    yield Place(cluster, name)
    assert cluster.left(name) == []


# -- before it runs ---------------------------------------------------------------------------


NEVER = {"image": "nowhere:1", "image-pull-policy": "Never"}


@pytest.mark.parametrize(
    ("settings", "category", "reasons", "part"),
    [
        (NEVER, "configuration", {"ErrImageNeverPull"}, "nowhere:1"),
        ({**NEVER, "kind": "job"}, "configuration", {"ErrImageNeverPull"}, "nowhere:1"),
        ({"image": f"{REGISTRY}/nowhere:1"}, "configuration", {"ErrImagePull"}, "nowhere:1"),
        ({"image": "127.0.0.1:1/nowhere:1"}, "network", {"RegistryUnavailable"}, "nowhere:1"),
        ({"image": "Not A Name"}, "configuration", {"InvalidImageName"}, "Not A Name"),
        ({"secrets": ["nowhere"]}, "configuration", {"CreateContainerConfigError"}, "nowhere"),
        ({"entrypoint": "/no/entry"}, "configuration", {"StartError", "RunContainerError"}, "/no/entry"),
        ({"service-account": "nobody-here"}, "configuration", {"Forbidden"}, "nobody-here"),
        (
            {"service-account": "nobody-here", "kind": "job"},
            "configuration",
            {"Forbidden"},
            "nobody-here",
        ),
        ({"priority-class": "nothing-here"}, "configuration", {"Forbidden"}, "nothing-here"),
    ],
)
def test_what_can_never_start(
    place: Place, settings: dict[str, Any], category: str, reasons: set[str], part: str
) -> None:
    error = place.run(unit(LITTLE), **settings)
    assert error["category"] == category, error
    assert error["reason"] in reasons, error
    assert part in error["message"]


def test_no_node_takes_it(place: Place) -> None:
    log = Log()
    error = place.run(unit(LITTLE), log, **{"node-selector": {"no": "such"}, "start-timeout": 5})
    assert (error["category"], error["reason"]) == ("resource", "Unschedulable")
    assert "1 node" in error["message"]
    assert any("The pod waits" in line and "1 node" in line for line in log.lines), log.lines


def test_more_than_any_node_has(place: Place) -> None:
    the_unit = unit(LITTLE, resources={"memory": 1 << 50})
    error = place.run(the_unit, **{"start-timeout": 5})
    assert (error["category"], error["reason"]) == ("resource", "Unschedulable")
    assert "memory" in error["message"]


def test_a_volume_that_is_not_there(place: Place) -> None:
    error = place.run(unit(LITTLE), volumes=["config-map:nowhere:/there"], **{"start-timeout": 8})
    assert "nowhere" in error["message"]


# -- while it runs ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spec",
    [
        {"kind": "python", "id": "a", "run": "b = bytearray(200_000_000)"},
        {"kind": "bash", "id": "a", "bash": "python3 -c 'b = bytearray(200_000_000)'"},
    ],
    ids=["python", "bash"],
)
def test_out_of_memory(place: Place, spec: dict[str, Any]) -> None:
    error = place.run(unit(spec, resources={"memory": 64 * 1024 * 1024}))
    assert (error["category"], error["reason"]) == ("resource", "OOMKilled")


def test_evicted(place: Place) -> None:
    """The node's own doing: the pod writes more than its volume may hold."""
    spec = {"kind": "bash", "id": "a", "bash": "head -c 20000000 /dev/zero >/small/file; sleep 120"}
    error = place.run(unit(spec), volumes=[{"mount": "/small", "emptyDir": {"sizeLimit": "1Mi"}}])
    assert (error["category"], error["reason"]) == ("resource", "Evicted")


@pytest.mark.parametrize("kind", ["pod", "job"])
def test_the_deadline_of_the_cluster(place: Place, kind: str) -> None:
    error = place.run(unit(SLEEP), kind=kind, **{"active-deadline": 4})
    assert (error["category"], error["reason"]) == ("timeout", "DeadlineExceeded")


def test_no_python(place: Place) -> None:
    stages = [
        {"kind": "bash", "id": "first", "bash": "echo 1"},
        {"kind": "python", "id": "load", "run": "a = 1"},
    ]
    error = place.run(unit(*stages), image=images.BUSYBOX)
    assert (error["type"], error["category"]) == ("NoPython", "configuration")
    assert "'load' (python)" in error["message"]


@pytest.mark.parametrize("kind", ["pod", "job"])
def test_a_person_deletes_it(place: Place, kind: str) -> None:
    _, _, thread, results = place.follow(kind=kind)
    if kind == "job":
        (job,) = place.cluster.batch.list_namespaced_job(place.namespace).items
        place.cluster.batch.delete_namespaced_job(
            job.metadata.name, place.namespace, propagation_policy="Background", grace_period_seconds=0
        )
    else:
        (pod,) = place.pods()
        place.cluster.core.delete_namespaced_pod(pod.metadata.name, place.namespace, grace_period_seconds=0)
    thread.join(SOON)
    error = error_of(results[0])
    # A job's pod is told to end, and the engine writes what became of it.
    reasons = {"Removed"} if kind == "pod" else {"Removed", "terminated"}
    assert (error["category"], error["reason"] in reasons) == ("system", True), error
    assert results[0]["outcome"] == "failure"


def test_a_person_deletes_it_with_grace(place: Place) -> None:
    """The engine may still end what runs; it is nobody's cancellation of ours."""
    _, _, thread, results = place.follow()
    (pod,) = place.pods()
    place.cluster.core.delete_namespaced_pod(pod.metadata.name, place.namespace)
    thread.join(SOON)
    error = error_of(results[0])
    assert error["category"] == "system", error
    assert results[0]["outcome"] == "failure"


def test_a_pod_of_a_job_that_is_deleted_is_not_run_again(place: Place) -> None:
    """The job's controller makes another pod; the stage must not run twice."""
    with place.cluster.counting(place.namespace):
        _, log, thread, results = place.follow(kind="job")
        (pod,) = place.pods()
        place.cluster.core.delete_namespaced_pod(pod.metadata.name, place.namespace, grace_period_seconds=0)
        thread.join(SOON)
    assert error_of(results[0])["category"] == "system"
    assert log.lines.count("up") == 1


# -- who asks, and where ----------------------------------------------------------------------


def test_no_such_namespace(place: Place) -> None:
    error = place.run(unit(LITTLE), namespace="nowhere")
    assert error["category"] == "configuration"
    assert "nowhere" in error["message"]


def test_one_who_may_not(place: Place) -> None:
    path = place.cluster.kubeconfig_of("nobody")
    error = place.run(unit(LITTLE), **{"config-file": path})
    assert (error["category"], error["reason"]) == ("configuration", "Forbidden")
    assert "nobody" in error["message"]


@pytest.mark.parametrize("kind", ["pod", "job"])
def test_the_rights_that_the_documentation_names_are_enough(place: Place, kind: str) -> None:
    page = Path(__file__).parents[2] / "docs" / "backends" / "kubernetes.md"
    (role,) = re.findall(r"```yaml\n(apiVersion: rbac[^`]*)```", page.read_text())
    namespace = place.cluster.make_namespace(f"rights-{kind}")
    rbac = place.cluster.api("RbacAuthorizationV1Api")
    body = yaml.safe_load(role)
    body["metadata"]["namespace"] = namespace
    rbac.create_namespaced_role(namespace, body)
    binding = {
        "metadata": {"name": "ours"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "stagecoach"},
        "subjects": [{"kind": "User", "name": "nobody"}],
    }
    rbac.create_namespaced_role_binding(namespace, binding)
    settings = {"namespace": namespace, "config-file": place.cluster.kubeconfig_of("nobody"), "kind": kind}
    # Large enough to be fetched.
    spec = {"kind": "python", "id": "a", "run": "text = ''.join(map(str, range(9000)))"}
    result = place.backend(**settings).run(unit(spec), Log().hooks)
    assert result["state"] == "success", error_of(result)
    assert list(place.backend(**settings).leftovers()) == []
    assert place.cluster.left(namespace) == []


def test_a_token_that_is_not_known(place: Place) -> None:
    path = place.cluster.kubeconfig_of("admin", token="expired-or-wrong")
    error = place.run(unit(LITTLE), **{"config-file": path})
    assert (error["category"], error["reason"]) == ("configuration", "Unauthorized")
    assert "expired-or-wrong" not in error["message"]


def test_nobody_listens_there(place: Place) -> None:
    path = place.cluster.kubeconfig_of("admin", server="https://127.0.0.1:1")
    error = place.run(unit(LITTLE), **{"config-file": path})
    assert (error["category"], error["reason"]) == ("network", "api-unreachable")
    assert "127.0.0.1" in error["message"]


def test_a_quota_that_is_used_up(cluster: Cluster) -> None:
    name = cluster.make_namespace("quota")
    place = Place(cluster, name)
    cluster.core.create_namespaced_resource_quota(
        name, {"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    )
    quota = time.monotonic() + SOON
    while not (cluster.core.read_namespaced_resource_quota("none", name).status.hard or {}):
        assert time.monotonic() < quota
        time.sleep(0.2)
    error = place.run(unit(LITTLE))
    assert (error["category"], error["reason"]) == ("resource", "QuotaExceeded")
    assert "quota" in error["message"]
    error = place.run(unit(LITTLE), kind="job", **{"start-timeout": 8})
    assert "quota" in error["message"]
    assert cluster.left(name) == []


class TestAnApiThatGoesAway:
    @pytest.fixture(autouse=True)
    def impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_kubernetes_api, "_TIMEOUT", (2, 5))

    def test_it_comes_back(self, place: Place) -> None:
        _, log, thread, results = place.follow()
        with place.cluster.disconnected():
            log.wait_for("does not answer", SOON)
        thread.join(SOON)
        assert results
        assert results[0]["state"] == "success", results[0]
        assert [line for line in log.lines if line in ("up", "done")] == ["up", "done"]

    def test_it_stays_away(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(remote, "PATIENCE", 2.0)
        the_unit, _, thread, results = place.follow()
        with place.cluster.disconnected():
            thread.join(SOON * 2)
            assert results
        error = error_of(results[0])
        assert (error["category"], error["reason"]) == ("network", "Unreachable")
        again = place.backend()
        handle = again.find(Work.of(the_unit["identity"], the_unit))
        assert handle is not None, "its work was lost"
        again.clean(handle)
