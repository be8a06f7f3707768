"""A finished run as one map: what ``stagecoach run --json`` prints and a trigger stage hands back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_stagecoach.operators._results import FAILURE, SKIPPED, SUCCESS, UPSTREAM_FAILED
from airflow_stagecoach.operators._run import evaluated_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_stagecoach.operators._run import WorkflowRun

_STATE_OF_RESULT = {FAILURE: "failed"}


def report(run: WorkflowRun) -> dict[str, Any]:
    """Results and outputs of every job.

    :return: ``{"state", "jobs": {id: {"result", "state", "outputs", "stages" or "legs"}}}``; the state is
        success, failed or skipped. A job has ``outcome`` where it differs, and ``degraded`` (true) where its
        fallback succeeded in its place
    """
    jobs = {job_id: _job(run, job_id) for job_id in run.jobs}
    return {"state": run_state(run), "jobs": jobs}


def run_state(run: WorkflowRun) -> str:
    """State of the whole run: failed when any job failed that may not, skipped when every job was."""
    results = [run.result(job_id) for job_id in run.jobs]
    if FAILURE in results or UPSTREAM_FAILED in results:
        return "failed"
    if results and all(result == SKIPPED for result in results):
        return "skipped"
    return "success"


def _job(run: WorkflowRun, job_id: str) -> dict[str, Any]:
    legs = run.legs(job_id)
    result = run.result(job_id)
    value: dict[str, Any] = {"result": result, "state": _STATE_OF_RESULT.get(result or "", result)}
    outcome = run.outcome(job_id)
    if outcome != result:
        value["outcome"] = outcome
    if run.degraded(job_id):
        value["degraded"] = True
    value["outputs"] = run.job_outputs(job_id) if result == SUCCESS else {}
    if legs is None:
        value["stages"] = _stages(run, job_id, None, {})
    else:
        value["legs"] = [
            {
                "matrix": leg,
                "result": run.leg_result(job_id, index),
                "stages": _stages(run, job_id, index, leg),
            }
            for index, leg in enumerate(legs)
            if run.anchor_state(job_id) == SUCCESS
        ]
    return value


def _stages(run: WorkflowRun, job_id: str, index: int | None, matrix: Mapping[str, Any]) -> dict[str, Any]:
    stages: dict[str, Any] = {}
    for stage in run.jobs[job_id]["stages"]:
        value = run.stage_value(job_id, stage, index)
        told = {"state": value["state"], "outputs": value["outputs"]}
        if value["state"] == "failed":
            told["error"] = run.stage_error(job_id, stage, index)
        stages[evaluated_id(stage, matrix)] = told
    return stages
