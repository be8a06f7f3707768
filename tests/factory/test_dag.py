"""Tests of airflow_stagecoach.factory._dag: what a workflow says about its runs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk.definitions.deadline import DeadlineReference
from airflow.serialization.serialized_objects import DagSerialization

from airflow_stagecoach.factory import build_dag
from tests.factory.plans import job, workflow


def notify(*events: str) -> list[dict[str, Any]]:
    return [{"event": event, "webhook": "https://example.com"} for event in events]


def test_how_many_at_a_time() -> None:
    dag = build_dag(workflow(job("a"), max_active_runs=2, max_active_tasks=5))
    assert (dag.max_active_runs, dag.max_active_tasks) == (2, 5)


@pytest.mark.parametrize(
    ("events", "success", "failure"),
    [((), False, False), (("success",), True, False), (("failure", "retry"), False, True)],
)
def test_a_run_tells_about_its_end(events: tuple[str, ...], success: bool, failure: bool) -> None:
    dag = build_dag(workflow(job("a"), notify=notify(*events)))
    read = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    assert (read.has_on_success_callback, read.has_on_failure_callback) == (success, failure)


def test_a_deadline_counts_from_the_moment_that_the_run_was_queued() -> None:
    dag: Any = build_dag(workflow(job("a"), deadline=90))
    (alert,) = dag.deadline
    assert alert.interval == timedelta(seconds=90)
    assert alert.reference == DeadlineReference.DAGRUN_QUEUED_AT
    assert alert.callback.path == "airflow_stagecoach.operators.deadline.log_missed"
    assert alert.callback.kwargs == {"seconds": 90}


def test_everybody_is_told_of_a_missed_deadline() -> None:
    dag: Any = build_dag(
        workflow(job("a"), deadline=90, notify=[*notify("deadline", "deadline"), *notify("failure")])
    )
    assert [alert.callback.path for alert in dag.deadline] == [
        "airflow_stagecoach.operators.notify.deadline_missed"
    ] * 2
    stored = DagSerialization.to_dict(dag)["dag"]["deadline"]
    assert [one["name"] for one in stored] == ["deadline"] * 2


def test_without_a_deadline_there_is_no_alert() -> None:
    assert not build_dag(workflow(job("a"), notify=notify("failure"))).deadline
