"""A stage as a task: which operator runs it, and what Airflow is told about it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_stagecoach.factory._queue import place_of, queue_arguments
from airflow_stagecoach.operators._run import ALL_STAGES, lost_worker_retries, work_stages

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator

    from airflow_stagecoach.document.plan import JobPlan, StagePlan, WorkflowPlan


def stage_task(
    workflow: WorkflowPlan, job: JobPlan, stage: StagePlan, *, position: int, matrix: Any, rule: str
) -> BaseOperator:
    """Make the task of a stage, without its edges. Runs inside the DAG's context and the job's group.

    :param position: how many stages of the job come before it in the document
    :param matrix: Airflow's stand-in for the leg's combination, ``None`` without a matrix
    :param rule: its trigger rule
    """
    spec = stage["spec"]
    arguments: dict[str, Any] = {
        "task_id": stage["task_id"] if matrix is None else f"{job['id']}.{stage['task_id']}",
        "task_display_name": display_name(spec.get("name", stage["task_id"])),
        "stage": spec,
        "matrix": matrix,
        "env": [layer for layer in (workflow.get("env"), job.get("env")) if layer],
        "workflow": workflow,
        "job": job,
        "position": position,
        "trigger_rule": rule,
        **place_arguments(stage),
        **queue_arguments(job),
    }
    if "notify" in stage or "notify" in workflow or job.get("granularity") == "job":
        from airflow_stagecoach.operators.notify import callbacks

        arguments |= callbacks(stage.get("notify", ()), workflow, job, stage)
    if "retry" in stage:
        from airflow_stagecoach.operators.retry import LostWorkerPolicy, StageRetryPolicy, retry_arguments

        policy = LostWorkerPolicy if spec["kind"] == "job" else StageRetryPolicy
        arguments |= retry_arguments(stage["retry"], policy)
    else:
        arguments["retries"] = 0  # a document says itself what is tried again
    if "desc" in spec:
        arguments["doc_md"] = spec["desc"]
    if matrix is not None:
        arguments["map_index_template"] = "{{ task.leg_name }}"
    task = _operator(job, spec["kind"], timeout_of(stage), arguments)
    if stage.get("teardown"):
        # Airflow then leaves it alone when a person marks the run, and does not let it decide the run's
        # state. Its method as_teardown() would also set a trigger rule that judges setups.
        task.is_teardown = True
    return task


def _operator(job: JobPlan, kind: str, timeout: timedelta | None, arguments: dict[str, Any]) -> BaseOperator:
    if kind == "approval":
        from airflow_stagecoach.operators.wrapped import ApprovalStageOperator

        return ApprovalStageOperator(response_timeout=timeout, **arguments)
    arguments["execution_timeout"] = timeout
    if kind == "job":
        from airflow_stagecoach.operators.job import JobStagesOperator

        return JobStagesOperator(runs_on=place_of(job), **arguments)
    if kind == "operator":
        from airflow_stagecoach.operators.wrapped import OperatorStageOperator

        return OperatorStageOperator(**arguments)
    if kind == "trigger":
        from airflow_stagecoach.operators.trigger import TriggerStageOperator

        return TriggerStageOperator(**arguments)
    from airflow_stagecoach.operators.stage import StageOperator

    return StageOperator(runs_on=place_of(job), **arguments)


def whole_job(job: JobPlan, default_timeout: float | None) -> StagePlan:
    """All stages of a job as one, for ``granularity: job``.

    The one task has the job's timeout; each stage's own is the engine's. What else belongs to a task is the
    same for all stages of such a job.

    :param default_timeout: seconds, for stages without a timeout
    """
    from airflow_stagecoach.operators.job import job_spec

    stages = [with_timeout(stage, default_timeout) for stage in job["stages"]]
    whole: StagePlan = {
        "task_id": ALL_STAGES,
        "line": job["line"],
        "spec": job_spec({**job, "stages": stages}),
    }
    if "timeout" in job:
        whole["timeout"] = job["timeout"]
    first = stages[0]
    if "pool" in first:
        whole["pool"] = first["pool"]
    if "pool_slots" in first:
        whole["pool_slots"] = first["pool_slots"]
    if "priority" in first:
        whole["priority"] = first["priority"]
    retries = lost_worker_retries(job)
    if retries:
        # The stages' own tries are made inside the task; this is for the task itself.
        whole["retry"] = {**work_stages(job)[0]["retry"], "max": retries}
    return whole


def with_timeout(stage: StagePlan, default: float | None) -> StagePlan:
    """A stage with the default timeout, where it has none and may have one.

    An approval waits for a person: how long is said in the document only.

    :param default: seconds
    """
    if (
        default is None
        or "timeout" in stage
        or stage.get("no_timeout")
        or stage["spec"]["kind"] == "approval"
    ):
        return stage
    return {**stage, "timeout": default}


def default_timeout() -> float | None:
    """The option ``[stagecoach] default_timeout`` in seconds; ``None`` where it is empty or 0.

    :raises AirflowException: it is no duration
    """
    from airflow.sdk.configuration import conf
    from airflow.sdk.exceptions import AirflowException

    from airflow_stagecoach.document.durations import parse_duration

    text = conf.get("stagecoach", "default_timeout", fallback="").strip()
    if not text:
        return None
    try:
        return parse_duration(text) or None
    except ValueError as error:
        raise AirflowException(f"[stagecoach] default_timeout is {text!r}: {error}") from None


def timeout_of(stage: StagePlan) -> timedelta | None:
    """How long a try may take."""
    return timedelta(seconds=stage["timeout"]) if "timeout" in stage else None


def place_arguments(stage: StagePlan) -> dict[str, Any]:
    """Pool and priority as arguments of an operator; nothing for what the document leaves to Airflow.

    A priority is absolute: Airflow's own default adds up the priorities of all that comes after.
    """
    arguments: dict[str, Any] = {}
    if "pool" in stage:
        arguments["pool"] = stage["pool"]
    if "pool_slots" in stage:
        arguments["pool_slots"] = stage["pool_slots"]
    if "priority" in stage:
        arguments["priority_weight"] = stage["priority"]
        arguments["weight_rule"] = "absolute"
    return arguments


def display_name(name: str) -> str:
    """A stage's name for the graph, where values are not known yet.

    ``Load ${{ matrix.region }}`` is shown as ``Load {region}``; what is no plain name as ``…``.
    """
    if "${{" not in name:
        return name
    import re

    name = re.sub(r"\$\{\{\s*(?:[A-Za-z_][\w-]*\.)*([A-Za-z_][\w-]*)\s*\}\}", r"{\1}", name)
    return re.sub(r"\$\{\{.*?\}\}", "…", name)
