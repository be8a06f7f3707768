"""Services of a job, in Docker: containers beside ours, in a network that only this try has.

Everything carries the labels of the work, and the name of its try: whoever has the handle ends it all,
and a sweep finds what a worker left that died in the middle.
"""

from __future__ import annotations

import contextlib
import re
import time
from typing import TYPE_CHECKING, Any

from airflow_stagecoach.backends._docker_networks import (
    Network,
    hosts_of,
    make_network,
    network_of,
    remove_network,
    remove_networks,
)
from airflow_stagecoach.backends._services import (
    LONGEST_WAIT,
    SERVICE,
    TOLD_LINES,
    WORK,
    ServiceFailed,
    last_lines,
)
from airflow_stagecoach.backends.failures import BackendFailure
from airflow_stagecoach.backends.ownership import owner_labels

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from docker import APIClient

    from airflow_stagecoach.backends._services import Health, Service
    from airflow_stagecoach.backends.docker import DockerBackend
    from airflow_stagecoach.backends.work import Work

#: Label of our container: the ids of its services.
SERVICES = "stagecoach.services"

#: Bytes of a service's log that are looked at.
_LARGEST_LOG = 1024 * 1024

_PORT_TAKEN = re.compile(r"port is already allocated|address already in use", re.IGNORECASE)

#: Exit codes of what got SIGTERM or SIGKILL from outside.
_ENDED_BY_OTHERS = (137, 143)


def service_request(
    service: Service, work: Work, network: Network, hosts: Mapping[str, str]
) -> dict[str, Any]:
    """What the daemon is asked to create for a service.

    :param hosts: host names -> addresses
    :raises BackendFailure: a port cannot be published as it says
    """
    name = service["id"]
    for port in service["ports"]:
        if network.own is None and port["published"] not in (None, port["port"]):
            why = (
                f"cannot publish port {port['port']} as {port['published']}: with `network: host` it is "
                f"there under its own number; write {port['port']}"
            )
            raise _failed(service, why, category="configuration")
    host_config: dict[str, Any] = {
        "binds": [
            ":".join(filter(None, (volume["source"], volume["path"], volume["mode"])))
            for volume in service["volumes"]
            if volume["source"] is not None
        ],
        "port_bindings": {
            f"{port['port']}/{port['protocol']}": port["published"]
            for port in service["ports"]
            if port["published"] is not None and network.own is not None
        },
        "network_mode": network.mode,
        "extra_hosts": dict(hosts),
    }
    return {
        "image": service["image"],
        "command": service["command"],
        "entrypoint": service["entrypoint"],
        "environment": service["env"],
        "ports": [(port["port"], port["protocol"]) for port in service["ports"]],
        "volumes": [volume["path"] for volume in service["volumes"] if volume["source"] is None],
        "healthcheck": None if service["health"] is None else healthcheck(service["health"]),
        "labels": {**labels(work), SERVICE: name},
        "name": f"{work.name}.{name}",
        "host_config": {key: value for key, value in host_config.items() if value},
    }


def healthcheck(health: Health) -> dict[str, Any]:
    """A health check in the daemon's words; times are nanoseconds."""

    def nanoseconds(seconds: float) -> int:
        # The daemon takes nothing between 0 and 1 ms.
        return max(int(seconds * 1e9), 1_000_000) if seconds else 0

    return {
        "test": ["CMD-SHELL" if health["shell"] else "CMD", *health["command"]],
        "interval": nanoseconds(health["interval"]),
        "timeout": nanoseconds(health["timeout"]),
        "retries": health["retries"],
        "start_period": nanoseconds(health["start_period"]),
    }


def labels(work: Work) -> dict[str, str]:
    """What stands on everything beside the container of the work."""
    return {**work.labels(), **owner_labels(work.identity), WORK: work.name}


