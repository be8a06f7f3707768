"""Looking at the legs of a job from the triggerer: one look a second for all who wait there."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Seconds after which a job that nobody asks about is forgotten.
_FORGET = 600.0


class _Look:
    """States of one job's legs, as they were last seen."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.read_at = float("-inf")
        self.states: dict[str, str | None] = {}


_looks: dict[tuple[str, str, str], _Look] = {}


async def read_states(ti: Any, task_ids: list[str], interval: float) -> Mapping[str, str | None]:
    """Give the task states of a job's legs, not older than an interval.

    :param ti: the task instance that waits; tells DAG and run
    :param task_ids: the stages of a leg
    :param interval: seconds
    :return: ``task_id_INDEX`` -> state
    """
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    look = _looks.setdefault((ti.dag_id, ti.run_id, task_ids[0]), _Look())
    async with look.lock:
        if time.monotonic() - look.read_at >= interval:
            found = await sync_to_async(RuntimeTaskInstance.get_task_states)(
                dag_id=ti.dag_id, task_ids=task_ids, run_ids=[ti.run_id]
            )
            look.states = found.get(ti.run_id, {})
            look.read_at = time.monotonic()
            _forget_old()
    return look.states


def another_leg_failed(states: Mapping[str, str | None], task_ids: list[str], index: int) -> bool:
    """Whether a leg failed that is not the one with this index.

    :param states: ``task_id_INDEX`` -> state
    """
    own = {f"{task_id}_{index}" for task_id in task_ids}
    return any(state == "failed" and name not in own for name, state in states.items())


def _forget_old() -> None:
    now = time.monotonic()
    for key, look in list(_looks.items()):
        if not look.lock.locked() and now - look.read_at > _FORGET:
            del _looks[key]
