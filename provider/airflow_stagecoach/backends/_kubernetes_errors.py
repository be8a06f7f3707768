"""What goes wrong with the API of a cluster, in words for the author of a document."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from airflow_stagecoach.backends.failures import BackendFailure

if TYPE_CHECKING:
    from airflow_stagecoach.engine.contract import Error

#: Reason of what an account may not do.
FORBIDDEN = "Forbidden"

_QUOTA = re.compile(r"exceeded quota|quota exceeded|maximum \w+ usage per", re.IGNORECASE)

#: The API refuses the handshake of a command in a pod with the status in its text alone.
_HANDSHAKE = re.compile(r"Handshake status (\d{3})")


def explain(error: Exception, namespace: str) -> Error | None:
    """What an exception of the SDK, or of Airflow's hook, means; ``None`` for others.

    :param namespace: in which we work
    """
    found = _found(error, namespace)
    return None if found is None else found.error


def refusal(status: int, text: str, namespace: str) -> BackendFailure:
    """A request that the API refuses.

    :param status: of HTTP
    :param text: what the API says
    """
    from airflow_stagecoach.engine.failures import shorten

    text = shorten(" ".join(text.split()))
    if status == 401:
        message = (
            "the cluster does not know who asks: the token or the certificate in `conn` or `config-file` "
            f"is wrong or has expired ({text})"
        )
        return BackendFailure(message, category="configuration", reason="Unauthorized")
    if _QUOTA.search(text):
        message = f"namespace {namespace!r} has no room for it: {text}"
        return BackendFailure(message, category="resource", reason="QuotaExceeded")
    if status == 403:
        return _forbidden(text, namespace)
    if status == 404:
        if "namespaces" in text:
            message = f"there is no namespace {namespace!r} in the cluster: look at `namespace` ({text})"
            return BackendFailure(message, category="configuration", reason="NamespaceNotFound")
        message = f"the cluster does not have what it was asked for: {text}"
        return BackendFailure(message, category="configuration", reason="NotFound")
    if status == 429:
        message = f"the cluster has too much to do: {text}"
        return BackendFailure(message, category="network", reason="TooManyRequests")
    if status >= 500:
        return BackendFailure(f"the cluster has a fault: {text}", category="system", reason=f"http-{status}")
    if status == 409:
        return BackendFailure(f"the cluster is changing it: {text}", category="system", reason="Conflict")
    message = f"the cluster refuses the pod: {text}"
    return BackendFailure(message, category="configuration", reason="InvalidPod")


def _forbidden(text: str, namespace: str) -> BackendFailure:
    if "error looking up service account" in text:
        message = f"there is no such service account: look at `service-account` ({text})"
    elif "pods/exec" in text:
        message = (
            "the account in `conn` or `config-file` may not run commands in pods of namespace "
            f"{namespace!r}, as services and results of more than some kilobytes need: {text}"
        )
    elif " cannot " in text:
        message = f"the account in `conn` or `config-file` may not do that in namespace {namespace!r}: {text}"
    else:
        message = f"a rule of the cluster forbids the pod: {text}"
    return BackendFailure(message, category="configuration", reason=FORBIDDEN)


def text_of(body: Any, default: str) -> str:
    """What the API says in the body of an answer."""
    try:
        told = json.loads(body)
        return str(told["message"])
    except (KeyError, TypeError, ValueError):
        return default


def _found(error: Exception, namespace: str) -> BackendFailure | None:
    if isinstance(error, ImportError):
        if (error.name or "").split(".")[0] not in ("kubernetes", "airflow", "kubernetes_asyncio"):
            return None
        message = (
            "runs-on: kubernetes needs Airflow's kubernetes provider where the task runs: "
            "pip install 'airflow-provider-stagecoach[kubernetes]'"
        )
        return BackendFailure(message, category="configuration", reason="provider-missing")
    try:
        from kubernetes.client.exceptions import ApiException
        from kubernetes.config.config_exception import ConfigException
        from urllib3.exceptions import HTTPError
    except ImportError:
        return None  # It cannot be an error of what is not there.
    if isinstance(error, ApiException):
        text = text_of(error.body, str(error.reason or error))
        handshake = _HANDSHAKE.search(str(error.reason or ""))
        if not error.status and handshake is None:
            return _unreachable(text)
        return refusal(int(handshake[1]) if handshake else int(error.status), text, namespace)
    if isinstance(error, ConfigException):
        found = " ".join(str(error).split()).rstrip(".")
        message = (
            f"no cluster is known: {found}; name an Airflow connection in `conn`, "
            "write `config-file`, or `in-cluster: true` where the worker runs in the cluster"
        )
        return BackendFailure(message, category="configuration", reason="NoCluster")
    if isinstance(error, HTTPError):
        return _unreachable(str(error))
    if isinstance(error, (IsADirectoryError, PermissionError)) and error.filename:
        message = f"no cluster is known: `config-file` {error.filename} cannot be read: {error.strerror}"
        return BackendFailure(message, category="configuration", reason="NoCluster")
    if "mutually exclusive" in str(error):  # Airflow's hook has no exception of its own for that.
        message = (
            "the cluster is named twice: write one of `in-cluster` and `config-file`, and neither where the "
            "connection in `conn` says it"
        )
        return BackendFailure(message, category="configuration", reason="NoCluster")
    return None


def _unreachable(text: str) -> BackendFailure:
    text = " ".join(text.split())
    if "CERTIFICATE_VERIFY_FAILED" in text or "certificate verify failed" in text:
        message = f"the certificate of the cluster is not trusted: look at `conn` or `config-file` ({text})"
        return BackendFailure(message, category="configuration", reason="certificate")
    message = f"the API of the cluster does not answer: {text}"
    return BackendFailure(message, category="network", reason="api-unreachable")