class ServiceGroup:
    """The services of one try, while it is being started. There may be none.

    :param backend: that of our container, whose settings hold for them too
    :param work: with the services in its unit
    :raises BackendFailure: no service could be reached in the network that the author wants
    :ivar network: that our container begins in
    """

    def __init__(self, backend: DockerBackend, work: Work) -> None:
        self._backend = backend
        self._work = work
        self._services: list[Service] = list(work.unit.get("services") or ())
        wanted = backend.settings.network
        self.network = network_of(wanted, work.name) if self._services else Network(wanted, None)
        self._ids: dict[str, str] = {}
        self._has_network = False

    @property
    def hosts(self) -> dict[str, str]:
        """Host names that the containers of the try know, beside those of their network."""
        return {**self._backend.settings.extra_hosts, **hosts_of(self._services, self.network)}

    @property
    def labels(self) -> dict[str, str]:
        """What stands on our container, so that whoever finds it knows of its services."""
        return {SERVICES: ",".join(service["id"] for service in self._services)} if self._services else {}

    def requests(self) -> list[dict[str, Any]]:
        """What the daemon is asked to create, service by service."""
        return [service_request(service, self._work, self.network, self.hosts) for service in self._services]

    def start(self) -> None:
        """Make the network and start every service, once.

        :raises BackendFailure: one cannot be started
        """
        for service in self._services:
            with _naming(service, self._backend):
                self._backend.pull(service["image"], conn=service["conn"])
        requests = self.requests()
        self._make_network()
        for service, request in zip(self._services, requests, strict=True):
            with _naming(service, self._backend):
                self._start(service["id"], request)
            self._backend.say(f"Started service {service['id']} ({service['image']})")

    def _start(self, name: str, request: dict[str, Any]) -> None:
        client = self._backend.client
        request["host_config"] = client.create_host_config(**request["host_config"])
        own = self.network.own
        if own is not None and self.network.joins is None:
            endpoint = client.create_endpoint_config(aliases=[name])
            request["networking_config"] = {"EndpointsConfig": {own: endpoint}}
        container = client.create_container(platform=self._backend.settings.platform, **request)["Id"]
        self._ids[name] = container
        self.join(container, name)
        client.start(container)

    def join(self, container: str, *aliases: str) -> None:
        """Bring a container, which is not started yet, into the network of the try."""
        if self.network.joins is not None:
            self._backend.client.connect_container_to_network(
                container, self.network.joins, aliases=list(aliases) or None
            )

    def wait(self) -> None:
        """Wait until every service can be used.

        :raises BackendFailure: one has ended, is unhealthy, or takes too long; its log is told
        """
        began, pause, told = time.monotonic(), 0.05, False
        while True:
            # All of them each time: one that was there may have ended since.
            pending = [service for service in self._services if not self._is_ready(service)]
            if not pending:
                if told:
                    self._backend.say(f"Services are ready after {time.monotonic() - began:.1f} s")
                return
            if self._backend.is_cancelled:
                raise BackendFailure("The work was stopped", category="cancelled", reason="cancelled")
            if time.monotonic() - began > LONGEST_WAIT:
                self._tell(pending[0])
                why = f"was not healthy within {LONGEST_WAIT:.0f} s"
                raise _failed(pending[0], why, reason="ServiceUnhealthy")
            if not told:
                told = True
                self._backend.say(f"Waiting for {', '.join(service['id'] for service in pending)}")
            time.sleep(pause)
            pause = min(pause * 1.5, 1.0)

    def _is_ready(self, service: Service) -> bool:
        from docker.errors import NotFound

        with _naming(service, self._backend):
            try:
                state = self._backend.client.inspect_container(self._ids[service["id"]])["State"]
            except NotFound:
                raise _failed(service, "was removed", category="system") from None
            failure = not_usable(service, state)
        if failure is not None:
            self._tell(service)
            raise failure
        return (state.get("Health") or {}).get("Status", "none") in ("none", "healthy")

    def _tell(self, service: Service) -> None:
        """Write the end of a service's log to that of the task."""
        with contextlib.suppress(Exception):
            lines = log_of(self._backend.client, self._ids[service["id"]])
            self._backend.say_lines(f"Service {service['id']}: its last lines", lines)

    def _make_network(self) -> None:
        own = self.network.own
        if own is None:
            return
        client = self._backend.client
        # Of a try that died before it started anything. One that is in use is none of those.
        with contextlib.suppress(Exception):
            remove_networks(client, f"stagecoach.key={self._work.key}", patience=0)
        make_network(client, own, labels(self._work))
        self._has_network = True

    def remove(self) -> None:
        """Remove what this object made; nothing of another one with the same name."""
        for container in self._ids.values():
            with contextlib.suppress(Exception):
                self._backend.client.remove_container(container, force=True, v=True)
        if self._has_network and self.network.own is not None:
            with contextlib.suppress(Exception):
                remove_network(self._backend.client, self.network.own)


