"""Tables, moments, durations and sizes for the terminal."""

from __future__ import annotations

import pytest

from airflow_stagecoach.cli.tables import duration, moment, size, table


def test_table() -> None:
    assert table(["A", "BB"], [["long cell", 1], [None, "x"]], indent="> ") == (
        "> A          BB\n> long cell  1\n>            x\n"
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (None, ""),
        ("2026-01-31T23:59:59.999999+00:00", "2026-01-31T23:59:59+00:00"),
        ("2026-01-31T08:00:00+07:00", "2026-01-31T08:00:00+07:00"),
    ],
)
def test_moment(text: str | None, shown: str) -> None:
    assert moment(text) == shown


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (0, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10.0 s"),
        (12.4, "12 s"),
        (59.6, "1 m 00 s"),
        (185, "3 m 05 s"),
        (3599.7, "1 h 00 m"),
        (7380, "2 h 03 m"),
        (86399.9, "1 d 00 h"),
        (93600, "1 d 02 h"),
    ],
)
def test_duration(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, ""),
        (0, "0 B"),
        (812, "812 B"),
        (1536, "1.5 KiB"),
        (200 * 2**20, "200 MiB"),
        (3 * 2**30, "3.0 GiB"),
        (5000 * 2**30, "5000 GiB"),
    ],
)
def test_size(count: float | None, text: str) -> None:
    assert size(count) == text
