"""Rules that hold for any text and any expression, tried on generated ones."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from airflow_stagecoach.expressions import (
    ExpressionError,
    ExpressionPart,
    ExpressionSyntaxError,
    JinjaPart,
    Kind,
    Record,
    Scope,
    check,
    escape,
    evaluate,
    evaluate_condition,
    parse,
    parse_condition,
    parse_template,
    references,
    render,
    render_jinja,
    to_text,
)

if TYPE_CHECKING:
    from collections.abc import Callable

CONTEXTS: dict[str, Any] = {
    "params": {"n": 3, "t": "it's", "f": True, "z": None, "list": [1, "b"]},
    "item": 0,
}
SCOPE = Scope(
    {
        "params": Record(
            {"n": Kind.NUMBER, "t": Kind.TEXT, "f": Kind.BOOLEAN, "z": Kind.ANYTHING, "list": Kind.LIST}
        ),
        "item": Kind.NUMBER,
    }
)

#: Pieces that make the interesting cases likely.
PIECES = st.sampled_from(
    [
        *("${{", "}}", "{{", "$", "$${{", "{", "}", "(", ")", "[", "]", "'", "''", '"', "|", "||", "&&", "!"),
        *(
            "==",
            "<",
            "?",
            ":",
            ",",
            ".",
            ".*",
            "?.",
            "-",
            "--",
            "+",
            "*",
            "/",
            "%",
            "=",
            "1",
            "0.5",
            "a",
            "a-b",
        ),
        *("a?", "params.n", "not ", " in ", " and ", " or ", "true", "null", "fmt('x')", "item", "\\", "§"),
        *("{%", "%}", "{#", "#}", " ", "\n", "'text'", "${{ params.n }}", "{{ ds }}", "${{ '}}' }}"),
    ]
)
TEXTS = st.one_of(st.text(max_size=40), st.lists(PIECES, max_size=14).map("".join))


# -- any text


def failure(action: Callable[[], object]) -> ExpressionError | None:
    """Give the error that an action ends with; any but those of the language fail the test."""
    try:
        action()
    except ExpressionError as error:
        return error
    return None


@given(TEXTS)
@example("${{ " + "(" * 500)
@settings(max_examples=400, deadline=None)
def test_reading_raises_nothing_but_syntax_errors(text: str) -> None:
    for read in (parse, parse_condition, parse_template, partial(parse_template, jinja=False)):
        error = failure(partial(read, text))
        if error is not None:
            assert isinstance(error, ExpressionSyntaxError)
            assert error.source == text
            assert error.span is not None
            assert 0 <= error.span[0] < error.span[1] <= len(text) + 1
            assert str(error).startswith(error.message)


@given(TEXTS)
@settings(max_examples=400, deadline=None)
def test_evaluation_and_checks_raise_nothing_unexpected(text: str) -> None:
    assert all(str(problem) for problem in check(text, SCOPE) + check(text, SCOPE, condition=True))
    for action in (
        partial(render, text, CONTEXTS),
        partial(evaluate_condition, text, CONTEXTS),
        partial(references, text),
        partial(references, text, condition=True),
    ):
        error = failure(action)
        assert error is None or str(error).startswith(error.message)


@given(TEXTS, st.booleans())
@settings(max_examples=300, deadline=None)
def test_parts_leave_no_gap(text: str, jinja: bool) -> None:
    try:
        parts = parse_template(text, jinja).parts
    except ExpressionSyntaxError:
        return
    assert "".join(text[part.start : part.end] for part in parts) == text


@given(TEXTS)
@example("$ ")
@example(" {{")
def test_escaped_text_renders_to_itself(text: str) -> None:
    assert render(escape(text), {}) == text
    assert render("a ${{ 1 }}" + escape(text) + "${{ 2 }}", {}) == f"a 1{text}2"


@given(TEXTS, st.lists(TEXTS, min_size=1, max_size=3))
@settings(max_examples=400, deadline=None)
@example("{{ a }}", ["${{ params.n }}"])
@example(" {{ a }}", ["$"])
@example("{{ a }}{{ b }}{ params.n }}", ["$", "{"])
def test_jinja_output_is_never_an_expression(text: str, outputs: list[str]) -> None:
    """Rendering gives each part's own value, whatever stands beside it."""
    try:
        template = parse_template(text)
        expected: list[Any] = []
        given_out = iter(outputs * len(template.parts))
        for part in template.parts:
            if isinstance(part, ExpressionPart):
                expected.append(to_text(evaluate(part.node, CONTEXTS)))
            else:
                expected.append(next(given_out) if isinstance(part, JinjaPart) else part.text)
        whole = [render(text, CONTEXTS)] if template.is_whole else []
    except ExpressionError:
        return
    given_out = iter(outputs * len(template.parts))
    result = render(render_jinja(text, lambda _: next(given_out)), CONTEXTS)
    assert result == (whole[0] if whole else "".join(expected))


@given(st.text())
def test_texts_can_be_quoted(text: str) -> None:
    for quote in "'\"":
        literal = quote + text.replace(quote, quote * 2) + quote
        if len(literal) < 1000:
            assert evaluate(parse(literal), {}) == text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_json_comes_back(value: Any) -> None:
    assert render("${{ fromJson(toJson(x)) == x }}", {"x": value}) is True
    assert render("${{ x }}", {"x": value}) is value
    if isinstance(value, (dict, list)):
        assert json.loads(render("x${{ x }}", {"x": value})[1:]) == value


