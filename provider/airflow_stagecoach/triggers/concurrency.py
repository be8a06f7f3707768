"""Concurrency groups in the triggerer: waiting for the group, watching over it, giving it back."""

from __future__ import annotations

import asyncio
from datetime import timezone
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import (
    BaseTrigger,
    TaskFailedEvent,
    TaskSkippedEvent,
    TaskSuccessEvent,
    TriggerEvent,
)
from asgiref.sync import sync_to_async

from airflow_stagecoach.exceptions import StageConfigError
from airflow_stagecoach.triggers import _group_store
from airflow_stagecoach.triggers._group_store import GroupStore, run_digest
from airflow_stagecoach.triggers._tickets import SKIP, Participant, Ticket, Verdict

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime

#: Reasons of a run that may not work, as they stand in its record.
ALREADY_RUNNING, CANCELLED = "already_running", "cancelled"

_ENDED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})


def run_ticket(dag_id: str, run_id: str, start: datetime, on_conflict: str) -> Ticket:
    """Make the ticket of a run. Its order is that of the runs' starts, as the scheduler wrote them."""
    moment = start.astimezone(timezone.utc).strftime("%Y%m%dT%H%M%S%f")
    return Ticket(moment, on_conflict, run_digest(dag_id, run_id))


def report(message: str, reason: str, category: str = "cancelled") -> dict[str, Any]:
    """Make the failure report of a run that may not work."""
    return {"error_type": "ConcurrencyConflict", "message": message, "category": category, "reason": reason}


