"""The operator of ``granularity: job``: all stages of a leg in one task."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk.exceptions import AirflowSkipException

from airflow_stagecoach.exceptions import StageFailed
from airflow_stagecoach.operators._attempt import place_of
from airflow_stagecoach.operators._record import stage_record
from airflow_stagecoach.operators._run import STAGES, evaluated_id
from airflow_stagecoach.operators.stage import StageOperator

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import Context

    from airflow_stagecoach.document.plan import JobPlan, StagePlan
    from airflow_stagecoach.engine.contract import Error, Result, StageResult, Unit

#: Seconds before the job's time is over at which its stages are stopped: what they did is still told.
_TO_TELL = 2.0


class JobStagesOperator(StageOperator):
    """Run all stages of a job, or of one leg, in one place and one after the other.

    The task's return value is what its stages gave, merged in order; how each
    stage ended stands in the XCom ``stages``. Inner stages have their own ``if``,
    retry and timeout.
    """

    kinds: ClassVar[tuple[str, ...] | None] = ("job",)

    _late = False

    def _start(self, context: Context) -> dict[str, Any]:
        with self._fail_fast(context).guard(self._cancel):
            result = self._run_in_time(context)
            self.result = _whole(result)
            self._tell_stages(context, result)
            if self._late:
                limit = self.job.get("timeout", 0) if self.job is not None else 0
                message = f"the job ran longer than its timeout of {limit:g} s"
                raise StageFailed(message, _TIMED_OUT | {"message": message})
            if result["outcome"] == "cancelled":
                message = "The stages were cancelled"
                raise StageFailed(message, {"type": "Cancelled", "message": message})
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

    def _run_in_time(self, context: Context) -> Result:
        """Run the stages; when the job's time is nearly over stop them here, so that they are told of."""
        left = self.deadline.left()
        if left is None:
            return self._run_unit(context)

        def stop() -> None:
            self._late = True
            self._cancel()

        timer = threading.Timer(max(left - _TO_TELL, left / 2), stop)
        timer.daemon = True
        timer.start()
        try:
            return self._run_unit(context)
        finally:
            timer.cancel()

    def _tell_stages(self, context: Context, result: Result) -> None:
        """Leave the record of every stage, with its outputs."""
        place = place_of(self, context)
        plans = self._plans(place.matrix)
        self.stage_records = {}
        told: dict[str, Any] = {}
        for stage_id, stage in result["stages"].items():
            if self._late and stage["outcome"] == "cancelled":
                message = "the job's timeout ran out"
                stage = {**stage, "outcome": "failure", "error": _TIMED_OUT | {"message": message}}
            plan = plans.get(stage_id)
            retries = plan["retry"]["max"] if plan is not None and "retry" in plan else 0
            spec: Mapping[str, Any] = plan["spec"] if plan is not None else {}
            here = replace(
                place, stage=stage_id, name=spec.get("name"), kind=spec.get("kind"), max_tries=retries + 1
            )
            record = stage_record(here, {"tries": 1, **stage})
            self.stage_records[stage_id] = record
            told[stage_id] = {**record, "outputs": stage["outputs"]}
        context["ti"].xcom_push(key=STAGES, value=told)

    def _plans(self, matrix: Mapping[str, Any]) -> dict[str, StagePlan]:
        """The plans of the stages, by their ids in this leg."""
        stages = self.job["stages"] if self.job is not None else []
        return {evaluated_id(stage, matrix): stage for stage in stages}

    def _unit(self, context: Context) -> Unit:
        unit = super()._unit(context)
        (whole,) = unit["stages"]
        return {**unit, "stages": whole["stages"], "enforce_timeouts": True, "enforce_retries": True}


_TIMED_OUT: Error = {"type": "TimedOut", "message": "", "category": "timeout", "reason": "timed-out"}


def _whole(result: Result) -> StageResult:
    """All stages as one result: sums of what they used and counted."""
    stages = list(result["stages"].values())
    metrics: dict[str, float] = {}
    for stage in stages:
        for name, value in (stage.get("metrics") or {}).items():
            metrics[name] = metrics.get(name, 0) + value
    whole: StageResult = {
        "state": result["state"],
        "outcome": result["outcome"],
        "outputs": {},
        "error": next((stage["error"] for stage in stages if stage["state"] == "failed"), None),
        "start": min((stage["start"] for stage in stages), default=""),
        "end": max((stage["end"] for stage in stages), default=""),
        "peak_memory": result["peak_memory"],
        "metrics": metrics,
    }
    if any("cpu_seconds" in stage for stage in stages):
        whole["cpu_seconds"] = sum(stage.get("cpu_seconds", 0.0) for stage in stages)
    return whole


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
