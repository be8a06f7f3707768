from __future__ import annotations

import math
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest

from airflow_stagecoach.expressions import ExpressionError, evaluate, parse
from airflow_stagecoach.expressions._functions import FUNCTIONS, STATUS_FUNCTIONS, find_function


def value(source: str, **contexts: Any) -> Any:
    return evaluate(parse(source), contexts)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        # as on GitHub
        ("contains('Hello world', 'llo')", True),
        ("contains('Hello world', 'LLO')", True),
        ("CONTAINS('abc', 'd')", False),
        ("contains(['push', 'pull'], 'PUSH')", True),
        ("contains(['push'], 'pus')", False),
        ("contains([1, 2], 1)", True),
        ("contains([1, 2], '1')", False),
        ("contains(123, 2)", True),
        ("contains(null, '')", True),
        ("startsWith('Hello', 'hE')", True),
        ("startswith('Hello', 'x')", False),
        ("startsWith('İstanbul', 'i')", False),
        ("endsWith('Hello', 'LO')", True),
        ("format('{0} {1} {0}', 'a', 1)", "a 1 a"),
        ("format('{{0}}', 'a')", "{0}"),
        ("format('}}{{', 'a')", "}{"),
        ("format('{0}', null)", ""),
        ("format('{0}', true)", "true"),
        ("format('{0}', [1])", "[1]"),
        ("format('')", ""),
        ("join(['a', 1, true, null])", "a,1,true,"),
        ("join([1, 2], ' - ')", "1 - 2"),
        ("join('abc')", "abc"),
        ("join([])", ""),
        ("join(['a', 'b'], 0)", "a0b"),
        ("format(12)", "12"),
        ("toJson({'a': [1, null, 'é']})", '{"a": [1, null, "é"]}'),
        ("toJSON('a\"b')", '"a\\"b"'),
        ("fromJson('[1, {\"a\": 1.5}]')", [1, {"a": 1.5}]),
        ("fromJSON('null')", None),
        ("fromJson([1])", [1]),
        ("fromJson({'a': 1})", {"a": 1}),
        ("fromJson(toJson('x'))", "x"),
        # as in Python
        ("len('abc')", 3),
        ("len([1, 2])", 2),
        ("len({'a': 1})", 1),
        ("range(3)", [0, 1, 2]),
        ("range(1, 4)", [1, 2, 3]),
        ("range(5, 0, -2)", [5, 3, 1]),
        ("range(0)", []),
        ("keys({'a': 1, 'b': 2})", ["a", "b"]),
        ("values({'a': 1, 'b': 2})", [1, 2]),
        ("min(3, 1, 2)", 1),
        ("max([3, 1, 2])", 3),
        ("max('a', 'b')", "b"),
        ("min(1, 0.5)", 0.5),
        ("sum([1, 2, 3])", 6),
        ("sum([])", 0),
        ("sum([0.5, 1])", 1.5),
        ("str(1)", "1"),
        ("str(null)", ""),
        ("str(true)", "true"),
        ("str([1, 'a'])", '[1, "a"]'),
        ("int('42')", 42),
        ("int(' -7 ')", -7),
        ("int(3.9)", 3),
        ("int(true)", 1),
        ("float('1.5')", 1.5),
        ("float('1e3')", 1000.0),
        ("float(2)", 2.0),
        ("bool('True')", True),
        ("bool('false')", False),
        ("bool(0)", False),
        ("bool(null)", False),
        ("bool(2)", True),
    ],
)
def test_functions(source: str, expected: Any) -> None:
    result = value(source)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("contains({'a': 1}, 'a')", "contains() takes a text or a list, not a map"),
        ("contains('a', [1])", "contains() needs a text, not a list"),
        ("startsWith({}, 'a')", "startsWith() needs a text, not a map"),
        ("format([1])", "format() needs a text, not a list"),
        ("format('{1}', 'a')", "format() has no value for '{1}'"),
        ("format('{0', 'a')", "format() has a single '{' in its text"),
        ("format('a}', 'a')", "format() has a single '}' in its text"),
        ("join({'a': 1})", "join() takes a list, not a map"),
        ("join([1], [])", "join() needs a text, not a list"),
        ("fromJson('[1,')", "fromJson() got a text that is no JSON"),
        ("fromJson('{''a'': 1}')", "fromJson() got a text that is no JSON"),
        ("fromJson('NaN')", "fromJson() got NaN, which is no JSON"),
        ("fromJson(digits)", "fromJson() got too large a number"),
        ("len(5)", "len() takes a text, a list or a map, not a number"),
        ("len(null)", "len() takes a text, a list or a map, not null"),
        ("range('3')", "range() takes whole numbers, not a text"),
        ("range(1, 2, 0)", "range() cannot take steps of 0"),
        ("range(100001)", "range() gives at most 100000 numbers"),
        ("keys([1])", "keys() needs a map, not a list"),
        ("values(1)", "values() needs a map, not a number"),
        ("min([])", "min() of an empty list"),
        ("max(1)", "max() needs a list, not a number"),
        ("max(1, 'a')", "a text and a number have no order"),
        ("sum(['a'])", "a number and a text cannot be joined by '+'"),
        ("sum(5)", "sum() needs a list, not a number"),
        ("int('3.5')", "int() got a text that is not a whole number"),
        ("int('abc')", "int() got a text that is not a whole number"),
        ("int(null)", "int() cannot read null"),
        ("int([1])", "int() cannot read list"),
        ("int(infinite)", "int() cannot read number"),
        ("int(vast)", "a number is out of range"),
        ("int(nan)", "a number is out of range"),
        ("float('x')", "float() got a text that is not a number"),
        ("float('nan')", "float() got a text that is not a number"),
        ("float(vast_int)", "float() got too large a number"),
        ("bool('yes')", "bool() got a text that is neither 'true' nor 'false'"),
        ("bool([1])", "bool() cannot read a list"),
        ("len()", "len() takes 1 value, not 0"),
        ("contains('a')", "contains() takes 2 values, not 1"),
        ("join()", "join() takes 1 to 2 values, not 0"),
        ("format()", "format() takes at least 1 value, not 0"),
        ("success(1)", "success() takes no values, not 1"),
        ("9999999999 * nan", "the result of '*' is out of range"),
        ("-nan < 1", "a number is out of range"),
    ],
)
def test_refusals(source: str, message: str) -> None:
    contexts = {
        "digits": "1" * 500,
        "infinite": math.inf,
        "vast": Decimal("1E+999999999"),
        "vast_int": 10**400,
        "nan": Decimal("sNaN"),
    }
    with pytest.raises(ExpressionError) as caught:
        value(source, **contexts)
    assert caught.value.message.startswith(message)
    assert caught.value.span is not None


