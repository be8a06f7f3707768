"""A whole run as one map: results of jobs and legs, and a record of every stage.

A stage that ended left a record (:mod:`airflow_stagecoach.operators._record`).
Many never get so far: Airflow skipped them, their worker was killed, they wait
for a person. For these the record is made here, from what Airflow knows of the
task, in the same shape.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from airflow_stagecoach import expressions
from airflow_stagecoach.operators._image_stage import stage_place
from airflow_stagecoach.operators._names import leg_name
from airflow_stagecoach.operators._record import ERROR, RECORD, Place, stage_record, throughput
from airflow_stagecoach.operators._records_facts import FactsRun, RunFacts, TaskFacts
from airflow_stagecoach.operators._records_reasons import UPSTREAM_FAILED, concurrency, explain
from airflow_stagecoach.operators._results import FAILURE, FINISHED, SKIPPED, SUCCESS
from airflow_stagecoach.operators._run import (
    ALL_STAGES,
    STAGES,
    evaluated_id,
    is_one_task,
    lost_worker_retries,
    work_stages,
)
from airflow_stagecoach.operators.states import normalise_state, stages_state, worst_state

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from airflow_stagecoach.document.plan import JobPlan, StagePlan, WorkflowPlan
    from airflow_stagecoach.operators._records_facts import Try

#: The XComs that :func:`run_record` looks at, besides the legs that a gate gives.
KEYS = (RECORD, ERROR, STAGES)

#: Raised when a key of :func:`run_record` changes its meaning or goes; new keys may come without.
VERSION = 1

#: What an unfinished stage waits for, by Airflow's state.
WAITS_FOR = {
    "scheduled": "slot",
    "queued": "worker",
    "deferred": "trigger",
    "awaiting_input": "person",
    "up_for_retry": "retry",
    "up_for_reschedule": "reschedule",
}

_OUTCOMES = {
    "success": SUCCESS,
    "failed": FAILURE,
    "skipped": SKIPPED,
    "removed": SKIPPED,
    "upstream_failed": SKIPPED,
}

#: Keys that every record here has besides those of a stage's own record.
MORE_KEYS = ("status", "waits_for", "next_try", "attempts", "failure", "by")


def run_record(plan: WorkflowPlan, facts: RunFacts, now: datetime) -> dict[str, Any]:
    """One run with everything in it.

    :param plan: what the run was built from
    :param facts: what the database tells
    :param now: ends what still runs
    :return: JSON-able; the shape is told in ``docs/how-to/monitoring.md``
    """
    reader = _Reader(plan, facts, now)
    jobs = {job["id"]: reader.job(job) for job in plan["jobs"]}
    records = [record for job in jobs.values() for record in stage_records(job)]
    return {
        "version": VERSION,
        "dag_id": facts.dag_id,
        "run_id": facts.run_id,
        "state": facts.state,
        "run_type": facts.run_type,
        "triggered_by": facts.triggered_by,
        "logical_date": _text(facts.logical_date),
        "document": facts.document,
        "document_version": facts.version,
        "queued": _text(facts.queued),
        "start": _text(facts.start),
        "end": _text(facts.end),
        "duration": _between(facts.start, facts.end or now),
        "concurrency": concurrency(facts) if "concurrency" in plan else None,
        "degraded": any(job["degraded"] for job in jobs.values()),
        **_totals(records),
        "jobs": jobs,
    }


def stage_records(job: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """All stage records of a job of :func:`run_record`, leg by leg."""
    yield from job.get("stages", {}).values()
    for leg in job.get("legs", ()):
        yield from leg["stages"].values()


class _Reader:
    """Makes the maps of jobs, legs and stages."""

    def __init__(self, plan: WorkflowPlan, facts: RunFacts, now: datetime) -> None:
        self._timeout = plan.get("timeout")
        self._facts = facts
        self._now = now
        self._run = FactsRun(plan, facts)

    def job(self, job: JobPlan) -> dict[str, Any]:
        """One job with its stages or legs."""
        legs = self._run.legs(job["id"])
        anchor = self._run.anchor_state(job["id"])
        # A matrix that only the run knows has no legs before its gate has ended.
        known = bool(legs is None or legs or anchor in FINISHED)
        value: dict[str, Any] = {
            "name": job.get("name", job["id"]),
            "result": self._run.result(job["id"]) if known else None,
            "outcome": self._run.outcome(job["id"]) if known else None,
            "fallback": job.get("fallback"),
            "degraded": known and self._run.degraded(job["id"]),
        }
        if legs is None:
            result = self._run.leg_result(job["id"], None)
            body: dict[str, Any] = {"stages": self._stages(job, None, {}, result)}
            status = _status(job, body["stages"], {})
        elif legs or anchor == "success":
            body = {"legs": [self._leg(job, index, leg) for index, leg in enumerate(legs)]}
            status = worst_state(leg["status"] for leg in body["legs"])
        else:
            body, status = {"legs": []}, normalise_state(anchor)
        records = list(stage_records(body))
        return {**value, "status": status, **self._span(records), **_totals(records), **body}

    def _leg(self, job: JobPlan, index: int, matrix: dict[str, Any]) -> dict[str, Any]:
        result = self._run.leg_result(job["id"], index)
        stages = self._stages(job, index, matrix, result)
        return {
            "index": index,
            "name": leg_name(matrix),
            "matrix": matrix,
            "result": result,
            "status": _status(job, stages, matrix),
            **self._span(stages.values()),
            "tries": sum(record["tries"] for record in stages.values()),
            "stages": stages,
        }

    def _stages(
        self, job: JobPlan, index: int | None, matrix: Mapping[str, Any], result: str | None
    ) -> dict[str, Any]:
        """Records by the stages' ids in this leg."""
        one_task = is_one_task(job)
        records = {}
        for stage in job["stages"]:
            stage_id = evaluated_id(stage, matrix)
            task_id = f"{job['id']}.{ALL_STAGES if one_task else stage['task_id']}"
            task = self._facts.task(task_id, index)
            told = self._told(task_id, index, task, stage_id if one_task else None)
            place = self._place(job, stage, stage_id, task_id, index, matrix, task)
            failure = self._failure(task_id, index, task)
            if one_task and told is not None and told.get("state") != "failed":
                failure = None  # the report is of another of its task's stages
            record = self._record(place, task, told, failure)
            if told is None or self._was_changed(task, told, one_task=one_task):
                record |= explain(
                    self._facts,
                    task,
                    leg_result=result,
                    anchor=self._run.anchor_state(job["id"]),
                    timeout=self._timeout,
                    spoke=failure is not None,
                )
            records[stage_id] = {**record, "status": normalise_state(record["state"], record["reason"])}
        return records

    def _told(
        self, task_id: str, index: int | None, task: TaskFacts | None, inner: str | None
    ) -> dict[str, Any] | None:
        """The record that the last try of a stage left.

        :param inner: the stage's id, when it shares its task with others

        A try whose worker was killed left none: what is there may be of the try before it.
        """
        record = self._facts.xcom(task_id, index, RECORD)
        if not isinstance(record, dict) or task is None or task.last is None:
            return None
        if record.get("try_number") != task.last.number:
            return None
        if inner is None:
            return record
        stages = self._facts.xcom(task_id, index, STAGES)
        told = stages.get(inner) if isinstance(stages, dict) else None
        return told if isinstance(told, dict) else None

    def _failure(self, task_id: str, index: int | None, task: TaskFacts | None) -> dict[str, Any] | None:
        """The failure report of the last try, if that failed."""
        report = self._facts.xcom(task_id, index, ERROR)
        if not isinstance(report, dict) or task is None or task.last is None:
            return None
        return report if report.get("try_number") == task.last.number else None

    def _was_changed(self, task: TaskFacts | None, told: Mapping[str, Any], *, one_task: bool) -> bool:
        """Whether the task's state is not the one that its worker left it in."""
        if one_task or task is None or task.state not in FINISHED:
            return False
        return bool(task.state != told.get("state"))

    def _place(
        self,
        job: JobPlan,
        stage: StagePlan,
        stage_id: str,
        task_id: str,
        index: int | None,
        matrix: Mapping[str, Any],
        task: TaskFacts | None,
    ) -> Place:
        spec = stage["spec"]
        last = task.last if task is not None else None
        number = last.number if last is not None else 0
        one_task = is_one_task(job)
        retries = lost_worker_retries(job) if one_task else int(stage.get("retry", {}).get("max", 0))
        # A clear raises Airflow's `max_tries` by the tries before it.
        before = max(0, (task.max_tries if task is not None else 0) - retries)
        return Place(
            dag_id=self._facts.dag_id,
            run_id=self._facts.run_id,
            task_id=task_id,
            try_number=number,
            map_index=index,
            job=job["id"],
            stage=stage_id,
            name=_rendered(spec.get("name"), matrix),
            kind=spec["kind"],
            backend=stage_place(spec, job["runs_on"])["type"],
            matrix=matrix,
            tries=max(0, number - before),
            max_tries=retries + 1,
            hostname=last.hostname if last is not None else None,
        )

    def _record(
        self,
        place: Place,
        task: TaskFacts | None,
        told: Mapping[str, Any] | None,
        failure: dict[str, Any] | None,
    ) -> dict[str, Any]:
        """A record in full: what Airflow knows of the task, then what the stage told."""
        state = task.state if task is not None else None
        last = task.last if task is not None else None
        ended = state in FINISHED or state == "up_for_retry"
        record = stage_record(
            place,
            {
                "state": state,
                "outcome": _OUTCOMES.get(state or ""),
                "start": _text(last.start) if last is not None else None,
                "end": _text(last.end) if last is not None and ended else None,
            },
        )
        record["tries"] = place.tries
        if last is not None:
            record["duration"] = self._duration(last.start, last.end if ended else None)
        if told is not None:
            record |= {key: value for key, value in told.items() if key in record}
            if place.task_id.rpartition(".")[2] != ALL_STAGES and state != told.get("state"):
                # Changed by hand since, or another try follows.
                record |= {"state": state, "outcome": _OUTCOMES.get(state or "")}
        if record["state"] == "upstream_failed" and record["reason"] is None:
            record["reason"] = UPSTREAM_FAILED
        if record["queue_seconds"] is None and last is not None:
            record["queue_seconds"] = _between(last.queued, last.start)
        record["throughput"] = throughput(record["metrics"], record["duration"])
        return {
            **record,
            "waits_for": WAITS_FOR.get(state or ""),
            "next_try": _text(task.next_try) if task is not None and state == "up_for_retry" else None,
            "attempts": [self._attempt(one) for one in task.tries] if task is not None else [],
            "failure": failure,
            "by": None,
        }

    def _attempt(self, one: Try) -> dict[str, Any]:
        return {
            "try": one.number,
            "state": one.state,
            "start": _text(one.start),
            "end": _text(one.end),
            "duration": self._duration(one.start, one.end),
            "hostname": one.hostname or None,
        }

    def _duration(self, start: datetime | None, end: datetime | None) -> float | None:
        return _between(start, end or self._now)

    def _span(self, records: Collection[Mapping[str, Any]]) -> dict[str, Any]:
        """From the first try's start to the last one's end; without an end while one is unfinished."""
        began = (one["start"] for record in records for one in record["attempts"] or (record,))
        starts = [moment for start in began if (moment := _moment(start))]
        ends = [moment for record in records if (moment := _moment(record["end"]))]
        done = bool(records) and all(record["state"] in FINISHED for record in records)
        start = min(starts, default=None)
        end = max(ends, default=None) if done else None
        return {"start": _text(start), "end": _text(end), "duration": self._duration(start, end)}


