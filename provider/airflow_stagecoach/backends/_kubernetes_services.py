"""Services of a job, in Kubernetes: further containers of its pod.

All containers of a pod share one network, so an id leads to 127.0.0.1. Ours waits until somebody who
follows the work has seen that every service can be used, and says so by a file in it.
"""

from __future__ import annotations

import base64
import json
import math
from typing import TYPE_CHECKING, Any

from airflow_stagecoach.backends._kubernetes_image_stage import literal
from airflow_stagecoach.backends._kubernetes_status import cannot_start, container_status
from airflow_stagecoach.backends.work import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from airflow_stagecoach.backends._kubernetes_status import Events, Pod
    from airflow_stagecoach.backends._services import Health, Service, Volume

#: Begins the name of a container that is a service.
PREFIX = "service-"

#: Annotation of a pod whose services were all ready, so that the stages have begun.
READY = "stagecoach.services-ready"

#: Exit codes of what got SIGTERM or SIGKILL from outside, and what that is called.
_ENDED_BY_OTHERS = {137: "killed", 143: "terminated"}


def add_services(spec: dict[str, Any], services: Sequence[Service]) -> None:
    """Put the services into the spec of a pod.

    :raises ServiceFailed: one asks for what a pod cannot give
    """
    taken: dict[tuple[int, str], str] = {}
    for service in services:
        _check_ports(service, taken)
        volumes, mounts = [], []
        for number, volume in enumerate(service["volumes"], 1):
            name = f"{PREFIX}{service['id']}-{number}"[:63]
            volumes.append({"name": name, **_source(volume)})
            mount = {"name": name, "mountPath": volume["path"]}
            mounts.append({**mount, "readOnly": True} if volume["mode"] == "ro" else mount)
        container = {
            "name": f"{PREFIX}{service['id']}",
            "image": service["image"],
            "imagePullPolicy": spec["containers"][0].get("imagePullPolicy"),
            "command": literal(service["entrypoint"] or ()),
            "args": literal(service["command"] or ()),
            "env": [{"name": name, "value": literal([value])[0]} for name, value in service["env"].items()],
            "ports": [
                {"containerPort": port["port"], "protocol": port["protocol"].upper()}
                for port in service["ports"]
            ],
            "volumeMounts": mounts,
            "startupProbe": None if service["health"] is None else _probe(service["health"]),
        }
        spec["volumes"].extend(volumes)
        spec["containers"].append({key: value for key, value in container.items() if value})
    if services:
        spec["hostAliases"] = [{"ip": "127.0.0.1", "hostnames": [service["id"] for service in services]}]


def login(connection: Any) -> bytes:
    """The login of a registry, from its Airflow connection, as Kubernetes wants it in a secret."""
    token = base64.b64encode(f"{connection.login}:{connection.password}".encode()).decode()
    server = connection.host or "https://index.docker.io/v1/"
    if connection.port:
        server = f"{server}:{connection.port}"
    entry = {"username": connection.login, "password": connection.password, "auth": token}
    return json.dumps({"auths": {server: entry}}).encode()


def waits_for(pod: Pod, events: Events, now: datetime) -> Status | None:
    """What our container waits for; ``None`` when it may begin.

    :param now: by the clock of the cluster
    :return: ``pending`` with the services that are not ready, ``ended`` where one will never be
    """
    from airflow_stagecoach.backends._services import LONGEST_WAIT

    pending = []
    for container in service_containers(pod):
        found = container_status(pod, container["name"])
        state = found.get("state") or {}
        name = container["name"][len(PREFIX) :]
        if "terminated" in state:
            return _failed(container, _why_ended(container, found, events))
        hopeless = cannot_start(found, events)
        if hopeless is not None:
            text = f"cannot be started: {hopeless.message}"
            return _failed(container, (hopeless.reason or "ServiceFailed", text))
        if "running" not in state or ("startupProbe" in container and not found.get("started")):
            pending.append(name)
    if not pending:
        return None
    since = _since(pod)
    if since is not None and (now - since).total_seconds() > LONGEST_WAIT:
        late = next(one for one in service_containers(pod) if one["name"] == f"{PREFIX}{pending[0]}")
        return _failed(late, ("ServiceUnhealthy", f"was not healthy within {LONGEST_WAIT:.0f} s"))
    return Status("pending", None, None, f"its services are not ready yet: {', '.join(pending)}")


