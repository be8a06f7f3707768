"""Results of legs that ended early, read through the plan."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_stagecoach.operators._run import RECORD, STAGES, WorkflowRun
from tests.factory.plans import job, stage, workflow

STRATEGY = {"legs": [{"n": 0}, {"n": 1}], "axes": ["n"], "fail_fast": True}


class Data:
    """States and XComs of a run."""

    def __init__(self, states: dict[str, str | None], records: dict[int, Any]) -> None:
        self._states = states
        self._records = records

    def states(self, task_ids: list[str]) -> dict[str, str | None]:
        return self._states

    def output(self, task_id: str, index: int | None, key: str = "return_value") -> Any:
        return self._records.get(index if index is not None else -1) if key == STAGES else None

    def outputs(self, task_id: str) -> list[Any]:
        return []

    def ambient(self, paths: Any) -> dict[str, Any]:
        return {}


def told(**outcomes: str) -> dict[str, Any]:
    """What the one task of a leg tells of its stages."""
    states = {"success": "success", "skipped": "skipped"}
    return {
        name: {"state": states.get(outcome, "failed"), "outcome": outcome, "outputs": {}}
        for name, outcome in outcomes.items()
    }


@pytest.mark.parametrize(
    ("task", "record", "result"),
    [
        ("skipped", told(a="cancelled"), "cancelled"),
        ("skipped", told(a="success", b="cancelled"), "cancelled"),
        ("skipped", None, "cancelled"),
        ("failed", told(a="cancelled"), "failure"),
        ("success", told(a="success", b="success"), "success"),
        ("failed", told(a="success", b="failure"), "failure"),
        ("success", told(a="skipped", b="success"), "success"),
    ],
)
def test_a_leg_that_is_one_task(task: str, record: Any, result: str) -> None:
    plan = workflow(
        job("j", stage("a", if_="${{ matrix.n }}"), stage("b"), strategy=STRATEGY, granularity="job")
    )
    states: dict[str, str | None] = {"j.__stages___0": "failed", "j.__stages___1": task}
    run = WorkflowRun(plan, Data(states, {0: told(a="failure"), 1: record}))
    assert run.leg_result("j", 1) == result
    assert run.leg_result("j", 0) == "failure"


@pytest.mark.parametrize(
    ("states", "result"),
    [
        (("skipped", "skipped"), "cancelled"),
        (("success", "skipped"), "cancelled"),
        (("skipped", "success"), "success"),
        (("success", "success"), "success"),
        (("failed", "upstream_failed"), "failure"),
    ],
)
def test_a_leg_of_tasks(states: tuple[str, str], result: str) -> None:
    plan = workflow(job("j", stage("a", if_="${{ matrix.n }}"), stage("b"), strategy=STRATEGY))
    found = {"j.a_0": "failed", "j.b_0": "upstream_failed", "j.a_1": states[0], "j.b_1": states[1]}
    run = WorkflowRun(plan, Data(dict(found), {}))
    assert run.leg_result("j", 1) == result


@pytest.mark.parametrize(
    ("states", "record", "result"),
    [
        (("success", "skipped"), None, "cancelled"),
        (("success", "skipped"), {"outcome": "cancelled"}, "cancelled"),
        (("success", "skipped"), {"outcome": "skipped"}, "success"),
        (("skipped", "skipped"), {"outcome": "skipped"}, "cancelled"),
        (("skipped", "success"), None, "success"),
    ],
)
def test_a_last_stage_with_an_if_tells_by_its_record(
    states: tuple[str, str], record: Any, result: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = workflow(job("j", stage("a"), stage("b", if_="${{ matrix.n }}"), strategy=STRATEGY))
    found = {"j.a_0": "failed", "j.b_0": "upstream_failed", "j.a_1": states[0], "j.b_1": states[1]}
    data = Data(dict(found), {})

    def output(task_id: str, index: int | None, key: str = "return_value") -> Any:
        return record if (task_id, index, key) == ("j.b", 1, RECORD) else None

    monkeypatch.setattr(data, "output", output)
    assert WorkflowRun(plan, data).leg_result("j", 1) == result
