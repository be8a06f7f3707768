"""Tests of airflow_stagecoach.engine.log_levels."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_stagecoach.engine.log_levels import marked, unmarked

TEXTS = st.one_of(st.text(), st.lists(st.sampled_from(["::", "error", "info", "x", ":", " "])).map("".join))


@given(TEXTS, st.sampled_from(["debug", "info", "warning", "error"]))
@settings(deadline=None)
def test_what_goes_in_comes_out(text: str, level: str) -> None:
    assert unmarked(marked(text, level)) == (text, level)


@pytest.mark.parametrize(
    ("line", "text", "level"),
    [
        ("rows: 3", "rows: 3", "info"),
        ("::error::no", "no", "error"),
        ("::warning::", "", "warning"),
        ("::group::a", "::group::a", "info"),
        ("::error", "::error", "info"),
        (" ::error::x", " ::error::x", "info"),
    ],
)
def test_lines(line: str, text: str, level: str) -> None:
    assert unmarked(line) == (text, level)


def test_most_lines_have_no_mark() -> None:
    assert marked("rows: 3", "info") == "rows: 3"
