"""The operator of ``granularity: job``: all stages of a leg in one task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk.exceptions import AirflowSkipException

from airflow_stagecoach.exceptions import StageFailed
from airflow_stagecoach.operators._run import STAGES
from airflow_stagecoach.operators.stage import StageOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_stagecoach.document.plan import JobPlan
    from airflow_stagecoach.engine.contract import Unit


class JobStagesOperator(StageOperator):
    """Run all stages of a job, or of one leg, in one place and one after the other.

    The task's return value is what its stages gave, merged in order; how each
    stage ended stands in the XCom ``stages``. Inner stages have their own ``if``,
    retry and timeout.
    """

    kinds: ClassVar[tuple[str, ...] | None] = ("job",)

    def _start(self, context: Context) -> dict[str, Any]:
        with self._fail_fast(context).guard(self._cancel):
            result = self._run_unit(context)
            if result["outcome"] == "cancelled":
                raise StageFailed("The stages were cancelled")
        record = {
            stage_id: {key: stage[key] for key in ("state", "outcome", "outputs", "error")}
            for stage_id, stage in result["stages"].items()
        }
        context["ti"].xcom_push(key=STAGES, value=record)
        outputs: dict[str, Any] = {}
        for stage in result["stages"].values():
            outputs |= stage["outputs"]
        if result["state"] == "success":
            return outputs
        if result["state"] == "skipped":
            raise AirflowSkipException("Every stage was skipped")
        name, error = next(
            (name, stage["error"]) for name, stage in result["stages"].items() if stage["state"] == "failed"
        )
        raise StageFailed(f"Stage {name!r} failed: {error['message'] if error else ''}", error)

    def _unit(self, context: Context) -> Unit:
        unit = super()._unit(context)
        (whole,) = unit["stages"]
        return {**unit, "stages": whole["stages"], "enforce_timeouts": True, "enforce_retries": True}


def job_spec(job: JobPlan) -> dict[str, Any]:
    """The stages of a job as one spec, each with its own timeout and retry in it."""
    stages = []
    for stage in job["stages"]:
        spec = dict(stage["spec"])
        if "timeout" in stage:
            spec["timeout"] = stage["timeout"]
        if "retry" in stage:
            spec["retry"] = stage["retry"]
        stages.append(spec)
    return {"kind": "job", "id": job["id"], "name": job.get("name", job["id"]), "stages": stages}
