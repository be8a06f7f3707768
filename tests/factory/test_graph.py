"""Tests of airflow_stagecoach.factory._graph: the jobs together, and the end that tells the run's state."""

from __future__ import annotations

import pytest

from airflow_stagecoach.factory import build_dag
from airflow_stagecoach.factory._graph import in_order
from tests.factory.plans import graph, job, stage, teardown, workflow


@pytest.mark.parametrize("rule", ["all_done", "all_failed", "one_failed", "none_skipped", "one_success"])
def test_a_rule_that_hides_failures_makes_the_run_honest(rule: str) -> None:
    assert "__run__" in graph(job("a"), job("b", needs=["a"], trigger_rule=rule))


def test_rules_that_pass_failures_on_need_no_run_result() -> None:
    assert "__run__" not in graph(job("a"), job("b", needs=["a"], trigger_rule="none_failed"))


def test_jobs_may_stand_before_their_needs() -> None:
    ordered = in_order([job("last", needs=["first"]), job("first")])  # type: ignore[list-item]  # plans of the tests
    assert [j["id"] for j in ordered] == ["first", "last"]


def test_a_follower_comes_after_the_fallback_of_its_need() -> None:
    jobs = [job("b", needs=["a"]), job("r", needs=["a"], fallback_of="a"), job("a", fallback="r")]
    ordered = in_order(jobs)  # type: ignore[arg-type]  # plans of the tests
    assert [j["id"] for j in ordered] == ["a", "r", "b"]


def test_a_run_that_a_person_marks_is_told_by_its_stages() -> None:
    """Airflow skips results then, but no teardowns; and lets only the last tasks decide the state."""
    legs = {"legs": [{"x": 1}], "axes": ["x"]}
    dag = build_dag(
        workflow(
            job("a", stage("s"), stage("t"), teardown("clean")),
            job("m", stage("s"), strategy=legs),
            job("b", continue_on_error=True),
        )
    )
    end = dag.task_dict["__run__"]
    assert end.is_teardown
    assert end.on_failure_fail_dagrun
    assert end.trigger_rule == "none_failed"
    assert end.upstream_task_ids == {"a.s", "a.t", "m.s", "m.__result__", "b.__tolerated__"}


def test_the_end_of_other_runs_is_no_teardown() -> None:
    dag = build_dag(workflow(job("a"), job("b", needs=["a"], trigger_rule="all_done")))
    assert not dag.task_dict["__run__"].is_teardown


def test_with_granularity_job_the_engine_cleans_up() -> None:
    assert set(graph(job("a", stage("s"), teardown("clean"), granularity="job"))) == {"a.__stages__"}