def _status(job: JobPlan, records: Mapping[str, Any], matrix: Mapping[str, Any]) -> str:
    """Where a leg stands. Teardowns do not count."""
    return stages_state(records[evaluated_id(stage, matrix)]["status"] for stage in work_stages(job))


def _totals(records: Collection[Mapping[str, Any]]) -> dict[str, Any]:
    """What is summed over stages: progress, tries, failures, resources, metrics."""
    attempts = {
        (record["task_id"], record["map_index"]): record["attempts"] for record in records
    }  # inner stages of one task share them
    tries = sum(len(tries) for tries in attempts.values())
    failed = sum(one["state"] == "failed" for tries in attempts.values() for one in tries)
    failures = Counter(record["category"] or "unknown" for record in records if record["outcome"] == FAILURE)
    metrics: Counter[str] = Counter()
    for record in records:
        metrics.update(_numbers(record["metrics"]))
    seconds = [record["cpu_seconds"] for record in records if record["cpu_seconds"] is not None]
    return {
        "progress": {"done": sum(record["state"] in FINISHED for record in records), "total": len(records)},
        "states": dict(sorted(Counter(record["state"] or "none" for record in records).items())),
        "tries": tries,
        "failed_tries": failed,
        "error_rate": round(failed / tries, 4) if tries else None,
        "failures": dict(sorted(failures.items())),
        "cpu_seconds": round(sum(seconds), 3) if seconds else None,
        "peak_memory": max(
            (record["peak_memory"] for record in records if record["peak_memory"] is not None), default=None
        ),
        "metrics": dict(sorted(metrics.items())),
    }


def _rendered(name: Any, matrix: Mapping[str, Any]) -> str | None:
    """A stage's name, which may hold expressions over ``matrix``; as written where it holds others."""
    if name is None:
        return None
    try:
        return str(expressions.render(name, {"matrix": matrix}))
    except expressions.ExpressionError:
        return str(name)


def _numbers(metrics: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in metrics.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }


def _between(start: datetime | None, end: datetime | None) -> float | None:
    """Seconds, three decimals; ``None`` when one end is not known."""
    return None if start is None or end is None else round(max(0.0, (end - start).total_seconds()), 3)


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(timezone.utc).isoformat()


def _moment(text: str | None) -> datetime | None:
    if not isinstance(text, str):
        return None
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
