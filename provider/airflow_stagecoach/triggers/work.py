"""Following work of a remote backend in the triggerer."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any, cast

from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from airflow_stagecoach.engine.log_levels import unmarked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from airflow_stagecoach.backends.remote import RemoteBackend
    from airflow_stagecoach.backends.work import Handle, Status

#: As the engine names them.
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

#: Seconds for which the place may not answer. Then the worker takes over: it knows what to say.
_GIVE_UP = 60.0


def _thread(function: Any) -> Any:
    """A place that does not answer must hold up no other trigger: not the one thread that all share."""
    return sync_to_async(function, thread_sensitive=False)


class WorkTrigger(BaseTrigger):
    """Passes the output of started work on, and fires when it has ended or its deadline has passed.

    The output that comes here holds no secret values: the engine hides them where the work runs. The work is
    stopped when somebody clears or marks the task, and at no other time: a restarted triggerer goes on.

    :param runs_on: type of the backend, and the settings by which its work is reached
    :param handle: the work
    :param position: where its output was left
    :param deadline: seconds since the epoch, ``None`` for none
    :param poll_interval: seconds between two looks
    """

    def __init__(
        self,
        runs_on: dict[str, Any],
        handle: Handle,
        position: Any = None,
        deadline: float | None = None,
        poll_interval: float = 2.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow does not type it
        self.runs_on = runs_on
        self.handle = handle
        self.position = position
        self.deadline = deadline
        self.poll_interval = poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments, from which any triggerer makes this trigger again."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "runs_on": self.runs_on,
                "handle": dict(self.handle),
                "position": self.position,
                "deadline": self.deadline,
                "poll_interval": self.poll_interval,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Give one event, ``{"position": ..., "timeout": bool}``: the worker looks what became of it."""
        backend = await _thread(self._backend)()
        answered = time.monotonic()
        while True:
            ended = False
            try:
                status: Status = await _thread(self._look)(backend)
                ended = status.state in ("ended", "lost")
                answered = time.monotonic()
            except Exception as error:
                self.log.warning("%s does not answer, trying again: %s", self.runs_on["type"], error)
                ended = time.monotonic() - answered > _GIVE_UP
            late = self.deadline is not None and time.time() >= self.deadline
            if ended or late:
                yield TriggerEvent({"position": self.position, "timeout": late and not ended})
                return
            await asyncio.sleep(self.poll_interval)

    async def on_kill(self) -> None:
        """Stop the work: the task was cleared, marked or skipped while it was deferred."""
        backend = await _thread(self._backend)()
        await _thread(backend.stop)(self.handle)
        await _thread(backend.clean)(self.handle)

    def _backend(self) -> RemoteBackend:
        from airflow_stagecoach.backends import get_backend

        emulate = self.runs_on.get("emulate", False)
        return cast(
            "RemoteBackend", get_backend(self.runs_on["type"], self.runs_on["with_"], emulate=emulate)
        )

    def _look(self, backend: RemoteBackend) -> Status:
        from airflow_stagecoach.backends.remote import LONGEST_LOOK

        status = backend.poll(self.handle)
        until = time.monotonic() + LONGEST_LOOK
        while True:
            found = backend.logs(self.handle, self.position)
            for line in found.lines:
                text, level = unmarked(line)
                self.log.log(_LEVELS[level], "%s", text)
            if not found.lines or found.position == self.position:
                return status
            self.position = found.position
            # Work that writes without a pause shall be looked at like any other; the worker tells the rest.
            if time.monotonic() > until:
                return status
