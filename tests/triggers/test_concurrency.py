"""Concurrency groups in the triggerer, over an Airflow that is a table in this process."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import DRCount, ErrorResponse, TaskStatesResult, VariableKeysResult
from airflow.triggers.base import TaskFailedEvent, TaskSkippedEvent, TaskSuccessEvent, TriggerEvent

from airflow_stagecoach.exceptions import StageConfigError
from airflow_stagecoach.triggers import _group_store
from airflow_stagecoach.triggers._group_store import GroupStore
from airflow_stagecoach.triggers._tickets import CANCEL_RUNNING, QUEUE, REJECT, SKIP, Participant
from airflow_stagecoach.triggers.concurrency import (
    ConcurrencyTrigger,
    LeaseTrigger,
    ReleaseTrigger,
    run_ticket,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.triggers.base import BaseTrigger

NOON = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)


@dataclass
class Airflow:
    """Answers what a trigger asks its supervisor."""

    variables: dict[str, str] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)  # runs
    states: dict[str, str | None] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    broken: int = 0  # answers that fail
    now: float = 1000.0

    def send(self, msg: Any) -> Any:
        kind = type(msg).__name__
        self.asked.append(kind)
        if self.broken:
            self.broken -= 1
            raise AirflowRuntimeError(ErrorResponse(error=ErrorType.API_SERVER_ERROR))
        if kind == "PutVariable":
            assert len(msg.key) <= 250
            self.variables[msg.key] = msg.value
        elif kind == "DeleteVariable":
            self.variables.pop(msg.key, None)
        elif kind == "GetVariableKeys":
            keys = [key for key in sorted(self.variables) if key.startswith(msg.prefix)]
            return VariableKeysResult(keys=keys[: msg.limit], total_entries=len(keys))
        elif kind == "GetVariable":
            if msg.key not in self.variables:
                return ErrorResponse(error=ErrorType.VARIABLE_NOT_FOUND)
            return SimpleNamespace(value=self.variables[msg.key])
        elif kind == "GetDRCount":
            return DRCount(count=sum(run not in self.ended for run in msg.run_ids))
        elif kind == "GetTaskStates":
            return TaskStatesResult(task_states={msg.run_ids[0]: self.states})
        else:
            raise AssertionError(kind)
        return None


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> Airflow:
    found = Airflow()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", found, raising=False)
    monkeypatch.setattr(_group_store, "_looks", {})
    monkeypatch.setattr(_group_store, "_activities", {})
    monkeypatch.setattr(_group_store, "time", SimpleNamespace(monotonic=lambda: found.now))
    return found


def taking_part(run: str, minute: int = 0, policy: str = QUEUE, group: str = "g") -> Participant:
    ticket = run_ticket("dag", run, NOON + timedelta(minutes=minute), policy)
    return Participant(GroupStore(group, "dag", run), ticket)


def with_run(trigger: Any, run: str, minute: int = 0) -> Any:
    """A trigger as the triggerer has it: with the task instance of a run."""
    dag_run = SimpleNamespace(start_date=NOON + timedelta(minutes=minute))
    ti = SimpleNamespace(
        dag_id="dag", run_id=run, get_template_context=lambda: {"dag_run": dag_run}, map_index=-1
    )
    trigger._task_instance = ti
    type(trigger).task_instance = property(lambda self: self._task_instance)
    return trigger


def event_of(trigger: BaseTrigger, within: float = 5.0) -> TriggerEvent:
    async def first() -> TriggerEvent:
        return await anext(trigger.run())

    return asyncio.run(asyncio.wait_for(first(), within))


@pytest.fixture(autouse=True)
def _task_instances(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let :func:`with_run` put a task instance into a trigger without the triggerer."""
    for kind in (ConcurrencyTrigger, LeaseTrigger, ReleaseTrigger):
        monkeypatch.setattr(kind, "task_instance", kind.task_instance, raising=False)


