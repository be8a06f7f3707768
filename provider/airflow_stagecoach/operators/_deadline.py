"""Until when a try may run: the stage's ``timeout`` and what is left of its job's.

Airflow ends a try that runs too long only while a worker runs it, and counts
anew after each deferral. So the moment is kept as well, for whatever waits
without a worker.
"""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_stagecoach.operators._run import STARTED, is_one_task, work_stages
from airflow_stagecoach.operators._teardown import is_teardown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_stagecoach.document.plan import JobPlan
    from airflow_stagecoach.operators._run import WorkflowRun

log = logging.getLogger(__name__)

#: Seconds that a task which resumes has at least, to collect what was done in time.
_TO_COLLECT = 60.0

#: Key in the task state store: when the leg's first stage began first, since which try.
_FIRST_START = "stagecoach_first_start"


class Deadline(NamedTuple):
    """Until when a try may run.

    :param moment: seconds since the epoch, ``None`` for any time
    :param of_job: whether it is the job's time that ends then, not the stage's
    """

    moment: float | None = None
    of_job: bool = False

    def left(self) -> float | None:
        """Seconds, below 0 when it is over."""
        return None if self.moment is None else self.moment - time.time()

    def for_worker(self, *, resumed: bool) -> timedelta | None:
        """Airflow's ``execution_timeout``.

        :param resumed: the task goes on after it waited
        """
        left = self.left()
        if left is None:
            return None
        # What is over already is refused by the operator, which can tell why.
        return timedelta(seconds=max(left, _TO_COLLECT if resumed or left <= 0 else 0.0))


def deadline(
    context: Mapping[str, Any],
    own: timedelta | None,
    job: JobPlan | None,
    position: int,
    run: WorkflowRun | None,
) -> Deadline:
    """The moment at which a try ends: of the stage's own time and its job's, what comes first.

    :param own: the stage's ``timeout``
    :param run: the run, ``None`` in a handwritten DAG
    """
    began = first_start_of_try(context["ti"]).timestamp()
    of_stage = None if own is None else began + own.total_seconds()
    of_job = None
    # A teardown has its own time: it also cleans up what ran out of time.
    if job is not None and run is not None and "timeout" in job and not is_teardown(job, position):
        of_job = _leg_start(context, job, position, run) + job["timeout"]
    if of_job is not None and (of_stage is None or of_job < of_stage):
        return Deadline(of_job, True)
    return Deadline(of_stage)


def first_start_of_try(ti: Any) -> Any:
    """When this try began, however often it was deferred or rescheduled since."""
    server = getattr(ti, "_ti_context_from_server", None)
    if not getattr(server, "task_reschedule_count", 0):
        return ti.start_date  # Airflow keeps it over a deferral
    from airflow.sdk.execution_time.comms import GetTaskRescheduleStartDate
    from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

    answer = SUPERVISOR_COMMS.send(GetTaskRescheduleStartDate(ti_id=ti.id, try_number=ti.try_number))
    return getattr(answer, "start_date", None) or ti.start_date


def is_resumed(ti: Any) -> bool:
    """Whether the task goes on after it was deferred, or waited for a person."""
    return bool(getattr(getattr(ti, "_ti_context_from_server", None), "next_method", None))


def _leg_start(context: Mapping[str, Any], job: JobPlan, position: int, run: WorkflowRun) -> float:
    """When the leg's first stage began its first try since it was last cleared.

    A later stage that is cleared in a finished run counts from the new start of the run.
    """
    ti = context["ti"]
    if is_one_task(job):
        return _own_first_start(context)
    if job["stages"][position] is work_stages(job)[0]:
        started = _own_first_start(context)
        ti.xcom_push(key=STARTED, value=started)
        return started
    index = None if ti.map_index is None or ti.map_index < 0 else ti.map_index
    told = run.started(job["id"], index)
    if told is None:  # its first stage was skipped before it began
        return float(first_start_of_try(ti).timestamp())
    again = getattr(context.get("dag_run"), "start_date", None)
    return told if again is None else max(told, again.timestamp())


def _own_first_start(context: Mapping[str, Any]) -> float:
    """The first start of this task in its series of tries; kept over tries, which lose their XComs."""
    ti = context["ti"]
    before = ti.max_tries - int(context["task"].retries or 0)
    now = first_start_of_try(ti).timestamp()
    store = context.get("task_state_store")
    if store is None:
        return float(now)
    try:
        kept = store.get(_FIRST_START)
        if isinstance(kept, dict) and kept.get("before") == before:
            return float(kept["at"])
        store.set(_FIRST_START, {"before": before, "at": now})
    except Exception as error:
        log.warning("The start of the job cannot be kept, its timeout counts from this try: %s", error)
    return float(now)
