"""A plan made of the tasks of a run, for a workflow that was written in Python.

The text of a document stands in Airflow's database, and its plan is exact. Of a
DAG made from Python only the tasks are known: which jobs, stages and legs there
were, not ``continue-on-error`` or ``fail-fast``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_stagecoach.document.plan import PLAN_FORMAT
from airflow_stagecoach.operators._record import RECORD
from airflow_stagecoach.operators._run import ALL_STAGES, STAGES

if TYPE_CHECKING:
    from airflow_stagecoach.document.plan import JobPlan, StagePlan, WorkflowPlan
    from airflow_stagecoach.operators._records_facts import RunFacts

#: Operators of ours that run stages.
_OPERATORS = frozenset(
    {
        "StageOperator",
        "JobStagesOperator",
        "OperatorStageOperator",
        "TriggerStageOperator",
        "ApprovalStageOperator",
    }
)


def plan_of_tasks(facts: RunFacts) -> WorkflowPlan | None:
    """The jobs that the task ids ``job.stage`` tell of.

    :return: ``None`` when no task of the run is ours
    """
    if not any(
        task.operator in _OPERATORS and "." in task_id
        for task_id, rows in facts.tasks.items()
        for task in rows.values()
    ):
        return None
    jobs: dict[str, JobPlan] = {}
    for task_id in sorted(facts.tasks, key=lambda name: _order(facts, name)):
        job_id, _, name = task_id.rpartition(".")
        if not job_id or (name != ALL_STAGES and name.startswith("__")):
            continue
        job = jobs.setdefault(job_id, {"id": job_id, "line": 0, "stages": [], "runs_on": {"type": "local"}})
        count = max(facts.tasks[task_id]) + 1
        if count:
            job["strategy"] = {"legs": [_leg(facts, task_id, index) for index in range(count)], "axes": []}
        if name == ALL_STAGES:
            job["granularity"] = "job"
            job["stages"] = [_stage(stage_id) for stage_id in _inner(facts, task_id)]
        else:
            job["stages"].append(_stage(name))
    return {"format": PLAN_FORMAT, "dag_id": facts.dag_id, "line": 0, "jobs": list(jobs.values())}


def _order(facts: RunFacts, task_id: str) -> tuple[float, str]:
    """By the first start; what never started comes last."""
    starts = [
        one.start.timestamp() for task in facts.tasks[task_id].values() for one in task.tries if one.start
    ]
    return min(starts, default=float("inf")), task_id


def _stage(name: str) -> StagePlan:
    return {"task_id": name, "line": 0, "spec": {"kind": "empty", "id": name, "name": name}}


def _leg(facts: RunFacts, task_id: str, index: int) -> dict[str, Any]:
    """The combination that a record tells, else the leg's number."""
    record = facts.xcom(task_id, index, RECORD)
    matrix = record.get("matrix") if isinstance(record, dict) else None
    return dict(matrix) if isinstance(matrix, dict) else {"leg": index}


def _inner(facts: RunFacts, task_id: str) -> list[str]:
    for index in facts.tasks[task_id]:
        told = facts.xcom(task_id, None if index < 0 else index, STAGES)
        if isinstance(told, dict):
            return [str(name) for name in told]
    return [ALL_STAGES]
