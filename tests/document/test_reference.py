from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from airflow_stagecoach.backends.listing import built_in_schemas
from airflow_stagecoach.document import load
from airflow_stagecoach.document.json_schema import json_schema
from airflow_stagecoach.document.reference import reference
from airflow_stagecoach.document.source import read

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLES = Path(__file__).parents[2] / "dags_examples"
BACKENDS = built_in_schemas()
SCHEMA = json_schema(BACKENDS)
AGAIN = "run: python -m airflow_stagecoach.importer.reference docs"


def test_the_committed_reference_is_up_to_date() -> None:
    assert (DOCS / "reference.md").read_text(encoding="utf-8") == reference(BACKENDS), AGAIN


def test_the_committed_schema_is_up_to_date() -> None:
    assert json.loads((DOCS / "workflow.schema.json").read_text(encoding="utf-8")) == SCHEMA, AGAIN


@cache
def validator() -> Any:
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    return jsonschema.Draft202012Validator(SCHEMA)


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


NAMED = {"name": "a", "jobs": {"j": JOB}}


@pytest.mark.parametrize(
    "keys",
    [
        {"concurrency": "g", "deadline": "30m", "max-active-tasks": 5},
        {"concurrency": {"group": "g", "on-conflict": "cancel-running"}},
        {"notify": {"failure": "https://x.y", "deadline": [{"conn": "a"}, "https://x.y"]}},
        {"notify": {"success": {"notifier": "a.B", "with": {"x": 1}}}},
        {"logging": {"level": "debug", "file": True}},
        {"defaults": {"timeout": "none", "pool": "p", "priority": -1, "cleanup": "always"}},
        {"defaults": {"logging": {"file": {"path": "/a", "max-bytes": "1M", "backups": 2}}}},
        {"defaults": {"resources": {"cpu": "500m", "memory": 1048576, "limits": {"cpu": 1}}}},
        {"defaults": {"retry": {"max": 1, "on": [75, "network"], "never": "http:404"}}},
        {"defaults": {"retry": {"max": 1, "rules": [{"match": "system", "action": "fail"}]}}},
        {"defaults": {"retry": {"max": 1, "backoff": "custom", "policy": "a:B", "with": {"x": 1}}}},
        {"jobs": {"j": {"stages": [{"bash": "x"}, {"bash": "y", "teardown": True, "pool-slots": 2}]}}},
    ],
)
def test_the_schema_accepts_run_control(keys: dict[str, Any]) -> None:
    assert valid({**NAMED, **keys})
    assert load(json.dumps({**NAMED, **keys, **({"deadline": 5} if "notify" in keys else {})})).plans


@pytest.mark.parametrize(
    "keys",
    [
        {"concurrency": {"on-conflict": "queue"}},
        {"concurrency": {"group": "g", "on-conflict": "wait"}},
        {"max-active-tasks": 0},
        {"notify": {"on-failure": "https://x.y"}},
        {"notify": {"failure": []}},
        {"notify": {"failure": {"url": "https://x.y"}}},
        {"logging": {"level": "loud"}},
        {"logging": {"file": {"path": "logs"}}},
        {"defaults": {"cleanup": "sometimes"}},
        {"defaults": {"pool-slots": 0}},
        {"defaults": {"resources": {"gpu": -1}}},
        {"defaults": {"resources": {"limits": {"gpu": 1}}}},
        {"defaults": {"retry": {"max": 1, "rules": [{"delay": 1}]}}},
        {"jobs": {"j": {"stages": [{"bash": "x", "teardown": "yes"}]}}},
    ],
)
def test_the_schema_refuses_run_control(keys: dict[str, Any]) -> None:
    assert not valid({**NAMED, **keys})
    assert not load(json.dumps({**NAMED, **keys})).plans


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


@pytest.mark.parametrize(
    ("runs_on", "good"),
    [
        ("docker", True),
        ({"type": "docker", "with": {"image": "a"}}, True),
        (
            {"type": "docker", "with": {"image": "a", "gpus": "${{ matrix.n }}", "tls": {"ca-cert": "a"}}},
            False,
        ),
        (
            {"type": "docker", "with": {"image": "a", "gpus": "${{ matrix.n }}", "pull": "${{ params.p }}"}},
            True,
        ),
        ({"type": "container", "with": {"image": "a", "volumes": ["a:/a"]}, "emulate": True}, True),
        ({"type": "docker", "with": {"image": "a", "imgae": "b"}}, False),
        ({"type": "docker", "with": {"image": "a", "pull": "often"}}, False),
        ({"type": "local-container", "with": {}}, True),  # with image stages alone; else the checks tell
        ({"type": "docker"}, True),
        ({"type": "of-another-package", "with": {"x": 1}}, True),
        ({"type": "local"}, True),
    ],
)
def test_settings_of_backends(runs_on: Any, good: bool) -> None:
    assert valid({"name": "a", "jobs": {"j": {**JOB, "runs-on": runs_on}}}) == good


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_schema_accepts_every_example(path: Path) -> None:
    for part in read(path.read_bytes(), path.name).documents:
        assert valid(part.value)
