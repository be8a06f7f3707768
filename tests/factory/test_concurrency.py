"""Tests of airflow_stagecoach.factory._concurrency: the tasks around a workflow with a group."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_stagecoach.factory import build_dag
from tests.factory.plans import job, stage, teardown, workflow

GROUP = {"group": "g", "on_conflict": "queue"}
LEGS = {"legs": [{"x": 1}], "axes": ["x"]}


def build(*jobs: dict[str, Any], **keys: Any) -> Any:
    """A DAG that Airflow finds nothing wrong with."""
    dag = build_dag(workflow(*jobs, concurrency=GROUP, **keys))
    dag.validate()
    return dag


@pytest.mark.parametrize(
    ("keys", "first"),
    [
        ({}, "a.s"),
        ({"condition": "params.x"}, "a.__gate__"),
        ({"condition": "always()", "status_functions": True}, "a.__gate__"),
        ({"strategy": LEGS}, "a.s"),
        ({"strategy": {**LEGS, "max_parallel": 1}}, "a.__slot__"),
        ({"strategy": {"matrix": {"x": "${{ params.xs }}"}, "axes": ["x"]}}, "a.__gate__"),
        ({"granularity": "job"}, "a.__stages__"),
        ({"trigger_rule": "all_done"}, "a.s"),
    ],
)
def test_every_job_without_needs_comes_after_the_group(keys: dict[str, Any], first: str) -> None:
    dag = build(job("a", stage("s"), **keys), job("b", needs=["a"]))
    enter = dag.task_dict["__concurrency__"]
    assert enter.is_setup
    assert enter.downstream_task_ids == {first, "__entered__", "__lease__", "__release__"}
    assert dag.task_dict[first].trigger_rule == "all_success"
    assert dag.task_dict["b.s"].upstream_task_ids.isdisjoint({"__concurrency__"})


def test_the_group_is_given_back_after_everything() -> None:
    dag = build(job("a"), job("b", needs=["a"]), job("m", stage("s"), teardown("c"), strategy=LEGS))
    release = dag.task_dict["__release__"]
    assert release.is_teardown
    assert release.trigger_rule == "all_done_setup_success"
    assert release.upstream_task_ids == {"__concurrency__", "__run__", "m.c"}
    assert dag.task_dict["__lease__"].upstream_task_ids == {"__concurrency__"}
    assert dag.task_dict["__lease__"].downstream_task_ids == set()


def test_teardowns_of_a_run_that_was_not_let_in_are_settled_by_the_scheduler() -> None:
    dag = build(job("a", stage("s"), teardown("c")), job("b", stage("s"), teardown("c"), needs=["a"]))
    assert dag.task_dict["a.c"].upstream_task_ids == {"a.s", "__concurrency__"}
    # One setup that succeeded would be enough, so this has only that of its job.
    assert dag.task_dict["b.c"].upstream_task_ids == {"b.s", "b.__setup__"}


def test_without_a_group_nothing_is_added() -> None:
    assert set(build_dag(workflow(job("a"))).task_dict) == {"a.s"}
