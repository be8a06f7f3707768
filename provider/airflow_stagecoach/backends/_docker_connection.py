"""The way to a Docker daemon: a socket, TCP, or TLS with certificates; and why it is barred."""

from __future__ import annotations

import os
import re
import ssl
from typing import TYPE_CHECKING, Any

from airflow_stagecoach.backends.failures import BackendFailure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docker import APIClient

    from airflow_stagecoach.backends._docker_settings import Tls

#: Seconds for which the daemon may be silent in the middle of an answer.
TIMEOUT = 60

#: Seconds for finding out why there is no connection.
_TIMEOUT_OF_SECOND_LOOK = 5

#: What OpenSSL says when the other side does not speak TLS.
_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE")

#: What it says of files that are no certificates, or no pair.
_NO_CERTIFICATE = ("KEY_VALUES_MISMATCH", "PEM", "NO_START_LINE", "ASN1", "NO_CERTIFICATE")

_EXPIRED, _NOT_YET_VALID, _OTHER_NAME, _OTHER_ADDRESS = 10, 9, 62, 64


def host_of(setting: str | None) -> str:
    """Where the daemon is, when ``host`` of a document may say so."""
    return setting or os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"


def connect(host: str | None, tls: Tls | None, conn: str | None = None) -> APIClient:
    """The daemon's API, through the hook of Airflow's docker provider.

    :param host: as the document says; the environment's ``DOCKER_HOST`` has ``DOCKER_TLS_VERIFY`` and
        ``DOCKER_CERT_PATH`` beside it
    :param conn: Airflow connection with the login for a registry
    :raises docker.errors.APIError: the registry refuses the login
    :raises Exception: there is no way to the daemon; :func:`barred` knows why
    """
    from airflow.providers.docker.hooks.docker import DockerHook
    from airflow.sdk.exceptions import AirflowException

    config: Any = _certificates(tls) if tls is not None or host else _certificates_of_environment()
    url = host_of(host)
    hook = DockerHook(docker_conn_id=conn, base_url=url, version="auto", tls=config, timeout=TIMEOUT)
    try:
        client: APIClient = hook.api_client
    except AirflowException as error:
        # It logs why it cannot connect, and raises what says nothing.
        if "Failed to establish connection" not in str(error):
            raise
        cause = _cause(url, config)
        if cause is None:
            raise
        raise cause  # noqa: B904  # it has a cause of its own, which tells more
    return client


def _certificates(tls: Tls | None) -> Any:
    if tls is None:
        return None
    from airflow_stagecoach.backends._docker_tls import Certificates

    pair = (tls.client_cert, tls.client_key)
    return Certificates(client_cert=pair, ca_cert=tls.ca_cert, verify=tls.verify)


def _certificates_of_environment() -> Any:
    from docker.utils import kwargs_from_env

    found = kwargs_from_env().get("tls")
    if not found:
        return None
    from airflow_stagecoach.backends._docker_tls import Certificates

    return Certificates(client_cert=found.cert, ca_cert=found.ca_cert, verify=found.verify)


def _cause(url: str, config: Any) -> Exception | None:
    """Why there is no connection: asked again, because the hook keeps it to itself."""
    from docker import APIClient
    from docker.errors import DockerException

    if config:
        url = url.replace("tcp://", "https://", 1)
    try:
        APIClient(url, version="auto", tls=config or False, timeout=_TIMEOUT_OF_SECOND_LOOK).close()
    except DockerException as error:
        return error
    return None


