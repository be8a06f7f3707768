"""Each line of a container once, whatever the clocks do and whoever reads on."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock, patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_stagecoach.backends import _docker_output
from airflow_stagecoach.backends._docker_output import Message, Output, parse

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest.importorskip("docker")

SECOND = 1_000_000_000
NOON = 1_769_860_800 * SECOND


class Daemon:
    """What a daemon has of one container; it gives that as the real one does."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.asked: list[int] = []

    def give(self, client: Any, container: str, position: Any) -> Iterator[Message]:
        since = position[0] if position else 0
        self.asked.append(since)
        return iter([message for message in self.messages if message.stamp >= since])

    def read(self, output: Output, position: Any) -> tuple[list[str], Any]:
        """All lines there are, and the position after them."""
        lines: list[str] = []
        with patch.object(_docker_output, "messages", self.give):
            while True:
                found = output.read(None, "c", json.loads(json.dumps(position)))  # type: ignore[arg-type]  # not asked
                lines += found.lines
                if not found.lines:
                    return lines, found.position
                position = found.position


#: How far the clock goes on before a message, how far its stamp lies behind that, and its stream.
_WRITTEN = st.tuples(st.integers(0, 3 * SECOND), st.integers(0, 9 * SECOND // 10), st.sampled_from([1, 2]))


@settings(deadline=None)
@given(
    rounds=st.lists(st.tuples(st.lists(_WRITTEN, max_size=30), st.booleans()), max_size=6),
    at_once=st.integers(1, 50),
    start=st.sampled_from([NOON, NOON - 86_400 * SECOND, NOON + 86_400 * SECOND]),
)
def test_every_message_once_and_in_order(
    rounds: list[tuple[list[tuple[int, int, int]], bool]], at_once: int, start: int
) -> None:
    daemon, output = Daemon(), Output()
    clock, position, found = start, None, []
    with patch.object(_docker_output, "_LINES", at_once):
        for written, is_other_reader in rounds:
            for later, behind, stream in written:
                clock += later
                text = f"{len(daemon.messages)}\n".encode()
                daemon.messages.append(Message(stream, clock - behind, text))
            if is_other_reader:
                output = Output()
            lines, position = daemon.read(output, position)
            found += lines
    assert found == [str(number) for number in range(len(daemon.messages))]


def test_a_look_costs_little() -> None:
    daemon, output = Daemon(), Output()
    daemon.messages = [Message(1, NOON + number * SECOND // 100, b"x\n") for number in range(20_000)]
    lines, position = daemon.read(output, None)
    assert len(lines) == 20_000
    # Batches are read from one answer; the next look begins near the end.
    assert len(daemon.asked) == 1
    daemon.read(output, position)
    assert daemon.asked[-1] >= daemon.messages[-1].stamp - 2 * SECOND


def test_a_log_that_was_cut() -> None:
    daemon, output = Daemon(), Output()
    daemon.messages = [Message(1, NOON + number, b"old\n") for number in range(100)]
    _, position = daemon.read(output, None)
    daemon.messages = [Message(1, NOON + 1000 + number, f"{number}\n".encode()) for number in range(10)]
    assert daemon.read(output, position)[0] == [str(number) for number in range(10)]


def test_long_lines() -> None:
    daemon, piece = Daemon(), b"x" * 16_384
    daemon.messages = [
        Message(1, NOON, piece),
        Message(2, NOON + 1, b"other\n"),
        Message(1, NOON, b"y\n"),
        *[Message(1, NOON + 2, piece)] * 10,
        Message(1, NOON + 2, b"z\n"),
    ]
    lines, _ = daemon.read(Output(), None)
    assert lines[:2] == ["other", "x" * 16_384 + "y"]
    assert "".join(lines[2:]) == "x" * 163_840 + "z"
    assert max(map(len, lines)) < 100_000


@pytest.mark.parametrize("character", ["ä", "→", "😀"])
def test_a_long_line_is_not_cut_within_a_character(character: str) -> None:
    daemon, text = Daemon(), ("a" + character * 100_000).encode()
    daemon.messages = [Message(1, NOON, text[at : at + 16_384]) for at in range(0, len(text), 16_384)]
    lines, _ = daemon.read(Output(), None)
    assert len(lines) > 1
    assert "".join(lines).encode() == text


def test_garbage_goes_through() -> None:
    daemon = Daemon()
    daemon.messages = [Message(1, NOON, b"\xff" * 16_384)] * 9
    lines, _ = daemon.read(Output(), None)
    assert "".join(lines) == "\ufffd" * 9 * 16_384


def test_the_end_without_a_newline() -> None:
    daemon = Daemon()
    daemon.messages = [Message(1, NOON, b"one\r\n"), Message(1, NOON + 1, b"the end")]
    assert daemon.read(Output(), None)[0] == ["one", "the end"]


@pytest.mark.parametrize("readable", [True, False])
def test_a_log_driver_that_gives_nothing_back(readable: bool) -> None:
    from docker.errors import APIError

    daemon = Daemon()

    text = "a fault" if readable else "configured logging driver does not support reading"
    answer = map(Mock(side_effect=APIError("no", explanation=text)), [None, None])
    with patch.object(daemon, "give", return_value=answer):
        if readable:
            with pytest.raises(APIError):
                daemon.read(Output(), None)
            return
        lines, position = daemon.read(Output(), None)
        assert len(lines) == 1
        assert "log driver" in lines[0]
        assert daemon.read(Output(), position) == ([], position)


def frame(stamp: str, text: bytes, stream: int = 1) -> bytes:
    data = stamp.encode() + b" " + text
    return struct.pack(">BxxxL", stream, len(data)) + data


@pytest.mark.parametrize(
    ("stamp", "nanoseconds"),
    [
        ("2026-01-31T12:00:00.123456789Z", NOON + 123_456_789),
        ("2026-01-31T19:00:00.123456789+07:00", NOON + 123_456_789),
        ("2026-01-31T07:30:00.000000001-04:30", NOON + 1),
        ("2026-01-31T12:00:00.5Z", NOON + SECOND // 2),
        ("2026-01-31T12:00:00Z", NOON),
    ],
)
def test_stamps(stamp: str, nanoseconds: int) -> None:
    assert list(parse(iter([frame(stamp, b"a b\n")]))) == [Message(1, nanoseconds, b"a b\n")]


@given(st.lists(st.binary(max_size=40), max_size=8), st.integers(1, 60), st.integers(0, 20))
def test_parsing(texts: list[bytes], size: int, missing: int) -> None:
    data = b"".join(frame("2026-01-31T12:00:00.000000000Z", text) for text in texts)
    sent = data[: len(data) - missing] if missing else data
    chunks = (sent[at : at + size] for at in range(0, len(sent), size))
    found = [message.text for message in parse(chunks)]
    assert found == texts[: len(found)]
    assert missing or found == texts


def test_what_is_no_output() -> None:
    with pytest.raises(ValueError, match="time stamp"):
        list(parse(iter([frame("today", b"x")])))
