"""The scratch folder of a leg: where it lies, and which stage removes it."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING, Any

from airflow_stagecoach.expressions import status_functions
from airflow_stagecoach.operators._names import folder_name
from airflow_stagecoach.operators._run import is_one_task

if TYPE_CHECKING:
    from airflow_stagecoach.document.plan import JobPlan, StagePlan


def workdir(ti: Any, job: JobPlan | None) -> str:
    """The scratch folder of a task's leg on this worker.

    It lies below ``[stagecoach] work_folder``, by default in the user's own temporary folder.
    """
    from airflow.sdk.configuration import conf

    base = conf.get("stagecoach", "work_folder", fallback="") or os.path.join(
        tempfile.gettempdir(), f"stagecoach-{os.getuid()}"
    )
    return os.path.join(base, *map(folder_name, _leg(ti, job)))


def run_key(ti: Any, job: JobPlan | None) -> str:
    """``dag/run/job[/leg]/stage``: the same for every try, for writes that must not happen twice."""
    dag_id, run_id, name, *leg = _leg(ti, job)
    stage = ti.task_id if job is None else ti.task_id.removeprefix(f"{job['id']}.")
    return "/".join([dag_id, run_id, name, *leg, stage])


def _leg(ti: Any, job: JobPlan | None) -> list[str]:
    parts = [ti.dag_id, ti.run_id, job["id"] if job else ti.task_id]
    if ti.map_index is not None and ti.map_index >= 0:
        parts.append(str(ti.map_index))
    return parts


def removes(job: JobPlan | None, position: int, *, leg_failed: bool, final: bool) -> bool:
    """Whether the stage at a position removes the folder when it has ended.

    The last stage of the leg that can run does it. With ``cleanup: on-success`` only
    where nothing failed, so that somebody can look why; with ``always`` in any
    case, with ``never`` in none.

    :param job: ``None`` in a handwritten DAG, where every stage has its own folder
    :param leg_failed: this stage failed, or one before it
    :param final: there is no other try
    """
    if job is None:
        return not leg_failed
    policy = job.get("cleanup", "on-success")
    if policy == "never" or not final or (leg_failed and policy != "always"):
        return False
    if is_one_task(job):
        return True
    order = _order(job)
    later = [job["stages"][place] for place in order[order.index(position) + 1 :]]
    return not any(map(runs_after_failure, later)) if leg_failed else not later


def runs_after_failure(stage: StagePlan) -> bool:
    """Whether a stage may run in a leg in which another failed: it is a teardown, or its ``if`` judges."""
    condition = stage["spec"].get("if")
    judges = isinstance(condition, str) and bool(status_functions(condition))
    return judges or bool(stage.get("teardown"))


def _order(job: JobPlan) -> list[int]:
    """Positions as they run: teardowns come last, wherever they stand."""
    positions = range(len(job["stages"]))
    return sorted(positions, key=lambda place: bool(job["stages"][place].get("teardown")))
