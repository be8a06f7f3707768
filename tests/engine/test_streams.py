from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_stagecoach.engine.streams import KEPT, LONGEST_LINE, Stream


def feed(*pieces: bytes) -> tuple[Stream, list[str]]:
    lines: list[str] = []
    stream = Stream(lines.append)
    for piece in pieces:
        stream.feed(piece)
    stream.close()
    return stream, lines


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("", None),
        ("\n", None),
        ("a", "a"),
        ("a\n", "a"),
        ("a\n\n", "a\n"),
        ("a\r\n", "a"),
        ("\na", "\na"),
        ("a\0b", "a\ufffdb"),
    ],
)
def test_text(text: str, kept: str | None) -> None:
    assert feed(text.encode())[0].text() == kept


@settings(deadline=None)
@given(st.text(alphabet="aé\n€\r"), st.integers(1, 5))
def test_lines_do_not_depend_on_how_they_were_read(text: str, size: int) -> None:
    data = text.encode()
    _, lines = feed(*(data[at : at + size] for at in range(0, len(data), size)))
    expected = [line[:-1] if line.endswith("\r") else line for line in text.split("\n")]
    if text.split("\n")[-1] == "":
        expected.pop()
    assert lines == expected


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_give_text(data: bytes) -> None:
    stream, _ = feed(data)
    kept = stream.text()
    assert kept is None or "\0" not in kept


def test_long_lines() -> None:
    _, lines = feed(b"x" * (2 * LONGEST_LINE + 1) + b"\n" + b"y" * LONGEST_LINE + b"\nz\n")
    assert [len(line) for line in lines] == [LONGEST_LINE, LONGEST_LINE, 1, LONGEST_LINE, 1]
    long = b"x" * (LONGEST_LINE + 1)
    assert [len(line) for line in feed(b"a\n" + long + b"\nb\n")[1]] == [1, LONGEST_LINE, 1, 1]


def test_only_the_end_is_kept_from_a_whole_character_on() -> None:
    stream, _ = feed("€".encode() * KEPT)
    mark, _, rest = (stream.text() or "").partition("\n")
    assert set(rest) == {"€"}
    assert mark == f"[the first {3 * KEPT - len(rest.encode())} bytes are left out]"
    assert KEPT - 3 < len(rest.encode()) <= KEPT
