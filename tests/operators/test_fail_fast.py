"""What a task does for its job's fail-fast, against a server that is played here."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk import timezone
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from airflow.sdk.execution_time import task_runner

from airflow_stagecoach.operators import _fail_fast
from airflow_stagecoach.operators._fail_fast import FailFast, leg_states, to_skip
from airflow_stagecoach.triggers.fail_fast import FailFastTrigger

if TYPE_CHECKING:
    from airflow_stagecoach.document.plan import JobPlan

STAGES = ["job.one", "job.two", "job.clean"]


def job(**strategy: Any) -> JobPlan:
    plan = {
        "id": "job",
        "stages": [
            {"task_id": "one", "spec": {}, "line": 1},
            {"task_id": "two", "spec": {}, "line": 1},
            {"task_id": "clean", "spec": {}, "line": 1, "teardown": True},
        ],
        "strategy": {"legs": [{"n": n} for n in range(4)], "axes": ["n"], "fail_fast": True, **strategy},
    }
    return cast("JobPlan", plan)


class Task:
    """A running task instance, and the states that the server knows."""

    dag_id, run_id, try_number, max_tries = "dag", "run", 1, 0

    def __init__(self, states: dict[str, str | None], index: int = 1, task_id: str = "job.one") -> None:
        self.states = states
        self.map_index = index
        self.task_id = task_id
        self.broken = 0

    def get_ti_count(
        self,
        *,
        dag_id: str,
        run_ids: list[str],
        task_ids: list[str],
        map_index: int | None,
        states: list[str],
    ) -> int:
        assert (dag_id, run_ids, task_ids, states) == ("dag", ["run"], STAGES[:2], ["failed"])
        if self.broken:
            self.broken -= 1
            raise RuntimeError("no server")
        return sum(
            state == "failed" and (map_index is None or name.endswith(f"_{map_index}"))
            for name, state in self.states.items()
        )

    def get_task_states(self, **where: Any) -> dict[str, Any]:
        return {"run": dict(self.states)}


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is asked of the server."""
    asked: list[Any] = []

    def send(message: Any) -> None:
        asked.append(sorted(message.tasks))

    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", SimpleNamespace(send=send), raising=False)
    monkeypatch.setattr(_fail_fast, "_POLL", 0.05)
    monkeypatch.setattr(_fail_fast, "_PATIENCE", 0.05)
    return asked


def legs(*legs: str) -> dict[str, str | None]:
    """States of the stages of some legs; words from left to right are one, two, clean. `-` is none."""
    return {
        f"{STAGES[place]}_{index}": None if state == "-" else state
        for index, leg in enumerate(legs)
        for place, state in enumerate(leg.split())
    }


# -- what is skipped


def test_states_are_read_by_leg() -> None:
    states = {"job.one_0": "success", "job.one_10": None, "job.two": None, "job.other_1": "failed"}
    assert leg_states(states, ["job.one", "job.two"]) == {0: {"job.one": "success"}, 10: {"job.one": None}}


@pytest.mark.parametrize(
    ("leg", "skipped"),
    [
        ("- - -", ["one", "two", "clean"]),
        ("scheduled - -", ["one", "two", "clean"]),
        ("queued - -", ["one", "two", "clean"]),
        ("running - -", ["two"]),
        ("success - -", ["two"]),
        ("success queued -", ["two"]),
        ("success running -", []),
        ("deferred - -", ["one", "two"]),
        ("up_for_retry - -", ["one", "two"]),
        ("up_for_reschedule - -", ["one", "two"]),
        ("awaiting_input - -", ["one", "two"]),
        ("success success queued", []),
        ("success success success", []),
        ("skipped skipped -", []),
        ("failed upstream_failed -", []),
        ("success failed -", []),
        ("failed - -", []),
    ],
)
def test_a_leg_loses_what_has_not_started_or_waits(leg: str, skipped: list[str]) -> None:
    found = to_skip(leg_states(legs(leg), STAGES), None, frozenset({"job.clean"}))
    assert found == [(f"job.{name}", 0) for name in skipped]


def test_a_slot_that_waits_is_skipped_and_one_that_was_given_does_not_begin_a_leg() -> None:
    states: dict[int, dict[str, str | None]] = {
        0: {"job.__slot__": "deferred", "job.one": None, "job.clean": None},
        1: {"job.__slot__": "success", "job.one": "queued", "job.clean": None},
    }
    assert to_skip(states, "job.__slot__", frozenset({"job.clean"})) == [
        ("job.__slot__", 0),
        ("job.one", 0),
        ("job.clean", 0),
        ("job.one", 1),
        ("job.clean", 1),
    ]


# -- the failing task


def test_the_failing_task_skips_the_others(sent: list[Any]) -> None:
    task = Task(legs("running - -", "running - -", "success running -", "- - -"))
    FailFast(job(), task).announce(RuntimeError(), lambda: True)
    assert sent == [[("job.clean", 3), ("job.one", 3), ("job.two", 0), ("job.two", 3)]]


