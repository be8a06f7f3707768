"""What a pod, as the cluster tells of it, says about our work: one look gives a ``Status``.

The container ``stage`` decides. The phase of the pod does not: services and other containers of the
author may run beside it.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from airflow_stagecoach.backends._kubernetes_script import EXPIRED, PACKED, REFUSED, UNIT_VOLUME
from airflow_stagecoach.backends._kubernetes_settings import STAGE
from airflow_stagecoach.backends.work import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Pod = Mapping[str, Any]
    Events = Callable[[], Iterable[Mapping[str, Any]]]

#: Why a container cannot be started, whoever waits.
_HOPELESS = frozenset(
    {
        "ErrImageNeverPull",
        "InvalidImageName",
        "ImageInspectError",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    }
)
_PULLING = frozenset({"ErrImagePull", "ImagePullBackOff", "RegistryUnavailable"})

#: A node that has too much to do says these, and tries again by itself.
_PASSING = re.compile(r"deadline exceeded|is reserved for|timed out", re.IGNORECASE)

#: The registry, or the way to it, is the trouble.
_REGISTRY_AWAY = re.compile(
    r"no such host|dial tcp|connection (refused|reset)|i/o timeout|deadline exceeded|TLS handshake"
    r"|too ?many ?requests|temporary failure|unexpected EOF|status.{0,20} 5\d\d|bad gateway|unavailable",
    re.IGNORECASE,
)
_DENIED = re.compile(
    r"denied|unauthorized|authorization failed|authentication required|no basic auth|forbidden", re.IGNORECASE
)

#: A claim that is not there: no node is to blame.
_NO_CLAIM = re.compile(r"persistentvolumeclaim \S+ not found", re.IGNORECASE)

#: Events that tell why a pod that has a node does not start, and what that is for people and retries.
_WARNINGS = {
    "FailedMount": "CreateContainerConfigError",
    "FailedAttachVolume": "CreateContainerConfigError",
    "FailedCreatePodSandBox": "NetworkNotReady",
    "NetworkNotReady": "NetworkNotReady",
}

#: Reasons of a container that ended by itself.
_BY_ITSELF = frozenset({"Completed", "Error", None, ""})

#: Seconds that a pod may be on its way before its events are asked for.
_SOON = 3.0

#: Seconds after which what travels must be there.
_LATE = 60.0


def status_of(
    pod: Pod,
    *,
    start_timeout: float,
    events: Events = tuple,
    now: datetime | None = None,
) -> Status:
    """One look at a pod whose container has not said that its result waits.

    :param pod: as the API gives it
    :param start_timeout: seconds
    :param events: gives the pod's events, asked only where they may tell more
    :param now: by the clock of the cluster
    """
    status = pod.get("status") or {}
    state = container_status(pod).get("state") or {}
    if "terminated" in state:
        return _terminated(status, state["terminated"] or {})
    if status.get("reason") == "NodeLost":
        return Status("lost", reason="NodeLost", message=status.get("message") or "the node has gone")
    if status.get("phase") in ("Failed", "Succeeded"):
        return _without_container(pod)
    if "running" in state:
        return Status("running")
    return _pending(pod, start_timeout, events, now or datetime.now(timezone.utc))


def container_status(pod: Pod, name: str = STAGE) -> Mapping[str, Any]:
    """What the cluster tells of a container; empty before it knows of it."""
    found = (pod.get("status") or {}).get("containerStatuses") or ()
    return next((one for one in found if one.get("name") == name), {})


def is_over(pod: Pod) -> bool:
    """Whether our container has ended, or will never start."""
    state = container_status(pod).get("state") or {}
    return "terminated" in state or (pod.get("status") or {}).get("phase") in ("Failed", "Succeeded")


def message_of(pod: Pod) -> bytes | None:
    """The result in the last message of our container.

    :return: ``None`` when it left none, or when it is that of work which the cluster itself ended
    """
    terminated = (container_status(pod).get("state") or {}).get("terminated") or {}
    text = terminated.get("message") or ""
    if (pod.get("status") or {}).get("reason") and terminated.get("exitCode") in (137, 143):
        return None  # Why it was ended is told by the pod.
    if text.startswith("{"):
        return str(text).encode()
    if text.startswith(PACKED):
        try:
            return zlib.decompress(base64.b64decode(text[len(PACKED) :]), 31)
        except (zlib.error, binascii.Error):
            return str(text).encode()  # Whoever reads it says that it is damaged.
    return None


def removal(pod: Pod | None) -> Status:
    """What it means that a pod is not there any more.

    :param pod: as it was seen last
    """
    for condition in ((pod or {}).get("status") or {}).get("conditions") or ():
        if condition.get("type") == "DisruptionTarget" and condition.get("status") == "True":
            reason = condition.get("reason") or "DisruptionTarget"
            return Status("lost", reason=reason, message=f"the pod was removed: {condition.get('message')}")
    return Status("lost", reason="Removed", message="the pod was removed, and not by its task")


def _terminated(status: Mapping[str, Any], ended: Mapping[str, Any]) -> Status:
    code, text = ended.get("exitCode"), ended.get("message") or ""
    if status.get("reason"):
        return Status("ended", code, status["reason"], status.get("message"))
    reason = ended.get("reason")
    if reason == "OOMKilled":
        return Status("ended", code, reason, "the container ran out of memory")
    if text.startswith(REFUSED):
        return Status("ended", code, "StartError", text[len(REFUSED) :])
    if text.startswith(EXPIRED):
        size = text[len(EXPIRED) :]
        return Status("ended", code, "ResultExpired", f"its result of {size} bytes was not taken in time")
    if reason in _BY_ITSELF:
        return Status("ended", code)
    return Status("ended", code, reason, text or None)


def _without_container(pod: Pod) -> Status:
    """A pod that is over, and tells nothing of our container."""
    status = pod["status"]
    if status.get("reason"):
        return Status("ended", None, status["reason"], status.get("message"))
    for one in status.get("initContainerStatuses") or ():
        ended = (one.get("state") or {}).get("terminated") or {}
        if ended.get("exitCode"):
            message = f"init container {one['name']} ended with exit code {ended['exitCode']}"
            return Status("ended", None, "StartError", message)
    return Status("ended", None, None, status.get("message"))


def _pending(pod: Pod, start_timeout: float, events: Events, now: datetime) -> Status:
    status = pod.get("status") or {}
    age = (now - _moment(pod["metadata"].get("creationTimestamp"), now)).total_seconds()
    reason, message = "DeadlineExceeded", ""
    for one in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        found = cannot_start(one, events)
        if found is not None:
            if found.state == "ended":
                return found
            reason, message = found.reason or reason, found.message or ""
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            reason = condition.get("reason") or "Unschedulable"
            message = condition.get("message") or "no node takes the pod"
            if _NO_CLAIM.search(message):
                reason = "CreateContainerConfigError"
    if not message and age > _SOON:
        warning = _last(
            event
            for event in events()
            if event.get("reason") in _WARNINGS
            # The first pod of a job waits for its secrets, which come in a moment.
            and (age > _LATE or f'"{UNIT_VOLUME}"' not in str(event.get("message")))
        )
        if warning is not None:
            reason = _WARNINGS[warning["reason"]]
            message = f"{warning['reason']}: {warning.get('message')}"
    if age > start_timeout:
        told = f"the pod did not start within {start_timeout:g} s"
        return Status("ended", None, reason, f"{told}: {message}" if message else told)
    return Status("pending", None, reason if message else None, message or None)


def cannot_start(container: Mapping[str, Any], events: Events) -> Status | None:
    """Why a container does not start, by the cluster's account of it.

    :return: ``ended`` where it never will, ``pending`` where it still may; ``None`` while nothing is wrong
    """
    wait = (container.get("state") or {}).get("waiting") or {}
    reason, text = wait.get("reason"), wait.get("message") or ""
    if reason in _PULLING:
        return _pulling(container.get("image") or "", reason, text, events)
    if reason not in _HOPELESS:
        return None
    state = "pending" if _PASSING.search(text) else "ended"
    return Status(state, None, reason, text or f"container {container.get('name')} cannot be started")


def _pulling(image: str, reason: str, text: str, events: Events) -> Status:
    """An image that could not be pulled: hopeless, unless the registry did not answer once."""
    failures = [
        event
        for event in events()
        if event.get("reason") == "Failed" and "pull image" in (event.get("message") or "")
    ]
    last = _last(failures)
    said = " ".join(((last or {}).get("message") or text).split())
    if _DENIED.search(said) or not _REGISTRY_AWAY.search(said):
        if reason == "ErrImagePull" and not said:
            return Status("pending", None, reason)
        hint = "look at its name and tag"
        if _DENIED.search(said):
            hint += "; for a private registry write image-pull-secrets"
        reason = "ErrImagePull" if reason == "RegistryUnavailable" else reason
        return Status("ended", None, reason, f"image {image!r} cannot be pulled: {said} ({hint})")
    message = f"the registry of image {image!r} does not answer: {said}"
    # The same trouble in other words, such as with another port, is an event of its own.
    tries = sum(int(event.get("count") or 1) for event in failures)
    return Status("ended" if tries > 1 else "pending", None, "RegistryUnavailable", message)


def _last(events: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    return max(events, key=lambda event: str(event.get("lastTimestamp") or ""), default=None)


def _moment(text: Any, default: datetime) -> datetime:
    try:
        return datetime.strptime(str(text), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
    except ValueError:
        return default
