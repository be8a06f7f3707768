from __future__ import annotations

import time
from datetime import datetime
from typing import Any

import pytest

from airflow_stagecoach.expressions import (
    ExpressionError,
    ExpressionPart,
    ExpressionSyntaxError,
    JinjaPart,
    TextPart,
    escape,
    parse_template,
    render,
    render_jinja,
)

CONTEXTS: dict[str, Any] = {
    "params": {"n": 1, "name": "foo", "flag": True, "none": None, "list": [1, 2], "map": {"a": None}},
    "d": datetime(2024, 1, 2, 3, 4, 5),
}


def kinds(text: str, jinja: bool = True) -> list[str]:
    return [type(part).__name__[:-4].lower() for part in parse_template(text, jinja).parts]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("plain", ["text"]),
        ("${{ a }}", ["expression"]),
        ("a ${{ b }} c", ["text", "expression", "text"]),
        ("{{ ds }}", ["jinja"]),
        ("{{ ds }}-${{ a }}", ["jinja", "text", "expression"]),
        ("$${{ a }}", ["text"]),
        ("$$${{ a }}", ["text"]),
        ("{{ '}}' }}", ["jinja"]),
        ("{{ {'a': {'b': 1}} }}", ["jinja"]),
        ("{{ {'a': {'b': 1}}}}", ["jinja"]),
        ("{{- ds -}}", ["jinja"]),
        ("{{ a[{'x': 1}['x']] }}", ["jinja"]),
        ("{{ '${{ a }}' }}", ["jinja"]),
        ("${{ '{{ ds }}' }}", ["expression"]),
        ("{% if x %}{# note #}${X} $X {x} }}", ["text"]),
        ("${ ENV }", ["text"]),
    ],
)
def test_parts(text: str, expected: list[str]) -> None:
    assert kinds(text) == expected
    parts = parse_template(text).parts
    assert "".join(text[part.start : part.end] for part in parts) == text


def test_without_jinja_braces_are_text() -> None:
    assert kinds("f'{{${{ a }}}}'", jinja=False) == ["text", "expression", "text"]
    assert kinds("x = '{{'", jinja=False) == ["text"]


def test_flags() -> None:
    assert parse_template(" ${{ a }}\n").is_whole
    assert not parse_template("${{ a }}${{ b }}").is_whole
    assert not parse_template("x${{ a }}").is_whole
    assert not parse_template("{{ a }}").is_whole
    assert parse_template("$${{ a }}").is_plain
    assert not parse_template("{{ a }}").is_plain
    assert not parse_template("${{ a }}").is_plain


def test_part_contents() -> None:
    first, second, third = parse_template("${{ a }}{{ ds }}$${{").parts
    assert isinstance(first, ExpressionPart)
    assert isinstance(second, JinjaPart)
    assert second.text == "{{ ds }}"
    assert isinstance(third, TextPart)
    assert third.text == "${{"


@pytest.mark.parametrize(
    ("text", "message", "span"),
    [
        ("ab ${{ 1 + }} cd", "expected a value, found the end", (11, 13)),
        ("a\nb ${{ x y }}", "expected an operator or the end, found 'y'", (10, 11)),
        ("ok ${{ a }} ${{ b", "this expression has no end", (12, 15)),
        ("ok ${{ 'b }}", "this text has no closing quote", (7, 8)),
        ("a {{ ds }", "this {{ of Jinja has no end", (2, 4)),
        ("a {{ ds ) }}", "this {{ of Jinja has no end", (2, 4)),
        ("${{ a ${{ b }} }}", "unexpected character '$'", (6, 7)),
        ("${{}}", "expected a value, found the end", (3, 5)),
    ],
)
def test_syntax_errors_point_into_the_text(text: str, message: str, span: tuple[int, int]) -> None:
    with pytest.raises(ExpressionSyntaxError) as caught:
        parse_template(text)
    assert (caught.value.message, caught.value.span, caught.value.source) == (message, span, text)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("${{ params.n }}", 1),
        ("  ${{ params.n }}\n", 1),
        ("${{ params.list }}", [1, 2]),
        ("${{ params.none }}", None),
        ("${{ d }}", datetime(2024, 1, 2, 3, 4, 5)),
        ("n=${{ params.n }}", "n=1"),
        ("${{ params.n }}${{ params.n }}", "11"),
        ("<${{ params.none }}>", "<>"),
        ("<${{ params.flag }}>", "<true>"),
        ("<${{ params.list }}>", "<[1, 2]>"),
        ("<${{ params.map }}>", '<{"a": null}>'),
        ("<${{ d }}>", "<2024-01-02T03:04:05>"),
        ("$${{ params.n }}", "${{ params.n }}"),
        ("$${{ a }} ${{ params.n }}", "${{ a }} 1"),
        ("$$${{ a }}", "$${{ a }}"),
        ("None", "None"),
        ("${ ENV }", "${ ENV }"),
        ("{{ ds }} ${{ params.n }}", "{{ ds }} 1"),
        ("{{ '${{ params.n }}' }} ${{ params.n }}", "{{ '${{ params.n }}' }} 1"),
        ({"${{ k }}": ["${{ params.n }}", {"a": "${{ params.name }}"}]}, {"${{ k }}": [1, {"a": "foo"}]}),
        (("${{ params.n }}",), [1]),
        (5, 5),
        (None, None),
    ],
)
def test_render(value: Any, expected: Any) -> None:
    result = render(value, CONTEXTS)
    assert result == expected
    assert type(result) is type(expected)


