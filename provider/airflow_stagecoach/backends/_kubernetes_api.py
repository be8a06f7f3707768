"""The few calls of a cluster's API that work needs, through the hook of Airflow's kubernetes provider.

Everything is plain data as the API has it: reading it into the SDK's models would take longer than
the calls, and lose what the SDK does not know.
"""

from __future__ import annotations

import json
import time
from datetime import datetime, timezone
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_stagecoach.backends._kubernetes_settings import KubernetesConfig

#: Seconds to connect, and to wait for an answer.
_TIMEOUT = (10, 60)

#: Where the namespace of a pod's own account is told, inside of the cluster.
_OWN_NAMESPACE = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

#: Channels of a command in a pod.
_STDOUT, _STATUS = 1, 3

#: Kind -> path of the API, and the resource there.
_PLACES = {
    "pod": ("/api/v1", "pods"),
    "secret": ("/api/v1", "secrets"),
    "event": ("/api/v1", "events"),
    "job": ("/apis/batch/v1", "jobs"),
}


class Api:
    """A cluster and a namespace in it.

    :param settings: of the backend
    """

    def __init__(self, settings: KubernetesConfig) -> None:
        self._settings = settings
        #: The time by the clock of the cluster, when it answered last.
        self.now = datetime.now(timezone.utc)

    @cached_property
    def _hook(self) -> Any:
        from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook

        settings = self._settings
        return KubernetesHook(
            conn_id=settings.conn,
            in_cluster=settings.in_cluster,
            config_file=settings.config_file,
            cluster_context=settings.context,
        )

    @cached_property
    def client(self) -> Any:
        """The SDK's client."""
        return self._hook.get_conn()

    @cached_property
    def namespace(self) -> str:
        """The namespace of all that is made: of the settings, the pod, the connection, or our own pod's."""
        settings = self._settings
        told = settings.namespace or (settings.template.get("metadata") or {}).get("namespace")
        if told:
            return str(told)
        client = self.client
        found = self._hook.get_namespace()
        if not found and client is not None and getattr(self._hook, "is_in_cluster", False):
            try:
                with open(_OWN_NAMESPACE, encoding="utf-8") as file:
                    found = file.read().strip()
            except OSError:
                found = None
        return str(found or "default")

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        """One object; ``None`` when it is not there."""
        return self._or_none("GET", self._path(kind, name))

    def select(self, kind: str, *, labels: str = "", fields: str = "") -> list[dict[str, Any]]:
        """Objects by their labels, and fields."""
        query = [("labelSelector", labels), ("fieldSelector", fields)]
        found = self._call("GET", self._path(kind), query=[one for one in query if one[1]])
        return list(found.get("items") or ())

    def events(self, fields: str) -> list[dict[str, Any]]:
        """What has happened to an object, by its fields; nothing where we may not know."""
        from kubernetes.client.exceptions import ApiException

        try:
            return self.select("event", fields=fields)
        except ApiException:
            return []

    def create(self, kind: str, body: Mapping[str, Any]) -> dict[str, Any] | None:
        """Make an object; ``None`` when one of that name is there already."""
        from kubernetes.client.exceptions import ApiException

        for tries_left in (2, 1, 0):
            try:
                return self._call("POST", self._path(kind), body=body)
            except ApiException as error:
                if error.status != 409:
                    raise
                if "AlreadyExists" in str(error.body):
                    return None
                if not tries_left:
                    raise
                time.sleep(0.2)  # A quota that several change at the same time.
        return None

    def patch(self, kind: str, name: str, body: Mapping[str, Any]) -> None:
        """Change an object, where it is there."""
        self._or_none("PATCH", self._path(kind, name), body=body)

    def delete(self, kind: str, name: str, *, grace: float | None = None) -> None:
        """Remove an object and what it owns; harmless when it is gone.

        :param grace: seconds for the processes of a pod; those of the pod itself if absent
        """
        body: dict[str, Any] = {"propagationPolicy": "Background"}
        if grace is not None:
            body["gracePeriodSeconds"] = int(grace)
        self._or_none("DELETE", self._path(kind, name), body=body)

    def log(self, pod: str, container: str, *, since: str | None = None, tail: int | None = None) -> Any:
        """The lines of a container with the time of each, as a stream of bytes.

        :param since: a time as the log itself has it
        :param tail: how many of the last lines
        :return: a response to read and to close
        """
        query = [("container", container), ("timestamps", "true")]
        if since is not None:
            query.append(("sinceTime", since))
        if tail is not None:
            query.append(("tailLines", str(tail)))
        return self._request("GET", f"{self._path('pod', pod)}/log", query=query)

    def run(self, pod: str, container: str, command: list[str]) -> bytes:
        """What a command in a container writes to its standard output.

        :raises OSError: it failed
        """
        from kubernetes.client import CoreV1Api
        from kubernetes.stream import stream

        session = stream(
            CoreV1Api(self.client).connect_get_namespaced_pod_exec,
            pod,
            self.namespace,
            container=container,
            command=command,
            stdin=False,
            stdout=True,
            stderr=True,
            tty=False,
            binary=True,
            _preload_content=False,
            _request_timeout=_TIMEOUT[1],
        )
        try:
            return _output(session, command[0])
        finally:
            session.close()

    def version(self) -> str:
        """Of the server."""
        return str(self._call("GET", "/version")["gitVersion"])

    # ---------------------------------------------------------------------------------------

    def _path(self, kind: str, name: str = "") -> str:
        root, resource = _PLACES[kind]
        path = f"{root}/namespaces/{self.namespace}/{resource}"
        return f"{path}/{name}" if name else path

    def _or_none(self, method: str, path: str, *, body: Any = None) -> dict[str, Any] | None:
        from kubernetes.client.exceptions import ApiException

        try:
            return self._call(method, path, body=body)
        except ApiException as error:
            if error.status == 404:
                return None
            raise

    def _call(
        self, method: str, path: str, *, query: list[tuple[str, str]] | None = None, body: Any = None
    ) -> dict[str, Any]:
        from email.utils import parsedate_to_datetime

        response = self._request(method, path, query=query, body=body)
        try:
            date = response.headers.get("Date")
            self.now = parsedate_to_datetime(date) if date else datetime.now(timezone.utc)
            found: dict[str, Any] = json.loads(response.data)
        finally:
            response.release_conn()
        return found

    def _request(
        self, method: str, path: str, *, query: list[tuple[str, str]] | None = None, body: Any = None
    ) -> Any:
        headers = {"Accept": "application/json"}
        if body is not None:
            merge = method == "PATCH"
            headers["Content-Type"] = "application/merge-patch+json" if merge else "application/json"
        return self.client.call_api(
            path,
            method,
            query_params=query or [],
            header_params=headers,
            body=body,
            auth_settings=["BearerToken"],
            _preload_content=False,
            _return_http_data_only=True,
            _request_timeout=_TIMEOUT,
        )


def _output(session: Any, name: str) -> bytes:
    """All that a command writes to its standard output.

    Read frame by frame from the socket: the SDK's own reading waits for more where TLS has it already.

    :param session: the SDK's, just opened
    :param name: of the command, for people
    :raises OSError: the command failed, or the connection broke
    """
    from websocket import ABNF, WebSocketException

    found: dict[int, list[bytes]] = {}
    session.sock.settimeout(_TIMEOUT[1])
    try:
        while True:
            code, frame = session.sock.recv_data_frame(True)
            if code == ABNF.OPCODE_CLOSE:
                break
            if code in (ABNF.OPCODE_BINARY, ABNF.OPCODE_TEXT) and frame.data:
                found.setdefault(frame.data[0], []).append(bytes(frame.data[1:]))
    except WebSocketException as error:
        raise OSError(
            f"the connection to {name} in the pod broke: {error or type(error).__name__}"
        ) from error
    try:
        status = json.loads(b"".join(found.get(_STATUS, ())))
    except ValueError:
        raise OSError(f"nobody tells how {name} in the pod ended") from None
    if status.get("status") != "Success":
        raise OSError(f"{name} failed in the pod: {status.get('message')}")
    return b"".join(found.get(_STDOUT, ()))
