"""How pods, jobs and secrets of a piece of work are found again, and how they go."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, cast

from airflow_stagecoach.backends._kubernetes_pod import CHOSEN, DONE, KEY, SECRETS
from airflow_stagecoach.backends._kubernetes_settings import STAGE
from airflow_stagecoach.backends._kubernetes_status import is_over
from airflow_stagecoach.backends.ownership import Leftover, owner
from airflow_stagecoach.backends.shipment import FOLDER
from airflow_stagecoach.backends.work import Handle

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_stagecoach.backends._kubernetes_api import Api

#: Seconds that the cluster may take to remove a pod, on top of the pod's own.
_PATIENCE = 20.0


class PodHandle(Handle, total=False):
    """Where a pod is. ``id`` is its name, ``name`` that of the work."""

    kind: str  # pod or job
    secrets: str  # how many there are


def pod_handle(pod: str, name: str, kind: str, secrets: int) -> PodHandle:
    """A handle of a pod.

    :param name: of the work
    """
    return {"id": pod, "name": name, "kind": kind, "secrets": str(secrets)}


def handle_of(api: Api, pod: Mapping[str, Any]) -> PodHandle | None:
    """The work that a pod does; ``None`` for one of a job that does nothing."""
    metadata = pod["metadata"]
    secrets = int((metadata.get("annotations") or {}).get(SECRETS, 1))
    jobs = [one["name"] for one in metadata.get("ownerReferences") or () if one["kind"] == "Job"]
    if not jobs:
        return pod_handle(metadata["name"], metadata["name"], "pod", secrets)
    secret = api.get("secret", f"{jobs[0]}-0") or {"metadata": {}}
    if (secret["metadata"].get("annotations") or {}).get(CHOSEN) != metadata["name"]:
        return None
    return pod_handle(metadata["name"], jobs[0], "job", secrets)


def remove(api: Api, handle: Handle, *, grace: float) -> None:
    """Remove a pod, and the job that it belongs to.

    :param grace: seconds that its processes have
    """
    if _is_of_job(handle):
        # First the job: it would make another pod.
        api.delete("job", handle["name"])
    api.delete("pod", handle["id"], grace=grace)


def remove_secrets(api: Api, handle: Handle) -> None:
    """Remove what lay in secrets for a pod."""
    for number in range(int(cast("PodHandle", handle).get("secrets", 1))):
        api.delete("secret", f"{handle['name']}-{number}")


def retire(api: Api, handle: Handle, pod: Mapping[str, Any]) -> None:
    """Leave a pod where it is, ended, and where nobody looks for work."""
    done = {"metadata": {"labels": {DONE: "true"}}}
    api.patch("pod", handle["id"], done)
    if _is_of_job(handle):
        api.patch("job", handle["name"], done)
    if not is_over(pod):
        api.run(handle["id"], STAGE, ["/bin/sh", "-c", f": >{FOLDER}/taken"])
    if not is_idle(pod, STAGE):
        api.patch("pod", handle["id"], {"spec": {"activeDeadlineSeconds": 1}})


def await_removal(api: Api, name: str, grace: float) -> None:
    """Wait until a pod that is being removed works no more.

    :param grace: seconds that its processes have
    """
    until = time.monotonic() + grace + _PATIENCE
    while time.monotonic() < until:
        pod = api.get("pod", name)
        if pod is None or is_over(pod):
            return
        time.sleep(0.2)


def leftovers(api: Api, *, jobs: bool) -> Iterator[Leftover]:
    """What tasks made, and nobody has removed.

    :param jobs: whether there may be jobs among it
    """
    for kind in ("job", "pod", "secret") if jobs else ("pod", "secret"):
        for found in api.select(kind, labels=f"{KEY},!{DONE}"):
            metadata = found["metadata"]
            identity = owner(metadata.get("annotations"))
            # What belongs to something else goes with it.
            alone = not metadata.get("ownerReferences") and not metadata.get("deletionTimestamp")
            if identity is not None and alone:
                yield Leftover(kind, metadata["name"], metadata["name"], identity, shared=False)


def discard(api: Api, leftover: Leftover) -> None:
    """Remove a leftover, with all that belongs to it."""
    pods = []
    if leftover.kind == "job":
        # The cluster would remove its pods some time later: until then they would be found.
        pods = api.select("pod", labels=f"job-name={leftover.id}")
    elif leftover.kind == "pod" and (pod := api.get("pod", leftover.id)) is not None:
        pods = [pod]
    handles = [handle for pod in pods if (handle := handle_of(api, pod)) is not None]
    if leftover.kind != "pod":
        api.delete(leftover.kind, leftover.id)
    for handle in handles:
        remove(api, handle, grace=1)
        remove_secrets(api, handle)


def is_idle(pod: Mapping[str, Any], *but: str) -> bool:
    """Whether no container of a pod runs any more.

    :param but: names of containers that may
    """
    found = (pod.get("status") or {}).get("containerStatuses") or ()
    return not any("running" in (one.get("state") or {}) and one.get("name") not in but for one in found)


def _is_of_job(handle: Handle) -> bool:
    return cast("PodHandle", handle).get("kind") == "job"
