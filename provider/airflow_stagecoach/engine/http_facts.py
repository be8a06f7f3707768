"""What an exception tells of an HTTP answer: its status and its ``Retry-After``.

Every HTTP library keeps them elsewhere, so they are looked for by the names that are in use, on the
exception and on its ``response``: urllib (``code``, ``headers``), requests and httpx
(``response.status_code``), aiohttp and Kubernetes (``status``, ``headers``), Docker and Azure
(``status_code``), botocore (``response["ResponseMetadata"]``), Google (``code``).
"""

from __future__ import annotations

import math
import time
from typing import Any, Dict, Iterator, Mapping

#: Attributes that hold a status wherever they are there, and those that may mean something else.
_SURE, _LIKELY = ("status_code", "http_status"), ("status", "code")

#: Beside one of these, a ``status`` or ``code`` is an HTTP status.
_SIGNS = ("headers", "response")


def http_facts(error: BaseException) -> Dict[str, Any]:
    """``http_status`` and ``retry_after`` (seconds from now) of an exception, where it has them.

    Never raises, whatever the attributes of the exception do.
    """
    facts: Dict[str, Any] = {}
    for holder in _holders(error):
        if "http_status" not in facts:
            status = _status(holder)
            if status is not None:
                facts["http_status"] = status
        if "retry_after" not in facts:
            seconds = _retry_after(holder)
            if seconds is not None:
                facts["retry_after"] = seconds
    return facts


def _holders(error: BaseException) -> Iterator[Any]:
    yield error
    response = _attribute(error, "response")
    if response is not None:
        yield response


def _attribute(holder: Any, name: str) -> Any:
    try:
        return getattr(holder, name, None)
    except Exception:  # A property of the user's class that fails.
        return None


def _status(holder: Any) -> int | None:
    if isinstance(holder, Mapping):  # botocore
        metadata = holder.get("ResponseMetadata")
        return _as_status(metadata.get("HTTPStatusCode")) if isinstance(metadata, Mapping) else None
    signs = any(_attribute(holder, sign) is not None for sign in _SIGNS)
    for name in _SURE + (_LIKELY if signs else ()):
        status = _as_status(_attribute(holder, name))
        if status is not None:
            return status
    return None


def _as_status(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int):  # http.HTTPStatus is an int
        return None
    return int(value) if 100 <= value < 600 else None


def _retry_after(holder: Any) -> float | None:
    for source in (_attribute(holder, "retry_after"), _header(holder)):
        seconds = seconds_of(source)
        if seconds is not None:
            return seconds
    return None


def _header(holder: Any) -> Any:
    headers = _attribute(holder, "headers")
    if isinstance(holder, Mapping):
        metadata = holder.get("ResponseMetadata")
        headers = metadata.get("HTTPHeaders") if isinstance(metadata, Mapping) else None
    if headers is None:
        return None
    for name in ("Retry-After", "retry-after"):
        try:
            value = headers.get(name)
        except Exception:  # No mapping at all.
            return None
        if value is not None:
            return value
    return None


def seconds_of(value: Any) -> float | None:
    """Seconds of a ``Retry-After``: a number, or an HTTP date (RFC 9110, 10.2.3), as seconds from now.

    :return: 0 for a date that has passed; None for what is neither
    """
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        seconds = float(value)
    except ValueError:
        from email.utils import parsedate_to_datetime

        try:
            seconds = max(0.0, parsedate_to_datetime(str(value)).timestamp() - time.time())
        except (TypeError, ValueError, IndexError, OverflowError):
            return None
    except OverflowError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None
