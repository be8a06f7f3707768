"""A signed HTTP POST about a task or a run, and the Airflow notifier that sends one."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import time
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from airflow.sdk import BaseNotifier

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

log = logging.getLogger(__name__)

SIGNATURE_HEADER = "X-Stagecoach-Signature-256"
EVENT_HEADER = "X-Stagecoach-Event"
DELIVERY_HEADER = "X-Stagecoach-Delivery"

#: Seconds for one attempt, and before the second and third. All of it stays below the 20 s that Airflow
#: gives a task after its end (``[core] task_success_overtime``).
TIMEOUT = 4.0
PAUSES = (0.5, 1.5)

#: Answers after which the same request may succeed a moment later.
_WORTH_ANOTHER_TRY = frozenset({408, 425, 429, 500, 502, 503, 504})


class WebhookFailed(Exception):
    """A webhook was not delivered.

    :param status: the HTTP status of the last answer, ``None`` when there was none
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


def signature(secret: str, body: bytes) -> str:
    """``sha256=`` and the HMAC-SHA256 of the body in hexadecimal, as GitHub signs its webhooks.

    The body holds ``id`` and ``time``, so these are signed too.
    """
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def verify(secret: str, body: bytes, signed: str) -> bool:
    """Whether a body was signed with a secret; takes the same time whatever is wrong.

    :param body: the body of the request, byte by byte as it came
    :param signed: the header ``X-Stagecoach-Signature-256``
    """
    return hmac.compare_digest(signature(secret, body), signed)


def send(
    url: str,
    event: Mapping[str, Any],
    *,
    secret: str | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = TIMEOUT,
    pauses: Sequence[float] = PAUSES,
) -> int:
    """POST an event as JSON.

    :param url: http or https
    :param event: the body, with ``id`` (the same for the same event, however often it is sent) and ``event``
    :param secret: signs the body
    :param headers: further headers
    :param timeout: seconds for each attempt
    :param pauses: seconds between attempts, so there is one attempt more than pauses
    :return: HTTP status
    :raises WebhookFailed: no attempt was answered with a status below 300. Redirects are not followed: the
        signed body is for the given address.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise WebhookFailed("a webhook needs an address that begins with http:// or https://")
    body = json.dumps(event, ensure_ascii=False, default=str).encode()
    sent = {
        "Content-Type": "application/json",
        "User-Agent": "stagecoach",
        **{name: str(value) for name, value in (headers or {}).items()},
        EVENT_HEADER: str(event.get("event", "")),
        DELIVERY_HEADER: str(event.get("id", "")),
    }
    if secret:
        sent[SIGNATURE_HEADER] = signature(secret, body)
    for number in range(len(pauses) + 1):
        try:
            return _post(url, body, sent, timeout)
        except WebhookFailed as failure:
            final = failure.status is not None and failure.status not in _WORTH_ANOTHER_TRY
            if final or number == len(pauses):
                raise
            time.sleep(pauses[number])
    raise AssertionError("the last attempt returns or raises")


def _post(url: str, body: bytes, headers: Mapping[str, str], timeout: float) -> int:
    """One attempt. Errors name the host only: the path of a webhook is often its password."""
    import http.client
    import urllib.error
    import urllib.request

    class NoRedirects(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: Any, **__: Any) -> None:
            return None

    host = urlsplit(url).hostname
    request = urllib.request.Request(url, body, dict(headers), method="POST")  # noqa: S310  # checked by send()
    try:
        with urllib.request.build_opener(NoRedirects).open(request, timeout=timeout) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            raise WebhookFailed(f"{host} answered {error.code}", error.code) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or type(error).__name__
        raise WebhookFailed(f"{host} cannot be reached: {reason}") from None


def connection_target(connection: Any) -> tuple[str, str | None]:
    """URL and secret of an Airflow connection.

    The host is the URL, or with ``schema`` (https by default), host, port and the extra ``path`` makes one;
    the password is the secret.
    """
    host = str(connection.host or "")
    if "://" not in host:
        port = f":{connection.port}" if connection.port else ""
        host = f"{connection.schema or 'https'}://{host}{port}"
    path = str((connection.extra_dejson or {}).get("path", ""))
    return host + path, connection.password or None


class WebhookNotifier(BaseNotifier):
    """Send what happened to an HTTP address, signed.

    For ``on_success_callback``, ``on_failure_callback``, ``on_retry_callback`` and ``on_skipped_callback`` of
    any task and DAG::

        on_failure_callback=WebhookNotifier(conn_id="alerts", event="failure")

    :param url: http or https address. (templated)
    :param conn_id: in place of an address, an Airflow connection that has it; its password is the secret
    :param secret: signs the body with HMAC-SHA256. (templated)
    :param headers: further headers. (templated)
    :param event: what the body calls this; by default the task's state tells. (templated)
    """

    template_fields: Sequence[str] = ("url", "secret", "headers", "event")
    #: Seconds for one attempt.
    timeout: ClassVar[float] = TIMEOUT

    def __init__(
        self,
        url: str | None = None,
        *,
        conn_id: str | None = None,
        secret: str | None = None,
        headers: Mapping[str, str] | None = None,
        event: str | None = None,
    ) -> None:
        super().__init__()
        if (url is None) == (conn_id is None):
            raise ValueError("WebhookNotifier: give either url or conn_id")
        self.url = url
        self.conn_id = conn_id
        self.secret = secret
        self.headers = dict(headers or {})
        self.event = event

    def notify(self, context: Context) -> None:
        """Send it; Airflow logs an error of a callback and goes on.

        :raises WebhookFailed: it was not delivered
        """
        from airflow_stagecoach.operators._events import event_of, task_event

        url, secret = self._target()
        event = self.event or event_of(context)
        send(url, task_event(event, context), secret=secret, headers=self.headers, timeout=self.timeout)

    async def async_notify(self, context: Context) -> None:
        """The same in the triggerer, where a deadline's callback runs."""
        from asgiref.sync import sync_to_async

        await sync_to_async(self.notify)(context)

    def _target(self) -> tuple[str, str | None]:
        if self.conn_id is None:
            return str(self.url), self.secret
        from airflow.sdk import Connection

        url, password = connection_target(Connection.get(self.conn_id))
        return url, self.secret or password
