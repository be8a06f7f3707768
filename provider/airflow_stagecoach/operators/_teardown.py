"""``teardown: true``: a stage that runs when any other stage of its leg began, however that ended.

Airflow knows teardowns too. What it gives: a person who marks a run does not stop
them, clearing a stage clears them, and they do not decide the run's state. What
it cannot tell is whether a stage of the same leg began: its rule knows tasks
that were set up, not stages of which the first may be skipped. So a teardown
task waits for all others, and then looks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

if TYPE_CHECKING:
    from airflow_stagecoach.document.plan import JobPlan
    from airflow_stagecoach.operators._run import WorkflowRun


def is_teardown(job: JobPlan | None, position: int) -> bool:
    """Whether the stage at a position of a job is a teardown. With ``granularity: job`` no task is one."""
    from airflow_stagecoach.operators._run import is_one_task

    return job is not None and not is_one_task(job) and bool(job["stages"][position].get("teardown"))


def mark_begun(job: JobPlan | None, ti: Any) -> None:
    """Leave word that a stage began, when it goes on to wait without a worker.

    What is stopped while it waits ends skipped, by the server, like what never began.
    """
    from airflow_stagecoach.operators._run import BEGAN, is_one_task

    if job is not None and not is_one_task(job) and any(stage.get("teardown") for stage in job["stages"]):
        ti.xcom_push(key=BEGAN, value=True)


def require_begun(run: WorkflowRun, job_id: str, index: int | None) -> None:
    """Let a teardown go on only where there is something to tear down.

    :param index: the leg, ``None`` for a job without a matrix
    :raises AirflowSkipException: no stage of the leg began
    """
    if not run.leg_began(job_id, index):
        raise AirflowSkipException("No stage before it began: there is nothing to clean up")
