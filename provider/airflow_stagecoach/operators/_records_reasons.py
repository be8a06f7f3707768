"""Why a stage ended as it did, when it left no word of its own.

Airflow's state alone does not tell: ``skipped`` may be a false ``if``, a leg
that ``fail-fast`` stopped or the run's timeout; ``failed`` may be a worker that
was killed, or a person. The audit log and the other tasks of the run do.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_stagecoach.operators._results import CANCELLED, FINISHED

if TYPE_CHECKING:
    from airflow_stagecoach.operators._records_facts import RunFacts, TaskFacts

#: Its worker or its process was killed: nobody was left to tell more.
WORKER_LOST = "worker-lost"
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
#: A person set the state in the UI, or by the API.
BY_HAND = "set-by-hand"

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
    :return: ``reason``, and where they differ from what the state says ``category``, ``outcome`` and ``by``
    """
    if task is None or task.state not in FINISHED:
        return {}
    if task.state == "upstream_failed":
        return {"reason": UPSTREAM_FAILED}
    by = _person_behind(facts, task)
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
            return {"category": "system", "reason": STUCK}
        if by and not names & LOST_EVENTS:
            return {"outcome": CANCELLED, "category": CANCELLED, "reason": BY_HAND, "by": by}
        if spoke:
            return {}
        started = task.last is not None and task.last.start is not None
        return {"category": "system", "reason": WORKER_LOST if started else NOT_STARTED}
    return {"reason": BY_HAND, "by": by} if by else {}


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


def _ran_out_of_time(facts: RunFacts, timeout: float | None) -> bool:
    if timeout is None or facts.state != "failed" or facts.start is None or facts.end is None:
        return False
    return (facts.end - facts.start).total_seconds() >= timeout
