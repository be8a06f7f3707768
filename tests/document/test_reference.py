from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from airflow_stagecoach.document.json_schema import json_schema
from airflow_stagecoach.document.reference import reference
from airflow_stagecoach.document.source import read

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLES = Path(__file__).parents[2] / "dags_examples"
AGAIN = "run: python -m airflow_stagecoach.document.reference docs"


def test_the_committed_reference_is_up_to_date() -> None:
    assert (DOCS / "reference.md").read_text(encoding="utf-8") == reference(), AGAIN


def test_the_committed_schema_is_up_to_date() -> None:
    assert json.loads((DOCS / "workflow.schema.json").read_text(encoding="utf-8")) == json_schema(), AGAIN


@cache
def validator() -> Any:
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator.check_schema(json_schema())
    return jsonschema.Draft202012Validator(json_schema())


def valid(document: Any) -> bool:
    result: bool = validator().is_valid(document)
    return result


JOB: dict[str, Any] = {"stages": [{"bash": "x"}]}


@pytest.mark.parametrize(
    "document",
    [
        {"name": "a", "type": "Workflow", "jobs": {}},
        {"name": "a", "desc": None, "on": None, "jobs": {"j": JOB}, "x-held": {"a": 1}},
        {"a": {"type": "Workflow", "jobs": {"j": JOB}}, "x-held": 5},
        {
            "name": "a",
            "jobs": {"j": {"stages": [{"foreach": [1], "stages": [{"echo": "x"}]}], "retry": {"max": 1}}},
        },
    ],
)
def test_the_schema_accepts(document: Any) -> None:
    assert valid(document)


@pytest.mark.parametrize(
    "document",
    [
        {"type": "Workflow", "jobs": {}},
        {"name": "a", "jobs": {"j": {"stages": []}}},
        {"name": "a", "jobs": {"j": {**JOB, "env": None}}},
        {"name": "a", "jobs": {"j": {**JOB, "steps": []}}},
        {"name": "a", "jobs": {"j": {"stages": [{"bash": "x", "run": "y"}]}}},
        {"name": "a", "jobs": {"j": {"stages": [{"bahs": "x"}]}}},
        {"a": {"jobs": {"j": {"stages": 5}}}},
    ],
)
def test_the_schema_refuses(document: Any) -> None:
    assert not valid(document)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_schema_accepts_every_example(path: Path) -> None:
    for part in read(path.read_bytes(), path.name).documents:
        assert valid(part.value)