@pytest.mark.parametrize("name", STATUS_FUNCTIONS)
@pytest.mark.parametrize("held", [True, False])
def test_status(name: str, held: bool) -> None:
    status = {"success": held, "failure": held, "cancelled": held}
    expected = True if name == "always" else held
    assert value(f"{name}()", __status__=status) is expected
    assert value(f"{name.upper()}()", __status__=status) is expected


def test_dates() -> None:
    now = value("datetime.now()")
    assert isinstance(now, datetime)
    assert now.tzinfo is not None
    assert value("datetime.now().hour >= 0 && datetime.now().hour <= 23") is True
    assert value("datetime.utcnow()").utcoffset().total_seconds() == 0
    assert value("date.today()") == date.today()
    assert value("d.hour + d.minute", d=date(2024, 1, 1)) == 0


def test_names_of_python_keep_their_case() -> None:
    assert find_function("LEN") is None
    assert find_function("tojson") is FUNCTIONS["toJson"]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("d + 1", Decimal("1.5")),
        ("d + 0.25", Decimal("0.75")),
        ("d == 0.5", True),
        ("d < 1", True),
        ("int(d)", 0),
        ("float(d)", 0.5),
        ("toJson([d])", "[0.5]"),
        ("sum([d, d])", Decimal("1.0")),
    ],
)
def test_decimals(source: str, expected: Any) -> None:
    assert value(source, d=Decimal("0.5")) == expected


@pytest.mark.parametrize("source", ["1e308 * 10", "big / 1.5", "big * 1.0", "big * big"])
def test_large_results_are_refused(source: str) -> None:
    with pytest.raises(ExpressionError, match=r"too large|out of range"):
        value(source, big=2**4000)
