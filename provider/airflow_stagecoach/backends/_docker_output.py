"""What a container wrote, each line once, whoever reads on from where another one stopped.

The daemon gives its messages in the order in which it got them, each with a time stamp of its own clock,
and selects by nothing but that stamp. Stamps of the two streams are not quite in order, and several may be
equal. So a position says since when the daemon shall begin, and how many of the messages that it gives then
are known: no clock but the daemon's counts. A line of more than 16 KiB comes in several messages.
"""

from __future__ import annotations

import re
import struct
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_stagecoach.backends.work import Lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docker import APIClient

#: What is given at once at most: lines, and bytes.
_LINES, _BYTES = 5000, 1024 * 1024

#: A line without end is given in pieces of so many bytes.
_LONGEST_LINE = 64 * 1024 + 64

#: Messages are counted by spans, and the daemon is asked to begin so much before the latest stamp: by as much
#: its clock may be put back without loss. In nanoseconds.
_SPAN = 100_000_000
_LAG = 10 * _SPAN

#: What stands in the log where the daemon gives no output.
_UNREADABLE = "The log driver of the daemon gives no output back, so none is shown here"

#: How much is read from the daemon at once, in bytes.
_CHUNK = 64 * 1024

#: 2026-01-31T00:00:00.123456789Z, or with +07:00 at its end, as the log driver keeps it.
_STAMP = re.compile(rb"([0-9T:-]{19})\.?(\d{0,9})(Z|[+-]\d\d:\d\d)")


class Message(NamedTuple):
    """What a container wrote to one of its streams: a line, or a piece of a long one without its newline."""

    stream: int
    stamp: int  # nanoseconds since the epoch, by the daemon's clock
    text: bytes


class Output:
    """Reads the output of containers; what it has open it reads on when it is asked again."""

    def __init__(self) -> None:
        self._container = ""
        self._reading: _Reading | None = None

    def read(self, client: APIClient, container: str, position: Any) -> Lines:
        """Whole lines since a position, some at a time; none when there are no more for now.

        :param position: ``[since, known, latest]``: a moment, how many messages since then are known, and the
            latest stamp of these, in nanoseconds by the daemon's clock; ``None`` is the beginning
        :raises docker.errors.APIError: the daemon refuses; there is no such container
        """
        from docker.errors import APIError

        reading, self._reading = self._reading, None
        if reading is None or self._container != container or reading.position != position:
            if reading is not None:
                reading.close()
            reading = _Reading(messages(client, container, position), position)
        try:
            lines = reading.lines()
        except APIError as error:
            if "does not support reading" not in str(error.explanation):
                raise
            # Nothing is wrong with the work: its output goes somewhere else alone.
            return Lines([] if position else [_UNREADABLE], position or [0, 0, 0])
        if reading.is_at_its_end:
            reading.close()
        else:
            self._container, self._reading = container, reading
        return Lines(lines, reading.position)


class _Reading:
    """One answer of the daemon, on the way."""

    def __init__(self, found: Iterator[Message], position: Any) -> None:
        since, known, latest = position or (0, 0, 0)
        self._messages = found
        self._since, self._known, self._latest = int(since), int(known), int(latest)
        self._seen = 0
        self._spans: dict[int, int] = {}
        self._begun: dict[int, bytes] = {}
        self.position = position
        self.is_at_its_end = False

    def close(self) -> None:
        close = getattr(self._messages, "close", None)
        if close is not None:
            close()

    def lines(self) -> list[str]:
        """The next lines. What raises has not moved the position."""
        lines: list[str] = []
        size = 0
        for message in self._messages:
            self._seen += 1
            span = message.stamp // _SPAN
            self._spans[span] = self._spans.get(span, 0) + 1
            # Where the daemon has thrown away old messages, new ones stand in their places.
            if self._seen <= self._known and message.stamp <= self._latest:
                continue
            self._latest = max(self._latest, message.stamp)
            size += len(message.text)
            lines.extend(self._whole(message))
            if (len(lines) >= _LINES or size >= _BYTES) and not self._begun:
                break
            if len(lines) >= 2 * _LINES or size >= 2 * _BYTES:
                break
        else:
            self.is_at_its_end = True
        # Only a full piece goes on, so this is the end of the output, or of a very long line.
        lines.extend(_text(text) for text in self._begun.values())
        self._begun.clear()
        self._move()
        return lines

    def _whole(self, message: Message) -> Iterator[str]:
        text = self._begun.pop(message.stream, b"") + message.text
        if text.endswith(b"\n"):
            yield _text(text)
        elif len(text) < _LONGEST_LINE:
            self._begun[message.stream] = text
        else:
            end = _end_of_character(text)
            yield _text(text[:end])
            if end < len(text):
                self._begun[message.stream] = text[end:]

    def _move(self) -> None:
        if not self._spans:
            return
        since = self._since = max(self._since, self._latest // _SPAN * _SPAN - _LAG)
        self._spans = {span: count for span, count in self._spans.items() if span * _SPAN >= since}
        self.position = [since, sum(self._spans.values()), self._latest]


def messages(client: APIClient, container: str, position: Any) -> Iterator[Message]:
    """What the daemon has of a container's output since a position.

    :raises docker.errors.APIError: the daemon refuses
    """
    from airflow_stagecoach.backends._docker_files import get

    query = {"stdout": "1", "stderr": "1", "timestamps": "1"}
    if position:
        seconds, rest = divmod(int(position[0]), 1_000_000_000)
        query["since"] = f"{seconds}.{rest:09}"
    with get(client, f"/containers/{container}/logs", query) as response:
        yield from parse(iter(lambda: response.raw.read(_CHUNK), b""))


def parse(chunks: Iterator[bytes]) -> Iterator[Message]:
    """Messages from the daemon's stream: each has a head of eight bytes, with the stream and its length.

    What is cut off at the end is left out.
    """
    last, seconds = (b"", b""), 0
    buffer = b""
    for chunk in chunks:
        buffer += chunk
        at = 0
        while len(buffer) - at >= 8:
            stream, length = struct.unpack_from(">BxxxL", buffer, at)
            if len(buffer) - at < 8 + length:
                break
            stamp, _, text = buffer[at + 8 : at + 8 + length].partition(b" ")
            at += 8 + length
            found = _STAMP.fullmatch(stamp)
            if found is None:
                raise ValueError("the daemon gives a line without a time stamp")
            second, fraction, zone = found.groups()
            if (second, zone) != last:  # Most have the second of the one before.
                last, seconds = (second, zone), _seconds(second, zone)
            yield Message(stream, seconds * 1_000_000_000 + int(fraction.ljust(9, b"0")), text)
        buffer = buffer[at:]


def _seconds(second: bytes, zone: bytes) -> int:
    return int(datetime.fromisoformat((second + zone.replace(b"Z", b"+00:00")).decode("ascii")).timestamp())


def _text(line: bytes) -> str:
    return line.removesuffix(b"\n").decode("utf-8", "replace").rstrip("\r")


def _end_of_character(text: bytes) -> int:
    """Where the last whole character of UTF-8 ends, if it is UTF-8 at all."""
    for back in range(1, 4):
        byte = text[-back]
        if byte & 0xC0 == 0xC0:
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return len(text) - back if back < length else len(text)
        if byte & 0x80 == 0:
            break
    return len(text)
