"""From checked models to a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_stagecoach.document.fields import (
    has_expression,
)
from airflow_stagecoach.document.inherit import add_inherited, innermost
from airflow_stagecoach.document.matrix import expand
from airflow_stagecoach.document.naming import stage_ids, task_ids
from airflow_stagecoach.document.needs import fallbacks, needs_of
from airflow_stagecoach.document.plan import PLAN_FORMAT
from airflow_stagecoach.document.stage import spec_of

if TYPE_CHECKING:
    from airflow_stagecoach.document.jobs import Job
    from airflow_stagecoach.document.plan import JobPlan, StagePlan, StrategyPlan, WorkflowPlan
    from airflow_stagecoach.document.stage import Stage
    from airflow_stagecoach.document.strategy import Strategy
    from airflow_stagecoach.document.workflow import Workflow


def plan_workflow(workflow: Workflow) -> WorkflowPlan:
    """The plan of a workflow that passed :func:`~airflow_stagecoach.document.checks.check_workflow`."""
    mains = fallbacks(workflow.jobs)
    plan: WorkflowPlan = {
        "format": PLAN_FORMAT,
        "dag_id": workflow.dag_id,
        "line": workflow._line,
        "jobs": [plan_job(job, workflow, mains.get(name)) for name, job in workflow.jobs.items()],
    }
    if workflow.name != workflow.dag_id:
        plan["name"] = workflow.name
    if workflow.desc:
        plan["desc"] = workflow.desc
    if workflow.tags:
        plan["tags"] = list(dict.fromkeys(workflow.tags))
    if workflow.schedule is not None:
        plan["schedule"] = workflow.schedule
    if workflow.start_date is not None:
        plan["start_date"] = workflow.start_date
    if workflow.end_date is not None:
        plan["end_date"] = workflow.end_date
    if workflow.catchup:
        plan["catchup"] = True
    if workflow.max_active_runs is not None:
        plan["max_active_runs"] = workflow.max_active_runs
    if workflow.max_active_tasks is not None:
        plan["max_active_tasks"] = workflow.max_active_tasks
    if workflow.concurrency is not None:
        plan["concurrency"] = workflow.concurrency.plan()
    if workflow.timeout is not None:
        plan["timeout"] = workflow.timeout
    if workflow.deadline is not None:
        plan["deadline"] = workflow.deadline
    if workflow.notify is not None:
        plan["notify"] = workflow.notify.plan()
    if workflow.params is not None:
        plan["params"] = {name: param.plan() for name, param in workflow.params.items()}
    if workflow.env:
        plan["env"] = workflow.env
    return plan


def plan_job(job: Job, workflow: Workflow, main: str | None = None) -> JobPlan:
    """The plan of one job of ``workflow``, with the workflow's defaults for its stages.

    :param main: of a fallback, the job that it stands in for
    """
    ids, tasks = stage_ids(job.stages), task_ids(job.stages)
    plan: JobPlan = {
        "id": job.id or "",
        "line": job._line,
        "stages": [
            plan_stage(stage, own, task, job, workflow)
            for stage, own, task in zip(job.stages, ids, tasks, strict=True)
        ],
        "runs_on": {"type": job.runs_on.type if job.runs_on is not None else "local"},
    }
    if job.runs_on is not None and job.runs_on.with_:
        plan["runs_on"]["with_"] = job.runs_on.with_
    if job.runs_on is not None and job.runs_on.emulate:
        plan["runs_on"]["emulate"] = True
    if job.name is not None:
        plan["name"] = job.name
    if job.desc:
        plan["desc"] = job.desc
    needs = needs_of(job, main)
    if needs:
        plan["needs"] = needs
    if job.trigger_rule is not None:
        plan["trigger_rule"] = job.trigger_rule.value
    if job.condition is not None:
        plan["condition"] = job.condition
        if calls_status(job.condition):
            plan["status_functions"] = True
    strategy = plan_strategy(job.strategy) if job.strategy is not None else None
    if strategy is not None:
        plan["strategy"] = strategy
    if job.env:
        plan["env"] = job.env
    if job.outputs is not None:
        plan["outputs"] = job.outputs
    if job.continue_on_error:
        plan["continue_on_error"] = True
    if job.fallback is not None:
        plan["fallback"] = job.fallback
    if main is not None:
        plan["fallback_of"] = main
    if job.services:
        plan["services"] = {name: service.plan() for name, service in job.services.items()}
    if job.one_task:
        plan["granularity"] = "job"
    elif job.granularity is not None:
        plan["granularity"] = job.granularity
    if job.timeout is not None and not isinstance(job.timeout, str):
        plan["timeout"] = job.timeout
    cleanup = innermost("cleanup", job, workflow.defaults)
    if cleanup not in (None, "on-success"):
        plan["cleanup"] = cleanup
    return plan


def plan_stage(stage: Stage, own_id: str, task_id: str, job: Job, workflow: Workflow) -> StagePlan:
    """The plan of one stage; what stands next to its spec is counted together with all defaults."""
    plan: StagePlan = {"task_id": task_id, "spec": with_ids(stage, own_id), "line": stage._line}
    add_inherited(plan, stage, job, workflow)
    return plan


def with_ids(stage: Stage, own_id: str) -> dict[str, Any]:
    """The stage spec, in which every stage, also a nested one, has an id."""
    spec = {**spec_of(stage), "id": own_id}
    for path, children in stage.children():
        target: Any = spec
        for part in path:
            target = target[part]
        target[:] = [with_ids(child, name) for child, name in zip(children, stage_ids(children), strict=True)]
    return {"kind": spec.pop("kind"), "id": spec.pop("id"), **spec}


def plan_strategy(strategy: Strategy) -> StrategyPlan | None:
    """The matrix with its legs where they are known; None where there is nothing to multiply."""
    axes, include, exclude = strategy.axes(), strategy.entries("include"), strategy.entries("exclude")
    if not axes and not include:
        return None
    plan: StrategyPlan
    names = axis_names(strategy)
    if any(has_expression(part) for part in (axes, include, exclude)):
        plan = {"matrix": axes or {}, "axes": names or []}
        if include:
            plan["include"] = include
        if exclude:
            plan["exclude"] = exclude
    else:
        plan = {"legs": literal(expand(axes, include, exclude)), "axes": names or []}
    if strategy.max_parallel is not None:
        plan["max_parallel"] = strategy.max_parallel
    if strategy.fail_fast:
        plan["fail_fast"] = True
    return plan


def axis_names(strategy: Strategy) -> list[str] | None:
    """The names that a leg may have, in order; None when only the run can tell."""
    axes, include = strategy.axes(), strategy.entries("include")
    if isinstance(axes, str) or isinstance(include, str):
        return None
    if any(isinstance(entry, str) for entry in include or ()):
        return None
    return list(dict.fromkeys([*(axes or ()), *(key for entry in include or () for key in entry)]))


def literal(value: Any) -> Any:
    """A static value in which the escape ``$${{`` has become ``${{``: legs are values, not templates."""
    if isinstance(value, str):
        return value.replace("$${{", "${{")
    if isinstance(value, dict):
        return {key: literal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [literal(item) for item in value]
    return value


def calls_status(condition: str | bool) -> bool:
    """Whether a condition calls ``success()``, ``failure()``, ``always()`` or ``cancelled()``."""
    if not isinstance(condition, str) or "(" not in condition:
        return False
    from airflow_stagecoach.expressions import status_functions

    return bool(status_functions(condition))
