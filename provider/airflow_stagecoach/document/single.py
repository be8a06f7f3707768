"""One stage outside of a document, for operators in handwritten DAGs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_stagecoach.document.control_checks import check_control
from airflow_stagecoach.document.diagnostics import Diagnostic, DocumentError
from airflow_stagecoach.document.jobs import Job
from airflow_stagecoach.document.naming import stage_ids, task_ids
from airflow_stagecoach.document.oom_checks import check_on_oom
from airflow_stagecoach.document.planner import plan_stage
from airflow_stagecoach.document.workflow import Workflow

if TYPE_CHECKING:
    from airflow_stagecoach.document.plan import StagePlan
    from airflow_stagecoach.document.source import Path
    from airflow_stagecoach.document.stage import Stage


#: Keys that Airflow's operators have arguments for -> what to write in a handwritten DAG.
_OF_THE_OPERATOR = {
    "pool": "pass pool= to the operator",
    "pool_slots": "pass pool_slots= to the operator",
    "priority": "pass priority_weight= to the operator",
    "notify": "pass on_failure_callback= and the like to the operator, for instance a WebhookNotifier",
    "teardown": "call as_teardown() of the operator",
}


def plan_single_stage(stage: Stage | Mapping[str, Any], name: str) -> StagePlan:
    """Check one stage and give its plan. Its expressions are checked when it runs.

    :param stage: a model such as ``BashStage``, or a map as it would stand in a document
    :param name: its name where it has none
    :raises DocumentError: the stage is wrong
    """
    job = Job(id="job", stages=[{"name": name, **stage} if isinstance(stage, Mapping) else stage])
    workflow = Workflow(name="stage", jobs={"job": job})
    found: list[Diagnostic] = []

    def add(code: str, message: str, path: Path, hint: str | None = None, *, on_key: bool = False) -> None:
        # The path leads through a workflow and a job that the author has not.
        found.append(Diagnostic(code, message, hint=hint, path=path[4:]))

    only = job.stages[0]
    for key, hint in _OF_THE_OPERATOR.items():
        if getattr(only, key) is not None:
            written = key.replace("_", "-")
            message = f"'{written}' belongs to a document; here it is an argument of the operator"
            add("bad-combination", message, ("", "", "", "", written), hint)
    for key in ("format", "file"):
        if only.logging is not None and getattr(only.logging, key) is not None:
            message = f"'{key}' of a log belongs to a document"
            add("bad-combination", message, ("", "", "", "", "logging", key), "remove it")
    if not only.teardown:
        check_control(workflow, frozenset(), add)
        check_on_oom(workflow, frozenset(), None, add)
    if found:
        raise DocumentError(found)
    own_id, task_id = stage_ids(job.stages)[0], task_ids(job.stages)[0]
    return plan_stage(only, own_id, task_id, job, workflow)
