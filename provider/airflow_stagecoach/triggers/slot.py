"""A slot for a leg: how ``max-parallel`` holds exactly without occupying workers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TaskSuccessEvent, TriggerEvent
from asgiref.sync import sync_to_async

from airflow_stagecoach.triggers._legs import read_states

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

_FINISHED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})


def may_start(
    states: Mapping[str, str | None], task_ids: list[str], slot: str, index: int, limit: int
) -> bool:
    """Whether a leg may start: fewer than ``limit`` legs are before it.

    Before it are the unfinished legs with a smaller index, and the unfinished legs that have their
    slot already (a cleared leg comes back when later ones run). Of two legs that wait, the later one
    counts the earlier one, so they can never both take the last place.

    :param states: task states by ``task_id_INDEX``
    :param task_ids: the stages of a leg
    :param slot: task id of the slots
    :param index: this leg
    """
    before = 0
    count = sum(name.startswith(f"{slot}_") for name in states)
    for other in range(max(count, index)):
        if other == index or (other > index and states.get(f"{slot}_{other}") != "success"):
            continue
        if any(states.get(f"{task_id}_{other}") not in _FINISHED for task_id in task_ids):
            before += 1
            if before >= limit:
                return False
    return True


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
        while True:
            try:
                if await self._look():
                    break
            except Exception as error:
                # The API server or its database is away for a moment. A failed slot would cost the leg.
                self.log.warning("Cannot look at the other legs, trying again: %s", error)
            await asyncio.sleep(self.poll_interval)
        yield TaskSuccessEvent()

    async def _look(self) -> bool:
        ti: Any = self.task_instance
        if self.limit is None:
            self.limit = await self._limit_of_gate()
        states = await read_states(ti, [*self.task_ids, ti.task_id], self.poll_interval)
        return may_start(states, self.task_ids, ti.task_id, ti.map_index, self.limit)

    async def _limit_of_gate(self) -> int:
        from airflow.sdk.bases.xcom import BaseXCom

        ti: Any = self.task_instance
        value: Any = await sync_to_async(BaseXCom.get_one)(
            key="max_parallel", dag_id=ti.dag_id, task_id=str(self.gate), run_id=ti.run_id, map_index=-1
        )
        return int(value)
