from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_stagecoach.document.durations import MAX_SECONDS, parse_duration


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (0, 0),
        (90, 90),
        (1.5, 1.5),
        ("90", 90),
        ("0.5", 0.5),
        ("90s", 90),
        ("10m", 600),
        ("10M", 600),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        ("1.5h", 5400),
        ("2d", 172800),
        ("1w", 604800),
        ("250ms", 0.25),
        (" 10m ", 600),
        ("PT10M", 600),
        ("P1D", 86400),
        ("P1DT2H", 93600),
        ("PT0.5S", 0.5),
    ],
)
def test_parse(value: Any, seconds: float) -> None:
    assert parse_duration(value) == seconds


@pytest.mark.parametrize(
    "value", [True, None, [], {}, "", "abc", "10x", "m", "P", "PT", "30m1h", "-5", "10 m s", "٣m"]
)
def test_refuse(value: Any) -> None:
    with pytest.raises(ValueError, match="expected a number of seconds or a duration such as 10m"):
        parse_duration(value)


@pytest.mark.parametrize("value", [-1, -0.5, float("nan")])
def test_not_below_zero(value: float) -> None:
    with pytest.raises(ValueError, match="not below zero"):
        parse_duration(value)


@pytest.mark.parametrize("value", [MAX_SECONDS + 1, "400d", float("inf"), 10**400])
def test_too_long(value: Any) -> None:
    with pytest.raises(ValueError, match="at most 366 days"):
        parse_duration(value)


def test_whole_seconds_are_int() -> None:
    assert isinstance(parse_duration("1m"), int)
    assert isinstance(parse_duration(60.0), int)


@given(st.text())
def test_never_anything_but_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert 0 <= parse_duration(text) <= MAX_SECONDS
