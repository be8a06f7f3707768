from __future__ import annotations

import pickle
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import pytest

from airflow_stagecoach.expressions import ExpressionError, evaluate, parse

CONTEXTS: dict[str, Any] = {
    "params": {
        "n": 5,
        "name": "foo",
        "flag": True,
        "none": None,
        "list": [1, 2, 3],
        "run-date": datetime(2024, 6, 12, 8, 30, 5),
        "map": {"a": 1, "b": {"c": "d"}},
        "2": "text key",
    },
    "foreach": {1: {"v": "one"}, "2": {"v": "two"}},
    "legs": [{"r": "x", "o": {"n": 1}}, {"r": "y"}, {"r": "z", "o": {"n": 3}}],
    "or-else": 1,
    "item": 0,
}


def value(source: str, contexts: Mapping[str, Any] = CONTEXTS) -> Any:
    return evaluate(parse(source), contexts)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        # literals
        ("1", 1),
        ("-1", -1),
        ("1.5e2", 150.0),
        ("0x10", 16),
        ("'it''s'", "it's"),
        ('"say ""hi"""', 'say "hi"'),
        ("[1, 'a', [true, None]]", [1, "a", [True, None]]),
        ("[1, 2, ]", [1, 2]),
        ("{'a': 1, 'b': {'c': null}}", {"a": 1, "b": {"c": None}}),
        ("True", True),
        ("null", None),
        # logic gives operands
        ("0 || 'x'", "x"),
        ("'' or null", None),
        ("1 && 'x'", "x"),
        ("0 and nosuch", 0),
        ("true || nosuch", True),
        ("!0", True),
        ("not 'a'", False),
        ("!params.flag", False),
        ("[] && 'lists are true'", "lists are true"),
        ("false || true && false", False),
        # comparison
        ("params.n == 5", True),
        ("params.n == '5'", False),
        ("1 == 1.0", True),
        ("true == 1", False),
        ("'a' == 'A'", False),
        ("params.n >= 5 && params.n < 6", True),
        ("'a' < 'b'", True),
        ("params.none == null", True),
        ("!params.flag == false", True),
        ("not params.flag == true", False),
        ("2 in params.list", True),
        ("'2' in params.list", False),
        ("'oo' in params.name", True),
        ("'a' in params.map", True),
        ("'d' not in params.map", True),
        ("not 2 in [1]", True),
        # arithmetic
        ("1 + 2 * 3 - 4", 3),
        ("(1 + 2) * 3", 9),
        ("7 % 3", 1),
        ("7 / 2", 3.5),
        ("6 / 2", 3),
        ("-params.n + 1", -4),
        ("'a' + 'b'", "ab"),
        ("[1] + [2]", [1, 2]),
        ("5-3", 2),
        ("1 - -1", 2),
        # choice
        ("params.flag ? 'yes' : nosuch", "yes"),
        ("0 ? 1 : 2", 2),
        ("false ? 1 : false ? 2 : 3", 3),
        # paths
        ("params.run-date.hour", 8),
        ("params.run-date.weekday", 2),
        ("params['name']", "foo"),
        ('params["map"].b["c"]', "d"),
        ("params.list[0]", 1),
        ("params.list[-1]", 3),
        ("params.list.1", 2),
        ("params['list'][params.n - 4]", 2),
        ("params.2", "text key"),
        ("foreach.1.v", "one"),
        ("foreach.2.v", "two"),
        ("foreach[1].v", "one"),
        ("foreach[2].v", "two"),
        ("params.map . b . c", "d"),
        ("or-else", 1),
        # optional access
        ("params.nosuch?", None),
        ("params.nosuch?.deeper.still", None),
        ("params.none?.x", None),
        ("params.name?", "foo"),
        ("params.name.x?", None),
        ("nosuch?", None),
        ("nosuch?.x", None),
        ("params.nosuch? || 'default'", "default"),
        # stars
        ("legs.*.r", ["x", "y", "z"]),
        ("legs[*].o.n", [1, 3]),
        ("params.map.*", [1, {"c": "d"}]),
        ("legs.*.nosuch", []),
        ("(legs.*.r)[0]", "x"),
        ("legs.*.r[0]", []),
        ("legs.*.o.*", [1, 3]),
        # filters
        ("params.run-date | fmt('%Y%m%d')", "20240612"),
        ("params.name | upper | lower", "foo"),
        ("-5 | abs", 5),
        ("params.nosuch? | coalesce('x')", "x"),
        ("'a' == 'A' | lower", True),
    ],
)
def test_value(source: str, expected: Any) -> None:
    result = value(source)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("source", "message", "marked", "hint"),
    [
        ("params.nam", "params has no 'nam'", ".nam", "did you mean 'name'?"),
        ("params.map.b.x", "params.map.b has no 'x'", ".x", "known here: c"),
        ("params.none.x", "params.none is null and has no 'x'", ".x", "write ? after a name"),
        ("params.n.x", "params.n is a number and has no 'x'", ".x", None),
        ("params.list.x", "params.list is a list and has no 'x'", ".x", "write [0]"),
        ("params.list[3]", "params.list has 3 items and no [3]", "[3]", None),
        ("params.list['a']", "params.list is a list and has no ['text']", "['a']", "[int(x)"),
        ("params.list[true]", "a boolean cannot be an index", "[true]", "a whole number"),
        ("(!item).x", "the value is a boolean and has no 'x'", ".x", None),
        ("params . n . x", "params . n is a number and has no 'x'", ". x", None),
        ("params.n.*", "params.n is a number and has no items", ".*", None),
        ("params.run-date.hours", "params.run-date is a date and has no 'hours'", ".hours", "'hour'?"),
        ("prams.n", "unknown name 'prams'", "prams", "did you mean 'params'?"),
        ("prod", "unknown name 'prod'", "prod", "a text stands in quotes: 'prod'"),
        ("params-1", "unknown name 'params-1'", "params-1", "to subtract write: params - 1"),
        ("datetime", "unknown name 'datetime'", "datetime", "write datetime.now()"),
        ("__status__", "unknown name '__status__'", "__status__", None),
        ("params.n > '3'", "a number and a text have no order", "params.n > '3'", "write int('3')"),
        ("params.name < 3", "a text and a number have no order", "params.name < 3", "int(params.name)"),
        (
            "params.none < 3",
            "null and a number have no order",
            "params.none < 3",
            "params.none | coalesce(0)",
        ),
        ("params.run-date < '2024'", "a date and a text have no order", None, "params.run-date | fmt("),
        ("1 + 'a'", "a number and a text cannot be joined by '+'", "1 + 'a'", "str(x)"),
        ("'a' * 3", "a text and a number cannot be joined by '*'", "'a' * 3", "two numbers"),
        ("1 + null", "a number and null cannot be joined by '+'", "1 + null", "two lists"),
        ("-'a'", "a text has no negative", "-'a'", "int(x)"),
        ("1 / 0", "division by zero", "1 / 0", None),
        ("1 in 5", "'in' needs a list, a text or a map, not a number", "1 in 5", None),
        ("1 in 'a'", "'in' looks for a text in a text, not for a number", "1 in 'a'", "str(x)"),
        ("nosuch(1)", "unknown function 'nosuch'", "nosuch(1)", None),
        ("upper('a')", "unknown function 'upper'", "upper('a')", "value | upper"),
        ("params.name.upper()", "unknown function 'params.name.upper'", None, "params.name | upper"),
        ("len(1, 2)", "len() takes 1 value, not 2", "len(1, 2)", None),
        ("'a' | nosuch", "unknown filter 'nosuch'", "'a' | nosuch", "'or' is written ||"),
        ("'a' | uper", "unknown filter 'uper'", "'a' | uper", "did you mean 'upper'?"),
        ("'a' | len", "unknown filter 'len'", "'a' | len", "write len(value)"),
        ("success()", "success() cannot be used here", "success()", "`if`"),
        ("{[1]: 2}", "a list cannot be the key of a map", "[1]", None),
    ],
)
def test_errors(source: str, message: str, marked: str | None, hint: str | None) -> None:
    with pytest.raises(ExpressionError) as caught:
        value(source)
    error = caught.value
    assert error.message == message
    assert error.source == source
    assert error.span is not None
    assert source[slice(*error.span)] == (marked or source)
    assert (hint or "") in (error.hint or "")


