"""Tickets of concurrency groups as Airflow variables: what tasks of all DAGs can write and list.

What a ticket knows stands in the names, so one listing shows a whole group and
no secrets backend is asked. The values say in words whose they are.

    stagecoach/concurrency/group/GROUP/TICKET/MARK      one group
    stagecoach/concurrency/run/RUN/held/GROUP/TICKET    what one run holds
    stagecoach/concurrency/run/RUN/cancel/GROUP/TICKET  that it shall stop
"""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any

from airflow_stagecoach.triggers._tickets import CLAIM, HELD, WAITING, Ticket, digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_ROOT = "stagecoach/concurrency"

#: Most names that Airflow lists in one answer. Several answers would not show one moment.
_MOST = 10_000

#: Seconds between two looks at a group, shared by all that wait in this process.
_LOOK = 1.0

#: Seconds between two looks at whether a run goes on.
_RUN_LOOK = 3.0

#: Seconds that the workers of a run have to notice that somebody ended it by hand.
_GRACE = 10.0

_ACTIVE = ["queued", "running"]


def run_digest(dag_id: str, run_id: str) -> str:
    """Give the name of a run in keys."""
    return digest(dag_id, run_id)


class _Look:
    """One group as it was last listed."""

    def __init__(self) -> None:
        self.read_at = float("-inf")
        self.tickets: dict[Ticket, frozenset[str]] = {}


class _Activity:
    """Whether a run goes on, as it was last seen."""

    def __init__(self) -> None:
        self.read_at = float("-inf")
        self.ended_at: float | None = None


_lock = threading.Lock()
_looks: dict[str, _Look] = {}
_activities: dict[tuple[str, str], _Activity] = {}


class GroupStore:
    """The tickets of one group; see :class:`airflow_stagecoach.triggers._tickets.Store`.

    :param group: the group's name
    :param dag_id: of the run that takes part
    :param run_id: of the run that takes part
    """

    def __init__(self, group: str, dag_id: str, run_id: str) -> None:
        self.group = group
        self._digest = digest(group)
        self._own = {"group": group, "dag_id": dag_id, "run_id": run_id}
        self._owners: dict[Ticket, dict[str, str]] = {}

    def _key(self, ticket: Ticket, mark: str) -> str:
        return f"{_ROOT}/group/{self._digest}/{ticket.name}/{mark}"

    def _run_key(self, kind: str, ticket: Ticket) -> str:
        return f"{_ROOT}/run/{ticket.run}/{kind}/{self._digest}/{ticket.name}"

    def tickets(self, *, fresh: bool) -> Mapping[Ticket, frozenset[str]]:
        """Give every ticket of the group with its marks."""
        with _lock:
            look = _looks.setdefault(self._digest, _Look())
            _forget_old()
        if fresh or time.monotonic() - look.read_at >= _LOOK:
            prefix = f"{_ROOT}/group/{self._digest}/"
            found: dict[Ticket, set[str]] = {}
            began = time.monotonic()
            for key in list_keys(prefix):
                name, _, mark = key[len(prefix) :].partition("/")
                found.setdefault(Ticket.from_name(name), set()).add(mark)
            look.tickets = {ticket: frozenset(marks) for ticket, marks in found.items()}
            look.read_at = began
        return look.tickets

    def put(self, ticket: Ticket, mark: str) -> None:
        """Write a mark. What a run holds is written for the run first, so that a hold is never without it."""
        if mark == HELD:
            self._write(self._run_key("held", ticket), self._own)
        self._write(self._key(ticket, mark), self._own)

    def delete(self, ticket: Ticket, marks: Iterable[str]) -> None:
        """Delete marks, and last what stands for the run, when it holds no more."""
        marks = list(marks)
        for mark in marks:
            delete_key(self._key(ticket, mark))
        if HELD in marks:
            delete_key(self._run_key("cancel", ticket))
            delete_key(self._run_key("held", ticket))

    def is_over(self, ticket: Ticket, *, held: bool) -> bool:
        """Whether a run has ended or is gone.

        Airflow ends a run that somebody marks at once, and its processes a few seconds later: one that
        held the group counts as over ten seconds after its end.
        """
        owner = self.owner(ticket)
        if owner is None:
            return False  # gone in this moment; the next look shows it
        now = time.monotonic()
        with _lock:
            activity = _activities.setdefault((owner["dag_id"], owner["run_id"]), _Activity())
        if now - activity.read_at >= _RUN_LOOK:
            from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

            count = RuntimeTaskInstance.get_dr_count(
                dag_id=owner["dag_id"], run_ids=[owner["run_id"]], states=_ACTIVE
            )
            activity.read_at = now
            if count:
                activity.ended_at = None
            elif activity.ended_at is None:
                activity.ended_at = now
        if activity.ended_at is None:
            return False
        return not held or now - activity.ended_at >= _GRACE

    def cancel(self, ticket: Ticket) -> None:
        """Ask the ticket's run to stop; its stages and its lease look for it."""
        key = self._run_key("cancel", ticket)
        if not list_keys(key):
            self._write(key, self._own)

    def owner(self, ticket: Ticket) -> dict[str, str] | None:
        """Tell group, DAG id and run id of a ticket; ``None`` when it is gone."""
        if ticket not in self._owners:
            for mark in (WAITING, HELD, CLAIM):
                value = read_key(self._key(ticket, mark))
                if value is not None:
                    self._owners[ticket] = value
                    break
        return self._owners.get(ticket)

    def _write(self, key: str, value: dict[str, str]) -> None:
        text = f"Concurrency group {value['group']}: run {value['run_id']} of {value['dag_id']}"
        _send("PutVariable", key=key, value=json.dumps(value), description=text)


