"""Tests of airflow_stagecoach.factory._schedule: every form of ``on:`` survives Airflow's serialization."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization

from airflow_stagecoach.factory._schedule import schedule

DAILY = {"cron": "0 3 * * *", "timezone": "UTC"}

PLANS: dict[str, tuple[Any, str]] = {
    "by hand": ({}, "None"),
    "cron": ({"crons": [DAILY]}, "0 3 * * *"),
    "crons": ({"crons": [DAILY, {"cron": "0 4 1 * *", "timezone": "UTC"}]}, "0 3 * * *, 0 4 1 * *"),
    "every": ({"every": 90}, "0:01:30"),
    "at": ({"at": ["2099-01-31T12:00:00", "2098-01-31T12:00:00+07:00"]}, "2 events"),
    "continuous": ({"continuous": True}, "@continuous"),
    "asset": ({"assets": "orders"}, "Asset"),
    "assets": ({"assets": {"all": ["a", {"any": ["b", {"name": "c", "uri": "s3://b/c"}]}]}}, "Asset"),
    "both": ({"assets": ["a"], "crons": [DAILY]}, "Asset or 0 3 * * *"),
}


@pytest.mark.parametrize("name", PLANS)
def test_what_the_scheduler_reads(name: str) -> None:
    plan, summary = PLANS[name]
    dag = DAG("scheduled", schedule=schedule(plan), max_active_runs=1)
    read = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    assert str(read.timetable.summary) == summary


def test_a_continuous_workflow_becomes_a_dag_that_airflow_starts() -> None:
    """Airflow refuses more than one active run of it, and never starts it without a start date."""
    from airflow_stagecoach.factory import build_dag
    from tests.factory.plans import job, workflow

    dag = build_dag(workflow(job("j"), schedule={"continuous": True}))
    assert dag.max_active_runs == 1
    assert dag.start_date is not None
