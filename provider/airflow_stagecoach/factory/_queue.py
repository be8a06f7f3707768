"""``runs-on: {type: self-hosted, with: {queue: NAME}}``: Airflow's own workers of that queue.

There a stage is a local one; only where it runs is said. CeleryExecutor and EdgeExecutor
know queues, LocalExecutor does not look at them: beside one that does, the tasks name that one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_stagecoach.operators._queue import queue_executor

if TYPE_CHECKING:
    from airflow_stagecoach.document.plan import JobPlan, RunsOnPlan


def queue_of(job: JobPlan) -> str | None:
    """The queue that a job names. It is no expression: loading a document sees to that."""
    runs_on = job["runs_on"]
    if runs_on["type"] != "self-hosted" or runs_on.get("emulate"):
        return None
    queue: str | None = (runs_on.get("with_") or {}).get("queue")
    return queue


def queue_arguments(job: JobPlan) -> dict[str, Any]:
    """The queue and its executor as arguments of an operator; nothing where the job names none."""
    queue = queue_of(job)
    if queue is None:
        return {}
    executor = (job["runs_on"].get("with_") or {}).get("executor") or _executor()
    return {"queue": queue} if executor is None else {"queue": queue, "executor": executor}


def _executor() -> str | None:
    from airflow.sdk.configuration import conf

    return queue_executor(conf.get("core", "executor", fallback=""))


def place_of(job: JobPlan) -> RunsOnPlan:
    """Where the job's operators run their stages, seen from the worker that they run on."""
    return job["runs_on"] if queue_of(job) is None else {"type": "local"}
