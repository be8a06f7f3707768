"""What goes wrong with a Docker daemon, in words for the author of a document."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from airflow_stagecoach.backends._docker_connection import barred
from airflow_stagecoach.backends.failures import BackendFailure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from docker import APIClient

    from airflow_stagecoach.backends._docker_settings import Tls
    from airflow_stagecoach.engine.contract import Error

#: The registry, or the way to it, is the trouble: another try may help.
_REGISTRY_AWAY = re.compile(
    r"no such host|dial tcp|connection refused|connection reset|timeout|deadline exceeded|TLS handshake"
    r"|temporary failure|unexpected EOF|\bEOF$|server misbehaving|status.{0,20} 5\d\d|HTTP 5\d\d|bad gateway",
    re.IGNORECASE,
)

_TOO_MANY = re.compile(
    r"toomanyrequests|too many requests|rate limit|HTTP 429|status.{0,20} 429", re.IGNORECASE
)

#: The certificate of a registry is wrong: no other try helps.
_CERTIFICATE = re.compile(r"x509:|certificate|server gave HTTP response to HTTPS client", re.IGNORECASE)

_DENIED = re.compile(r"denied|unauthorized|authentication required|no basic auth|forbidden", re.IGNORECASE)

_DISK_FULL = re.compile(r"no space left|disk quota", re.IGNORECASE)

_NO_GPU = re.compile(
    r"could not select device driver|nvidia-container-cli|unknown runtime.*nvidia", re.IGNORECASE
)

_OTHER_PLATFORM = re.compile(r"does not match the specified platform", re.IGNORECASE)

#: The image has nothing that runs what it shall run.
_NO_COMMAND = re.compile(
    r"exec: \"(?P<command>[^\"]*)\"|no such file or directory|executable file not found", re.IGNORECASE
)


def missing_image(image: str) -> BackendFailure:
    """The image is not there, and ``pull: never`` forbids to fetch it."""
    message = (
        f"the daemon has no image {image!r}, and `pull: never` forbids to fetch it: "
        "load it there, or write `pull: missing`"
    )
    return BackendFailure(message, category="configuration", reason="ErrImageNeverPull")


def failed_pull(image: str, text: str) -> BackendFailure:
    """An image cannot be pulled.

    :param text: what the daemon says
    """
    text = " ".join(text.split())
    if _DISK_FULL.search(text):
        message = f"image {image!r} does not fit on the daemon's disk: {text}"
        return BackendFailure(message, category="resource", reason="disk-full")
    if _TOO_MANY.search(text):
        message = (
            f"the registry of image {image!r} limits how often is pulled: {text} "
            "(wait; with a login, by an Airflow connection in `conn`, the limit may be higher)"
        )
        return BackendFailure(message, category="network", reason="RegistryUnavailable")
    if _CERTIFICATE.search(text):
        message = f"the daemon does not trust the registry of image {image!r}: {text}"
        return BackendFailure(message, category="configuration", reason="certificate")
    # A registry that refuses names what it asked for, which may look like anything.
    if not _DENIED.search(text) and _REGISTRY_AWAY.search(text):
        message = f"the registry of image {image!r} does not answer: {text}"
        return BackendFailure(message, category="network", reason="RegistryUnavailable")
    hint = "look at its name and tag"
    if _DENIED.search(text):
        hint += "; for a private registry name an Airflow connection in `conn`"
    message = f"image {image!r} cannot be pulled: {text} ({hint})"
    return BackendFailure(message, category="configuration", reason="ErrImagePull")


def failed_login(image: str, conn: str, text: str) -> BackendFailure:
    """The login of a registry fails before anything is pulled.

    :param conn: Airflow connection
    :param text: what the daemon says
    """
    text = " ".join(text.split())
    if _TOO_MANY.search(text) or (_REGISTRY_AWAY.search(text) and not _DENIED.search(text)):
        return failed_pull(image, text)
    message = f"the registry of image {image!r} refuses the login of the Airflow connection {conn!r}: {text}"
    return BackendFailure(message, category="configuration", reason="unauthorized")


def foreign_image(client: APIClient, container: Mapping[str, Any]) -> str | None:
    """That an ended container has an image which the daemon's machine cannot run, if it looks like that.

    The kernel refuses its first program then, and all that is left is an exit code. With an emulator such
    images run, and leave their result like others.

    :param container: as the daemon describes it
    """
    from docker.errors import APIError

    if container["State"]["ExitCode"] not in (1, 126, 255):
        return None
    try:
        image = client.inspect_image(container["Image"])  # type: ignore[no-untyped-call]  # the SDK's own gap
    except APIError:
        return None  # Somebody has removed it.
    here = client.version()["Arch"]
    if image.get("Architecture") in (None, "", here):
        return None
    platform = f"{image['Os']}/{image['Architecture']}"
    name = container["Config"]["Image"]
    return f"image {name!r} is for another platform, {platform}; the daemon's machine is {here}"


def explain(error: Exception, host: str, image: str, tls: Tls | None = None) -> Error | None:
    """What an exception of the SDK or of Airflow's hook means; ``None`` for others.

    :param host: of the daemon
    :param image: of the container
    :param tls: certificates with which the daemon was asked
    """
    found = _found(error, _without_password(host), image, tls)
    return None if found is None else found.error


def _found(error: Exception, host: str, image: str, tls: Tls | None) -> BackendFailure | None:
    if isinstance(error, ImportError):
        if (error.name or "").split(".")[0] not in ("docker", "airflow"):
            return None
        message = (
            "runs-on: docker needs Airflow's docker provider where the task runs: "
            "pip install 'airflow-provider-stagecoach[docker]'"
        )
        return BackendFailure(message, category="configuration", reason="provider-missing")
    try:
        from docker.errors import APIError, DockerException, TLSParameterError
        from requests.exceptions import RequestException
        from urllib3.exceptions import HTTPError
    except ImportError:
        return None  # It cannot be an error of what is not there.
    if isinstance(error, APIError):
        return _refused(error.status_code or 0, str(error.explanation or error), image)
    if isinstance(error, TLSParameterError):
        message = f"the certificates in `tls` cannot be used: {str(error).partition(' TLS config')[0]}"
        return BackendFailure(message, category="configuration", reason="certificate")
    # Airflow's own is what its hook raises.
    from_hook = "Failed to establish connection" in str(error)
    if from_hook or isinstance(error, (DockerException, RequestException, HTTPError)):
        return barred(error, host, tls)
    return None


def _refused(status: int, text: str, image: str) -> BackendFailure:
    from airflow_stagecoach.engine.failures import shorten

    text = shorten(" ".join(text.split()))
    if _DISK_FULL.search(text):
        return BackendFailure(f"the daemon's disk is full: {text}", category="resource", reason="disk-full")
    if "login attempt" in text or status == 401 or "unauthorized" in text:
        message = f"the registry refuses the login of the connection in `conn`: {text}"
        return BackendFailure(message, category="configuration", reason="unauthorized")
    if _NO_GPU.search(text):
        message = (
            "the daemon has no GPU to give: `gpus` and `resources: {gpu}` need the NVIDIA container toolkit "
            f"on its machine ({text})"
        )
        return BackendFailure(message, category="configuration", reason="resources-unavailable")
    if _OTHER_PLATFORM.search(text):
        message = f"image {image!r} is there for another platform than `platform` says: {text}"
        return BackendFailure(message, category="configuration", reason="ErrImageNeverPull")
    found = _NO_COMMAND.search(text) if "runtime create failed" in text or "exec" in text else None
    if found is not None:
        command = found.group("command") or "/bin/sh"
        message = f"image {image!r} cannot run {command!r}, which every stage needs: {text}"
        return BackendFailure(message, category="configuration", reason="StartError")
    # What a document says wrongly comes as a fault of the daemon, too.
    if status >= 500 and not text.startswith(("invalid ", "unable to find user", "unable to find group")):
        return BackendFailure(f"the daemon has a fault: {text}", category="system", reason=f"http-{status}")
    message = f"the daemon refuses the container: {text}"
    return BackendFailure(message, category="configuration", reason="CreateContainerError")


def _without_password(host: str) -> str:
    return re.sub(r"//[^/@]*@", "//", host)
