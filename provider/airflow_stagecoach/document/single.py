"""One stage outside of a document, for operators in handwritten DAGs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_stagecoach.document.jobs import Job
from airflow_stagecoach.document.naming import stage_ids, task_ids
from airflow_stagecoach.document.planner import plan_stage
from airflow_stagecoach.document.workflow import Workflow

if TYPE_CHECKING:
    from airflow_stagecoach.document.plan import StagePlan
    from airflow_stagecoach.document.stage import Stage


def plan_single_stage(stage: Stage | Mapping[str, Any], name: str) -> StagePlan:
    """Check one stage and give its plan. Its expressions are checked when it runs.

    :param stage: a model such as ``BashStage``, or a map as it would stand in a document
    :param name: its name where it has none
    :raises DocumentError: the stage is wrong
    """
    job = Job(stages=[{"name": name, **stage} if isinstance(stage, Mapping) else stage])
    own_id, task_id = stage_ids(job.stages)[0], task_ids(job.stages)[0]
    return plan_stage(job.stages[0], own_id, task_id, job, Workflow(name="stage", jobs={}))