def test_what_an_expression_gives_is_never_rendered() -> None:
    contexts = {"params": {"evil": "${{ secrets.A }}{{ ds }}", "$": "$"}}
    assert render("a${{ params.evil }}", contexts) == "a${{ secrets.A }}{{ ds }}"
    assert render("${{ params['$'] }}{ {", contexts) == "${ {"


def test_errors_point_into_the_text() -> None:
    with pytest.raises(ExpressionError) as caught:
        render(["x: ${{ params.nam }}"], CONTEXTS)
    assert caught.value.source == "x: ${{ params.nam }}"
    assert caught.value.span == (13, 17)


def test_plain_text_is_not_parsed() -> None:
    text = "{{ not even { closed " * 10
    assert render(text, {}) is text


@pytest.mark.parametrize(
    ("text", "output", "expected"),
    [
        ("{{ ds }}", "2024-01-01", "2024-01-01"),
        ("a {{ ds }} ${{ params.n }}", "x", "a x 1"),
        ("{{ ds }}", "${{ params.n }}", "${{ params.n }}"),
        ("  {{ ds }} ", "${{ params.n }}", "  ${{ params.n }} "),
        ("{{ ds }}", "$", "$"),
        ("{{ a }}{{ b }}", "$", "$$"),
        ("{{ a }}{ params.n }}", "${", "${{ params.n }}"),
        ("{{ a }}{{ b }} ${{ params.n }} }}", "{", "{{ 1 }}"),
        ("{{ a }} ${{ params.n }} }}", "{{ '", "{{ ' 1 }}"),
        ("{{ a }}${{ params.n }}", "", "1"),
        ("{{ a }}", "$${{ x }}", "$${{ x }}"),
        ("$${{ {{ a }}", "x", "${{ x"),
        ("{{ a }}", "it's }} '' {{", "it's }} '' {{"),
    ],
)
def test_jinja_output_is_only_text(text: str, output: str, expected: str) -> None:
    assert render(render_jinja(text, lambda _: output), CONTEXTS) == expected


def test_render_jinja_walks_values_and_leaves_expressions() -> None:
    seen: list[str] = []

    def answer(source: str) -> str:
        seen.append(source)
        return "X"

    value = {"a": ["{{ ds }}", "${{ '{{ no }}' }}", 5], "b": ("{{- ts }}",)}
    assert render_jinja(value, answer) == {"a": ["X", "${{ '{{ no }}' }}", 5], "b": ["X"]}
    assert seen == [" ds ", "- ts "]


def test_escape() -> None:
    text = "${{ a }} {{ b }} $${{"
    assert render("<" + escape(text) + ">", {}) == "<" + text + ">"


def test_speed() -> None:
    text = "Process ${{ needs.split.outputs.partitions[0] }} in ${{ a }}"
    parse = parse_template.__wrapped__
    best = min(_timed(lambda: parse(text)) for _ in range(200))
    assert best < 0.0005  # 100 us are the aim; the rest is for busy machines


def _timed(action: Any) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started
