"""Tests of airflow_stagecoach.factory._graph: which tasks a job gets, and how they hang together."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_stagecoach.factory import build_dag
from airflow_stagecoach.factory._graph import in_order
from airflow_stagecoach.factory._stage import display_name
from tests.factory.plans import job, stage, workflow


def graph(*jobs: dict[str, Any]) -> dict[str, tuple[str, set[str]]]:
    """Task id -> (trigger rule, upstream task ids)."""
    dag = build_dag(workflow(*jobs))
    return {t.task_id: (str(t.trigger_rule.value), set(t.upstream_task_ids)) for t in dag.tasks}


NF1 = "none_failed_min_one_success"


def test_a_plain_chain_has_no_tasks_of_ours() -> None:
    assert graph(job("a", stage("s"), stage("t")), job("b", stage("u"), stage("v"), needs=["a"])) == {
        "a.s": ("all_success", set()),
        "a.t": ("none_failed", {"a.s"}),
        "b.u": ("all_success", {"a.t"}),
        "b.v": (NF1, {"b.u"}),
    }


def test_a_first_stage_that_may_skip_gets_a_start_before_it() -> None:
    tasks = graph(job("a"), job("b", stage("u", if_="params.x"), stage("v"), needs=["a"]))
    assert tasks["b.__start__"] == ("all_success", {"a.s"})
    assert tasks["b.u"] == (NF1, {"b.__start__"})
    assert tasks["b.v"] == (NF1, {"b.__start__", "b.u"})


def test_a_last_stage_that_may_skip_gets_a_result_after_it() -> None:
    tasks = graph(job("a", stage("s"), stage("t", "python")), job("b", needs=["a"]))
    assert tasks["a.__result__"] == (NF1, {"a.s", "a.t"})
    assert tasks["b.s"] == ("all_success", {"a.__result__"})


def test_a_condition_makes_a_gate_that_carries_the_rule() -> None:
    tasks = graph(
        job("a"), job("b", stage("u"), needs=["a"], condition="params.x", trigger_rule="none_failed")
    )
    assert tasks["b.__gate__"] == ("none_failed", {"a.s"})
    assert tasks["b.u"] == (NF1, {"b.__gate__"})


def test_status_functions_let_the_gate_wait_for_all() -> None:
    tasks = graph(job("a"), job("b", needs=["a"], condition="failure()", status_functions=True))
    assert tasks["b.__gate__"][0] == "all_done"
    assert tasks["__run__"] == ("none_failed", {"a.s", "b.s"})


@pytest.mark.parametrize("rule", ["all_done", "all_failed", "one_failed", "none_skipped", "one_success"])
def test_a_rule_that_hides_failures_makes_the_run_honest(rule: str) -> None:
    assert "__run__" in graph(job("a"), job("b", needs=["a"], trigger_rule=rule))


def test_rules_that_pass_failures_on_need_no_run_result() -> None:
    assert "__run__" not in graph(job("a"), job("b", needs=["a"], trigger_rule="none_failed"))


def test_a_stage_after_one_that_always_runs_depends_on_all_that_it_hides() -> None:
    tasks = graph(job("a", stage("s"), stage("t", if_="always()"), stage("u")))
    assert tasks["a.t"] == ("all_done", {"a.s"})
    assert tasks["a.u"] == ("none_failed", {"a.s", "a.t"})
    assert tasks["a.__result__"][1] == {"a.s", "a.t", "a.u"}


def test_static_legs_are_mapped_and_have_a_result() -> None:
    legs = [{"x": 1}, {"x": 2}]
    plan = workflow(
        job("m", stage("s"), stage("t"), strategy={"legs": legs, "axes": ["x"]}), job("b", needs=["m"])
    )
    dag = build_dag(plan)
    assert set(dag.task_dict) == {"m.s", "m.t", "m.__result__", "b.s"}
    assert dag.task_dict["m.s"].get_closest_mapped_task_group() is not None
    assert dag.task_dict["m.__result__"].upstream_task_ids == {"m.s", "m.t"}
    assert dag.task_dict["m.t"].upstream_task_ids == {"m.s"}


def test_run_time_legs_come_from_the_gate() -> None:
    strategy = {"matrix": {"x": "${{ needs.a.outputs.xs }}"}, "axes": ["x"]}
    tasks = graph(job("a"), job("m", stage("s"), stage("t"), needs=["a"], strategy=strategy))
    assert tasks["m.s"] == ("none_failed", {"m.__gate__"})
    assert tasks["m.t"] == ("none_failed", {"m.__gate__", "m.s"})


def test_a_result_waits_for_all_legs_where_somebody_may_start_on_a_failure() -> None:
    legs = {"legs": [{"x": 1}], "axes": ["x"]}
    tasks = graph(
        job("m", strategy=legs), job("b", needs=["m"]), job("c", needs=["b"], trigger_rule="all_done")
    )
    assert tasks["m.__verdict__"] == (NF1, {"m.s"})
    assert tasks["m.__ready__"] == ("all_done", {"m.s"})
    assert tasks["m.__settled__"] == ("all_failed", {"m.__ready__"})
    assert tasks["m.__result__"] == ("one_success", {"m.__verdict__", "m.__settled__"})


def test_max_parallel_puts_a_slot_before_the_first_stage() -> None:
    strategy = {"legs": [{"x": 1}, {"x": 2}], "axes": ["x"], "max_parallel": 1}
    dag = build_dag(workflow(job("m", stage("s"), stage("t"), strategy=strategy)))
    slot = dag.task_dict["m.__slot__"]
    assert slot.start_from_trigger
    assert slot.start_trigger_args.trigger_kwargs["limit"] == 1
    assert slot.start_trigger_args.trigger_kwargs["task_ids"] == ["m.s", "m.t"]
    assert dag.task_dict["m.s"].upstream_task_ids == {"m.__slot__"}


def test_continue_on_error_keeps_what_was_never_started() -> None:
    tasks = graph(
        job("a"),
        job("b", stage("s", if_="params.x"), needs=["a"], continue_on_error=True),
        job("c", needs=["b"]),
    )
    assert tasks["b.__tolerated__"] == ("none_skipped", {"b.s"})
    assert tasks["b.__end__"] == ("all_success", {"b.__start__", "b.__tolerated__"})
    assert tasks["c.s"] == ("all_success", {"b.__end__"})


def test_jobs_may_stand_before_their_needs() -> None:
    ordered = in_order([job("last", needs=["first"]), job("first")])  # type: ignore[list-item]  # plans of the tests
    assert [j["id"] for j in ordered] == ["first", "last"]


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


@pytest.mark.parametrize(
    ("axes", "shown"), [(["x"], "matrix: x"), (["x", "y"], "matrix: x, y"), ([], "matrix")]
)
def test_the_group_of_legs_is_shown_with_the_axes(axes: list[str], shown: str) -> None:
    legs = [{"x": 1, "y": 2}]
    dag = build_dag(workflow(job("m", stage("s"), strategy={"legs": legs, "axes": axes})))
    assert dag.task_group_dict["m.legs"].group_display_name == shown


def test_a_single_stage_carries_the_rule_of_its_job() -> None:
    tasks = graph(job("a"), job("b", stage("s", if_="params.x"), needs=["a"]))
    assert tasks["b.s"] == ("all_success", {"a.s"})
    assert "b.__start__" not in tasks


def test_continue_on_error_of_a_stage_that_is_never_skipped() -> None:
    tasks = graph(job("a"), job("b", needs=["a"], continue_on_error=True))
    assert tasks["b.__end__"] == ("all_success", {"b.__start__", "b.__tolerated__"})


def test_several_needs_of_which_one_may_be_skipped_are_judged_by_a_gate() -> None:
    """Airflow's own all_success would depend on whether the skip or the failure comes first."""
    tasks = graph(job("a"), job("b", condition="params.x"), job("c", needs=["a", "b"]), job("d", needs=["b"]))
    assert tasks["c.__gate__"] == ("none_failed", {"a.s", "b.s"})
    assert tasks["d.s"] == ("all_success", {"b.s"})


def test_several_needs_that_cannot_be_skipped_need_no_gate() -> None:
    tasks = graph(job("a"), job("b", stage("s", "python")), job("c", needs=["a", "b"]))
    assert tasks["c.s"] == ("all_success", {"a.s", "b.s"})
