"""The log of a container, as the API gives it with times."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_STAMP = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d) ?")

#: A longer line is kept in parts, each with a time of its own.
_PART = 16 * 1024


def lines_of(chunks: Iterable[bytes]) -> Iterator[tuple[str, str]]:
    """Time and text of each whole line, oldest first; the last one counts without an end, too.

    Lines without a time are no output: so the machine tells that it cannot read the log.
    """
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield from _line(line)
    if rest:
        yield from _line(rest)


def _line(line: bytes) -> Iterator[tuple[str, str]]:
    found = _STAMP.match(line)
    if found is not None:
        text = _joined(line[found.end() :]).decode("utf-8", "replace").rstrip("\r")
        yield stamp(found[1].decode(), (found[2] or b"").decode(), found[3].decode()), text


def _joined(text: bytes) -> bytes:
    """A long line without the times between its parts, which older clusters leave there."""
    at = _PART
    while len(text) > at:
        between = _STAMP.match(text, at)
        if between is not None:
            text = text[:at] + text[between.end() :]
        at += _PART
    return text


def stamp(seconds: str, fraction: str, zone: str) -> str:
    """A time that sorts as text: ``2026-01-31T00:00:00.120000000Z``."""
    if zone not in ("Z", "+00:00"):
        moment = datetime.fromisoformat(seconds + zone).astimezone(timezone.utc)
        seconds = moment.strftime("%Y-%m-%dT%H:%M:%S")
    return f"{seconds}.{fraction:<09}Z"
