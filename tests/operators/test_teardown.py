"""Tests of airflow_stagecoach.operators._teardown: when a leg has something to clean up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowRescheduleException, AirflowSkipException, TaskDeferred
from airflow.sdk.timezone import utcnow
from airflow.triggers.testing import SuccessTrigger

from airflow_stagecoach.operators._run import WorkflowRun
from airflow_stagecoach.operators._teardown import is_teardown, mark_begun, require_begun

from ..factory.plans import job, stage, teardown, workflow
from .fakes import FakeTask, attempt, make_operator

if TYPE_CHECKING:
    from collections.abc import Iterable

JOB: Any = job("a", stage("s"), stage("t", "parallel", parallel={}), teardown("c"))
LEGS = {"legs": [{"x": 1}, {"x": 2}], "axes": ["x"]}


class Data:
    """A run, told: states by task, XComs by task, leg and key."""

    def __init__(self, states: dict[str, str | None], xcoms: dict[tuple[str, int | None, str], Any]) -> None:
        self._states, self._xcoms = states, xcoms

    def states(self, task_ids: list[str]) -> dict[str, str | None]:
        return {key: state for key, state in self._states.items() if key.startswith(tuple(task_ids))}

    def output(self, task_id: str, index: int | None, key: str = "return_value") -> Any:
        return self._xcoms.get((task_id, index, key))

    def outputs(self, task_id: str) -> list[Any]:
        return []

    def ambient(self, paths: Iterable[Any]) -> dict[str, Any]:
        return {}


def run(
    states: dict[str, str | None], xcoms: dict[tuple[str, int | None, str], Any] | None = None, **keys: Any
) -> WorkflowRun:
    return WorkflowRun(workflow({**JOB, **keys}), Data(states, xcoms or {}))


def record(outcome: str, reason: str | None) -> dict[str, Any]:
    return {"outcome": outcome, "reason": reason}


@pytest.mark.parametrize(
    ("first", "second", "began"),
    [
        ("success", "success", True),
        ("success", "skipped", True),
        ("success", "upstream_failed", True),
        ("skipped", "success", True),
        ("failed", "upstream_failed", True),
        ("skipped", "failed", True),
        ("skipped", "skipped", False),
        ("upstream_failed", "upstream_failed", False),
        ("removed", "removed", False),
        (None, None, False),
    ],
)
def test_states_tell(first: str | None, second: str | None, began: bool) -> None:
    assert run({"a.s": first, "a.t": second}).leg_began("a", None) is began


@pytest.mark.parametrize(
    ("task_id", "key", "value", "began"),
    [
        ("a.s", "began", True, True),  # stopped, at work or while it waited
        ("a.s", "error", {"message": "try 1"}, True),  # stopped between two tries
        ("a.s", "record", record("skipped", "skipped"), True),  # its code skipped it
        ("a.s", "record", record("skipped", "condition"), False),
        ("a.s", "record", record("cancelled", "fail-fast"), False),  # looked, and did nothing
        ("a.t", "record", record("skipped", "skipped"), False),  # everything inside was skipped
        ("a.t", "began", True, True),
        ("a.c", "began", True, False),  # a teardown itself does not count
    ],
)
def test_what_a_skipped_stage_left_behind_tells(task_id: str, key: str, value: Any, began: bool) -> None:
    told = run({"a.s": "skipped", "a.t": "skipped"}, {(task_id, None, key): value})
    assert told.leg_began("a", None) is began


def test_each_leg_is_asked_alone() -> None:
    told = run({"a.s_0": "skipped", "a.t_0": "skipped", "a.s_1": "success", "a.t_1": None}, strategy=LEGS)
    assert [told.leg_began("a", index) for index in (0, 1)] == [False, True]
    require_begun(told, "a", 1)
    with pytest.raises(AirflowSkipException, match="nothing to clean up"):
        require_begun(told, "a", 0)


@pytest.mark.parametrize(
    ("state", "result"), [("failed", "success"), ("upstream_failed", "success"), (None, "success")]
)
def test_a_teardown_does_not_count_in_the_result(state: str | None, result: str) -> None:
    assert run({"a.s": "success", "a.t": "success", "a.c": state}).result("a") == result


def test_outputs_of_a_teardown_are_none_of_the_job() -> None:
    xcoms: Any = {("a.s", None, "return_value"): {"x": 1}, ("a.c", None, "return_value"): {"x": 2}}
    assert run({"a.s": "success"}, xcoms).job_outputs("a") == {"x": 1}


def test_which_task_is_one() -> None:
    assert [is_teardown(JOB, position) for position in range(3)] == [False, False, True]
    one_task: Any = {**JOB, "granularity": "job"}
    assert not is_teardown(one_task, 2)
    assert not is_teardown(None, 0)


# -- the operator


def wait(error: BaseException, plan: Any = None) -> FakeTask:
    """A stage that goes on to wait."""
    operator = make_operator(plan or workflow(JOB), "a")

    def start(context: Any) -> Any:
        raise error

    operator._start = start
    tried = attempt(plan or workflow(JOB), operator=operator)
    assert tried.error is error
    return tried.ti


DEFERRED = TaskDeferred(trigger=SuccessTrigger(), method_name="resume")


@pytest.mark.parametrize("error", [DEFERRED, AirflowRescheduleException(utcnow())])
def test_a_stage_that_waits_leaves_word(error: BaseException) -> None:
    assert wait(error).xcoms == {"began": True}


@pytest.mark.parametrize("keys", [{"stages": [stage("s")]}, {"granularity": "job"}])
def test_nobody_leaves_word_where_nobody_asks(keys: dict[str, Any]) -> None:
    ti = FakeTask("a.s")
    plan: Any = {**JOB, **keys}
    mark_begun(plan, ti)
    assert ti.xcoms == {}


@pytest.mark.parametrize(
    ("state", "skipped"), [("failed", False), ("skipped", True), ("upstream_failed", True)]
)
def test_the_task_looks_before_it_works(state: str, skipped: bool) -> None:
    ti = FakeTask("a.c", states={"a.s": state, "a.t": "upstream_failed"})
    tried = attempt(workflow(JOB), position=2, ti=ti)
    assert isinstance(tried.error, AirflowSkipException) is skipped
    assert (tried.outputs is None) is skipped


def test_the_jobs_timeout_is_not_the_teardowns() -> None:
    operator = make_operator(workflow({**JOB, "timeout": 5}), "a", 2)
    ti = FakeTask("a.c", states={"a.s": "failed"}, others={("a.s", "started"): 1.0})
    tried = attempt(workflow({**JOB, "timeout": 5}), operator=operator, ti=ti)
    assert tried.error is None
