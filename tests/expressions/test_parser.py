from __future__ import annotations

import time

import pytest

from airflow_stagecoach.expressions import ExpressionSyntaxError, parse, parse_condition
from airflow_stagecoach.expressions._nodes import Choice, Comparison, Filter, Logic, Not, Path
from airflow_stagecoach.expressions._parser import MAX_DEPTH


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("a || b && c", Logic),
        ("not a == b", Not),
        ("!a == b", Comparison),
        ("a == b | upper", Comparison),
        ("a.b | upper | lower", Filter),
        ("a ? b : c ? d : e", Choice),
        ("(a.*.b)[0]", Path),
    ],
)
def test_precedence(source: str, kind: type) -> None:
    assert type(parse(source).body) is kind


def test_places_are_exact() -> None:
    source = "a.b == fmt(c, 'x') "
    body = parse(source).body
    assert isinstance(body, Comparison)
    assert source[body.left.start : body.left.end] == "a.b"
    assert source[body.right.start : body.right.end] == "fmt(c, 'x')"


@pytest.mark.parametrize(
    ("source", "message", "span", "hint"),
    [
        ("", "expected a value, found the end", (0, 1), "write a value or an expression here"),
        ("a ==", "expected a value, found the end", (4, 5), "write a value or an expression here"),
        ("a = b", "expected an operator or the end, found '='", (2, 3), "write == to compare"),
        ("a === b", "expected a value, found '='", (4, 5), "write == to compare"),
        ("a b", "expected an operator or the end, found 'b'", (2, 3), "join values with an operator"),
        ("a < b < c", "comparisons do not chain", (6, 7), "a < b && b < c"),
        (".5", "expected a value, found '.5'", (0, 2), "0.5 for a number"),
        ("(a", "expected ')', found the end", (2, 3), "it closes the '(' before it"),
        ("a[1", "expected ']', found the end", (3, 4), "it closes the '[' before it"),
        ("a ? b", "expected ':', found the end", (5, 6), "test ? value : other value"),
        ("a?b:c", "expected an operator or the end, found 'b'", (2, 3), "leave a space before ?"),
        ("true?1:2", "'?' glued to a word asks for optional access", (4, 5), "true ? value : other value"),
        ("a.b.upper()[0]()", "only a function can be called", (14, 15), "value | upper"),
        ("x | ", "expected the name of a filter, found the end", (4, 5), "write || for 'or'"),
        ("x | f(a=1, 2)", "expected name=value, found '2'", (11, 12), "come first"),
        ("x | f(a=1, a=2)", "'a' is given twice", (11, 12), None),
        ("len(a=1)", "a function takes no names for its values", (6, 7), "leave out 'a='"),
        ("{{ ds }}", "{{ }} of Jinja does not work inside", (0, 2), "run.ds"),
        ("{'a' 1}", "expected ':', found '1'", (5, 6), "{'key': value}"),
        ("9" * 101, "this number is too large", (0, 101), "in quotes"),
        ("1e999", "this number is too large", (0, 5), "in quotes"),
        (")", "expected a value, found ')'", (0, 1), None),
    ],
)
def test_syntax_errors(source: str, message: str, span: tuple[int, int], hint: str | None) -> None:
    with pytest.raises(ExpressionSyntaxError) as caught:
        parse(source)
    error = caught.value
    assert error.message.startswith(message)
    assert error.span == span
    assert error.source == source
    assert (hint or "") in (error.hint or "")


@pytest.mark.parametrize(
    "source",
    [
        "(" * 5000,
        "[" * 5000,
        "!" * 5000 + "a",
        "not " * 4000 + "a",
        "- " * 5000 + "1",
        "a ? " * 4000,
        "a[" * 5000,
        "f(" * 5000,
        "{1:" * 5000,
        "(" * (MAX_DEPTH + 1) + "a" + ")" * (MAX_DEPTH + 1),
    ],
)
def test_nesting_is_bounded(source: str) -> None:
    with pytest.raises(ExpressionSyntaxError, match="nested more than 32 levels deep"):
        parse(source)


@pytest.mark.parametrize("joint", [" + ", " || ", " && ", " * ", " | f | "])
def test_long_chains_are_fine(joint: str) -> None:
    started = time.process_time()
    parse(joint.join(["a"] * 2500) if "f" not in joint else "a" + " | f" * 4000)
    assert time.process_time() - started < 1


def test_depth_that_is_allowed_is_parsed() -> None:
    depth = MAX_DEPTH - 1
    parse("(" * depth + "a" + ")" * depth)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("${{ a } == 1", "this expression has no end"),
        ("${{ a", "this expression has no end"),
        ("'${{ a }} == 1", "this text has no closing quote"),
        ("${{ a b }} == 1", "expected an operator or the end, found 'b'"),
        ("{{ ds }} == 'x'", "{{ }} of Jinja does not work inside"),
    ],
)
def test_condition_errors(source: str, message: str) -> None:
    with pytest.raises(ExpressionSyntaxError) as caught:
        parse_condition(source)
    assert caught.value.message.startswith(message)
