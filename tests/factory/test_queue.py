"""Tests of airflow_stagecoach.factory._queue: jobs for Airflow's own workers."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.serialization.serialized_objects import DagSerialization

from airflow_stagecoach.document import load
from airflow_stagecoach.factory import build_dag
from airflow_stagecoach.factory._queue import place_of, queue_of
from airflow_stagecoach.importer.backends import InstalledBackends
from tests.factory.plans import job, stage, workflow

ON_GPU = {"type": "self-hosted", "with_": {"queue": "gpu"}}
STRATEGY = {"legs": [{"x": 1}], "axes": ["x"]}


def queues(plan: dict[str, Any]) -> dict[str, str]:
    """Task id -> queue, as the scheduler reads them; only those that the default is not good for."""
    dag = DagSerialization.from_dict(DagSerialization.to_dict(build_dag(plan)))  # type: ignore[arg-type]  # a plain dict
    return {task.task_id: task.queue for task in dag.tasks if task.queue != "default"}


@pytest.mark.parametrize(
    ("keys", "task_id"),
    [({}, "a.s"), ({"strategy": STRATEGY}, "a.s"), ({"granularity": "job"}, "a.__stages__")],
    ids=["plain", "mapped", "one task"],
)
def test_stages_go_to_the_queue(keys: dict[str, Any], task_id: str) -> None:
    plan = workflow(job("a", stage("s"), runs_on=ON_GPU, **keys), job("b", stage("s")))
    assert queues(plan) == {task_id: "gpu"}


@pytest.mark.parametrize(
    "spec",
    [{"operator": "x.Y"}, {"trigger": "z"}, {"approval": {"subject": "?"}}],
    ids=lambda spec: next(iter(spec)),
)
def test_stages_that_an_operator_of_their_own_runs_go_there_too(spec: dict[str, Any]) -> None:
    plan = workflow(job("a", stage("s", next(iter(spec)), **spec), runs_on=ON_GPU))
    assert queues(plan) == {"a.s": "gpu"}


@pytest.mark.parametrize(
    ("runs_on", "queue", "place"),
    [
        (ON_GPU, "gpu", "local"),
        ({**ON_GPU, "emulate": True}, None, "self-hosted"),
        ({"type": "self-hosted", "with_": {"conn": "r"}}, None, "self-hosted"),
        ({"type": "local"}, None, "local"),
        ({"type": "other", "with_": {"queue": "theirs"}}, None, "other"),
    ],
)
def test_where_a_stage_runs(runs_on: Any, queue: str | None, place: str) -> None:
    plan: Any = job("a", stage("s"), runs_on=runs_on)
    assert (queue_of(plan), place_of(plan)["type"]) == (queue, place)


@pytest.mark.parametrize(
    ("configured", "named", "expected"),
    [
        ("LocalExecutor", None, None),
        ("LocalExecutor,CeleryExecutor", None, "CeleryExecutor"),
        ("LocalExecutor", "EdgeExecutor", "EdgeExecutor"),
        ("LocalExecutor,CeleryExecutor", "EdgeExecutor", "EdgeExecutor"),
    ],
)
def test_the_executor_of_a_queue(
    configured: str, named: str | None, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", configured)
    settings = {"queue": "gpu"} if named is None else {"queue": "gpu", "executor": named}
    place = {"type": "self-hosted", "with_": settings}
    dag = build_dag(workflow(job("a", stage("s"), runs_on=place), job("b", stage("s"))))  # type: ignore[arg-type]  # a plain dict
    assert {task.task_id: task.executor for task in dag.tasks} == {"a.s": expected, "b.s": None}


@pytest.mark.parametrize("queue", ["${{ params.q }}", "{{ ds }}"])
def test_a_queue_that_is_not_known_yet(queue: str) -> None:
    text = f"""w:
  type: Workflow
  jobs:
    j:
      runs-on: {{type: self-hosted, with: {{queue: "{queue}"}}}}
      stages: [{{name: a}}]
"""
    (fault,) = load(text.encode(), "w.yaml", backends=InstalledBackends()).diagnostics
    assert (fault.line, "queue must be known when the document is loaded" in fault.message) == (5, True)


def test_from_a_document() -> None:
    text = """
w:
  type: Workflow
  jobs:
    a:
      runs-on: {type: self_hosted, with: {queue: gpu}}
      stages: [{name: s, bash: nvidia-smi}]
"""
    loaded = load(text, "w.yaml", backends=InstalledBackends())
    assert loaded.diagnostics == []
    assert queues(loaded.plans[0]) == {"a.s": "gpu"}  # type: ignore[arg-type]  # a plan is a dict
