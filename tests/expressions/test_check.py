from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_stagecoach.expressions import (
    ExpressionError,
    Kind,
    Problem,
    Record,
    Scope,
    Words,
    check,
    register_filter,
    registered_filters,
    render,
    restore_filters,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

PARAMS = Record(
    {
        "n": Kind.NUMBER,
        "name": Kind.TEXT,
        "flag": Kind.BOOLEAN,
        "run-date": Kind.DATE,
        "items": Kind.LIST,
        "conf": Kind.MAP,
        "any": Kind.ANYTHING,
    },
    noun="param",
)
STAGES = Record(
    {
        "split": Record(
            {"outputs": Record({"rows": Kind.NUMBER}, noun="output", closed=False)}, noun="stage key"
        )
    },
    noun="stage",
    unavailable={"later": "it runs later"},
)
SCOPE = Scope(
    {
        "params": PARAMS,
        "stages": STAGES,
        "item": Kind.ANYTHING,
        "loop": Kind.NUMBER,
        "env": Record({}, closed=False),
    },
    unavailable={"matrix": "the job has no strategy"},
)
IF = Scope(SCOPE.contexts, SCOPE.unavailable, status=True)


@pytest.fixture(autouse=True)
def _own_registry() -> Iterator[None]:
    before = registered_filters()
    yield
    restore_filters(before)


def only(problems: list[Problem]) -> Problem:
    assert len(problems) == 1, problems
    return problems[0]


@pytest.mark.parametrize(
    "text",
    [
        "${{ params.n + 1 }}",
        "${{ params.n == 1.5 }}",
        "${{ params.n == null }}",
        "${{ params.any == 'x' && params.any == 1 }}",
        "${{ params.run-date.hour >= 9 }}",
        "${{ params.run-date | fmt('%Y') }}",
        "${{ params.items[0].x }} ${{ params.items.0.x }} ${{ params.items.*.x }}",
        "${{ params.conf.a.b['c'] }} ${{ params.conf.* }}",
        "${{ params['name'] }}",
        "${{ params[item] }}",
        "${{ params.nosuch? }}",
        "${{ params.nosuch?.x }}",
        "${{ params.n?.x }}",
        "${{ params.* }}",
        "${{ stages.split.outputs.rows > 2 }}",
        "${{ stages.split.outputs.other.x }}",
        "${{ stages.later?.outputs }}",
        "${{ item.whatever }}",
        "${{ env.X == 'a' }}",
        "${{ len(params.items) > 0 ? 'a' : 'b' }}",
        "${{ params.name in ['a', 'b'] }}",
        "${{ 'x' in params.name }}",
        "${{ 1 in params.items }}",
        "${{ params.name | upper }}",
        "${{ params.flag || 'x' }}",
        "${{ !params.name }}",
        "${{ -params.n }}",
        "${{ fromJson('[1]')[0] }}",
        "${{ hashFiles('nosuch') }}",
        "${{ datetime.now().hour }}",
        "${{ (params.items)[0] }}",
        "${{ params.n | coalesce(1) > 0 }}",
        "${{ ['a'] + params.items }}",
        "${{ {'a': params.n}['a'] }}",
        "$${{ nosuch }}",
        "{{ ds }}",
        "plain {",
        5,
    ],
)
def test_nothing_is_wrong(text: Any) -> None:
    assert check(text, SCOPE) == []


@pytest.mark.parametrize(
    ("text", "message", "marked", "hint"),
    [
        ("x ${{ prams.n }}", "unknown name 'prams'", "prams", "did you mean 'params'?"),
        ("${{ prod }}", "unknown name 'prod'", "prod", "'prod'"),
        ("${{ loop-1 }}", "unknown name 'loop-1'", "loop-1", "loop - 1"),
        ("${{ matrix.a }}", "'matrix' is not available here: the job has no strategy", "matrix", None),
        ("${{ params.nam }}", "unknown param 'nam'", ".nam", "did you mean 'name'?"),
        ("${{ params['run_date'] }}", "unknown param 'run_date'", "['run_date']", "did you mean 'run-date'?"),
        ("${{ stages.splt.outputs }}", "unknown stage 'splt'", ".splt", "did you mean 'split'?"),
        ("${{ stages.later.outputs }}", "stage 'later' is not available here: it runs later", ".later", None),
        ("${{ stages.split.output.x }}", "unknown stage key 'output'", ".output", "'outputs'"),
        ("${{ params.n.x }}", "params.n is a number and has no 'x'", ".x", None),
        ("${{ params.n.* }}", "params.n is a number and has no items", ".*", None),
        ("${{ params.items.x }}", "params.items is a list and has no 'x'", ".x", "[0]"),
        ("${{ params.items['x'] }}", "params.items is a list and has no 'x'", "['x']", "[0]"),
        ("${{ params.run-date.hours }}", "params.run-date is a date and has no 'hours'", ".hours", "'hour'"),
        ("${{ nosuch(1) }}", "unknown function 'nosuch'", "nosuch(1)", None),
        ("${{ lenn(params.items) }}", "unknown function 'lenn'", "lenn(params.items)", "did you mean 'len'?"),
        ("${{ params.name.upper() }}", "unknown function 'params.name.upper'", None, "params.name | upper"),
        ("${{ len() }}", "len() takes 1 value, not 0", "len()", None),
        ("${{ params.name | uper }}", "unknown filter 'uper'", "params.name | uper", "did you mean 'upper'?"),
        ("${{ params.items | getindex }}", "the filter 'getindex' needs the argument 'index'", None, None),
        ("${{ params.run-date | fmt(format='x') }}", "the filter 'fmt' has no argument 'format'", None, None),
        ("${{ params.n == '5' }}", "a number is never equal to a text", "params.n == '5'", "without quotes"),
        ("${{ params.name != 5 }}", "a text is never equal to a number", None, "int(params.name)"),
        ("${{ params.flag == 'true' }}", "a boolean is never equal to a text", None, "write params.flag"),
        (
            "${{ params.flag == params.name }}",
            "a boolean is never equal to a text",
            None,
            "bool(params.name)",
        ),
        ("${{ params.flag == 1 }}", "a boolean is never equal to a number", None, None),
        ("${{ params.run-date == '2024-01-01' }}", "a date is never equal to a text", None, "fmt("),
        ("${{ params.n < 'a' }}", "a number and a text have no order", None, "int('a')"),
        ("${{ len(params.items) > params.name }}", "a number and a text have no order", None, None),
        ("${{ params.conf < params.conf }}", "a map has no order", None, None),
        ("${{ params < params }}", "a map has no order", None, None),
        ("${{ params.n + params.name }}", "a number and a text cannot be joined by '+'", None, "str(x)"),
        ("${{ params.name * 2 }}", "a text and a number cannot be joined by '*'", None, None),
        ("${{ -params.name }}", "a text has no negative", "-params.name", None),
        ("${{ 1 in params.n }}", "'in' needs a list, a text or a map, not a number", None, None),
        ("${{ params.n in params.name }}", "'in' looks for a text in a text, not for a number", None, None),
        ("${{ always() }}", "always() cannot be used here", "always()", "`if`"),
        ("${{ int('abc') }}", "int() got a text that is not a whole number", "int('abc')", None),
        ("${{ item + fromJson('[1,') }}", "fromJson() got a text that is no JSON", "fromJson('[1,')", None),
        ("${{ 1 / 0 }}", "division by zero", "1 / 0", None),
        ("${{ item || [1] | getindex(4) }}", "the value has 1 item and no [4]", None, None),
        ("a ${{ 1 + }} b", "expected a value, found the end", "}}", None),
        ("a {{ ds }", "this {{ of Jinja has no end", "{{", None),
        ("a ${{ item", "this expression has no end", "${{", None),
    ],
)
def test_problems(text: str, message: str, marked: str | None, hint: str | None) -> None:
    problem = only(check(text, SCOPE))
    assert problem.message.startswith(message)
    assert problem.source == text
    if marked is not None:
        assert text[slice(*problem.span)] == marked
    assert (hint or "") in (problem.hint or "")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("inputs.a", "write params.a"),
        ("inputs['a']", "write params"),
        ("github.event.inputs.region", "write params.region"),
        ("github.run_id", "write run.id"),
        ("github.run_number", "write run.id"),
        ("github.run_attempt", "write run.try_number"),
        ("github.workspace", "write env.WORKFLOW_DIR"),
        ("github.ref", "there is no such context; the contexts are env, item, loop, params, stages"),
        ("github", "there is no such context; the contexts are env, item, loop, params, stages"),
        ("github.run_identity", "there is no such context; the contexts are env, item, loop, params, stages"),
        ("runner.os", "there is no such context; the contexts are env, item, loop, params, stages"),
        ("dag_run.conf.region", "write params.region"),
        ("ds", "write run.ds"),
        ("logical_date.year", "write run.logical_date"),
        ("params.run-date | format('%Y')", "write | fmt('%Y')"),
        ("params.run-date | strftime('%Y')", "write | fmt('%Y')"),
        ("params.name | format('{0}')", "it is a function: write format(value)"),
        ("params.name | format", "it is a function: write format(value)"),
    ],
)
def test_words_of_other_tools_are_told_with_ours(text: str, hint: str) -> None:
    assert only(check("a ${{ " + text + " }}", SCOPE)).hint == hint
    with pytest.raises(ExpressionError) as error:
        render("a ${{ " + text + " }}", {name: {"name": "x", "run-date": "x"} for name in SCOPE.contexts})
    assert error.value.hint == hint


