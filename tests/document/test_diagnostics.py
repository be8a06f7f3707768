from __future__ import annotations

import pytest

from airflow_stagecoach.document.diagnostics import (
    Diagnostic,
    DocumentError,
    did_you_mean,
    found,
    nearest,
    one_of,
    render_diagnostics,
    render_path,
)


def test_with_a_position() -> None:
    diagnostic = Diagnostic("c", "wrong", "f.yml", 12, 3, 6, "do it", "  abc: 1")
    assert diagnostic.render() == ("f.yml:12:3: wrong [c]\n   |\n12 |   abc: 1\n   |   ^~~\nhint: do it")


def test_a_tab_keeps_the_caret_in_place() -> None:
    assert Diagnostic("c", "wrong", "f", 1, 2, 3, None, "\tx").render().splitlines()[-1] == "  | \t^"


def test_control_characters_do_not_reach_the_terminal() -> None:
    shown = Diagnostic("c", "wrong", "f", 1, 1, 2, None, "a\x1b[31m").render()
    assert "\x1b" not in shown


def test_without_a_position() -> None:
    diagnostic = Diagnostic("c", "wrong", path=("jobs", "a", "stages", 0, "bash"))
    assert diagnostic.render() == "wrong [c]\nat: jobs.a.stages[0].bash"
    assert Diagnostic("c", "wrong", "f.yml").render() == "f.yml: wrong [c]"


def test_several() -> None:
    error = DocumentError([Diagnostic("a", "one"), Diagnostic("b", "two")])
    assert str(error) == "one [a]\n\ntwo [b]"
    assert isinstance(error, ValueError)
    assert render_diagnostics([]) == ""


def test_another_file_name() -> None:
    assert Diagnostic("c", "m", "a").in_file("b") == Diagnostic("c", "m", "b")


@pytest.mark.parametrize(
    ("word", "known", "result"),
    [
        ("stags", ["stages", "name"], "stages"),
        ("max_paralel", ["max-parallel"], "max-parallel"),
        ("NAME", ["name"], "name"),
        ("zzz", ["name"], None),
        ("", ["name"], None),
    ],
)
def test_nearest(word: str, known: list[str], result: str | None) -> None:
    assert nearest(word, known) == result
    assert did_you_mean(word, known, "else") == (f"did you mean '{result}'?" if result else "else")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (5, "the number 5"),
        (10**60, "the number 100000000000000000000000000..."),
        ("a\nb", "'a b'"),
        ("x" * 100, f"'{'x' * 37}...'"),
        ("", "an empty text"),
        ({}, "a map"),
        ([], "a list"),
        (object(), "a Python object"),
    ],
)
def test_found(value: object, text: str) -> None:
    assert found(value) == text


def test_words() -> None:
    assert (one_of([]), one_of(["a"]), one_of("abc")) == ("", "a", "a, b or c")
    assert render_path(()) == ""