def not_usable(service: Service, state: Mapping[str, Any]) -> ServiceFailed | None:
    """Why a service can no more become usable, by the daemon's account of its state."""
    if state.get("OOMKilled"):
        return _failed(service, "ran out of memory", category="resource", reason="OOMKilled")
    if state["Status"] in ("exited", "dead", "removing"):
        code = state.get("ExitCode", 0)
        category = "system" if code in _ENDED_BY_OTHERS else "component"
        said = f": {state['Error']}" if state.get("Error") else ""
        return _failed(
            service, f"ended with exit code {code} before the job could start{said}", category=category
        )
    health = state.get("Health") or {}
    if health.get("Status") == "unhealthy":
        from airflow_stagecoach.engine.failures import shorten

        probes = [str(probe.get("Output") or "").strip() for probe in health.get("Log") or ()]
        said = next((shorten(text) for text in reversed(probes) if text), "it says nothing")
        return _failed(service, f"is unhealthy; its check says: {said}", reason="ServiceUnhealthy")
    return None


def _failed(service: Service, why: str, **more: str) -> ServiceFailed:
    return ServiceFailed(service["id"], service["image"], why, **more)


@contextlib.contextmanager
def _naming(service: Service, backend: DockerBackend) -> Iterator[None]:
    """Names the service in what goes wrong inside."""
    try:
        yield
    except ServiceFailed:
        raise
    except Exception as error:
        found = backend.explain_of(error, service["image"])
        text = found["message"]
        category, reason = found.get("category", "component"), found.get("reason", "ServiceFailed")
        if _PORT_TAKEN.search(text):
            category, reason = "resource", "PortTaken"
            text += "; remove its published port, which the job itself does not need"
        raise _failed(service, f"cannot be started: {text}", category=category, reason=reason) from error


def handle_services(labels: Mapping[str, str]) -> list[str]:
    """The ids of the services of our container, by its labels."""
    return [name for name in labels.get(SERVICES, "").split(",") if name]


def remove_services(client: APIClient, name: str) -> None:
    """Remove all that stands beside a piece of work: services first, then their network. Again is harmless.

    :param name: of the work
    """
    label = f"{WORK}={name}"
    for found in client.containers(all=True, filters={"label": [label, SERVICE]}):
        _remove(client, found["Id"])
    remove_networks(client, label)


def remove_orphans(client: APIClient, containers: Sequence[str], key: str) -> None:
    """Remove services whose worker died before it started ours.

    :param containers: their ids
    :param key: of the work
    """
    for container in containers:
        _remove(client, container)
    remove_networks(client, f"stagecoach.key={key}")


def service_logs(client: APIClient, name: str) -> dict[str, list[str]]:
    """The end of the log of each service of a piece of work, under its id and state."""
    told = {}
    filters = {"label": [f"{WORK}={name}", SERVICE]}
    for found in sorted(client.containers(all=True, filters=filters), key=lambda one: one["Names"][0]):
        title = f"Service {found['Labels'][SERVICE]} ({found['Status']}): its last lines"
        told[title] = log_of(client, found["Id"])
    return told


def log_of(client: APIClient, container: str) -> list[str]:
    """The last lines that a container wrote, of both streams."""
    data = b""
    for chunk in client.logs(container, stream=True, follow=False, tail=TOLD_LINES):
        data = (data + chunk)[-_LARGEST_LOG:]
    return last_lines(data.decode("utf-8", "replace"))


def _remove(client: APIClient, container: str) -> None:
    from docker.errors import APIError, NotFound

    try:
        client.remove_container(container, force=True, v=True)
    except NotFound:
        pass
    except APIError as error:
        if error.status_code != 409:  # Its removal is on the way already.
            raise
