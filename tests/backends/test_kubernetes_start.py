"""In which order things are made in a cluster, and what is found of them, against a cluster that is but a map."""

from __future__ import annotations

import io
import re
from datetime import datetime, timezone
from typing import Any

import pytest

from airflow_stagecoach.backends.failures import BackendFailure
from airflow_stagecoach.backends.kubernetes import KubernetesBackend
from airflow_stagecoach.backends.work import Work

IDENTITY: Any = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1, "try_number": 1}


class Cluster:
    """Objects by kind and name. ``fails`` names the call that breaks, as ``create pod``."""

    now = datetime(2026, 1, 31, tzinfo=timezone.utc)

    def __init__(self) -> None:
        self.namespace = "n"
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        self.calls: list[str] = []
        self.fails = ""
        self.error: Exception = ConnectionError("it breaks")
        self.told: list[dict[str, Any]] = []
        self.makes_pods = self.collects = True
        self.output = b""
        self.answers: list[Any] = []

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        return self.objects.get((kind, name))

    def select(self, kind: str, *, labels: str = "", fields: str = "") -> list[dict[str, Any]]:
        return [one for (of, _), one in self.objects.items() if of == kind and _fits(one, labels)]

    def log(self, pod: str, container: str, *, since: str | None = None, tail: int | None = None) -> Any:
        import urllib3

        self._call("log")
        own = self.output if pod in self.output.decode() else b""
        return urllib3.HTTPResponse(body=io.BytesIO(own), preload_content=False)

    def run(self, pod: str, container: str, command: list[str]) -> bytes:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return bytes(answer)

    def events(self, fields: str) -> list[dict[str, Any]]:
        return self.told

    def create(self, kind: str, body: dict[str, Any]) -> dict[str, Any] | None:
        self._call(f"create {kind}")
        name = body["metadata"]["name"]
        if (kind, name) in self.objects:
            return None
        made = {**body, "metadata": {**body["metadata"], "uid": f"uid-of-{kind}-{name}"}}
        self.objects[kind, name] = made
        if kind == "job" and self.makes_pods:
            self.make_pod(name)
        return made

    def make_pod(self, job: str) -> None:
        """What the controller of jobs does."""
        template = self.objects["job", job]["spec"]["template"]
        name = f"{job}-{len(self.calls)}"
        labels = {**template["metadata"]["labels"], "job-name": job}
        owners = [{"kind": "Job", "name": job}]
        metadata = {**template["metadata"], "name": name, "uid": name, "labels": labels}
        self.objects["pod", name] = {**template, "metadata": {**metadata, "ownerReferences": owners}}

    def patch(self, kind: str, name: str, body: dict[str, Any]) -> None:
        self._call(f"patch {kind}")
        for key, value in body.get("metadata", {}).items():
            have = self.objects[kind, name]["metadata"].get(key)
            self.objects[kind, name]["metadata"][key] = {**have, **value} if isinstance(have, dict) else value

    def delete(self, kind: str, name: str, *, grace: float | None = None) -> None:
        self._call(f"delete {kind}")
        self.objects.pop((kind, name), None)
        for key, one in list(self.objects.items()):
            if self.collects and any(
                owner["name"] == name for owner in one["metadata"].get("ownerReferences", ())
            ):
                del self.objects[key]

    def kinds(self) -> list[str]:
        return sorted(kind for kind, _ in self.objects)

    def _call(self, call: str) -> None:
        self.calls.append(call)
        if call == self.fails:
            raise self.error


def _fits(one: dict[str, Any], selector: str) -> bool:
    labels = one["metadata"].get("labels", {})
    for part in filter(None, selector.split(",")):
        name, sign, value = re.fullmatch(r"(!?[^=]+)(=?)(.*)", part).groups()  # type: ignore[union-attr]  # it fits
        if sign and labels.get(name) != value:
            return False
        if not sign and name.startswith("!") is (name.lstrip("!") in labels):
            return False
    return True


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def backend(cluster: Cluster, **settings: Any) -> KubernetesBackend:
    made = KubernetesBackend({"image": "x", **settings})
    made.__dict__["api"] = cluster
    return made


def work(number: int = 1) -> Work:
    identity: Any = {**IDENTITY, "try_number": number}
    unit: Any = {"stages": [{"kind": "bash", "id": "a", "bash": "true"}], "identity": identity}
    return Work.of(identity, unit)


