"""A slot for a leg: how ``max-parallel`` holds exactly without occupying workers."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TaskSuccessEvent, TriggerEvent
from asgiref.sync import sync_to_async

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

_FINISHED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})


def may_start(states: Mapping[str, str | None], task_ids: list[str], index: int, limit: int) -> bool:
    """Whether a leg may start: fewer than ``limit`` unfinished legs stand before it.

    Every leg judges by the legs before it only, so two legs can never both take the last place.

    :param states: task states by ``task_id_INDEX``
    :param task_ids: the stages of a leg
    :param index: this leg
    """
    unfinished = 0
    for earlier in range(index):
        if any(states.get(f"{task_id}_{earlier}") not in _FINISHED for task_id in task_ids):
            unfinished += 1
            if unfinished >= limit:
                return False
    return True


class _Poll:
    """States of one job's legs, read once per interval for all the slots of this triggerer."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.read_at = 0.0
        self.states: dict[str, str | None] = {}


_polls: dict[tuple[str, str, str], _Poll] = {}


class LegSlotTrigger(BaseTrigger):
    """Ends its task with success as soon as the leg may start.

    :param task_ids: task ids of the leg's stages
    :param limit: how many legs may run at once; ``None`` when the gate decides it at run time
    :param gate: task id of the gate, where ``limit`` is ``None``
    :param poll_interval: seconds between two looks, shared by all slots of the job
    """

    def __init__(
        self,
        task_ids: list[str],
        limit: int | None,
        gate: str | None = None,
        poll_interval: float = 1.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow does not type it
        self.task_ids = task_ids
        self.limit = limit
        self.gate = gate
        self.poll_interval = poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments, from which any triggerer makes this trigger again."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "task_ids": self.task_ids,
                "limit": self.limit,
                "gate": self.gate,
                "poll_interval": self.poll_interval,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Give one event, which ends the task in the triggerer."""
        ti: Any = self.task_instance
        limit = self.limit if self.limit is not None else await self._limit_of_gate()
        while not may_start(await self._states(), self.task_ids, ti.map_index, limit):
            await asyncio.sleep(self.poll_interval)
        yield TaskSuccessEvent()

    async def _limit_of_gate(self) -> int:
        from airflow.sdk.bases.xcom import BaseXCom

        ti: Any = self.task_instance
        value: Any = await sync_to_async(BaseXCom.get_one)(
            key="max_parallel", dag_id=ti.dag_id, task_id=str(self.gate), run_id=ti.run_id, map_index=-1
        )
        return int(value)

    async def _states(self) -> dict[str, str | None]:
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        ti: Any = self.task_instance
        poll = _polls.setdefault((ti.dag_id, ti.run_id, self.task_ids[0]), _Poll())
        async with poll.lock:
            if time.monotonic() - poll.read_at >= self.poll_interval:
                found = await sync_to_async(RuntimeTaskInstance.get_task_states)(
                    dag_id=ti.dag_id, task_ids=self.task_ids, run_ids=[ti.run_id]
                )
                poll.states = found.get(ti.run_id, {})
                poll.read_at = time.monotonic()
        return poll.states
