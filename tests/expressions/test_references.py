from __future__ import annotations

from typing import Any

import pytest

from airflow_stagecoach.expressions import ExpressionSyntaxError, references


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain", set()),
        (5, set()),
        ("${{ needs.split.outputs.partitions }}", {("needs", "split", "outputs", "partitions")}),
        ("${{ stages['a-b'].outputs.x[0] }}", {("stages", "a-b", "outputs", "x", "0")}),
        ("${{ stages.a.outputs.x[-1] }}", {("stages", "a", "outputs", "x", None)}),
        ("${{ stages[params.x].outputs }}", {("stages", None, "outputs"), ("params", "x")}),
        ("${{ needs.*.result }}", {("needs", None, "result")}),
        ("${{ toJson(needs) }}", {("needs",)}),
        (
            "${{ needs.a.outputs?.x? | coalesce(params.d) }}",
            {("needs", "a", "outputs", "x"), ("params", "d")},
        ),
        ("${{ fromJson(needs.a.outputs.x).y[item] }}", {("needs", "a", "outputs", "x"), ("item",)}),
        ("${{ (needs.a)['b'].c }}", {("needs", "a")}),
        ("${{ a ? b : c && !d || [e, -f] == {'k': g} }}", {(name,) for name in "abcdefg"}),
        ("${{ x | f(a, k=b.c) }}", {("x",), ("a",), ("b", "c")}),
        ("$${{ a }} {{ b }}", set()),
        ("{{ '${{ a }}' }}", {("a",)}),
        ("f'{{' ${{ a }}", {("a",)}),
        ({"x": ["${{ a }}", {"y": "${{ b.c }}"}], "${{ key }}": 1}, {("a",), ("b", "c")}),
    ],
)
def test_references(value: Any, expected: set[Any]) -> None:
    assert references(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, set()),
        ("params.a == 'x'", {("params", "a")}),
        ("'${{ params.e }}x' == 'prod' and ${{ params.flag }}", {("params", "e"), ("params", "flag")}),
        ("always()", set()),
    ],
)
def test_of_conditions(value: Any, expected: set[Any]) -> None:
    assert references(value, condition=True) == expected


def test_bad_syntax() -> None:
    with pytest.raises(ExpressionSyntaxError):
        references(["${{ a b }}"])
