"""Which leg may start, and how its slot waits."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
from airflow.triggers.base import TaskSuccessEvent
from hypothesis import given
from hypothesis import strategies as st

from airflow_stagecoach.triggers import _legs
from airflow_stagecoach.triggers.slot import LegSlotTrigger, may_start

STAGES = ["job.a", "job.b"]
SLOT = "job.__slot__"
UNFINISHED = [None, "scheduled", "queued", "running", "deferred", "up_for_retry", "awaiting_input"]
FINISHED = ["success", "failed", "skipped", "upstream_failed", "removed"]


def states(*legs: str) -> dict[str, str | None]:
    """States of legs; the words are slot, a, b. `-` is none."""
    found: dict[str, str | None] = {}
    for index, leg in enumerate(legs):
        for name, state in zip([SLOT, *STAGES], leg.split(), strict=True):
            found[f"{name}_{index}"] = None if state == "-" else state
    return found


WAITS, RUNS, ENDED = "deferred - -", "success success running", "success success success"


@pytest.mark.parametrize(
    ("legs", "index", "limit", "may"),
    [
        ([WAITS, WAITS], 0, 1, True),
        ([WAITS, WAITS], 1, 1, False),
        ([WAITS, WAITS], 1, 2, True),
        ([RUNS, WAITS], 1, 1, False),
        ([ENDED, WAITS], 1, 1, True),
        (["success failed upstream_failed", WAITS], 1, 1, True),
        (["skipped skipped skipped", WAITS], 1, 1, True),
        (["success failed running", WAITS], 1, 1, False),
        ([RUNS, RUNS, RUNS, WAITS], 3, 3, False),
        ([RUNS, ENDED, RUNS, WAITS], 3, 3, True),
        # A leg that was cleared comes back while later ones run.
        ([WAITS, RUNS, WAITS], 0, 1, False),
        ([WAITS, RUNS, WAITS], 0, 2, True),
        ([WAITS, RUNS, WAITS], 2, 2, False),
        ([WAITS, "success - -"], 0, 1, False),
    ],
)
def test_may_start(legs: list[str], index: int, limit: int, may: bool) -> None:
    assert may_start(states(*legs), STAGES, SLOT, index, limit) is may


@given(
    count=st.integers(1, 8),
    limit=st.integers(1, 4),
    steps=st.lists(st.tuples(st.sampled_from(["look", "end", "clear"]), st.integers(0, 7)), max_size=60),
)
def test_never_more_legs_than_the_limit_and_never_none(
    count: int, limit: int, steps: list[tuple[str, int]]
) -> None:
    waiting, running = "waiting", "running"
    legs = [waiting] * count
    words = {waiting: WAITS, running: RUNS, "ended": ENDED}
    for step, number in steps:
        index = number % count
        now = states(*(words[leg] for leg in legs))
        if step == "look" and legs[index] == waiting and may_start(now, STAGES, SLOT, index, limit):
            legs[index] = running
        elif step == "end" and legs[index] == running:
            legs[index] = "ended"
        elif step == "clear" and legs[index] == "ended":
            legs[index] = waiting
        assert legs.count(running) <= limit
    now = states(*(words[leg] for leg in legs))
    if waiting in legs and legs.count(running) < limit:
        assert may_start(now, STAGES, SLOT, legs.index(waiting), limit), "somebody may always start"


def test_it_looks_until_it_may_start_and_survives_a_server_that_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers: list[Any] = [
        RuntimeError("no server"),
        {"run": states(RUNS, WAITS)},
        {"run": states(RUNS, WAITS)},
        {"run": states(ENDED, WAITS)},
    ]
    asked = []

    def get_task_states(*, dag_id: str, task_ids: list[str], run_ids: list[str]) -> Any:
        asked.append((dag_id, task_ids, run_ids))
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", get_task_states)
    monkeypatch.setattr(_legs, "_looks", {})
    trigger = LegSlotTrigger(task_ids=STAGES, limit=1, poll_interval=0.01)
    task: Any = SimpleNamespace(dag_id="dag", run_id="run", task_id=SLOT, map_index=1)
    trigger.task_instance = task

    async def first() -> Any:
        return await anext(aiter(trigger.run()))

    assert isinstance(asyncio.run(first()), TaskSuccessEvent)
    assert asked == [("dag", [*STAGES, SLOT], ["run"])] * 4


def test_slots_share_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def get_task_states(**where: Any) -> Any:
        asked.append(where)
        return {"run": states(RUNS, WAITS)}

    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", get_task_states)
    monkeypatch.setattr(_legs, "_looks", {})
    task = SimpleNamespace(dag_id="dag", run_id="run")

    async def look() -> None:
        await asyncio.gather(*(_legs.read_states(task, STAGES, 30) for _ in range(50)))

    asyncio.run(look())
    assert len(asked) == 1


def test_looks_that_nobody_asks_for_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", lambda **where: {})
    monkeypatch.setattr(_legs, "_looks", {})
    monkeypatch.setattr(_legs, "_FORGET", -1.0)

    async def look() -> None:
        for run_id in ("one", "two"):
            await _legs.read_states(SimpleNamespace(dag_id="dag", run_id=run_id), STAGES, 0)

    asyncio.run(look())
    assert [key[1] for key in _legs._looks] == ["two"]


def test_it_is_made_again_from_what_it_serializes() -> None:
    trigger = LegSlotTrigger(task_ids=STAGES, limit=None, gate="job.__gate__", poll_interval=2)
    path, arguments = trigger.serialize()
    assert path.endswith(".LegSlotTrigger")
    assert LegSlotTrigger(**arguments).serialize() == (path, arguments)