@pytest.mark.parametrize(
    ("tries", "error", "repeats", "told"),
    [
        ((1, 0), RuntimeError(), True, True),
        ((1, 1), RuntimeError(), True, False),
        ((2, 1), RuntimeError(), True, True),
        ((1, 1), RuntimeError(), False, True),
        ((1, 1), AirflowFailException(), True, True),
    ],
)
def test_only_a_final_failure_counts(
    tries: tuple[int, int], error: Exception, repeats: bool, told: bool, sent: list[Any]
) -> None:
    task = Task(legs("- - -", "running - -"))
    task.try_number, task.max_tries = tries
    FailFast(job(), task).announce(error, lambda: repeats)
    assert bool(sent) is told


def test_a_server_that_does_not_answer_does_not_hide_the_failure(
    sent: list[Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def send(message: Any) -> None:
        raise OSError("gone")

    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", SimpleNamespace(send=send))
    FailFast(job(), Task(legs("- - -", "running - -"))).announce(RuntimeError(), lambda: True)
    assert "cannot skip the other legs" in caplog.text


# -- tasks that look


def guarded(task: Task, work: Any, plan: JobPlan | None = None, **options: Any) -> list[str]:
    """Run some work under the guard; give what was cancelled."""
    cancelled: list[str] = []
    with FailFast(plan or job(), task).guard(lambda: cancelled.append("cancel"), **options):
        work(cancelled)
    return cancelled


def until_cancelled(cancelled: list[str]) -> None:
    end = time.monotonic() + 10
    while not cancelled:
        assert time.monotonic() < end, "nobody cancelled the work"
        time.sleep(0.01)
    raise RuntimeError("broken off")


def test_a_task_that_starts_after_a_failure_does_nothing_and_stops_the_others(sent: list[Any]) -> None:
    task = Task(legs("failed upstream_failed -", "running - -", "deferred - -"))
    with pytest.raises(AirflowSkipException, match="another leg failed"):
        guarded(task, lambda _: pytest.fail("it worked"))
    assert sent == [[("job.one", 2), ("job.two", 1), ("job.two", 2)]]


def test_a_task_that_runs_is_stopped(sent: list[Any]) -> None:
    task = Task(legs("running - -", "running - -", "- - -"))

    def work(cancelled: list[str]) -> None:
        task.states["job.one_0"] = "failed"
        until_cancelled(cancelled)

    with pytest.raises(AirflowSkipException, match="another leg failed"):
        guarded(task, work)
    assert sent == [[("job.clean", 2), ("job.one", 2), ("job.two", 1), ("job.two", 2)]]


def test_python_code_that_does_not_heed_the_cancel_is_broken_off(sent: list[Any]) -> None:
    task = Task(legs("running - -", "running - -"))

    def work(cancelled: list[str]) -> None:
        task.states["job.one_0"] = "failed"
        time.sleep(10)
        pytest.fail("it slept on")

    with pytest.raises(AirflowSkipException):
        guarded(task, work, interrupt=True)


def test_an_on_kill_that_fails_is_no_reason_to_go_on(
    sent: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    task = Task(legs("running - -", "running - -"))

    def cancel() -> None:
        raise ValueError("broken")

    def work() -> None:
        with FailFast(job(), task).guard(cancel, interrupt=True):
            task.states["job.one_0"] = "failed"
            time.sleep(10)

    with pytest.raises(AirflowSkipException):
        work()
    assert "stopping the stage failed: broken" in caplog.text


def test_work_that_fails_by_itself_fails(sent: list[Any]) -> None:
    def work(cancelled: list[str]) -> None:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        guarded(Task(legs("running - -", "running - -")), work)


def test_a_stage_after_a_failure_of_its_own_leg_runs(sent: list[Any]) -> None:
    task = Task(legs("- - -", "failed running -"), task_id="job.two")
    assert guarded(task, lambda _: time.sleep(0.2)) == []
    assert sent == []


def test_a_look_that_fails_is_repeated(sent: list[Any], caplog: pytest.LogCaptureFixture) -> None:
    task = Task(legs("running - -", "running - -"))

    def work(cancelled: list[str]) -> None:
        task.broken = 2
        task.states["job.one_0"] = "failed"
        until_cancelled(cancelled)

    with pytest.raises(AirflowSkipException):
        guarded(task, work)
    assert "cannot look" in caplog.text


@pytest.mark.parametrize(
    ("task", "plan"),
    [
        (Task(legs("failed - -", "running - -")), job(fail_fast=False)),
        (Task(legs("failed - -", "running - -"), index=-1), job()),
        (Task(legs("failed - -", "success success running"), task_id="job.clean"), job()),
        (Task({}), None),
    ],
    ids=["no fail-fast", "no leg", "teardown", "no job"],
)
def test_who_has_no_part_in_it(task: Task, plan: JobPlan | None, sent: list[Any]) -> None:
    fail_fast = FailFast(plan, task)
    with fail_fast.guard(lambda: pytest.fail("cancelled")):
        time.sleep(0.12)
    fail_fast.announce(RuntimeError(), lambda: True)
    assert sent == []
    trigger = DateTimeTrigger(timezone.utcnow())
    assert fail_fast.watched(trigger) is trigger


def test_a_trigger_is_watched() -> None:
    moment = timezone.utcnow()
    watched = FailFast(job(), Task({})).watched(DateTimeTrigger(moment))
    assert isinstance(watched, FailFastTrigger)
    assert watched.trigger_class.endswith("DateTimeTrigger")
    assert watched.arguments["moment"] == moment
    assert watched.task_ids == STAGES[:2]
