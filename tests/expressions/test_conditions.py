from __future__ import annotations

from typing import Any

import pytest

from airflow_stagecoach.expressions import (
    ExpressionError,
    ExpressionSyntaxError,
    evaluate_condition,
    status_functions,
)

CONTEXTS: dict[str, Any] = {
    "params": {"e": "prod", "flag": True, "n": 2, "name": "it's", "evil": "' == '' or '' == '", "list": [1]},
    "item": 2,
    "branch": "branch02",
    "secrets": {"A": "hunter2"},
    "stages": {},
    "__status__": {"success": False, "failure": True, "cancelled": False},
}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (True, True),
        (False, False),
        ("true", True),
        ("False", False),
        ("True", True),
        ("${{ true }}", True),
        (" ${{ params.flag }} ", True),
        ("${{ params.e == 'prod' && params.flag == true }}", True),
        ("params.e == 'prod'", True),
        ("params['e'] == 'x'", False),
        ("'${{ params.e }}' == 'prod'", True),
        ("'${{ params.e }}' == 'prod' and ${{ params.flag }}", True),
        ('"${{ params.e }}" == "foo"', False),
        ("'a-${{ params.e }}-${{ params.n }}' == 'a-prod-2'", True),
        ("'${{ params['e'] }}' == 'prod'", True),
        ("'${{ params.n }}' == '2'", True),
        ("${{ item }} == 2", True),
        ("${{ item }} == '2'", False),
        ("${{ item }} > 1 and not ${{ item }} > 2", True),
        ("${{ branch | rstr }} == 'branch02'", True),
        ("${{ params.e }} == ${{ params.e }}", True),
        ("${{ params.n + 1 }} * 2 == 6", True),
        ("!${{ params.flag }}", False),
        ("${{ params.name }} == 'it''s'", True),
        ("'${{ params.name }}' == 'it''s'", True),
        ("'it''s ${{ params.n }}' == 'it''s 2'", True),
        ("'$${{' == '$' + '{{'", True),
        ("'x$${{ ${{ params.n }}' == 'x$${{ 2'", True),
        # a value is never source
        ("'${{ params.evil }}' == 'x'", False),
        ("${{ params.evil }} == 'x'", False),
        ("always()", True),
        ("failure() && !cancelled()", True),
        ("${{ success() }} || ${{ failure() }}", True),
        ("contains(params.list, 1)", True),
        ("${{ params.list }}[0] == 1", True),
        ("${{ params.flag }} ? true : false", True),
        ("(${{ params.n }} == 2)", True),
        ("'it''s' == \"it's\" && ${{ true }}", True),
    ],
)
def test_conditions(source: Any, expected: bool) -> None:
    assert evaluate_condition(source, CONTEXTS) is expected


@pytest.mark.parametrize(
    ("source", "message", "hint"),
    [
        ("'demo'", "the condition gave the text 'demo', not true or false", "'demo' == 'yes'"),
        ("${{ params.n }}", "the condition gave the number 2, not true or false", "params.n != 0"),
        ("params.list", "the condition gave the list [1], not true or false", "len(params.list) > 0"),
        ("null", "the condition gave null, not true or false", "null != null"),
        ("'${{ params.flag }}'", "the condition gave the text 'true', not true or false", None),
        ("secrets.A", "the condition gave a text, not true or false", None),
        ("'x${{ secrets.A }}'", "the condition gave a text, not true or false", None),
        ("params.e + 'x' * 0", "a text and a number cannot be joined by '*'", None),
        (5, "a condition is an expression or true or false, not a number", None),
        (None, "a condition is an expression or true or false, not null", None),
        ("params.nosuch", "params has no 'nosuch'", None),
        ("datetime.now()", "the condition gave the date", "datetime.now() > datetime.now()"),
    ],
)
def test_refusals(source: Any, message: str, hint: str | None) -> None:
    with pytest.raises(ExpressionError) as caught:
        evaluate_condition(source, CONTEXTS)
    assert caught.value.message.startswith(message)
    assert (hint or "") in (caught.value.hint or "")
    assert "hunter2" not in str(caught.value)


def test_long_values_are_not_shown() -> None:
    with pytest.raises(ExpressionError, match="gave a text, not"):
        evaluate_condition("params.x", {"params": {"x": "y" * 100}})


@pytest.mark.parametrize("source", ["", "  ", "a ==", "${{ }}"])
def test_syntax(source: str) -> None:
    with pytest.raises(ExpressionSyntaxError):
        evaluate_condition(source, {})


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (None, set()),
        (True, set()),
        ("params.a", set()),
        ("'always()'", set()),
        ("always()", {"always"}),
        ("${{ Failure() }} || (params.a && !success())", {"failure", "success"}),
        ("'${{ cancelled() }}' == 'true'", {"cancelled"}),
        ("x[always()] | f(y=failure())", {"always", "failure"}),
    ],
)
def test_status_functions(source: Any, expected: set[str]) -> None:
    assert status_functions(source) == expected
