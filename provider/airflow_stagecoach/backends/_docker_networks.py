"""Networks of Docker: one for each try that has services, gone with it."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, NamedTuple

from airflow_stagecoach.backends.failures import BackendFailure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from docker import APIClient

    from airflow_stagecoach.backends._services import Service

#: A network that still lets go of a container is asked again for so many seconds.
_LETTING_GO = 5.0

_NO_NETWORK_LEFT = re.compile(r"address pool", re.IGNORECASE)


class Network(NamedTuple):
    """How the containers of a try reach each other.

    :ivar mode: the network that each of them begins in
    :ivar own: the network that is made for the try, in which services are found by their ids; ``None`` where
        they share the network of the machine
    """

    mode: str | None
    own: str | None

    @property
    def joins(self) -> str | None:
        """The network that a container enters beside its first one."""
        return self.own if self.own != self.mode else None


def network_of(wanted: str | None, name: str) -> Network:
    """The network of a try that has services.

    :param wanted: the setting ``network``
    :param name: of the work
    :raises BackendFailure: no service could be reached there
    """
    if not wanted or wanted == "default":
        return Network(name, name)
    if wanted == "host":
        return Network(wanted, None)
    if wanted == "none" or wanted.startswith("container:"):
        message = (
            f"with `network: {wanted}` a job cannot reach its services: remove `network`, "
            "or write host or the name of a network"
        )
        raise BackendFailure(message, category="configuration", reason="NetworkUnavailable")
    return Network(wanted, name)


def hosts_of(services: Sequence[Service], network: Network) -> dict[str, str]:
    """Host names that no network tells: where all share the machine's, services are there."""
    return {} if network.own is not None else {service["id"]: "127.0.0.1" for service in services}


def make_network(client: APIClient, name: str, labels: Mapping[str, str]) -> None:
    """Make the network of a try.

    :raises BackendFailure: the daemon has no addresses left
    :raises docker.errors.APIError: anything else, such as that it is there already
    """
    from docker.errors import APIError

    try:
        client.create_network(name, driver="bridge", check_duplicate=True, labels=dict(labels))
    except APIError as error:
        text = str(error.explanation or error)
        if not _NO_NETWORK_LEFT.search(text):
            raise
        message = (
            f"the daemon has no address left for one more network: {text}; fewer legs at a time "
            "(max-parallel) need fewer, and default-address-pools of the daemon gives it more"
        )
        raise BackendFailure(message, category="resource", reason="NetworkUnavailable") from None


def remove_network(client: APIClient, name: str, patience: float = _LETTING_GO) -> None:
    """Remove a network; it may still have to let go of a container that has just gone.

    :param patience: seconds that it has for that
    """
    from docker.errors import APIError, NotFound

    until = time.monotonic() + patience
    while True:
        try:
            client.remove_network(name)
        except NotFound:
            return
        except APIError as error:
            if error.status_code != 403 or time.monotonic() > until:
                raise
            time.sleep(0.2)
        else:
            return


def remove_networks(client: APIClient, label: str, patience: float = _LETTING_GO) -> None:
    """Remove every network with a label."""
    for found in client.networks(filters={"label": label}):
        remove_network(client, found["Id"], patience)
