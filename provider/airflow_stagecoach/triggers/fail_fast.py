"""Waiting for what an operator waits for, unless another leg of its job fails."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TaskSkippedEvent, TriggerEvent

from airflow_stagecoach.triggers._legs import another_leg_failed, read_states

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class FailFastTrigger(BaseTrigger):
    """Runs a trigger, and skips its task as soon as another leg has failed for good.

    The failing leg asks the server to skip the others itself. This is for the leg
    whose worker was killed and could ask nothing.

    :param trigger_class: class path of the trigger that the operator deferred with
    :param arguments: its arguments
    :param task_ids: task ids of the leg's stages
    :param poll_interval: seconds between two looks, shared by all of the job's legs
    """

    def __init__(
        self,
        trigger_class: str,
        arguments: dict[str, Any],
        task_ids: list[str],
        poll_interval: float = 2.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow does not type it
        self.trigger_class = trigger_class
        self.arguments = arguments
        self.task_ids = task_ids
        self.poll_interval = poll_interval
        self._inner: BaseTrigger | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments, from which any triggerer makes this trigger again."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "trigger_class": self.trigger_class,
                "arguments": self.arguments,
                "task_ids": self.task_ids,
                "poll_interval": self.poll_interval,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Give the events of the inner trigger, or the one that skips the task.

        The inner trigger runs in the asyncio task that Airflow made for this one: triggers may rely
        on what Airflow prepared there. So the look, not the trigger, has a task of its own.
        """
        ti: Any = self.task_instance
        this = asyncio.current_task()
        hit = False

        async def look() -> None:
            nonlocal hit
            while True:
                try:
                    states = await read_states(ti, self.task_ids, self.poll_interval)
                except Exception as error:  # a look that fails is repeated; the wait goes on
                    self.log.warning("fail-fast cannot look at the other legs: %s", error)
                    states = {}
                if another_leg_failed(states, self.task_ids, ti.map_index):
                    hit = True
                    if this is not None:
                        this.cancel()
                    return
                await asyncio.sleep(self.poll_interval)

        looking = asyncio.create_task(look())
        try:
            async for event in self._make_inner().run():
                # From here on the task goes on in a worker, which looks itself.
                looking.cancel()
                yield event
        except asyncio.CancelledError:
            if not hit or _take_back(this):
                raise
            self.log.info("Cancelled: another leg failed, and the job says fail-fast")
            await self.on_kill()
            yield TaskSkippedEvent()
        finally:
            looking.cancel()

    def _make_inner(self) -> BaseTrigger:
        if self._inner is None:
            from airflow.sdk._shared.module_loading import import_string

            inner: BaseTrigger = import_string(self.trigger_class)(**self.arguments)
            inner.task_instance = self.task_instance
            inner.trigger_id = self.trigger_id
            # Set by the triggerer on those that it makes, and read by some triggers.
            for name in ("triggerer_job_id", "timeout_after"):
                if hasattr(self, name):
                    setattr(inner, name, getattr(self, name))
            self._inner = inner
        return self._inner

    async def on_kill(self) -> None:
        """Hand the stop on to the inner trigger."""
        await self._make_inner().on_kill()

    async def cleanup(self) -> None:
        """Hand the clean-up on to the inner trigger."""
        if self._inner is not None:
            await self._inner.cleanup()


def _take_back(task: asyncio.Task[Any] | None) -> bool:
    """Take back the one cancel that the look asked for.

    :return: whether somebody else cancelled the task as well
    """
    uncancel = getattr(task, "uncancel", None)  # Python 3.11
    return bool(uncancel()) if uncancel is not None else False
