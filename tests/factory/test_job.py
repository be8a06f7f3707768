"""Tests of airflow_stagecoach.factory._job: which tasks a job gets, and how they hang together."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.serialization.serialized_objects import DagSerialization

from airflow_stagecoach.factory import build_dag
from tests.factory.plans import graph, job, stage, teardown, workflow

NF1 = "none_failed_min_one_success"
TEARDOWN = "all_done_setup_success"


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
    slot: Any = dag.task_dict["m.__slot__"]
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


# -- teardowns

LEGS = {"legs": [{"x": 1}, {"x": 2}], "axes": ["x"]}
RUN_TIME_LEGS = {"matrix": {"x": "${{ needs.a.outputs.xs }}"}, "axes": ["x"]}


def test_a_teardown_waits_for_all_stages_and_the_teardown_before_it() -> None:
    tasks = graph(job("a", stage("s"), stage("t", if_="params.x"), teardown("c"), teardown("d")))
    assert tasks["a.c"] == (TEARDOWN, {"a.s", "a.t"})
    assert tasks["a.d"] == (TEARDOWN, {"a.s", "a.t", "a.c"})
    assert tasks["a.__result__"] == (NF1, {"a.s", "a.t"})


def test_followers_depend_on_the_last_stage_that_works() -> None:
    tasks = graph(job("a", stage("s"), teardown("c")), job("b", needs=["a"]))
    assert tasks["b.s"] == ("all_success", {"a.s"})


def test_the_scheduler_settles_the_teardowns_of_a_job_that_does_not_run() -> None:
    dag = build_dag(workflow(job("a"), job("b", stage("s"), teardown("c"), needs=["a"])))
    entered = dag.task_dict["b.__setup__"]
    assert entered.is_setup
    assert entered.upstream_task_ids == {"b.__start__"}
    assert entered.downstream_task_ids == {"b.c"}
    assert entered.inherits_from_empty_operator
    assert dag.task_dict["b.c"].upstream_task_ids == {"b.s", "b.__setup__"}


@pytest.mark.parametrize(
    ("keys", "before"),
    [
        ({"strategy": LEGS}, {"m.s"}),
        ({"strategy": LEGS, "condition": "params.x"}, {"m.s", "m.__setup__"}),
        ({"strategy": LEGS, "needs": ["a"]}, {"m.s", "m.__setup__"}),
        ({"strategy": {**LEGS, "max_parallel": 1}}, {"m.s"}),
        # Airflow itself skips these with the gate.
        ({"strategy": RUN_TIME_LEGS, "needs": ["a"]}, {"m.s", "m.__gate__"}),
        ({"strategy": {**RUN_TIME_LEGS, "max_parallel": 1}, "needs": ["a"]}, {"m.s", "m.__gate__"}),
    ],
)
def test_teardowns_of_legs(keys: dict[str, Any], before: set[str]) -> None:
    dag = build_dag(workflow(job("a"), job("m", stage("s"), teardown("c"), **keys)))
    clean = dag.task_dict["m.c"]
    assert clean.upstream_task_ids == before
    assert clean.get_closest_mapped_task_group() is not None
    assert clean.is_teardown
    assert not clean.on_failure_fail_dagrun
    assert dag.task_dict["m.__result__"].upstream_task_ids == {"m.s"}


def test_a_slot_is_held_until_the_teardowns_have_ended() -> None:
    dag = build_dag(workflow(job("m", stage("s"), teardown("c"), strategy={**LEGS, "max_parallel": 1})))
    slot: Any = dag.task_dict["m.__slot__"]
    assert slot.start_trigger_args.trigger_kwargs["task_ids"] == ["m.s", "m.c"]


def test_a_late_result_does_not_wait_for_teardowns() -> None:
    tasks = graph(
        job("m", stage("s"), teardown("c"), strategy=LEGS), job("b", needs=["m"], trigger_rule="all_done")
    )
    assert tasks["m.__ready__"] == ("all_done", {"m.s"})
    assert tasks["m.__verdict__"] == (NF1, {"m.s"})


def test_a_teardown_does_not_make_a_job_skippable() -> None:
    """Whether every stage may be skipped is asked of those that work."""
    tasks = graph(job("a", stage("s", if_="params.x"), teardown("c")), job("b"), job("d", needs=["a", "b"]))
    assert "d.__gate__" in tasks


def test_what_the_scheduler_reads_of_a_teardown() -> None:
    dag = build_dag(workflow(job("a"), job("m", stage("s"), teardown("c"), strategy=LEGS, needs=["a"])))
    read = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    assert read.task_dict["m.c"].is_teardown
    assert read.task_dict["m.__setup__"].is_setup
    assert read.task_dict["__run__"].on_failure_fail_dagrun


# -- priorities


def test_a_gate_is_as_urgent_as_the_most_urgent_stage_behind_it() -> None:
    urgent, calm = {**stage("s"), "priority": 7}, {**stage("t"), "priority": -2}
    dag = build_dag(workflow(job("a", calm, urgent, condition="params.x"), job("b", condition="params.x")))
    gate = dag.task_dict["a.__gate__"]
    assert (gate.priority_weight, gate.weight_rule) == (7, "absolute")
    assert dag.task_dict["b.__gate__"].weight_rule == "downstream"


# -- fallback -------------------------------------------------------------------------------


def with_fallback(*more: Any, main: Any = None, standin: Any = None) -> Any:
    return graph(
        job("a", *(main or [stage("s")]), fallback="r"),
        *more,
        job("r", needs=["a", *(standin or {}).pop("needs", [])], fallback_of="a", **(standin or {})),
        job("b", needs=["a"]),
    )


def test_a_fallback_starts_when_its_job_failed_and_followers_need_either() -> None:
    tasks = with_fallback()
    assert tasks["r.__failed__"] == ("all_failed", {"a.s"})
    assert tasks["r.__gate__"] == ("all_success", {"r.__failed__"})
    assert tasks["r.s"] == (NF1, {"r.__gate__"})
    assert tasks["r.__either__"] == ("one_success", {"a.s", "r.s"})
    assert tasks["b.s"] == ("all_success", {"r.__either__"})
    assert tasks["__run__"] == ("none_failed", {"r.__either__", "r.s", "b.s"})


def test_a_fallback_with_needs_of_its_own_waits_for_all_of_them() -> None:
    tasks = with_fallback(job("c"), standin={"needs": ["c"]})
    assert tasks["r.__gate__"] == ("none_failed", {"r.__failed__", "c.s"})


def test_a_fallback_starts_only_when_every_leg_has_ended() -> None:
    legs = {"legs": [{"x": 1}, {"x": 2}], "axes": ["x"]}
    tasks = graph(
        job("m", strategy=legs, fallback="r"),
        job("r", needs=["m"], fallback_of="m", strategy=legs),
        job("b", needs=["m"]),
    )
    assert tasks["m.__result__"] == ("one_success", {"m.__verdict__", "m.__settled__"})
    assert tasks["r.__failed__"] == ("all_failed", {"m.__result__"})
    assert tasks["r.__result__"] == ("one_success", {"r.__verdict__", "r.__settled__"})
    assert tasks["r.__either__"] == ("one_success", {"m.__result__", "r.__result__"})


def test_a_fallback_waits_for_the_stages_that_run_after_a_failure() -> None:
    tasks = with_fallback(main=[stage("s"), stage("t", if_="always()")])
    assert tasks["a.__result__"] == ("one_success", {"a.__verdict__", "a.__settled__"})
    assert tasks["a.__ready__"] == ("all_done", {"a.s", "a.t"})


def test_followers_wait_for_such_stages_of_the_fallback_too() -> None:
    tasks = graph(
        job("a", fallback="r"), job("r", stage("s"), stage("t", if_="always()"), needs=["a"], fallback_of="a")
    )
    assert tasks["r.__either__"] == ("one_success", {"a.s", "r.__result__"})
    assert tasks["r.__result__"] == ("one_success", {"r.__verdict__", "r.__settled__"})


def test_a_tolerated_fallback() -> None:
    tasks = with_fallback(standin={"continue_on_error": True})
    assert tasks["r.__either__"] == ("one_success", {"a.s", "r.__end__"})


def test_a_failure_that_a_fallback_made_good_does_not_fail_a_run_that_cleans_up() -> None:
    tasks = graph(
        job("a", stage("s"), teardown("clean"), fallback="r"), job("r", needs=["a"], fallback_of="a")
    )
    assert tasks["__run__"] == ("none_failed", {"r.__either__", "r.s"})
