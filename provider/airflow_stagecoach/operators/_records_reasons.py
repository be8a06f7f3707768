"""Why a stage ended as it did, when it left no word of its own.

Airflow's state alone does not tell: ``skipped`` may be a false ``if``, a leg
that ``fail-fast`` stopped or the run's timeout; ``failed`` may be a worker that
was killed, or a person. The audit log and the other tasks of the run do.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_stagecoach.engine.classification import WORKER_LOST
from airflow_stagecoach.operators._record import ERROR
from airflow_stagecoach.operators._results import CANCELLED, FINISHED

if TYPE_CHECKING:
    from airflow_stagecoach.operators._records_facts import RunFacts, TaskFacts

#: No worker took it from the queue, however often Airflow tried.
STUCK = "stuck-in-queue"
#: Airflow failed it before it started.
NOT_STARTED = "not-started"
#: A stage or a job before it failed.
UPSTREAM_FAILED = "upstream-failed"
#: The job's ``if``, an empty matrix or a skipped need.
JOB_SKIPPED = "job-skipped"
#: Airflow skipped it with a stage before it.
UPSTREAM_SKIPPED = "upstream-skipped"
#: Another leg failed.
FAIL_FAST = "fail-fast"
#: The run's ``timeout``.
RUN_TIMEOUT = "run-timeout"
#: The run's concurrency group is held by another run, or another run cancelled this one.
CONCURRENCY = "concurrency"
#: A person set the state in the UI, or by the API.
BY_HAND = "set-by-hand"

#: The tasks by which a run takes part in its concurrency group.
GATE, LEASE = "__concurrency__", "__lease__"

#: Events of the audit log by which a person changes states of tasks.
PERSON_EVENTS = frozenset(
    {
        "patch_task_instance",
        "patch_task_group_instances",
        "bulk_task_instances",
        "patch_dag_run",
        "bulk_dag_runs",
    }
)
#: Events by which the scheduler tells that it gave a task up.
STUCK_EVENT, LOST_EVENTS = (
    "stuck in queued tries exceeded",
    frozenset({"heartbeat timeout", "state mismatch"}),
)

_MESSAGES = {
    WORKER_LOST: "its worker or its process was killed, and nobody was left to tell why; its log may",
    STUCK: "no worker took it from the queue",
    NOT_STARTED: "Airflow failed it before it started; the log of the scheduler tells why",
}

#: A task ends within this time of the person's request.
_SOON = timedelta(seconds=15)


def explain(
    facts: RunFacts,
    task: TaskFacts | None,
    *,
    leg_result: str | None,
    anchor: str | None,
    timeout: float | None,
    spoke: bool,
) -> dict[str, Any]:
    """Tell why a stage without a record ended.

    :param leg_result: of its leg
    :param anchor: state of the task that carries its job's rule
    :param timeout: of the workflow, in seconds
    :param spoke: it left an error, so its worker was alive
    :return: keys of its record: ``reason``, and where there is more to say ``category``, ``outcome``,
        ``error`` and ``by`` (the person)
    """
    if task is None or task.state not in FINISHED:
        return {}
    if task.state == "upstream_failed":
        if _may_not_work(facts):
            return {"outcome": CANCELLED, "category": CANCELLED, "reason": CONCURRENCY}
        return {"reason": UPSTREAM_FAILED}
    by = _person_behind(facts, task)
    if task.state == "skipped" and _may_not_work(facts):
        return {"outcome": CANCELLED, "category": CANCELLED, "reason": CONCURRENCY}
    if task.state == "skipped":
        if leg_result == CANCELLED:
            return {"outcome": CANCELLED, "category": CANCELLED, "reason": FAIL_FAST}
        if _ran_out_of_time(facts, timeout):
            return {"outcome": CANCELLED, "category": "timeout", "reason": RUN_TIMEOUT}
        if by:
            return {"outcome": CANCELLED, "category": CANCELLED, "reason": BY_HAND, "by": by}
        return {"reason": JOB_SKIPPED if anchor == "skipped" else UPSTREAM_SKIPPED}
    if task.state == "failed":
        names = {
            event.name
            for event in facts.events
            if event.task_id == task.task_id and event.map_index in (None, task.map_index)
        }
        if STUCK_EVENT in names:
            return _system(STUCK)
        if by and not names & LOST_EVENTS:
            return {"outcome": CANCELLED, "category": CANCELLED, "reason": BY_HAND, "by": by}
        if spoke:
            return {}
        started = task.last is not None and task.last.start is not None
        return _system(WORKER_LOST if started else NOT_STARTED)
    return {"category": None, "reason": BY_HAND, "by": by} if by else {}


def _system(reason: str) -> dict[str, Any]:
    error = {"type": "NoRecord", "message": _MESSAGES[reason]}
    return {"category": "system", "reason": reason, "error": error}


def concurrency(facts: RunFacts) -> dict[str, Any]:
    """What a run has to do with its concurrency group.

    :return: ``state`` (waiting, held, released, refused, skipped, cancelled) and ``message``, why
    """
    gate, lease = facts.task(GATE, None), facts.task(LEASE, None)
    state = gate.state if gate is not None else None
    name, told = "waiting", None
    if lease is not None and lease.state == "failed":
        name, told = "cancelled", facts.xcom(LEASE, None, ERROR)
    elif state == "success":
        name = "held" if facts.state == "running" else "released"
    elif state == "failed":
        name, told = "refused", facts.xcom(GATE, None, ERROR)
    elif state == "skipped":
        name, told = "skipped", facts.xcom(GATE, None, ERROR)
    return {"state": name, "message": told.get("message") if isinstance(told, dict) else None}


def _person_behind(facts: RunFacts, task: TaskFacts) -> str | None:
    """Who set this state by hand: somebody asked for a change of it, and it ended right then."""
    end = task.end or facts.end
    if end is None:
        return None
    for event in facts.events:
        if (
            event.name in PERSON_EVENTS
            and event.task_id in (None, task.task_id)
            and abs(end - event.at) <= _SOON
        ):
            return event.by or "unknown"
    return None


def _may_not_work(facts: RunFacts) -> bool:
    """Whether the run's concurrency group kept it from working, or another run of it cancelled it."""
    return GATE in facts.tasks and concurrency(facts)["state"] in ("refused", "skipped", "cancelled")


def _ran_out_of_time(facts: RunFacts, timeout: float | None) -> bool:
    if timeout is None or facts.state != "failed" or facts.start is None or facts.end is None:
        return False
    return (facts.end - facts.start).total_seconds() >= timeout