def barred(error: Exception, host: str, tls: Tls | None) -> BackendFailure:
    """Why there is no way to the daemon, or no longer.

    :param error: of the SDK, or of what lies below it
    :param host: of the daemon, without a password
    :param tls: certificates with which the daemon was asked
    """
    from requests.exceptions import ReadTimeout
    from urllib3.exceptions import ReadTimeoutError

    causes = list(_causes(error))
    insecure = _insecure(causes, host, tls)
    if insecure is not None:
        return insecure
    if any(isinstance(cause, PermissionError) for cause in causes):
        message = (
            f"the user of the worker may not use the Docker daemon at {host}: add it to the group that owns "
            "the socket, or name another daemon in `host` of runs-on"
        )
        return BackendFailure(message, category="configuration", reason="permission-denied")
    if any(isinstance(cause, (ReadTimeout, ReadTimeoutError)) for cause in causes):
        message = (
            f"the Docker daemon at {host} is there, but does not answer in time: "
            "it has too much to do, or the network between stalls"
        )
        return BackendFailure(message, category="network", reason="connection-timed-out")
    message = (
        f"no Docker daemon answers at {host}: is it running, and may the user of the worker reach it? "
        "`host` of runs-on or DOCKER_HOST name another one"
    )
    return BackendFailure(message, category="network", reason="daemon-unreachable")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and all that lie below it: libraries pack them as causes, arguments and reasons."""
    waiting, known = [error], set()
    while waiting:
        one = waiting.pop(0)
        if id(one) in known:
            continue
        known.add(id(one))
        yield one
        found = (one.__cause__, one.__context__, getattr(one, "reason", None), *one.args)
        waiting.extend(each for each in found if isinstance(each, BaseException))


def _insecure(causes: list[BaseException], host: str, tls: Tls | None) -> BackendFailure | None:
    """What is wrong with certificates, or with speaking TLS at all."""
    if any("HTTP request to an HTTPS server" in str(cause) for cause in causes):
        message = (
            f"the Docker daemon at {host} speaks TLS: name `ca-cert`, `client-cert` and `client-key` "
            "in `tls` of runs-on"
        )
        return BackendFailure(message, category="configuration", reason="tls-needed")
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _certificate(_of_daemon(cause, host))
    for cause in causes:
        # Text: what is read after a handshake tells of its error in words alone.
        said = str(cause).upper().replace(" ", "_") if isinstance(cause, ssl.SSLError) else ""
        if any(word in said for word in _NO_TLS):
            message = f"what answers at {host} does not speak TLS: leave `tls` away, or name another port"
            return BackendFailure(message, category="configuration", reason="no-tls")
        if "ALERT" in said and ("CERTIFICATE" in said or "UNKNOWN_CA" in said):
            why = re.sub(r"^\[.*?\] |\(_ssl.*", "", str(cause)).strip()
            return _certificate(
                f"the Docker daemon at {host} refuses the `client-cert` of `tls` ({why}): "
                f"{_expiry(tls) or 'is it signed by the authority that the daemon trusts?'}"
            )
        if said and any(word in said for word in _NO_CERTIFICATE):
            return _certificate(
                "the certificates in `tls` cannot be used: all must be PEM files, and `client-key` must "
                "belong to `client-cert`"
            )
    return None


def _of_daemon(error: ssl.SSLCertVerificationError, host: str) -> str:
    which = f"the certificate of the Docker daemon at {host}"
    if error.verify_code == _EXPIRED:
        return f"{which} has expired: it needs a new one"
    if error.verify_code == _NOT_YET_VALID:
        return f"{which} is not valid yet: is the clock of the worker right?"
    if error.verify_code in (_OTHER_NAME, _OTHER_ADDRESS):
        return f"{which} is for another name ({error.verify_message}): write `host` as the certificate has it"
    return f"{which} is not signed by `ca-cert` of `tls` ({error.verify_message})"


def _expiry(tls: Tls | None) -> str | None:
    """That the client certificate has expired, if it has."""
    from datetime import datetime, timezone

    from cryptography.x509 import load_pem_x509_certificate

    try:
        with open(tls.client_cert if tls else "", "rb") as file:
            end = load_pem_x509_certificate(file.read()).not_valid_after_utc
    except (OSError, ValueError):
        return None
    if end > datetime.now(timezone.utc):
        return None
    return f"it has expired at {end:%Y-%m-%d %H:%M} UTC"


def _certificate(message: str) -> BackendFailure:
    return BackendFailure(message, category="configuration", reason="certificate")
