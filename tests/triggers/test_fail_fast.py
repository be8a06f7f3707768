"""A trigger that ends early when another leg fails."""

from __future__ import annotations

import asyncio
import contextlib
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
from airflow.sdk.serde import deserialize, serialize
from airflow.triggers.base import BaseTrigger, TaskSkippedEvent, TriggerEvent

from airflow_stagecoach.triggers import _legs
from airflow_stagecoach.triggers.fail_fast import FailFastTrigger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

STAGES = ["job.a", "job.b"]


class Inner(BaseTrigger):
    """Waits, then gives its events; remembers what it is asked."""

    heard: ClassVar[list[str]] = []

    def __init__(self, seconds: float, events: int = 1, error: str = "") -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow does not type it
        self.seconds = seconds
        self.events = events
        self.error = error

    def serialize(self) -> tuple[str, dict[str, Any]]:
        path = f"{__name__}.{type(self).__qualname__}"
        return path, {"seconds": self.seconds, "events": self.events, "error": self.error}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        task: Any = self.task_instance
        self.heard.append(f"run {task.map_index} {self.trigger_id}")
        for number in range(self.events):
            await asyncio.sleep(self.seconds)
            if self.error:
                raise ValueError(self.error)
            yield TriggerEvent(number)

    async def on_kill(self) -> None:
        self.heard.append("kill")

    async def cleanup(self) -> None:
        self.heard.append("cleanup")


@pytest.fixture(autouse=True)
def server(monkeypatch: pytest.MonkeyPatch) -> dict[str, str | None]:
    """The states that the server knows."""
    states: dict[str, str | None] = {"job.a_0": "running", "job.a_1": "deferred"}
    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", lambda **where: {"run": dict(states)})
    monkeypatch.setattr(_legs, "_looks", {})
    monkeypatch.setattr(Inner, "heard", [])
    return states


def watched(**arguments: Any) -> FailFastTrigger:
    path, complete = Inner(**arguments).serialize()
    trigger = FailFastTrigger(path, complete, STAGES, poll_interval=0.02)
    task: Any = SimpleNamespace(dag_id="dag", run_id="run", task_id="job.a", map_index=1)
    trigger.task_instance = task
    trigger.trigger_id = 7
    return trigger


async def events(trigger: FailFastTrigger) -> list[Any]:
    return [event async for event in trigger.run()]


def test_the_events_of_the_trigger_come_through() -> None:
    found = asyncio.run(events(watched(seconds=0.05, events=2)))
    assert [event.payload for event in found] == [0, 1]
    assert Inner.heard == ["run 1 7"]


def test_another_leg_failed(server: dict[str, str | None]) -> None:
    async def run() -> list[Any]:
        task = asyncio.create_task(events(watched(seconds=30)))
        await asyncio.sleep(0.1)
        server["job.a_0"] = "failed"
        return await asyncio.wait_for(task, 10)

    (event,) = asyncio.run(run())
    assert isinstance(event, TaskSkippedEvent)
    assert Inner.heard == ["run 1 7", "kill"]


def test_a_failure_of_the_own_leg_does_not_count(server: dict[str, str | None]) -> None:
    server["job.b_1"] = "failed"
    (event,) = asyncio.run(events(watched(seconds=0.2)))
    assert event.payload == 0


def test_a_person_stops_it() -> None:
    trigger = watched(seconds=30)

    async def run() -> None:
        task = asyncio.create_task(events(trigger))
        await asyncio.sleep(0.1)
        task.cancel("user-action")
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert task.cancelled()
        assert Inner.heard == ["run 1 7"], "the triggerer itself calls on_kill"
        await trigger.on_kill()
        await trigger.cleanup()

    asyncio.run(run())
    assert Inner.heard == ["run 1 7", "kill", "cleanup"]


def test_an_error_of_the_trigger_is_its_own() -> None:
    with pytest.raises(ValueError, match="mine"):
        asyncio.run(events(watched(seconds=0.05, error="mine")))


def test_a_look_that_fails_is_repeated(
    server: dict[str, str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[Any] = [RuntimeError("no server")]

    def get_task_states(**where: Any) -> Any:
        if answers:
            raise answers.pop()
        return {"run": dict(server)}

    server["job.a_0"] = "failed"
    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", get_task_states)
    (event,) = asyncio.run(events(watched(seconds=30)))
    assert isinstance(event, TaskSkippedEvent)


def test_it_is_made_again_from_what_it_serializes() -> None:
    from airflow.providers.standard.triggers.temporal import DateTimeTrigger
    from airflow.sdk import timezone

    path, arguments = DateTimeTrigger(timezone.utcnow()).serialize()
    trigger = FailFastTrigger(path, arguments, STAGES)
    _, ours = trigger.serialize()
    restored: Any = deserialize(serialize(ours))
    again = FailFastTrigger(**restored)
    assert again.serialize() == trigger.serialize()
    assert again._make_inner().serialize() == (path, arguments)
