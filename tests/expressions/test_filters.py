from __future__ import annotations

from datetime import date, datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest

from airflow_stagecoach.expressions import (
    ExpressionError,
    evaluate,
    evaluate_condition,
    parse,
    register_filter,
    registered_filters,
    render,
    restore_filters,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


def value(source: str, **contexts: Any) -> Any:
    return evaluate(parse(source), contexts)


@pytest.fixture(autouse=True)
def _own_registry() -> Iterator[None]:
    before = registered_filters()
    yield
    restore_filters(before)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("-3 | abs", 3),
        ("1 | str", "1"),
        ("'1' | int", 1),
        ("{'foo': 1, 'bar': 2} | values | list", [1, 2]),
        ("{'foo': 1, 'bar': 2} | keys", ["foo", "bar"]),
        ("{'foo': 1} | list", ["foo"]),
        ("'ab' | list", ["a", "b"]),
        ("[['a', 1], ['b', 2]] | dict", {"a": 1, "b": 2}),
        ("{'a': 1} | dict", {"a": 1}),
        ("'hello world' | title", "Hello World"),
        ("'aB' | upper", "AB"),
        ("'aB' | lower", "ab"),
        ("null | coalesce('x')", "x"),
        ("'' | coalesce('x')", ""),
        ("null | coalesce(default=1)", 1),
        ("false | coalesce(true)", False),
        ("{'a': 1} | getitem('a')", 1),
        ("{'a': 1} | getitem('b')", None),
        ("{'a': 1} | getitem('b', 'd')", "d"),
        ("{'a': 1} | getitem(key='b', default='d')", "d"),
        ("[1, 2, 3] | getindex(0)", 1),
        ("[1, 2, 3] | getindex(-1)", 3),
        ("day | fmt", "2024-06-12 00:00:00"),
        ("day | fmt('%Y%m%d')", "20240612"),
        ("moment | fmt(fmt='%H:%M')", "08:30"),
        ("'2024-06-12T08:30:00Z' | fmt('%d.%m.%Y %H:%M %z')", "12.06.2024 08:30 +0000"),
        ("'2024-06-12' | fmt('%d')", "12"),
    ],
)
def test_filters(source: str, expected: Any) -> None:
    moment = datetime(2024, 6, 12, 8, 30, tzinfo=timezone.utc)
    result = value(source, day=date(2024, 6, 12), moment=moment)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("source", "message", "hint"),
    [
        ("'a' | abs", "the filter 'abs' needs a number, not a text", None),
        ("1 | upper", "the filter 'upper' needs a text, not a number", "x | str | upper"),
        ("null | lower", "the filter 'lower' needs a text, not null", "x | coalesce(...) | lower"),
        ("1 | list", "the filter 'list' needs a list, a map or a text, not a number", None),
        ("[1] | dict", "the filter 'dict' needs a map or a list of pairs, not a list", None),
        ("[[[1], 2]] | dict", "the filter 'dict' cannot use a list as a key", None),
        ("1 | getitem('a')", "the filter 'getitem' needs a map, not a number", None),
        ("{'a': 1} | getitem([])", "the filter 'getitem' cannot use a list as a key", None),
        ("[1, 2, 3] | getindex(4)", "the value has 3 items and no [4]", None),
        ("[1] | getindex('0')", "the filter 'getindex' needs a whole number, not a text", None),
        ("1 | getindex(0)", "the filter 'getindex' needs a list, not a number", None),
        ("1 | fmt", "the filter 'fmt' needs a date, not a number", None),
        ("'yesterday' | fmt", "the filter 'fmt' got a text that is no date", "2024-06-12"),
        ("1 | fmt(1)", "the filter 'fmt' needs a text, not a number", None),
        ("null | coalesce", "the filter 'coalesce' needs the argument 'default'", None),
        ("null | coalesce(1, 2)", "the filter 'coalesce' takes at most 1 arguments, not 2", None),
        ("1 | abs(1)", "the filter 'abs' takes at most 0 arguments, not 1", None),
        ("1 | fmt(format='x')", "the filter 'fmt' has no argument 'format' (known: fmt)", None),
        ("{} | getitem('a', key='b')", "the filter 'getitem' is given 'key' twice", None),
        ("'x' | int", "int() got a text that is not a whole number", None),
    ],
)
def test_refusals(source: str, message: str, hint: str | None) -> None:
    with pytest.raises(ExpressionError) as caught:
        value(source)
    assert caught.value.message == message
    assert (hint or "") in (caught.value.hint or "")
    assert caught.value.span == (0, len(source))


def test_rstr_is_quoted_only_inside_text() -> None:
    contexts = {"branch": "it's", "n": 5}
    assert render("${{ branch | rstr }}", contexts) == "it's"
    assert type(render("${{ branch | rstr }}", contexts)) is str
    assert render("x = ${{ branch | rstr }}", contexts) == 'x = "it\'s"'
    assert render("x = ${{ n | rstr }}", contexts) == "x = '5'"
    assert render("${{ branch | rstr | upper }}!", contexts) == "IT'S!"
    assert evaluate_condition("${{ branch | rstr }} == 'it''s'", contexts) is True
    assert evaluate_condition("${{ n | rstr }} == '5'", contexts) is True


def test_registered_filters() -> None:
    def clip(value: str, length: int, end: str = "") -> str:
        return value[:length] + end

    register_filter("clip", clip)
    assert value("'abcdef' | clip(3)") == "abc"
    assert value("'abcdef' | clip(3, end='..') | upper") == "ABC.."
    with pytest.raises(ExpressionError, match="the filter 'clip' failed: TypeError"):
        value("'abcdef' | clip")
    with pytest.raises(ExpressionError, match="did you mean 'clip'"):
        value("'abcdef' | klip(3)")
    register_filter("clip", lambda text: text)
    assert value("'abcdef' | clip") == "abcdef"


def test_a_failing_filter_does_not_show_secrets() -> None:
    register_filter("number", int)
    with pytest.raises(ExpressionError, match="invalid literal"):
        value("params.a | number", params={"a": "hunter2"})
    for source in ("secrets.A | number", "'x' + env.A | number", "conn.db.password | number"):
        with pytest.raises(ExpressionError) as caught:
            value(
                source, secrets={"A": "hunter2"}, env={"A": "hunter2"}, conn={"db": {"password": "hunter2"}}
            )
        assert "hunter2" not in str(caught.value)
        assert caught.value.__suppress_context__


@pytest.mark.parametrize("name", ["1a", "a b", "", "a-", "upper"])
def test_names_that_cannot_be_registered(name: str) -> None:
    with pytest.raises(ValueError, match=name or "cannot be the name"):
        register_filter(name, str)


def test_restoring() -> None:
    before = registered_filters()
    register_filter("temporary", str)
    restore_filters(before)
    assert "temporary" not in registered_filters()
    with pytest.raises(ExpressionError, match="unknown filter"):
        value("1 | temporary")