KINDS = pytest.mark.parametrize("kind", ["pod", "job"])


@KINDS
def test_the_next_try_finds_it(cluster: Cluster, kind: str) -> None:
    handle = backend(cluster, kind=kind).start(work())
    assert handle["name"] == work().name
    assert backend(cluster, kind=kind).find(work(2)) == handle
    assert ("pod", handle["id"]) in cluster.objects


@KINDS
def test_one_try_is_started_once(cluster: Cluster, kind: str) -> None:
    first = backend(cluster, kind=kind).start(work())
    assert backend(cluster, kind=kind).start(work()) == first
    assert cluster.kinds().count("pod") == 1


@KINDS
def test_clean(cluster: Cluster, kind: str) -> None:
    handle = backend(cluster, kind=kind).start(work())
    for _ in range(2):
        backend(cluster, kind=kind).clean(handle)
    assert cluster.objects == {}
    assert backend(cluster, kind=kind).find(work(2)) is None


@KINDS
def test_secrets_go_with_the_pod(cluster: Cluster, kind: str) -> None:
    handle = backend(cluster, kind=kind).start(work())
    cluster.delete(kind, handle["name"])
    assert cluster.objects == {}


@pytest.mark.parametrize(
    ("kind", "fails"),
    [("pod", "create secret"), ("pod", "create pod"), ("job", "create job"), ("job", "create secret")],
)
def test_a_start_that_fails_leaves_nothing(cluster: Cluster, kind: str, fails: str) -> None:
    cluster.fails = fails
    with pytest.raises(ConnectionError):
        backend(cluster, kind=kind).start(work())
    assert cluster.objects == {}


def test_a_pod_whose_secrets_could_not_be_tied_to_it_runs(cluster: Cluster) -> None:
    cluster.fails = "patch secret"
    handle = backend(cluster).start(work())
    backend(cluster).clean(handle)
    assert cluster.objects == {}


def test_a_job_whose_worker_died_before_the_start_is_removed(cluster: Cluster) -> None:
    handle = backend(cluster, kind="job").start(work())
    # The first secret is the last that is made.
    del cluster.objects["secret", f"{handle['name']}-0"]
    assert backend(cluster, kind="job").find(work(2)) is None
    assert cluster.objects == {}


def test_a_pod_that_a_job_made_anew_is_no_work(cluster: Cluster) -> None:
    handle = backend(cluster, kind="job").start(work())
    del cluster.objects["pod", handle["id"]]
    cluster.make_pod(handle["name"])
    assert backend(cluster, kind="job").poll(handle).reason == "Removed"
    assert backend(cluster, kind="job").find(work(2)) is None
    assert cluster.objects == {}


def test_a_job_that_may_make_no_pod(cluster: Cluster) -> None:
    cluster.makes_pods = False
    cluster.told = [{"reason": "FailedCreate", "message": "pods is forbidden: exceeded quota: q"}]
    with pytest.raises(BackendFailure) as caught:
        backend(cluster, kind="job").start(work())
    assert caught.value.error["reason"] == "QuotaExceeded"
    assert cluster.objects == {}


@KINDS
def test_leftovers(cluster: Cluster, kind: str) -> None:
    backend(cluster, kind=kind).start(work())
    (left,) = backend(cluster, kind=kind).leftovers()
    assert (left.kind, left.identity) == (kind, IDENTITY)
    backend(cluster, kind=kind).discard(left)
    assert cluster.objects == {}
    backend(cluster, kind=kind).discard(left)


def test_pods_of_a_discarded_job_are_found_no_more(cluster: Cluster) -> None:
    backend(cluster, kind="job").start(work())
    cluster.collects = False
    (left,) = backend(cluster, kind="job").leftovers()
    backend(cluster, kind="job").discard(left)
    assert cluster.objects == {}


def test_secrets_of_a_worker_that_died_before_the_pod(cluster: Cluster) -> None:
    backend(cluster).start(work())
    del cluster.objects["pod", work().name]
    cluster.objects["secret", f"{work().name}-0"]["metadata"].pop("ownerReferences")
    (left,) = backend(cluster).leftovers()
    assert left.kind == "secret"
    backend(cluster).discard(left)
    assert cluster.objects == {}


def ended(cluster: Cluster, handle: Any, code: int) -> None:
    state = {"terminated": {"exitCode": code, "message": "{}"}}
    cluster.objects["pod", handle["id"]]["status"] = {
        "containerStatuses": [{"name": "stage", "state": state}]
    }


