"""A whole run as one map: what is told of stages that ended, and of those that could not tell."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_stagecoach.operators._record import Place, failure_report, stage_record
from airflow_stagecoach.operators._records import run_record
from airflow_stagecoach.operators._records import stage_records as records_of_job
from airflow_stagecoach.operators._records_facts import Event, RunFacts, TaskFacts, Try
from airflow_stagecoach.operators._records_plan import plan_of_tasks
from airflow_stagecoach.operators._records_schema import run_schema
from tests.factory.plans import job, stage, workflow

T0 = datetime(2026, 1, 1, tzinfo=timezone.utc)
jsonschema = pytest.importorskip("jsonschema")
SCHEMA = jsonschema.Draft202012Validator(run_schema())


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def task(name: str, state: str | None, *, index: int = -1, tries: int = 1, **more: Any) -> TaskFacts:
    """A task instance each of whose tries takes two seconds after one in the queue; all but the last failed."""
    made = tuple(
        Try(
            number,
            state if number == tries else "failed",
            at(10 * number),
            at(10 * number + 1),
            at(10 * number + 3),
            "host",
        )
        for number in range(1, tries + 1)
    )
    return TaskFacts(name, index, state, made, **{"end": at(10 * tries + 3), "max_tries": 0, **more})


def facts(*tasks: TaskFacts, state: str = "failed", **more: Any) -> RunFacts:
    found = RunFacts("wf", "r1", state, queued=at(0), start=at(0), end=at(100), **more)
    for one in tasks:
        found.tasks.setdefault(one.task_id, {})[one.map_index] = one
    return found


def told(one: TaskFacts, state: str, outcome: str | None = None, **result: Any) -> dict[str, Any]:
    """The record that a worker left for the last try."""
    last = one.tries[-1]
    place = Place("wf", "r1", one.task_id, last.number, None if one.map_index < 0 else one.map_index)
    outcomes = {"success": "success", "failed": "failure", "skipped": "skipped"}
    result = {
        "state": state,
        "outcome": outcome or outcomes[state],
        "start": last.start and last.start.isoformat(),
        "end": last.end and last.end.isoformat(),
        **result,
    }
    return stage_record(place, result)


def show(plan: Any, found: RunFacts) -> dict[str, Any]:
    run = run_record(plan, found, at(200))
    SCHEMA.validate(run)
    return run


ONE = workflow(job("j", stage("s")))


def only(found: RunFacts, plan: Any = ONE) -> dict[str, Any]:
    """The record of the only stage."""
    (record,) = (record for one in show(plan, found)["jobs"].values() for record in records_of_job(one))
    return record


def test_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(run_schema())


def test_schema_in_the_documentation() -> None:
    file = Path(__file__).parents[2] / "docs" / "run.schema.json"
    again = "write json.dumps(run_schema(), indent=2) and a line feed to docs/run.schema.json"
    assert json.loads(file.read_text(encoding="utf-8")) == run_schema(), again


# -- stages that told -----------------------------------------------------------------------


def test_record_of_a_good_stage() -> None:
    one = task("j.s", "success")
    found = facts(one, state="success")
    found.xcoms["j.s", -1, "record"] = told(
        one, "success", cpu_seconds=1.5, peak_memory=2048, metrics={"rows": 10, "files": 1}
    )
    run = show(ONE, found)
    assert (run["state"], run["progress"]) == ("success", {"done": 1, "total": 1})
    assert (run["cpu_seconds"], run["peak_memory"]) == (1.5, 2048)
    assert run["metrics"] == {"files": 1, "rows": 10}
    assert run["duration"] == 100
    assert run["jobs"]["j"]["result"] == "success"
    assert run["jobs"]["j"]["duration"] == 2
    record = run["jobs"]["j"]["stages"]["s"]
    assert record["outcome"] == "success"
    assert record["queue_seconds"] == 1, "the worker cannot tell it"
    assert record["throughput"] == {"rows": 5.0, "files": 0.5}
    assert record["attempts"] == [
        {
            "try": 1,
            "state": "success",
            "start": at(11).isoformat(),
            "end": at(13).isoformat(),
            "duration": 2.0,
            "hostname": "host",
        }
    ]


def failed(one: TaskFacts, **more: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    error = {
        "type": "StageFailed",
        "message": "no",
        "category": "component",
        "reason": "exit",
        "exit_code": 7,
    }
    place = Place("wf", "r1", one.task_id, one.tries[-1].number)
    return told(one, "failed", error=error, **more), failure_report(place, error, retries=False)


def test_record_of_a_failure_after_retries() -> None:
    plan = workflow(job("j", {**stage("s"), "retry": {"max": 2, "delay": 1}}))
    one = task("j.s", "failed", tries=3, max_tries=2)
    found = facts(one)
    found.xcoms["j.s", -1, "record"], found.xcoms["j.s", -1, "error"] = failed(one)
    run = show(plan, found)
    assert (run["tries"], run["failed_tries"], run["error_rate"]) == (3, 3, 1.0)
    assert run["failures"] == {"component": 1}
    record = run["jobs"]["j"]["stages"]["s"]
    assert (record["category"], record["reason"], record["exit_code"]) == ("component", "exit", 7)
    assert record["failure"]["message"] == "no"
    assert [tried["state"] for tried in record["attempts"]] == ["failed"] * 3
    assert run["jobs"]["j"]["start"] == at(11).isoformat(), "a job begins with its first try"


def test_waiting_for_the_next_try_keeps_what_the_last_one_told() -> None:
    one = task("j.s", "up_for_retry", max_tries=1, next_try=at(50))
    found = facts(one, state="running")
    found.xcoms["j.s", -1, "record"], found.xcoms["j.s", -1, "error"] = failed(one)
    record = only(found)
    assert (record["state"], record["outcome"], record["waits_for"]) == ("up_for_retry", None, "retry")
    assert record["next_try"] == at(50).isoformat()
    assert (record["category"], record["failure"]["exit_code"]) == ("component", 7)


def test_a_tolerated_failure_is_told() -> None:
    one = task("j.s", "success")
    found = facts(one, state="success")
    error = {"type": "StageFailed", "message": "no", "category": "component", "reason": "exit"}
    found.xcoms["j.s", -1, "record"] = told(one, "success", "failure", error=error)
    record = only(found)
    assert (record["state"], record["outcome"], record["category"]) == ("success", "failure", "component")


# -- stages that could not tell -------------------------------------------------------------

HAND = "patch_task_instance"


@pytest.mark.parametrize(
    ("state", "events", "expected"),
    [
        ("failed", [], ("failure", "system", "worker-lost", None)),
        ("failed", [("heartbeat timeout", 13)], ("failure", "system", "worker-lost", None)),
        ("failed", [("state mismatch", 13)], ("failure", "system", "worker-lost", None)),
        ("failed", [("stuck in queued tries exceeded", 9)], ("failure", "system", "stuck-in-queue", None)),
        ("failed", [(HAND, 12)], ("cancelled", "cancelled", "set-by-hand", "ada")),
        ("failed", [("patch_dag_run", 12)], ("cancelled", "cancelled", "set-by-hand", "ada")),
        ("failed", [(HAND, 80)], ("failure", "system", "worker-lost", None)),
        ("failed", [(HAND, 12), ("heartbeat timeout", 13)], ("failure", "system", "worker-lost", None)),
        ("success", [(HAND, 12)], ("success", None, "set-by-hand", "ada")),
        ("success", [], ("success", None, None, None)),
        ("skipped", [], ("skipped", None, "upstream-skipped", None)),
        ("skipped", [("patch_dag_run", 12)], ("cancelled", "cancelled", "set-by-hand", "ada")),
        ("upstream_failed", [], ("skipped", None, "upstream-failed", None)),
    ],
)
def test_reasons_of_stages_without_a_record(
    state: str, events: list[tuple[str, float]], expected: tuple[str | None, ...]
) -> None:
    log = [
        Event(name, at(seconds), None if name == "patch_dag_run" else "j.s", -1, "ada")
        for name, seconds in events
    ]
    record = only(facts(task("j.s", state), events=log))
    assert (record["outcome"], record["category"], record["reason"], record["by"]) == expected
    assert record["state"] == state


def test_failed_before_it_started() -> None:
    one = TaskFacts("j.s", -1, "failed", (Try(1, "failed", at(1)),), end=at(2))
    record = only(facts(one))
    assert (record["category"], record["reason"], record["duration"]) == ("system", "not-started", None)
    assert "before it started" in record["error"]["message"]


def test_a_killed_try_does_not_pass_for_the_one_before_it() -> None:
    one = task("j.s", "failed", tries=2, max_tries=1)
    found = facts(one)
    found.xcoms["j.s", -1, "record"], found.xcoms["j.s", -1, "error"] = failed(task("j.s", "failed"))
    record = only(found)
    assert (record["reason"], record["failure"], record["try_number"]) == ("worker-lost", None, 2)


def test_an_error_without_a_record_is_no_lost_worker() -> None:
    one = task("j.s", "failed")
    found = facts(one)
    _, found.xcoms["j.s", -1, "error"] = failed(one)
    record = only(found)
    assert (record["reason"], record["failure"]["message"]) == (None, "no")


def test_a_state_that_was_changed_by_hand() -> None:
    one = task("j.s", "success")
    found = facts(one, state="success", events=[Event(HAND, at(13), "j.s", -1, "ada")])
    found.xcoms["j.s", -1, "record"], _ = failed(one)
    record = only(found)
    assert (record["state"], record["outcome"], record["category"]) == ("success", "success", None)
    assert (record["reason"], record["by"], record["exit_code"]) == ("set-by-hand", "ada", 7)


@pytest.mark.parametrize(
    ("state", "waits_for"),
    [
        ("running", None),
        ("deferred", "trigger"),
        ("awaiting_input", "person"),
        ("queued", "worker"),
        ("scheduled", "slot"),
        ("up_for_reschedule", "reschedule"),
    ],
)
def test_stages_under_way(state: str, waits_for: str | None) -> None:
    running = Try(1, state, at(10), at(11), None, "host")
    found = facts(TaskFacts("j.s", -1, state, (running,)), state="running")
    found.end = None
    run = show(ONE, found)
    record = run["jobs"]["j"]["stages"]["s"]
    assert (record["waits_for"], record["outcome"], record["end"]) == (waits_for, None, None)
    assert record["duration"] == 189, "until now"
    assert run["progress"] == {"done": 0, "total": 1}
    assert (run["jobs"]["j"]["result"], run["duration"]) == (None, 200)


def test_a_stage_that_nobody_looked_at_yet() -> None:
    for found in (facts(state="running"), facts(TaskFacts("j.s", -1, None), state="running")):
        record = only(found)
        assert (record["state"], record["tries"], record["attempts"]) == (None, 0, [])
        assert (record["reason"], record["duration"]) == (None, None)


def test_a_cleared_stage_waits_with_its_earlier_tries() -> None:
    one = replace(task("j.s", "success", max_tries=1), state=None)
    record = only(facts(one, state="running"))
    assert (record["state"], record["start"], record["tries"]) == (None, None, 0)
    assert [tried["try"] for tried in record["attempts"]] == [1]


def test_tries_begin_anew_after_a_clear() -> None:
    one = task("j.s", "success", tries=3, max_tries=2)
    record = only(facts(one))
    assert (record["tries"], record["max_tries"], record["try_number"]) == (1, 1, 3)


def test_timeout_of_the_run() -> None:
    plan = workflow(job("j", stage("s")), timeout=60)
    assert only(facts(task("j.s", "skipped")), plan)["reason"] == "run-timeout"
    plan = workflow(job("j", stage("s")), timeout=101)
    assert only(facts(task("j.s", "skipped")), plan)["reason"] == "upstream-skipped"


def test_stages_of_a_skipped_job() -> None:
    found = facts(TaskFacts("j.__gate__", -1, "skipped"), TaskFacts("j.s", -1, "skipped"))
    run = show(ONE, found)
    assert run["jobs"]["j"]["result"] == "skipped"
    assert run["jobs"]["j"]["stages"]["s"]["reason"] == "job-skipped"


# -- legs -----------------------------------------------------------------------------------

LEGS = [{"p": "a"}, {"p": "b"}, {"p": "c"}]


def test_fail_fast() -> None:
    plan = workflow(
        job("j", stage("s"), stage("t"), strategy={"legs": LEGS, "axes": ["p"], "fail_fast": True})
    )
    found = facts(
        task("j.s", "failed", index=0),
        TaskFacts("j.t", 0, "upstream_failed"),
        task("j.s", "success", index=1),
        TaskFacts("j.t", 1, "skipped"),
        TaskFacts("j.s", 2, "skipped"),
        TaskFacts("j.t", 2, "skipped"),
    )
    legs = show(plan, found)["jobs"]["j"]["legs"]
    assert [leg["result"] for leg in legs] == ["failure", "cancelled", "cancelled"]
    assert [leg["name"] for leg in legs] == ["a", "b", "c"]
    assert legs[1]["stages"]["t"]["reason"] == "fail-fast"
    assert legs[2]["stages"]["s"]["outcome"] == "cancelled"
    assert legs[0]["stages"]["s"]["reason"] == "worker-lost"


@pytest.mark.parametrize("failing", [999, None])
def test_a_thousand_legs_of_fail_fast(failing: int | None) -> None:
    """Every leg asks whether another one failed: that must not become a million looks."""
    legs = [{"p": number} for number in range(1000)]
    plan = workflow(
        job("j", stage("s"), stage("t"), strategy={"legs": legs, "axes": ["p"], "fail_fast": True})
    )
    found = facts(*(TaskFacts("j.t", number, "skipped") for number in range(1000)))
    for number in range(1000):
        one = TaskFacts("j.s", number, "failed" if number == failing else "skipped")
        found.tasks.setdefault("j.s", {})[number] = one
    began = time.process_time()
    results = {leg["result"] for leg in run_record(plan, found, at(200))["jobs"]["j"]["legs"]}
    assert results == ({"cancelled", "failure"} if failing else {"skipped"})
    assert time.process_time() - began < 5, "a quarter of a second, on an idle machine"


def test_legs_that_only_the_run_knows() -> None:
    plan = workflow(job("j", stage("s"), strategy={"matrix": "${{ needs.x }}", "axes": []}))
    rows = (TaskFacts("j.__gate__", -1, "running"), TaskFacts("j.s", -1, None))
    before = show(plan, facts(*rows, state="running"))
    assert (before["jobs"]["j"]["legs"], before["jobs"]["j"]["result"]) == ([], None)
    found = facts(
        TaskFacts("j.__gate__", -1, "success"), task("j.s", "success", index=0), TaskFacts("j.s", 1, None)
    )
    found.xcoms["j.__gate__", -1, "return_value"] = LEGS[:2]
    one = show(plan, found)["jobs"]["j"]
    assert one["progress"] == {"done": 1, "total": 2}
    assert [leg["result"] for leg in one["legs"]] == ["success", None]


def test_id_of_a_stage_by_leg() -> None:
    part = stage("s")
    part["spec"]["id"] = "load-${{ matrix.p }}"
    plan = workflow(job("j", part, strategy={"legs": LEGS, "axes": ["p"]}))
    legs = show(plan, facts(*(task("j.s", "success", index=i) for i in range(3))))["jobs"]["j"]["legs"]
    assert [list(leg["stages"]) for leg in legs] == [["load-a"], ["load-b"], ["load-c"]]


# -- all stages of a leg in one task ---------------------------------------------------------


def test_stages_that_share_a_task() -> None:
    plan = workflow(job("j", stage("s"), stage("t"), stage("u"), granularity="job"))
    one = task("j.__stages__", "failed")
    found = facts(one)
    found.xcoms["j.__stages__", -1, "record"], _ = failed(one)
    start, end = at(11).isoformat(), at(12).isoformat()
    error = {"type": "StageFailed", "message": "no", "category": "component", "reason": "exit"}
    inner: dict[str, dict[str, Any]] = {
        "s": {"state": "success", "outcome": "success", "start": start, "end": end, "metrics": {"rows": 3}},
        "t": {
            "state": "failed",
            "outcome": "failure",
            "start": start,
            "end": end,
            "error": error,
            "tries": 2,
        },
        "u": {"state": "upstream_failed", "outcome": "skipped"},
    }
    found.xcoms["j.__stages__", -1, "stages"] = {
        name: {**stage_record(Place("wf", "r1", "j.__stages__", 1, stage=name), result), "outputs": {}}
        for name, result in inner.items()
    }
    run = show(plan, found)
    stages = run["jobs"]["j"]["stages"]
    assert [stages[name]["state"] for name in "stu"] == ["success", "failed", "upstream_failed"]
    assert (stages["s"]["duration"], stages["s"]["throughput"]) == (1, {"rows": 3.0})
    assert (stages["t"]["category"], stages["t"]["tries"]) == ("component", 2)
    assert run["jobs"]["j"]["result"] == "failure"
    assert run["tries"] == 1, "they share one task"


def test_stages_whose_common_worker_was_killed() -> None:
    plan = workflow(job("j", stage("s"), stage("t"), granularity="job"))
    stages = show(plan, facts(task("j.__stages__", "failed")))["jobs"]["j"]["stages"]
    assert {record["reason"] for record in stages.values()} == {"worker-lost"}


# -- workflows without a document -----------------------------------------------------------


def test_plan_made_of_tasks() -> None:
    found = facts(
        task("b.late", "success", tries=2, operator="StageOperator"),
        task("a.first", "success", operator="StageOperator"),
        TaskFacts("a.__start__", -1, "success", operator="EmptyOperator"),
        task("legs.x", "success", index=0, operator="StageOperator"),
        task("legs.x", "failed", index=1, operator="StageOperator"),
    )
    plan = plan_of_tasks(found)
    assert plan is not None
    run = show(plan, found)
    assert list(run["jobs"]) == ["a", "b", "legs"]
    assert list(run["jobs"]["a"]["stages"]) == ["first"]
    assert [leg["result"] for leg in run["jobs"]["legs"]["legs"]] == ["success", "failure"]


def test_no_plan_of_tasks_that_are_not_ours() -> None:
    assert plan_of_tasks(facts(task("group.task", "success", operator="BashOperator"))) is None


# -- whatever the database tells ------------------------------------------------------------

STATES = [
    None, "scheduled", "queued", "running", "restarting", "success", "failed", "skipped", "upstream_failed",
    "removed", "deferred", "awaiting_input", "up_for_retry", "up_for_reschedule",
]  # fmt: skip


@given(
    st.lists(st.tuples(st.sampled_from(STATES), st.integers(0, 3), st.booleans()), min_size=6, max_size=6),
    st.booleans(),
)
def test_every_run_fits_the_schema(states: list[tuple[str | None, int, bool]], fail_fast: bool) -> None:
    strategy = {"legs": LEGS, "axes": ["p"], "fail_fast": fail_fast}
    plan = workflow(job("j", stage("s"), stage("t"), strategy=strategy))
    found = facts(state="running")
    for number, (state, tries, with_record) in enumerate(states):
        one = task(f"j.{'st'[number % 2]}", state, index=number // 2, tries=tries, max_tries=2)
        found.tasks.setdefault(one.task_id, {})[one.map_index] = one
        if with_record and tries:
            found.xcoms[one.task_id, one.map_index, "record"] = told(one, "success")
    run = show(plan, found)
    finished = {"success", "failed", "skipped", "upstream_failed", "removed"}
    assert run["progress"] == {"done": sum(state in finished for state, _, _ in states), "total": 6}
    assert sum(run["states"].values()) == 6
    assert run["tries"] == sum(tries for _, tries, _ in states)


# -- concurrency groups ---------------------------------------------------------------------

GROUPED = workflow(job("j", stage("s")), concurrency={"group": "g", "on_conflict": "queue"})


@pytest.mark.parametrize(
    ("run", "gate", "lease", "expected"),
    [
        ("running", "deferred", None, ("waiting", None)),
        ("running", None, None, ("waiting", None)),
        ("running", "success", "deferred", ("held", None)),
        ("success", "success", "success", ("released", None)),
        ("failed", "failed", "upstream_failed", ("refused", "it is held")),
        ("success", "skipped", "skipped", ("skipped", "it is held")),
        ("failed", "success", "failed", ("cancelled", "by another run")),
    ],
)
def test_concurrency_group(run: str, gate: str, lease: str, expected: tuple[str, str | None]) -> None:
    found = facts(TaskFacts("__concurrency__", -1, gate), TaskFacts("__lease__", -1, lease), state=run)
    if gate in ("failed", "skipped"):
        found.xcoms["__concurrency__", -1, "error"] = {"message": "it is held"}
    if lease == "failed":
        found.xcoms["__lease__", -1, "error"] = {"message": "by another run"}
    group = show(GROUPED, found)["concurrency"]
    assert (group["state"], group["message"]) == expected


@pytest.mark.parametrize("state", ["skipped", "upstream_failed"])
def test_stages_that_another_run_keeps_from_working(state: str) -> None:
    found = facts(TaskFacts("__concurrency__", -1, "failed"), TaskFacts("j.s", -1, state))
    record = only(found, GROUPED)
    assert (record["outcome"], record["category"], record["reason"]) == (
        "cancelled",
        "cancelled",
        "concurrency",
    )


# -- where things stand, and what a fallback made good ------------------------------------------


@pytest.mark.parametrize(
    ("states", "job_status"),
    [
        (("success", "success"), "completed"),
        (("success", None), "running"),
        ((None, None), "pending"),
        (("running", None), "running"),
        (("up_for_retry", None), "retrying"),
        (("failed", "upstream_failed"), "failed"),
        (("skipped", "skipped"), "skipped"),
        (("success", "skipped"), "completed"),
    ],
)
def test_where_a_job_stands(states: tuple[str | None, ...], job_status: str) -> None:
    plan = workflow(job("j", stage("s"), stage("t")))
    rows = [task(f"j.{name}", state) for name, state in zip("st", states, strict=True)]
    shown = show(plan, facts(*rows, state="running"))["jobs"]["j"]
    assert shown["status"] == job_status
    assert [record["state"] for record in shown["stages"].values()] == list(states)


def test_a_matrix_stands_where_its_worst_leg_does() -> None:
    plan = workflow(job("m", stage("s"), strategy={"legs": [{"x": n} for n in range(3)], "axes": ["x"]}))
    rows = [task("m.s", state, index=n) for n, state in enumerate(("success", "running", None))]
    shown = show(plan, facts(*rows, state="running"))["jobs"]["m"]
    assert [leg["status"] for leg in shown["legs"]] == ["completed", "running", "pending"]
    assert shown["status"] == "running"


@pytest.mark.parametrize(
    ("gate", "status"),
    [
        (None, "pending"),
        ("running", "running"),
        ("failed", "failed"),
        ("skipped", "skipped"),
        ("success", "skipped"),
    ],
)
def test_a_matrix_without_legs_stands_where_its_gate_does(gate: str | None, status: str) -> None:
    plan = workflow(job("m", stage("s"), strategy={"matrix": {"x": "${{ params.xs }}"}, "axes": ["x"]}))
    assert show(plan, facts(task("m.__gate__", gate), task("m.s", None)))["jobs"]["m"]["status"] == status


FALLBACK = workflow(
    job("a", stage("s"), fallback="r"),
    job("r", stage("s"), needs=["a"], fallback_of="a"),
    job("b", needs=["a"]),
)


@pytest.mark.parametrize(
    ("main", "fallback", "result", "degraded"),
    [
        ("success", "skipped", "success", False),
        ("failed", "success", "success", True),
        ("failed", "failed", "failure", False),
        ("failed", "skipped", "failure", False),
        ("failed", "running", "failure", False),
        ("skipped", "skipped", "skipped", False),
        ("upstream_failed", "skipped", "upstream_failed", False),
        ("running", None, None, False),
    ],
)
def test_a_fallback(main: str, fallback: str | None, result: str | None, degraded: bool) -> None:
    found = facts(
        task("a.s", main),
        task("r.__gate__", fallback and "success"),
        task("r.s", fallback),
        task("b.s", None),
    )
    run = show(FALLBACK, found)
    shown = run["jobs"]["a"]
    assert (shown["result"], shown["degraded"], shown["fallback"]) == (result, degraded, "r")
    assert shown["outcome"] == ("failure" if main == "failed" else result)
    assert run["degraded"] is degraded
    assert run["jobs"]["r"]["degraded"] is False