class TestStore:
    def test_what_is_put_is_listed_and_deleted(self, airflow: Airflow) -> None:
        one = taking_part("a")
        assert one.step() is not None
        store = GroupStore("g", "dag", "b")
        assert store.tickets(fresh=True) == {one.ticket: frozenset({"waiting", "claim", "held"})}
        assert GroupStore("other", "dag", "b").tickets(fresh=True) == {}
        assert store.owner(one.ticket) == {"group": "g", "dag_id": "dag", "run_id": "a"}
        one.withdraw()
        assert airflow.variables == {}

    def test_keys_are_short_whatever_the_names(self, airflow: Airflow) -> None:
        long = GroupStore("g" * 1000, "d" * 250, "r" * 250)
        assert Participant(long, run_ticket("d" * 250, "r" * 250, NOON, QUEUE)).step() is not None

    def test_a_group_is_listed_once_a_second_for_all_who_wait(self, airflow: Airflow) -> None:
        assert taking_part("a").step() is not None
        waiting = [taking_part(f"run{number}", number) for number in range(1, 20)]
        for one in waiting:
            assert one.step() is None
        airflow.now += 0.5
        airflow.asked.clear()
        for one in waiting:
            assert one.step() is None
        assert airflow.asked == []
        airflow.now += 1
        for one in waiting:
            assert one.step() is None
        assert airflow.asked == ["GetVariableKeys"]

    def test_too_many_names_are_no_half_an_answer(
        self, airflow: Airflow, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_group_store, "_MOST", 2)
        airflow.variables = {f"x/{number}": "{}" for number in range(3)}
        with pytest.raises(RuntimeError, match="more than 2"):
            _group_store.list_keys("x/")

    def test_a_run_that_ended_by_hand_counts_ten_seconds_more(self, airflow: Airflow) -> None:
        assert taking_part("a").step() is not None
        other = taking_part("b", 1)
        assert other.step() is None
        airflow.ended.add("a")
        for _ in range(4):  # its end is seen within three seconds
            airflow.now += 3
            assert other.step() is None
        airflow.now += 3
        assert other.step() is not None

    def test_a_waiting_run_that_ended_is_forgotten_at_once(self, airflow: Airflow) -> None:
        assert taking_part("a").step() is not None
        first, second = taking_part("b", 1), taking_part("c", 2)
        assert (first.step(), second.step()) == (None, None)
        airflow.ended.add("b")
        _group_store.release("dag", "a")
        airflow.now += 3
        assert second.step() is not None

    def test_what_a_run_holds(self, airflow: Airflow) -> None:
        assert not _group_store.holds(_group_store.run_keys("dag", "a"))
        one = taking_part("a")
        one.step()
        keys = _group_store.run_keys("dag", "a")
        assert _group_store.holds(keys)
        assert _group_store.cancelled_by(keys) is None
        taking_part("b", 1, CANCEL_RUNNING).step()
        by = _group_store.cancelled_by(_group_store.run_keys("dag", "a"))
        assert by == {"group": "g", "dag_id": "dag", "run_id": "b"}
        _group_store.release("dag", "a")
        assert _group_store.run_keys("dag", "a") == []
        assert one.ticket not in GroupStore("g", "dag", "c").tickets(fresh=True)

    def test_a_cancel_of_an_earlier_start_does_not_count(self, airflow: Airflow) -> None:
        one = taking_part("a")
        one.step()
        taking_part("b", 1, CANCEL_RUNNING).step()
        left = {key: value for key, value in airflow.variables.items() if "/cancel/" in key}
        one.withdraw()
        again = taking_part("a", 2, group="h")
        again.step()
        airflow.variables |= left  # as if its deletion had been broken off
        assert _group_store.cancelled_by(_group_store.run_keys("dag", "a")) is None


