"""What a stage has after workflow defaults and its job: the innermost that says something counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_stagecoach.document.logs import merged_logging
from airflow_stagecoach.document.resources import merged
from airflow_stagecoach.document.stages import WITH_RESOURCES
from airflow_stagecoach.document.task_fields import NO_TIMEOUT

if TYPE_CHECKING:
    from airflow_stagecoach.document.defaults import Defaults
    from airflow_stagecoach.document.jobs import Job
    from airflow_stagecoach.document.plan import NotifyPlan, ResourcesPlan, StagePlan
    from airflow_stagecoach.document.stage import Stage
    from airflow_stagecoach.document.workflow import Workflow


def add_inherited(plan: StagePlan, stage: Stage, job: Job, workflow: Workflow) -> None:
    """Put into the plan of a stage what itself, its job and the workflow say.

    Retry, timeout, pool (with its slots) and priority are taken whole; logging and resources key by key; the
    notifications of job and stage are sent both.
    """
    defaults = workflow.defaults
    _add_timeout(plan, stage, job, defaults)
    retry = innermost("retry", stage, job, defaults)
    if retry is not None:
        plan["retry"] = retry.plan()
    for level in (defaults, job, stage):
        if level is not None and level.pool is not None:
            # Slots are counted in the pool that they were written for.
            plan.pop("pool_slots", None)
            plan["pool"] = level.pool
        if level is not None and level.pool_slots is not None:
            plan["pool_slots"] = level.pool_slots
    priority = innermost("priority", stage, job, defaults)
    if priority is not None:
        plan["priority"] = priority
    logging = merged_logging(
        [defaults.logging if defaults else None, workflow.logging, job.logging, stage.logging]
    )
    if logging:
        plan["logging"] = logging
        if "level" in logging:
            # The engine filters what Python logs; inner stages have it from the outer one.
            plan["spec"]["logging"] = {"level": logging["level"]}
    resources = stage_resources(stage, job, defaults)
    if resources:
        plan["resources"] = plan["spec"]["resources"] = resources
    notify: list[NotifyPlan] = []
    for told in (stage.notify, job.notify):
        notify += [one for one in (told.plan() if told is not None else ()) if one not in notify]
    if notify:
        plan["notify"] = notify
    if stage.teardown:
        plan["teardown"] = True


def innermost(key: str, *levels: Any) -> Any:
    """The value of the first level that has one."""
    return next(
        (value for value in (getattr(level, key, None) for level in levels) if value is not None), None
    )


def _add_timeout(plan: StagePlan, stage: Stage, job: Job, defaults: Defaults | None) -> None:
    """A job's own timeout is of all its stages, so only its ``none`` goes down."""
    timeout = stage.timeout
    if timeout is None and job.timeout == NO_TIMEOUT:
        timeout = NO_TIMEOUT
    if timeout is None and defaults is not None:
        timeout = defaults.timeout
    if isinstance(timeout, str):
        plan["no_timeout"] = True
    elif timeout is not None:
        plan["timeout"] = timeout


def stage_resources(stage: Stage, job: Job, defaults: Defaults | None) -> ResourcesPlan:
    """The resources of a stage; empty for a kind that runs nothing which could use them."""
    plan: ResourcesPlan = {}
    if stage.kind not in WITH_RESOURCES:
        return plan
    for level in (defaults, job, stage):
        own = level.resources if level is not None else None
        if own is not None:
            plan = merged(plan, own.plan())
    if not plan.keys() - {"enforce"}:
        return {}
    if plan.get("enforce") == "strict":
        del plan["enforce"]
    if plan.get("gpu") == 0:
        del plan["gpu"]
    return plan
