"""Starting a piece of work in a cluster: in which order things are made, so that it runs once.

Whoever starts it may die at any moment. What is there then tells whether the work was started.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

from airflow_stagecoach.backends._kubernetes_errors import refusal
from airflow_stagecoach.backends.failures import BackendFailure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow_stagecoach.backends._kubernetes_api import Api

#: Seconds until a job must have made its pod.
_POD_OF_JOB = 30.0


def start_pod(api: Api, pod: Mapping[str, Any], secrets: Sequence[Mapping[str, Any]]) -> None:
    """Make the secrets, then the pod: that is the start. A pod that is there already was started before.

    :param pod: metadata and spec
    """
    name = pod["metadata"]["name"]
    made: list[str] = []
    try:
        for secret in secrets:
            if api.create("secret", secret) is not None:
                made.append(secret["metadata"]["name"])
        created = api.create("pod", {"apiVersion": "v1", "kind": "Pod", **pod})
    except BaseException:
        with contextlib.suppress(Exception):
            if made:  # Else the try was started before.
                api.delete("pod", name, grace=1)
            for one in made:
                api.delete("secret", one)
        raise
    if created is not None:
        change = {"metadata": {"ownerReferences": _owners("v1", "Pod", created)}}
        for one in made:
            # Whoever cleans up removes them as well: this is for pods that others remove.
            with contextlib.suppress(Exception):
                api.patch("secret", one, change)


def start_job(
    api: Api,
    job: Mapping[str, Any],
    secrets: Callable[[dict[str, Any], list[dict[str, Any]]], list[dict[str, Any]]],
    *,
    is_cancelled: Callable[[], bool],
) -> str | None:
    """Make a job, then the secrets for its first pod, which waits for them: the first secret is the start.

    The cluster makes another pod in place of one that is removed. The secrets name the one that
    does the work: any other refuses.

    :param secrets: makes them of the metadata of that pod, and owner references
    :param is_cancelled: whether to give up
    :return: name of the pod; ``None`` where a job of that name is there already
    """
    name = job["metadata"]["name"]
    made = api.create("job", job)
    if made is None:
        return None
    try:
        pod = _pod_of(api, name, is_cancelled)
        # The first one is made last.
        for secret in reversed(secrets(pod, _owners("batch/v1", "Job", made))):
            api.create("secret", secret)
    except BaseException:
        with contextlib.suppress(Exception):
            api.delete("job", name)
        raise
    return str(pod["name"])


def _pod_of(api: Api, job: str, is_cancelled: Callable[[], bool]) -> dict[str, Any]:
    """Metadata of the pod that a new job makes."""
    until = time.monotonic() + _POD_OF_JOB
    pause = 0.05
    while True:
        pods = api.select("pod", labels=f"job-name={job}")
        if pods:
            metadata: dict[str, Any] = pods[0]["metadata"]
            return metadata
        if pause > 0.4:
            for event in api.events(f"involvedObject.name={job}"):
                if event.get("reason") == "FailedCreate":
                    raise refusal(403, str(event.get("message")), api.namespace)
        if time.monotonic() > until or is_cancelled():
            message = f"the cluster has made no pod for job {job} within {_POD_OF_JOB:.0f} s"
            raise BackendFailure(message, category="system", reason="NoPod")
        time.sleep(pause)
        pause = min(pause * 1.5, 1.0)


def _owners(version: str, kind: str, made: Mapping[str, Any]) -> list[dict[str, Any]]:
    """References by which the cluster removes things together with what was made."""
    metadata = made["metadata"]
    return [{"apiVersion": version, "kind": kind, "name": metadata["name"], "uid": metadata["uid"]}]
