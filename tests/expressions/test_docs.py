"""Every example of docs/expressions.md does what it says."""

from __future__ import annotations

import doctest
import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from airflow_stagecoach.expressions import (
    ExpressionError,
    evaluate_condition,
    registered_filters,
    render,
    restore_filters,
)
from airflow_stagecoach.expressions._filters import FILTERS
from airflow_stagecoach.expressions._functions import FUNCTIONS

PAGE = (Path(__file__).parents[2] / "docs" / "expressions.md").read_text(encoding="utf-8")


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def rows(kind: str) -> list[tuple[str, str]]:
    lines = [line for block in blocks(kind) for line in block.splitlines() if line]
    return [(left.strip(), right.strip()) for left, right in (line.rsplit(" => ", 1) for line in lines)]


def dates(found: dict[str, Any]) -> Any:
    return datetime.fromisoformat(found["date"]) if list(found) == ["date"] else found


CONTEXTS: dict[str, Any] = json.loads(blocks("json contexts")[0], object_hook=dates)


@pytest.mark.parametrize(("source", "expected"), rows("examples"))
def test_examples(source: str, expected: str) -> None:
    result = render(source, CONTEXTS)
    assert json.dumps(result) == json.dumps(json.loads(expected))


@pytest.mark.parametrize(("source", "expected"), rows("errors"))
def test_errors(source: str, expected: str) -> None:
    with pytest.raises(ExpressionError, match=re.escape(expected)):
        render(source, CONTEXTS)


@pytest.mark.parametrize(("source", "expected"), rows("conditions"))
def test_conditions(source: str, expected: str) -> None:
    assert evaluate_condition(source, CONTEXTS) is json.loads(expected)


@pytest.mark.parametrize(("source", "expected"), rows("condition-errors"))
def test_condition_errors(source: str, expected: str) -> None:
    with pytest.raises(ExpressionError, match=re.escape(expected)):
        evaluate_condition(source, CONTEXTS)


def test_python_examples() -> None:
    before = registered_filters()
    try:
        test = doctest.DocTestParser().get_doctest("\n".join(blocks("python")), {}, "expressions.md", None, 0)
        runner = doctest.DocTestRunner()
        runner.run(test)
    finally:
        restore_filters(before)
    assert test.examples
    assert runner.summarize(verbose=False).failed == 0


def test_every_block_is_tried() -> None:
    found = set(re.findall(r"^```(\w.*)$", PAGE, re.MULTILINE))
    assert found == {"json contexts", "examples", "errors", "conditions", "condition-errors", "python"}


def test_every_function_and_filter_is_described() -> None:
    described = " ".join(line for line in PAGE.splitlines() if line.startswith("| `"))
    for name in [*FUNCTIONS, *FILTERS]:
        assert re.search(rf"(?<![\w.]){re.escape(name)}\b", described), name