WORDS = Scope(
    {"params": Record({"c": Words(["eu", "us"]), "t": Kind.TEXT}, noun="param"), "n": Kind.NUMBER},
    status=True,
)


@pytest.mark.parametrize(
    "text",
    [
        "params.c == 'eu'",
        "params.c != 'us'",
        "params.c == null",
        "params.c == params.t",
        "params.c in ['eu', 'asia']",
        "params.c in params.t",
        "params.c in []",
        "params.c in [params.t, 'asia']",
        "params.c | upper == 'EU'",
        "params.c | coalesce('none') == 'none'",
        "params.c? == 'asia'",
        "'${{ params.c }}' == ''",
        "params.c < 'f'",
        "(params.c || 'none') == 'none'",
    ],
)
def test_what_one_of_a_few_words_may_be(text: str) -> None:
    assert check(text, WORDS, condition=True) == []


@pytest.mark.parametrize(
    ("text", "message", "marked", "hint"),
    [
        ("params.c == 'asia'", "params.c is never 'asia'", "'asia'", "it is one of: eu, us"),
        ("'euu' != params.c", "params.c is never 'euu'", "'euu'", "did you mean 'eu'?"),
        ("params.c == 'EU'", "params.c is never 'EU'", "'EU'", "did you mean 'eu'?"),
        ("params.c in ['asia']", "params.c is never 'asia'", "'asia'", "it is one of: eu, us"),
        ("params.c == 5", "a text is never equal to a number", "params.c == 5", None),
        (
            "params.c",
            "the condition gives a text, not true or false",
            "params.c",
            "compare it, as in: params.c == 'eu'",
        ),
        ("params.c.x == 1", "params.c is a text and has no 'x'", ".x", None),
        ("len(params.c.*) == 1", "params.c is a text and has no items", ".*", None),
        ("params.c + n == 1", "a text and a number cannot be joined by '+'", None, None),
    ],
)
def test_what_one_of_a_few_words_is_never(
    text: str, message: str, marked: str | None, hint: str | None
) -> None:
    problem = only(check(text, WORDS, condition=True))
    assert problem.message == message
    if marked is not None:
        assert text[slice(*problem.span)] == marked
    if hint is not None:
        assert problem.hint == hint