# -- generated expressions beside a reference

Typed = tuple[str, Any]


def _both(operator: str, word: str) -> Any:
    def join(pair: tuple[Typed, Typed]) -> Typed:
        (left, left_value), (right, right_value) = pair
        falsy = not left_value
        value = (
            (right_value if falsy else left_value) if word == "or" else (left_value if falsy else right_value)
        )
        return f"({left}) {operator} ({right})", value

    return join


def _arithmetic(pair: tuple[Typed, str, Typed]) -> Typed:
    (left, a), operator, (right, b) = pair
    value = {"+": a + b, "-": a - b, "*": a * b}[operator]
    return f"({left}) {operator} {right}" if not right.startswith(
        "("
    ) else f"({left}){operator}({right})", value


NUMBERS: st.SearchStrategy[Typed] = st.recursive(
    st.integers(-99, 99).map(lambda number: (f"({number})", number))
    | st.sampled_from([("params.n", 3), ("item", 0), ("len(params.list)", 2), ("params['n']", 3)]),
    lambda inner: (
        st.tuples(inner, st.sampled_from("+-*"), inner).map(_arithmetic)
        | inner.map(lambda one: (f"- ({one[0]})", -one[1]))
        | st.tuples(inner, inner).map(
            lambda two: (f"max({two[0][0]}, {two[1][0]})", max(two[0][1], two[1][1]))
        )
        | inner.map(lambda one: (f"({one[0]}) | abs", abs(one[1])))
    ),
    max_leaves=6,
)
STRINGS: st.SearchStrategy[Typed] = st.recursive(
    st.text(max_size=5).map(lambda text: ("'" + text.replace("'", "''") + "'", text))
    | st.just(("params.t", "it's")),
    lambda inner: (
        st.tuples(inner, inner).map(lambda two: (f"({two[0][0]}) + ({two[1][0]})", two[0][1] + two[1][1]))
        | inner.map(lambda one: (f"({one[0]}) | upper", one[1].upper()))
        | inner.map(lambda one: (f"format('<{{0}}>', {one[0]})", f"<{one[1]}>"))
    ),
    max_leaves=4,
)


def _compare(strategy: st.SearchStrategy[Typed]) -> st.SearchStrategy[Typed]:
    operators = {
        "==": lambda a, b: a == b,
        "!=": lambda a, b: a != b,
        "<": lambda a, b: a < b,
        "<=": lambda a, b: a <= b,
        ">": lambda a, b: a > b,
        ">=": lambda a, b: a >= b,
    }
    return st.tuples(strategy, st.sampled_from(sorted(operators)), strategy).map(
        lambda three: (
            f"({three[0][0]}) {three[1]} ({three[2][0]})",
            operators[three[1]](three[0][1], three[2][1]),
        )
    )


BOOLEANS: st.SearchStrategy[Typed] = st.recursive(
    st.sampled_from([("true", True), ("False", False), ("params.f", True)])
    | _compare(NUMBERS)
    | _compare(STRINGS),
    lambda inner: (
        st.tuples(inner, inner).map(_both("||", "or"))
        | st.tuples(inner, inner).map(_both("or", "or"))
        | st.tuples(inner, inner).map(_both("&&", "and"))
        | st.tuples(inner, inner).map(_both("and", "and"))
        | inner.map(lambda one: (f"!({one[0]})", not one[1]))
        | inner.map(lambda one: (f"not {one[0]}" if one[0][0] != "(" else f"not ({one[0]})", not one[1]))
        | st.tuples(inner, inner, inner).map(
            lambda three: (
                f"({three[0][0]}) ? ({three[1][0]}) : ({three[2][0]})",
                three[1][1] if three[0][1] else three[2][1],
            )
        )
    ),
    max_leaves=6,
)


@given(NUMBERS | STRINGS | BOOLEANS)
@settings(max_examples=500, deadline=None)
def test_values_are_those_of_the_reference(expression: Typed) -> None:
    source, expected = expression
    result = evaluate(parse(source), CONTEXTS)
    assert result == expected
    assert type(result) is type(expected)
    assert render("${{ " + source + " }}", CONTEXTS) == expected
    assert render("${{" + source + "}}", CONTEXTS) == expected


@given(BOOLEANS)
@settings(max_examples=200, deadline=None)
def test_conditions_are_those_of_the_reference(expression: Typed) -> None:
    source, expected = expression
    for written in (
        source,
        "${{ " + source + " }}",
        "${{ " + source + " }} == true",
        "'${{ " + source + " }}' == 'true'",
    ):
        assert evaluate_condition(written, CONTEXTS) is expected


@given(NUMBERS | STRINGS | BOOLEANS)
@settings(max_examples=200, deadline=None)
def test_checks_accept_what_evaluates(expression: Typed) -> None:
    assert check("${{ " + expression[0] + " }}", SCOPE) == []


@given(st.one_of(st.tuples(NUMBERS, STRINGS), st.tuples(STRINGS, NUMBERS), st.tuples(BOOLEANS, NUMBERS)))
@settings(deadline=None)
def test_checks_find_what_can_never_be_equal(pair: tuple[Typed, Typed]) -> None:
    (left, _), (right, _) = pair
    assume("max" not in left + right)  # its kind is only known when it runs
    source = f"({left}) == ({right})"
    assert [problem.message for problem in check("${{ " + source + " }}", SCOPE)] != []
    assert evaluate(parse(source), CONTEXTS) is False