class ConcurrencyTrigger(BaseTrigger):
    """Ends its task as soon as it is known whether the run may work.

    Success: it holds the group. Failed: another run holds it (``reject``), or a
    newer one takes its place (``cancel-running``). Skipped: another holds it
    (``skip``). Restarted at any time, it goes on where it was: all it knows is
    in the group's tickets.

    :param group: name of the group; a template
    :param on_conflict: queue, reject, skip or cancel-running
    :param declared: the params that the workflow declares, as JSON, ``None`` when it declares none
    :param poll_interval: seconds between two steps
    """

    def __init__(
        self,
        group: str,
        on_conflict: str,
        declared: str | None = None,
        poll_interval: float = 1.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow does not type it
        self.group = group
        self.on_conflict = on_conflict
        self.declared = declared
        self.poll_interval = poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments, from which any triggerer makes this trigger again."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "group": self.group,
                "on_conflict": self.on_conflict,
                "declared": self.declared,
                "poll_interval": self.poll_interval,
            },
        )

    def group_name(self) -> str:
        """Give the name of this run's group.

        :raises StageConfigError: it cannot be told
        """
        return self.group

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Give one event, which ends the task in the triggerer."""
        ti: Any = self.task_instance
        try:
            name = await sync_to_async(self.group_name)()
        except StageConfigError as error:
            self.log.error("%s", error)
            failure = report(str(error), "concurrency-group", "configuration")
            yield TaskFailedEvent(xcoms={"error": failure})
            return
        start = ti.get_template_context()["dag_run"].start_date
        store = GroupStore(name, ti.dag_id, ti.run_id)
        participant = Participant(store, run_ticket(ti.dag_id, ti.run_id, start, self.on_conflict))
        self.log.info("Concurrency group %r, on-conflict: %s", name, self.on_conflict)
        told: Ticket | None = None
        while True:
            verdict: Verdict | None = None
            try:
                verdict = await sync_to_async(participant.step)()
                if verdict is not None:
                    event = await sync_to_async(self._event)(verdict, store)
                    break
                if participant.waits_for is not None and participant.waits_for != told:
                    told = participant.waits_for
                    self.log.info("Waiting for %s", await sync_to_async(describe)(told, store))
            except Exception as error:  # Airflow cannot be reached for a while: the wait goes on
                self.log.warning("Cannot look at concurrency group %r: %s", name, error)
            await asyncio.sleep(self.poll_interval)
        yield event

    def _event(self, verdict: Verdict, store: GroupStore) -> TriggerEvent:
        if verdict.kind == "held":
            self.log.info("This run holds concurrency group %r", store.group)
            return TaskSuccessEvent(xcoms={"group": store.group})
        reason, message = why_not(verdict, store)
        if verdict.kind == "busy" and self.on_conflict == SKIP:
            self.log.info("Skipped: %s", message)
            return TaskSkippedEvent(xcoms={"group": store.group})
        self.log.error("%s", message)
        return TaskFailedEvent(xcoms={"error": report(message, reason), "group": store.group})

    async def on_kill(self) -> None:
        """Leave the group: somebody marked or cleared the waiting task."""
        ti: Any = self.task_instance
        start = ti.get_template_context()["dag_run"].start_date
        store = GroupStore(self.group_name(), ti.dag_id, ti.run_id)
        participant = Participant(store, run_ticket(ti.dag_id, ti.run_id, start, self.on_conflict))
        await sync_to_async(participant.withdraw)()


class LeaseTrigger(BaseTrigger):
    """Watches while its run holds a group: fires when another run cancels it, ends when the work has ended.

    :param release: task id of the task that gives the group back, after all work
    :param poll_interval: seconds between two looks
    """

    def __init__(self, release: str, poll_interval: float = 1.5) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow does not type it
        self.release = release
        self.poll_interval = poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments, from which any triggerer makes this trigger again."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {"release": self.release, "poll_interval": self.poll_interval},
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Give one event: that the work has ended, or ``{"cancelled_by": ...}``."""
        while True:
            try:
                event = await sync_to_async(self._look)()
                if event is not None:
                    break
            except Exception as error:  # Airflow cannot be reached for a while: the watch goes on
                self.log.warning("Cannot look at the concurrency group of this run: %s", error)
            await asyncio.sleep(self.poll_interval)
        yield event

    def _look(self) -> TriggerEvent | None:
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        ti: Any = self.task_instance
        by = _group_store.cancelled_by(_group_store.run_keys(ti.dag_id, ti.run_id))
        if by is not None:
            return TriggerEvent({"cancelled_by": by})
        found = RuntimeTaskInstance.get_task_states(
            dag_id=ti.dag_id, task_ids=[self.release], run_ids=[ti.run_id]
        )
        state = found.get(ti.run_id, {}).get(self.release)
        return TaskSuccessEvent() if state in _ENDED else None


class ReleaseTrigger(BaseTrigger):
    """Gives back what its run holds, then ends its task with success."""

    def __init__(self, poll_interval: float = 1.0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow does not type it
        self.poll_interval = poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments, from which any triggerer makes this trigger again."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {"poll_interval": self.poll_interval},
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Give one event, which ends the task in the triggerer."""
        ti: Any = self.task_instance
        while True:
            try:
                await sync_to_async(_group_store.release)(ti.dag_id, ti.run_id)
                break
            except Exception as error:  # Airflow cannot be reached for a while
                self.log.warning("Cannot give the concurrency group back: %s", error)
            await asyncio.sleep(self.poll_interval)
        yield TaskSuccessEvent()


def why_not(verdict: Verdict, store: GroupStore) -> tuple[str, str]:
    """Say why a run may not work: the reason for its record, and a sentence."""
    by = "another run" if verdict.by is None else describe(verdict.by, store)
    if verdict.kind == "busy":
        return ALREADY_RUNNING, f"{ALREADY_RUNNING}: {by} holds concurrency group {store.group!r}"
    return CANCELLED, f"{CANCELLED}: {by} takes the place of this run in concurrency group {store.group!r}"


def describe(ticket: Ticket, store: GroupStore) -> str:
    """Name the run of a ticket."""
    owner = store.owner(ticket)
    return "a run that has just ended" if owner is None else f"run {owner['run_id']!r} of {owner['dag_id']!r}"