class TestConcurrencyTrigger:
    @pytest.mark.parametrize("policy", [QUEUE, REJECT, SKIP, CANCEL_RUNNING])
    def test_alone_it_succeeds(self, airflow: Airflow, policy: str) -> None:
        event = event_of(with_run(ConcurrencyTrigger("g", policy), "a"))
        assert isinstance(event, TaskSuccessEvent)
        assert event.xcoms == {"group": "g"}

    def test_reject_names_the_holder(self, airflow: Airflow) -> None:
        taking_part("a").step()
        event = event_of(with_run(ConcurrencyTrigger("g", REJECT), "b", 1))
        assert isinstance(event, TaskFailedEvent)
        assert event.xcoms is not None
        error: Any = event.xcoms["error"]
        assert error["reason"] == "already_running"
        assert error["message"] == "already_running: run 'a' of 'dag' holds concurrency group 'g'"

    def test_skip(self, airflow: Airflow) -> None:
        taking_part("a").step()
        assert isinstance(event_of(with_run(ConcurrencyTrigger("g", SKIP), "b", 1)), TaskSkippedEvent)

    def test_a_newer_run_cancels_one_that_waits(self, airflow: Airflow) -> None:
        taking_part("a").step()
        taking_part("c", 2, CANCEL_RUNNING).step()
        event = event_of(with_run(ConcurrencyTrigger("g", CANCEL_RUNNING), "b", 1))
        assert isinstance(event, TaskFailedEvent)
        assert event.xcoms is not None
        assert event.xcoms["error"]["reason"] == "cancelled"  # type: ignore[index, call-overload]  # JSON

    def test_it_waits_and_goes_on_after_errors(self, airflow: Airflow) -> None:
        airflow.broken = 3
        trigger = with_run(ConcurrencyTrigger("g", QUEUE, poll_interval=0.01), "a")
        assert isinstance(event_of(trigger), TaskSuccessEvent)

    def test_queue_waits_until_the_holder_gives_it_back(self, airflow: Airflow) -> None:
        taking_part("a").step()
        trigger = with_run(ConcurrencyTrigger("g", QUEUE, poll_interval=0.01), "b", 1)

        async def run() -> TriggerEvent:
            task = asyncio.create_task(anext(trigger.run()))
            await asyncio.sleep(0.2)
            assert not task.done()
            _group_store.release("dag", "a")
            airflow.now += 1
            event: TriggerEvent = await asyncio.wait_for(task, 5)
            return event

        assert isinstance(asyncio.run(run()), TaskSuccessEvent)

    def test_a_group_without_a_name_is_a_failure(
        self, airflow: Airflow, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(trigger: ConcurrencyTrigger) -> str:
            raise StageConfigError("there is no param x")

        monkeypatch.setattr(ConcurrencyTrigger, "group_name", fail)
        event = event_of(with_run(ConcurrencyTrigger("${{ params.x }}", QUEUE), "a"))
        assert isinstance(event, TaskFailedEvent)
        assert event.xcoms is not None
        error: Any = event.xcoms["error"]
        assert (error["category"], error["message"]) == ("configuration", "there is no param x")

    def test_a_person_who_stops_the_wait_takes_the_run_out(self, airflow: Airflow) -> None:
        taking_part("a").step()
        before = dict(airflow.variables)
        taking_part("b", 1).step()
        asyncio.run(with_run(ConcurrencyTrigger("g", QUEUE), "b", 1).on_kill())
        assert airflow.variables == before


class TestLease:
    @pytest.mark.parametrize("state", ["success", "failed", "skipped", "upstream_failed"])
    def test_it_ends_with_the_work(self, airflow: Airflow, state: str) -> None:
        airflow.states = {"__release__": state}
        assert isinstance(event_of(with_run(LeaseTrigger("__release__"), "a")), TaskSuccessEvent)

    @pytest.mark.parametrize("state", [None, "scheduled", "deferred", "running"])
    def test_it_stays_as_long_as_the_work(self, airflow: Airflow, state: str | None) -> None:
        airflow.states = {"__release__": state}
        trigger = with_run(LeaseTrigger("__release__", poll_interval=0.01), "a")
        with pytest.raises(asyncio.TimeoutError):  # another one than TimeoutError on Python 3.10
            event_of(trigger, 0.1)

    def test_it_tells_who_cancels(self, airflow: Airflow) -> None:
        taking_part("a").step()
        taking_part("b", 1, CANCEL_RUNNING).step()
        event = event_of(with_run(LeaseTrigger("__release__"), "a"))
        assert event.payload == {"cancelled_by": {"group": "g", "dag_id": "dag", "run_id": "b"}}

    def test_errors_do_not_end_it(self, airflow: Airflow) -> None:
        airflow.broken = 2
        airflow.states = {"__release__": "success"}
        trigger = with_run(LeaseTrigger("__release__", poll_interval=0.01), "a")
        assert isinstance(event_of(trigger), TaskSuccessEvent)


def test_release_gives_everything_back(airflow: Airflow) -> None:
    taking_part("a").step()
    airflow.broken = 1
    event = event_of(with_run(ReleaseTrigger(poll_interval=0.01), "a"))
    assert isinstance(event, TaskSuccessEvent)
    assert airflow.variables == {}


@pytest.mark.parametrize("deleted", range(6))
def test_a_release_that_is_broken_off_can_be_repeated(airflow: Airflow, deleted: int) -> None:
    taking_part("a").step()
    send, left = airflow.send, deleted

    def break_off(msg: Any) -> Any:
        nonlocal left
        if type(msg).__name__ == "DeleteVariable":
            if not left:
                raise ConnectionError
            left -= 1
        return send(msg)

    airflow.send = break_off  # type: ignore[method-assign]  # for this test
    try:
        _group_store.release("dag", "a")
    except ConnectionError:
        airflow.send = send  # type: ignore[method-assign]  # as before
        _group_store.release("dag", "a")
    assert airflow.variables == {}


@pytest.mark.parametrize(
    "make",
    [
        lambda: ConcurrencyTrigger("g", REJECT, '{"x": 1}', 2.0),
        lambda: LeaseTrigger("__release__", 3.0),
        lambda: ReleaseTrigger(4.0),
    ],
)
def test_a_trigger_is_made_again_from_what_it_serializes(make: Callable[[], BaseTrigger]) -> None:
    one = make()
    path, arguments = one.serialize()
    again = type(one)(**arguments)
    assert path == f"airflow_stagecoach.triggers.concurrency.{type(one).__name__}"
    assert again.serialize() == (path, arguments)