@KINDS
@pytest.mark.parametrize(
    ("policy", "code", "stays"),
    [("always", 1, False), ("on-success", 1, True), ("on-success", 0, False), ("never", 0, True)],
)
def test_what_stays(cluster: Cluster, kind: str, policy: str, code: int, stays: bool) -> None:
    made = backend(cluster, kind=kind, **{"auto-remove": policy})
    handle = made.start(work())
    ended(cluster, handle, code)
    made.clean(handle)
    assert (("pod", handle["id"]) in cluster.objects) is stays
    assert "secret" not in cluster.kinds()
    assert made.find(work(2)) is None
    assert list(made.leftovers()) == []


def large(cluster: Cluster, handle: Any) -> None:
    """The container says that its result waits."""
    state = {"running": {"startedAt": "2026-01-31T00:00:00Z"}}
    cluster.objects["pod", handle["id"]]["status"] = {
        "containerStatuses": [{"name": "stage", "state": state}]
    }
    cluster.output = f"2026-01-31T00:00:00Z ::stagecoach-result::{handle['name']} 7 - 0\n".encode()


def test_what_waits_in_one_pod_is_not_the_end_of_the_next(cluster: Cluster) -> None:
    made = backend(cluster)
    first = made.start(work())
    large(cluster, first)
    assert made.poll(first).state == "ended"
    second = made.start(work(2))
    state = {"running": {"startedAt": "2026-01-31T00:00:00Z"}}
    cluster.objects["pod", second["id"]]["status"] = {
        "containerStatuses": [{"name": "stage", "state": state}]
    }
    assert made.poll(second).state == "running"


def test_a_waiting_result_is_fetched(cluster: Cluster) -> None:
    made = backend(cluster)
    handle = made.start(work())
    large(cluster, handle)
    cluster.answers = [b"too", b"1234567"]
    assert made.result(handle) == b"1234567"
    cluster.answers = [b"x"] * 3
    with pytest.raises(OSError, match="with 1 of 7 bytes"):
        made.result(handle)


def test_a_waiting_result_that_must_not_be_fetched(cluster: Cluster) -> None:
    exceptions = pytest.importorskip("kubernetes.client.exceptions")
    from airflow_stagecoach.backends.conformance import Log

    made = backend(cluster)
    the_work = work()
    large(cluster, made.start(the_work))
    cluster.answers = [exceptions.ApiException(0, "Handshake status 403 Forbidden pods/exec")]
    result = made.run(the_work.unit, Log().hooks)
    error = result["stages"]["a"]["error"]
    assert error is not None
    assert (error["reason"], error["category"]) == ("Forbidden", "configuration")
    assert "may not run commands in pods of namespace 'n'" in error["message"]
    assert cluster.objects == {}


def test_a_log_that_is_lost_is_told_once(cluster: Cluster) -> None:
    exceptions = pytest.importorskip("kubernetes.client.exceptions")
    made = backend(cluster)
    handle = made.start(work())
    ended(cluster, handle, 0)
    made.poll(handle)
    cluster.fails = "log"
    cluster.error = exceptions.ApiException(500, "no route to the node")
    found = made.logs(handle, None)
    assert found.lines == [
        "::warning::The log of the pod cannot be read: the cluster has a fault: no route to the node"
    ]
    assert made.logs(handle, found.position).lines == []


def test_what_reaches_a_pod_of_an_image_stage_again(cluster: Cluster) -> None:
    made = KubernetesBackend({})
    made.__dict__["api"] = cluster
    assert KubernetesBackend(made.reach()).settings.main_image == ""


def test_a_pod_without_an_image(cluster: Cluster) -> None:
    made = KubernetesBackend({})
    made.__dict__["api"] = cluster
    with pytest.raises(BackendFailure, match="needs 'image'"):
        made.start(work())


def test_what_reaches_the_pod_again(cluster: Cluster) -> None:
    made = backend(cluster, kind="job", context="c", env={"T": "hunter2"}, **{"auto-remove": "never"})
    reach = made.reach()
    assert "hunter2" not in str(reach)
    again = KubernetesBackend(reach)
    assert (again.settings.is_job, again.settings.context, again.settings.namespace) == (True, "c", "n")
    assert again.settings.auto_remove == "never"
