"""Templates as an older engine with this grammar had them, with what they give there or, knowingly, here."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from airflow_stagecoach.expressions import ExpressionError, render

STAGE = {"stages": {"first-stage": {"outputs": {"result": 100}}}}


@pytest.mark.parametrize(
    ("value", "contexts", "expected"),
    [
        ("${{ params.value }}", {"params": {"value": -10}}, -10),
        (
            ["${{ params.src }}", "${{ params.value }}"],
            {"params": {"src": "foo", "value": -10}},
            ["foo", -10],
        ),
        ("${{ stages.first-stage.errors?.message | coalesce(False) }}", STAGE, False),
        (
            "${{ params.start-dt | fmt('%Y%m%d') }}",
            {"params": {"start-dt": datetime(2024, 6, 12)}},
            "20240612",
        ),
        (
            "${{ params.asat-dt | fmt(fmt='%Y%m%d') }}",
            {"params": {"asat-dt": datetime(2024, 8, 1)}},
            "20240801",
        ),
        ("${{ params.value | coalesce('foo') }}", {"params": {"value": "bar"}}, "bar"),
        ("${{ params.data | getitem('foo', 'bar') }}", {"params": {"data": {"key": "value"}}}, "bar"),
        ("${{ params.range | getindex(0) }}", {"params": {"range": [1, 2, 3]}}, 1),
        ("${{ params.v | int }}", {"params": {"v": "1"}}, 1),
        ("${{ params.v | values | list }}", {"params": {"v": {"foo": 1, "bar": 2}}}, [1, 2]),
    ],
)
def test_same(value: Any, contexts: dict[str, Any], expected: Any) -> None:
    result = render(value, contexts)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("value", "contexts"),
    [
        ("${{ params.asat-dt | fmt(fmt='%Y%m%d) }}", {"params": {"asat-dt": datetime(2024, 8, 1)}}),
        ("${{ params.range | getindex(4) }}", {"params": {"range": [1, 2, 3]}}),
    ],
)
def test_rejected(value: str, contexts: dict[str, Any]) -> None:
    with pytest.raises(ExpressionError):
        render(value, contexts)


@pytest.mark.parametrize(
    ("value", "contexts", "expected"),
    [
        # There a text that reads None became null; here a text stays what it is.
        ("None", {}, "None"),
        # There ${ NAME } was replaced by the worker's environment, also in shell and Python sources; here it
        # belongs to the shell, and the environment is the context `env`.
        ("${ CASE_ENV }", {}, "${ CASE_ENV }"),
        # There null in a text read None; here it is empty.
        ("value is ${{ stages.first-stage.errors?.class }}", STAGE, "value is "),
    ],
)
def test_knowingly_different(value: str, contexts: dict[str, Any], expected: str) -> None:
    assert render(value, contexts) == expected
