from __future__ import annotations

import pytest

from airflow_stagecoach.expressions import ExpressionError, ExpressionSyntaxError, Problem
from airflow_stagecoach.expressions._errors import did_you_mean, nearest


def test_text_shows_the_line_and_marks_the_place() -> None:
    error = ExpressionError("x is missing", "first\n\tsecond x\nthird", (14, 15), "write y")
    assert str(error) == "x is missing\n    \tsecond x\n    \t       ^\nhint: write y"


def test_text_without_a_place_is_the_message() -> None:
    assert str(ExpressionError("x is missing")) == "x is missing"


def test_long_lines_are_cut_around_the_place() -> None:
    source = "a" * 300 + "X" + "b" * 300
    line, marks = str(ExpressionError("m", source, (300, 301))).split("\n")[1:]
    assert len(line) == 104
    assert line[marks.index("^")] == "X"


def test_a_place_over_several_lines_is_marked_on_the_first() -> None:
    assert str(ExpressionError("m", "ab\ncd", (1, 5))) == "m\n    ab\n     ^"


def test_a_place_at_the_end_is_marked() -> None:
    assert str(ExpressionSyntaxError("m", "ab", (2, 3))) == "m\n    ab\n      ^"


def test_problem_reads_like_an_error() -> None:
    problem = Problem("bad", (0, 1), "write y", "x", ("env", 0))
    assert str(problem) == "bad\n    x\n    ^\nhint: write y"
    assert repr(problem) == "Problem('bad', (0, 1), hint='write y', path=('env', 0))"


def test_place_is_set_once() -> None:
    error = ExpressionError("m").at("abc", 1, 2)
    assert error.at("other", 0, 1) is error
    assert (error.source, error.span) == ("abc", (1, 2))


@pytest.mark.parametrize(
    ("word", "known", "expected"),
    [
        ("nam", ["name", "other"], "name"),
        ("run_date", ["run-date", "x"], "run-date"),
        ("NAME", ["name"], "name"),
        ("zzz", ["name"], None),
        ("a", [], None),
    ],
)
def test_nearest(word: str, known: list[str], expected: str | None) -> None:
    assert nearest(word, known) == expected


def test_did_you_mean_lists_what_there_is() -> None:
    assert did_you_mean("zzz", ["b", "a", 1]) == "known here: a, b"
    assert did_you_mean("zzz", [f"name{number}" for number in range(9)]) == (
        "known here: name0, name1, name2, name3, name4, name5, name6, name7, ..."
    )
    assert did_you_mean("zzz", []) is None
