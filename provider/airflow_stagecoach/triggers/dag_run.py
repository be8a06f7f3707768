"""Waiting for a DAG run in the triggerer."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

#: Seconds for which looks may fail.
_GIVE_UP = 120.0


class DagRunTrigger(BaseTrigger):
    """Fires when a DAG run has ended, or when the deadline has passed.

    The deadline is absolute, so a restarted triggerer keeps it: Airflow does
    not enforce ``execution_timeout`` while a task is deferred.

    :param dag_id: DAG of the run
    :param run_id: the run
    :param deadline: seconds since the epoch, ``None`` for none
    :param poll_interval: seconds between two looks
    """

    def __init__(
        self, dag_id: str, run_id: str, deadline: float | None = None, poll_interval: float = 2.0
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow does not type it
        self.dag_id = dag_id
        self.run_id = run_id
        self.deadline = deadline
        self.poll_interval = poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments, from which any triggerer makes this trigger again."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "dag_id": self.dag_id,
                "run_id": self.run_id,
                "deadline": self.deadline,
                "poll_interval": self.poll_interval,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Give one event: ``{"state": ...}`` or ``{"timeout": True}``."""
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        failing_since: float | None = None
        while True:
            try:
                state = await sync_to_async(RuntimeTaskInstance.get_dagrun_state)(
                    dag_id=self.dag_id, run_id=self.run_id
                )
            except Exception as error:
                # The API server or its database is away for a moment, or the child was deleted.
                failing_since = failing_since or time.monotonic()
                if time.monotonic() - failing_since > _GIVE_UP:
                    raise
                self.log.warning("Cannot look at run %s, trying again: %s", self.run_id, error)
                state = None
            else:
                failing_since = None
            state = str(getattr(state, "value", state))
            if state in ("success", "failed"):
                yield TriggerEvent({"state": state})
                return
            if self.deadline is not None and time.time() >= self.deadline:
                yield TriggerEvent({"timeout": True})
                return
            await asyncio.sleep(self.poll_interval)
