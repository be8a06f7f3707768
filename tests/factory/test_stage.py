"""Tests of airflow_stagecoach.factory._stage: a stage as a task."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException
from airflow.serialization.serialized_objects import DagSerialization

from airflow_stagecoach.factory import build_dag
from airflow_stagecoach.factory._stage import default_timeout, display_name, with_timeout
from airflow_stagecoach.operators.retry import LostWorkerPolicy
from tests.factory.plans import job, stage, workflow

OPTION = "AIRFLOW__STAGECOACH__DEFAULT_TIMEOUT"


def task(plan: dict[str, Any], task_id: str = "a.s", **keys: Any) -> Any:
    """The task of a stage, as the scheduler reads it."""
    dag = build_dag(workflow(job("a", plan, **keys)))
    return DagSerialization.from_dict(DagSerialization.to_dict(dag)).task_dict[task_id]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Load it", "Load it"),
        ("Load ${{ matrix.x }} now", "Load {x} now"),
        ("${{matrix.run-date}} / ${{ params.mode }}", "{run-date} / {mode}"),
        ("Load ${{ matrix.x | upper }} of ${{ matrix.y }}", "Load … of {y}"),
        ("Load ${{ matrix['x'] }}", "Load …"),
    ],
)
def test_names_with_expressions_are_shown_with_their_names(name: str, shown: str) -> None:
    assert display_name(name) == shown


# -- pool and priority

PLACED = {"pool": "gpu", "pool_slots": 3, "priority": 12}
STRATEGY = {"legs": [{"x": 1}], "axes": ["x"]}


@pytest.mark.parametrize(
    ("keys", "task_id"),
    [({}, "a.s"), ({"strategy": STRATEGY}, "a.s"), ({"granularity": "job"}, "a.__stages__")],
    ids=["plain", "mapped", "one task"],
)
@pytest.mark.parametrize("kind", ["bash", "operator", "trigger", "approval"])
def test_pool_and_priority(kind: str, keys: dict[str, Any], task_id: str) -> None:
    spec: dict[str, dict[str, Any]] = {
        "operator": {"operator": "x.Y"},
        "trigger": {"trigger": "z"},
        "approval": {"approval": {"subject": "?"}},
    }
    found = task({**stage("s", kind, **spec.get(kind, {})), **PLACED}, task_id, **keys)
    assert (found.pool, found.pool_slots, found.priority_weight) == ("gpu", 3, 12)
    assert type(found.weight_rule).__name__ == "_AbsolutePriorityWeightStrategy"


def test_what_a_document_does_not_say_is_left_to_airflow() -> None:
    found = task(stage("s"))
    assert (found.pool, found.pool_slots, found.priority_weight) == ("default_pool", 1, 1)
    assert type(found.weight_rule).__name__ == "_DownstreamPriorityWeightStrategy"


# -- the default timeout


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("", None), ("0", None), ("90", 90), ("90s", 90), ("1h30m", 5400), (" PT10M ", 600), ("0.5", 0.5)],
)
def test_the_option(text: str, seconds: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OPTION, text)
    assert default_timeout() == seconds


@pytest.mark.parametrize("text", ["soon", "-5", "10 parsecs", "400d"])
def test_an_option_that_is_no_duration(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OPTION, text)
    with pytest.raises(AirflowException, match=r"\[stagecoach\] default_timeout"):
        default_timeout()


@pytest.mark.parametrize(
    ("plan", "seconds"),
    [
        (stage("s"), 60),
        ({**stage("s"), "timeout": 5}, 5),
        ({**stage("s"), "timeout": 500}, 500),
        ({**stage("s"), "no_timeout": True}, None),
    ],
)
def test_who_has_the_default_timeout(
    plan: dict[str, Any], seconds: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(OPTION, "1m")
    expected = None if seconds is None else timedelta(seconds=seconds)
    assert task(plan).execution_timeout == expected


def test_nobody_has_one_without_the_option() -> None:
    assert task(stage("s")).execution_timeout is None


def test_a_person_may_take_time() -> None:
    approval: Any = stage("s", "approval", approval={"subject": "?"})
    assert with_timeout(approval, 60) is approval


def test_with_granularity_job_each_inner_stage_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OPTION, "1m")
    dag = build_dag(
        workflow(job("a", stage("s"), {**stage("t"), "no_timeout": True}, granularity="job", timeout=300))
    )
    whole: Any = dag.task_dict["a.__stages__"]
    assert whole.execution_timeout == timedelta(minutes=5)
    assert [inner.get("timeout") for inner in whole.stage["stages"]] == [60, None]


@pytest.mark.parametrize(
    ("retries", "expected"),
    [((2, 3), 2), ((3, 0), 0), ((1, None), 0), ((None, None), 0)],
)
def test_one_task_is_repeated_for_a_lost_worker_when_each_of_its_stages_may_be(
    retries: tuple[int | None, ...], expected: int
) -> None:
    stages = [
        stage(f"s{number}") if most is None else {**stage(f"s{number}"), "retry": {"max": most, "delay": 7.0}}
        for number, most in enumerate(retries)
    ]
    whole: Any = build_dag(workflow(job("a", *stages, granularity="job"))).task_dict["a.__stages__"]
    assert whole.retries == expected
    if expected:
        assert whole.retry_delay == timedelta(seconds=7)
        assert isinstance(whole.retry_policy, LostWorkerPolicy)


# -- notifications

EVENTS = {
    "success": "on_success_callback",
    "failure": "on_failure_callback",
    "retry": "on_retry_callback",
    "skip": "on_skipped_callback",
}


def notify(*events: str) -> list[dict[str, Any]]:
    return [{"event": event, "webhook": "https://example.com"} for event in events]


def told(dag: Any, task_id: str) -> list[str]:
    """Events that the scheduler knows to be told about."""
    read = DagSerialization.from_dict(DagSerialization.to_dict(dag)).task_dict[task_id]
    return [event for event, name in EVENTS.items() if getattr(read, f"has_{name}")]


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("keys", [{}, {"strategy": STRATEGY}], ids=["plain", "mapped"])
def test_a_stage_tells(event: str, keys: dict[str, Any]) -> None:
    dag = build_dag(workflow(job("a", {**stage("s"), "notify": notify(event)}, stage("t"), **keys)))
    assert told(dag, "a.s") == [event]
    assert told(dag, "a.t") == []


def test_a_workflow_tells_about_retries_and_skips_of_any_stage() -> None:
    dag = build_dag(
        workflow(
            job("a", {**stage("s"), "notify": notify("failure")}),
            notify=notify(*EVENTS, "deadline"),
            deadline=9,
        )
    )
    assert told(dag, "a.s") == ["failure", "retry", "skip"]


def test_tasks_of_ours_tell_nobody() -> None:
    """Airflow settles an EmptyOperator in the scheduler only while it has no callbacks."""
    dag = build_dag(workflow(job("a", stage("s"), strategy=STRATEGY), notify=notify(*EVENTS)))
    assert told(dag, "a.__result__") == []