class Recording(Mapping[str, Any]):
    """A map that tells which keys were read, and refuses to be listed."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data
        self.read: list[str] = []

    def __getitem__(self, key: str) -> Any:
        self.read.append(key)
        return self.data[key]

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("listed")

    def __len__(self) -> int:
        raise AssertionError("measured")


def test_lazy_maps_are_only_asked_for_what_is_named() -> None:
    secrets = Recording({"A": "x", "B": "y"})
    contexts = Recording({"secrets": secrets, "params": {}})
    assert value("secrets.A == 'x'", contexts) is True
    assert (contexts.read, secrets.read) == (["secrets"], ["A"])
    with pytest.raises(ExpressionError, match="secrets has no 'C'"):
        value("secrets.C", contexts)
    assert value("secrets.C?", contexts) is None


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        (
            "conn.db.host",
            "Airflow has no connection 'db': make it under Admin, Connections, or write conn.db? where it may be missing",
        ),
        (
            "vars.V",
            "Airflow has no variable 'V': make it under Admin, Variables, or write vars.V? where it may be missing",
        ),
        (
            "secrets.V",
            "Airflow has no variable 'V': make it under Admin, Variables, or write secrets.V? where it may be missing",
        ),
        ("conn.shop.hots", "did you mean 'host'?"),
        ("params.V", None),
    ],
)
def test_what_the_site_lacks(source: str, hint: str | None) -> None:
    contexts = {"conn": {"shop": {"host": "h"}}, "vars": {}, "secrets": {}, "params": {}}
    with pytest.raises(ExpressionError) as caught:
        value(source, contexts)
    assert caught.value.hint == hint


def test_errors_of_lazy_maps_pass_and_get_a_place() -> None:
    class Omitted(dict[str, Any]):
        def __getitem__(self, key: str) -> Any:
            raise ExpressionError("the output 'model' could not be stored")

    with pytest.raises(ExpressionError, match="could not be stored") as caught:
        value("stages.fit.outputs.model", {"stages": {"fit": {"outputs": Omitted()}}})
    assert caught.value.span == (18, 24)


def test_python_objects_have_no_attributes() -> None:
    class Thing:
        secret = "x"

    with pytest.raises(ExpressionError, match="a Python object of type Thing cannot be used"):
        value("thing.secret", {"thing": Thing()})
    with pytest.raises(ExpressionError, match="has no '__class__'"):
        value("params.name.__class__")


def test_errors_survive_pickling() -> None:
    with pytest.raises(ExpressionError) as caught:
        value("params.nam")
    copy = pickle.loads(pickle.dumps(caught.value))
    assert str(copy) == str(caught.value)


DEEP: list[Any] = []
for _ in range(5000):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    "source",
    [
        "range(10000000)",
        "range(0, 99999999999999999999999999)",
        "[" + ",".join(["range(100000)"] * 500) + "]",
        "format('" + "{0}" * 4000 + "', big)",
        "format('{0}{0}{0}{0}{0}{0}{0}{0}', " * 20 + "big" + ")" * 20,
        "join(range(99999), big)",
        "[" + "toJson(big), " * 1000 + "]",
        " + ".join(["big"] * 1000),
        "len(" + "+".join(["range(100000)"] * 1000) + ")",
        "9999999999 * " * 700 + "1",
        "toJson(deep)",
        "deep == deep2",
        "fromJson(brackets)",
        "[" + "biglist == biglist2, " * 500 + "]",
        "[" + "contains(biglist, -1), " * 500 + "]",
        "[" + "-1 in biglist, " * 500 + "]",
        "[" + "max(biglist), " * 500 + "]",
        "int(digits)",
        "huge.*.*.*.*",
    ],
)
def test_hostile_input_ends_soon(source: str) -> None:
    contexts = {
        "big": "x" * 100_000,
        "biglist": list(range(50_000)),
        "biglist2": list(range(50_000)),
        "deep": DEEP,
        "deep2": [DEEP],
        "brackets": "[" * 200_000,
        "digits": "9" * 1_000_000,
        "huge": [[[[1] * 500] * 100] * 100] * 100,
    }
    started = time.process_time()
    with pytest.raises(ExpressionError):
        value(source, contexts)
    assert time.process_time() - started < 1