def service_containers(pod: Pod) -> list[Mapping[str, Any]]:
    """The containers of a pod that are services, as its spec has them."""
    found: Iterable[Mapping[str, Any]] = (pod.get("spec") or {}).get("containers") or ()
    return [container for container in found if container["name"].startswith(PREFIX)]


def described(pod: Pod) -> Iterator[tuple[str, str]]:
    """Container and what is told above its lines, of each service."""
    for container in service_containers(pod):
        name = container["name"]
        state = container_status(pod, name).get("state") or {}
        ended = state.get("terminated")
        how = f"ended with exit code {ended.get('exitCode')}" if ended else "runs" if state else "not started"
        yield name, f"Service {name[len(PREFIX) :]} ({how}): its last lines"


def _why_ended(container: Mapping[str, Any], found: Mapping[str, Any], events: Events) -> tuple[str, str]:
    """Reason, and words that go on with the sentence."""
    ended = found["state"]["terminated"]
    code = ended.get("exitCode")
    if ended.get("reason") == "OOMKilled":
        return "OOMKilled", "ran out of memory"
    if "startupProbe" in container and not found.get("started"):
        path = f"spec.containers{{{container['name']}}}"
        own = [event for event in events() if (event.get("involvedObject") or {}).get("fieldPath") == path]
        if any(event.get("reason") == "Killing" and "startup probe" in _text(event) for event in own):
            said = [_text(event) for event in own if event.get("reason") == "Unhealthy"]
            text = said[-1].partition(":")[2].strip() if said else ""
            return "ServiceUnhealthy", f"is unhealthy; its check says: {text or 'nothing'}"
    reason = _ENDED_BY_OTHERS.get(code, "ServiceFailed")
    told = f": {ended['message']}" if ended.get("message") else ""
    return reason, f"ended with exit code {code} before the job could start{told}"


def _text(event: Mapping[str, Any]) -> str:
    return str(event.get("message") or "")


def _failed(container: Mapping[str, Any], why: tuple[str, str]) -> Status:
    from airflow_stagecoach.backends._services import ServiceFailed

    reason, text = why
    error = ServiceFailed(container["name"][len(PREFIX) :], container["image"], text)
    return Status("ended", None, reason, str(error))


def _check_ports(service: Service, taken: dict[tuple[int, str], str]) -> None:
    from airflow_stagecoach.backends._services import ServiceFailed

    for port in service["ports"]:
        number = port["port"]
        if port["published"] not in (None, number):
            why = (
                f"cannot publish port {number} as {port['published']}: in a pod it is there under its own "
                f"number; write {number}"
            )
            raise ServiceFailed(service["id"], service["image"], why, category="configuration")
        other = taken.setdefault((number, port["protocol"]), service["id"])
        if other != service["id"]:
            why = f"has port {number}, as service {other!r} has: containers of a pod share their ports"
            raise ServiceFailed(service["id"], service["image"], why, category="configuration")


def _source(volume: Volume) -> dict[str, Any]:
    source = volume["source"]
    if source is None:
        return {"emptyDir": {}}
    if source.startswith("/"):
        return {"hostPath": {"path": source}}
    return {"persistentVolumeClaim": {"claimName": source}}


def _probe(health: Health) -> dict[str, Any]:
    """A health check as a startup probe: when it has failed for good, the cluster ends the service."""
    period = max(1, math.ceil(health["interval"]))
    command = ["/bin/sh", "-c", *health["command"]] if health["shell"] else health["command"]
    return {
        "exec": {"command": command},
        "periodSeconds": period,
        "timeoutSeconds": max(1, math.ceil(health["timeout"])),
        # What fails in the beginning does not count.
        "failureThreshold": health["retries"] + math.ceil(health["start_period"] / period),
    }


def _since(pod: Pod) -> datetime | None:
    """When our container began to wait."""
    from datetime import datetime, timezone

    running = (container_status(pod).get("state") or {}).get("running") or {}
    try:
        began = datetime.strptime(str(running.get("startedAt")), "%Y-%m-%dT%H:%M:%SZ")
    except ValueError:
        return None
    return began.replace(tzinfo=timezone.utc)