# -- what one run holds ---------------------------------------------------------------------


def run_keys(dag_id: str, run_id: str) -> list[str]:
    """Give the names of what stands for one run, of every group: what it holds, that it shall stop."""
    return list_keys(f"{_ROOT}/run/{run_digest(dag_id, run_id)}/")


def holds(keys: Iterable[str]) -> bool:
    """Whether a run holds a group, from its :func:`run_keys`."""
    return any("/held/" in key for key in keys)


def cancelled_by(keys: Iterable[str]) -> dict[str, str] | None:
    """Who asked a run to stop, from its :func:`run_keys`: group, DAG id and run id; ``None``: nobody."""
    keys = list(keys)
    held = {key.partition("/held/")[2] for key in keys}
    for key in keys:
        _, is_cancel, ticket = key.partition("/cancel/")
        if is_cancel and ticket in held:
            return read_key(key) or {"group": "?", "dag_id": "?", "run_id": "?"}
    return None


def release(dag_id: str, run_id: str) -> None:
    """Give back everything that a run holds. May be repeated."""
    for key in sorted(run_keys(dag_id, run_id)):  # "cancel" before "held", which is what a repeat goes by
        _, is_held, place = key.partition("/held/")
        if is_held:
            for mark in (CLAIM, HELD, WAITING):
                delete_key(f"{_ROOT}/group/{place}/{mark}")
        delete_key(key)


# -- Airflow --------------------------------------------------------------------------------


def list_keys(prefix: str) -> list[str]:
    """Give the names of all variables that begin so, as they are now.

    :raises RuntimeError: there are too many for one answer
    """
    found: Any = _send("GetVariableKeys", prefix=prefix, limit=_MOST, offset=0)
    if found.total_entries > len(found.keys):
        raise RuntimeError(f"more than {_MOST} variables begin with {prefix!r}; delete those of old runs")
    return list(found.keys)


def read_key(key: str) -> dict[str, str] | None:
    """Give a variable's value, ``None`` when there is none."""
    from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
    from airflow.sdk.execution_time.comms import ErrorResponse

    try:
        found: Any = _send("GetVariable", key=key)
    except AirflowRuntimeError as error:
        if error.error.error == ErrorType.VARIABLE_NOT_FOUND:
            return None
        raise
    if isinstance(found, ErrorResponse):
        if found.error == ErrorType.VARIABLE_NOT_FOUND:
            return None
        raise AirflowRuntimeError(found)
    value: dict[str, str] = json.loads(found.value)
    return value


def delete_key(key: str) -> None:
    """Delete a variable; it may be gone already."""
    _send("DeleteVariable", key=key)


def _send(message: str, **fields: Any) -> Any:
    """Ask Airflow directly: the SDK's ``Variable`` asks every secrets backend first, which costs."""
    from airflow.sdk.execution_time import comms, task_runner

    return task_runner.SUPERVISOR_COMMS.send(getattr(comms, message)(**fields))


def _forget_old() -> None:
    """Drop what nobody has asked about for ten minutes. Under the lock."""
    oldest = time.monotonic() - 600.0
    for name, look in list(_looks.items()):
        if float("-inf") < look.read_at < oldest:
            del _looks[name]
    for run, activity in list(_activities.items()):
        if float("-inf") < activity.read_at < oldest:
            del _activities[run]