def test_every_problem_is_reported_in_order() -> None:
    problems = check("${{ params.a + params.b }} ${{ nosuch }}", SCOPE)
    assert [problem.span for problem in problems] == [(10, 12), (21, 23), (31, 37)]


def test_nested_values_tell_where() -> None:
    value = {"env": {"A": "ok", "B": ["x", "${{ nosuch }}"]}, "n": 1}
    problem = only(check(value, SCOPE))
    assert problem.path == ("env", "B", 1)
    assert problem.source == "${{ nosuch }}"


def test_code_has_no_jinja() -> None:
    assert check("f'{{' ${{ item }}", SCOPE, jinja=False) == []
    assert len(check("f'{{' ${{ item }}", SCOPE)) == 1


@pytest.mark.parametrize(
    "condition",
    [
        True,
        "true",
        "params.flag",
        "${{ params.any }}",
        "'${{ params.name }}' == 'x' and ${{ params.flag }}",
        "always() && !cancelled()",
        "params.flag ? params.n > 1 : false",
        "params.flag && params.n > 1",
    ],
)
def test_good_conditions(condition: Any) -> None:
    assert check(condition, IF, condition=True) == []


@pytest.mark.parametrize(
    ("condition", "message", "hint"),
    [
        ("params.n", "the condition gives a number, not true or false", "params.n != 0"),
        ("'${{ params.flag }}'", "the condition gives a text, not true or false", None),
        ("params.items", "the condition gives a list, not true or false", "len(params.items) > 0"),
        ("null", "the condition gives null, not true or false", None),
        ("${{ params.nosuch }} == 1", "unknown param 'nosuch'", None),
        ("'${{ params.nosuch }}' == 'x'", "unknown param 'nosuch'", None),
        ("'${{ params.n }}' == 5", "a text is never equal to a number", None),
        ("{{ ds }} == 'x'", "{{ }} of Jinja does not work inside", "run.ds"),
        (5, "a condition is an expression or true or false, not a number", None),
        ("", "expected a value, found the end", None),
    ],
)
def test_bad_conditions(condition: Any, message: str, hint: str | None) -> None:
    problem = only(check(condition, IF, condition=True))
    assert problem.message.startswith(message)
    assert (hint or "") in (problem.hint or "")


def test_registered_filters_are_known() -> None:
    assert len(check("${{ item | mask }}", SCOPE)) == 1
    register_filter("mask", str)
    assert check("${{ item | mask }}", SCOPE) == []


def test_constants_are_not_tried_twice() -> None:
    assert len(check("${{ (1 + 'a') + 2 }}", SCOPE)) == 1


def test_records_describe_themselves() -> None:
    assert repr(Record({"a": Kind.TEXT}, noun="job")) == (
        "Record({'a': <Kind.TEXT: 'text'>}, noun='job', closed=True)"
    )
    assert repr(Words(["a", "b"])) == "Words(('a', 'b'))"
