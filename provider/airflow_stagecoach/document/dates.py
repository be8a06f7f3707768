"""Dates and times as ISO 8601 text, read alike by every Python version."""

from __future__ import annotations

import re
from datetime import date, datetime, timezone

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_DATETIME = re.compile(
    r"(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?\s*(Z|[+-]\d{2}(?::?\d{2})?)?)?",
    re.ASCII | re.IGNORECASE,
)


def parse_date(text: str) -> date:
    """A day, ``2024-02-29``. Raises ValueError."""
    if not _DATE.fullmatch(text.strip()):
        raise ValueError("expected a date such as 2024-12-31")
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"the day {text.strip()} does not exist") from None


def parse_datetime(text: str) -> datetime:
    """A moment, ``2024-02-29``, ``2024-02-29T12:30:00+07:00`` or with ``Z``; without an offset it is UTC.

    The offset is kept. Raises ValueError.
    """
    match = _DATETIME.fullmatch(text.strip())
    if match is None:
        raise ValueError("expected a date or a time such as 2024-12-31T23:59:00+00:00")
    day, clock, seconds, fraction, offset = match.groups()
    zone = "+00:00"
    if offset and offset.upper() != "Z":
        digits = offset[1:].replace(":", "").ljust(4, "0")
        zone = f"{offset[0]}{digits[:2]}:{digits[2:]}"
    micro = f".{(fraction or '')[:6].ljust(6, '0')}" if fraction else ""
    try:
        return datetime.fromisoformat(f"{day}T{clock or '00:00'}:{seconds or '00'}{micro}{zone}")
    except ValueError:
        raise ValueError(f"the moment {text.strip()} does not exist") from None


def to_utc(moment: datetime) -> datetime:
    """The same moment in UTC; one without an offset is UTC already."""
    if moment.tzinfo is None:
        return moment.replace(tzinfo=timezone.utc)
    return moment.astimezone(timezone.utc)
