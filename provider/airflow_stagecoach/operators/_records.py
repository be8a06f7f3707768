"""A whole run as one map: results of jobs and legs, and a record of every stage.

A stage that ended left a record (XCom ``record``, see ``docs/records.md``).
Many never get so far: Airflow skipped them, their worker was killed, they wait
for a person. For these the record is made here, from what Airflow knows of the
task.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from airflow_stagecoach.operators._names import leg_name
from airflow_stagecoach.operators._records_facts import FactsRunData, RunFacts, TaskFacts
from airflow_stagecoach.operators._records_reasons import explain
from airflow_stagecoach.operators._results import FAILURE, FINISHED, SKIPPED, SUCCESS, UPSTREAM_FAILED
from airflow_stagecoach.operators._run import (
    ALL_STAGES,
    ERROR,
    STAGES,
    WorkflowRun,
    evaluated_id,
    is_one_task,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from airflow_stagecoach.document.plan import JobPlan, WorkflowPlan

#: XCom of a stage: its record.
RECORD = "record"

#: The XComs that :func:`run_record` looks at, besides the legs that a gate gives.
KEYS = (RECORD, ERROR, STAGES)

#: Version of the shape of :func:`run_record`.
FORMAT = 1

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
    "upstream_failed": UPSTREAM_FAILED,
}

#: What Airflow knows better than a record: a state may be changed after the work.
_OF_AIRFLOW = frozenset({"state", "start", "end", "duration", "tries", "matrix", "job", "stage"})

#: The same for a stage that shares its task with others.
_OF_TASK = frozenset({"matrix", "outputs", "job", "stage"})


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
        "format": FORMAT,
        "dag_id": facts.dag_id,
        "run_id": facts.run_id,
        "state": facts.state,
        "run_type": facts.run_type,
        "triggered_by": facts.triggered_by,
        "logical_date": _text(facts.logical_date),
        "document": facts.document,
        "version": facts.version,
        "queued": _text(facts.queued),
        "start": _text(facts.start),
        "end": _text(facts.end),
        "duration": _between(facts.start, facts.end or now),
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
        self._run = WorkflowRun(plan, FactsRunData(facts))

    def job(self, job: JobPlan) -> dict[str, Any]:
        """One job with its stages or legs."""
        legs = self._run.legs(job["id"])
        value: dict[str, Any] = {
            "name": job.get("name", job["id"]),
            "result": self._run.result(job["id"]),
            "outcome": self._run.outcome(job["id"]),
        }
        if legs is None:
            result = self._run.leg_result(job["id"], None)
            body: dict[str, Any] = {"stages": self._stages(job, None, {}, result)}
        else:
            body = {"legs": [self._leg(job, index, leg) for index, leg in enumerate(legs)]}
        records = list(stage_records(body))
        return {**value, **self._span(records), **_totals(records), **body}

    def _leg(self, job: JobPlan, index: int, matrix: dict[str, Any]) -> dict[str, Any]:
        result = self._run.leg_result(job["id"], index)
        stages = self._stages(job, index, matrix, result)
        return {
            "index": index,
            "name": leg_name(matrix),
            "matrix": matrix,
            "result": result,
            **self._span(stages.values()),
            "tries": sum(record["tries"] for record in stages.values()),
            "stages": stages,
        }

    def _stages(
        self, job: JobPlan, index: int | None, matrix: Mapping[str, Any], result: str | None
    ) -> dict[str, Any]:
        """Records by the stages' ids in this leg."""
        one_task = is_one_task(job)
        inner = self._facts.xcom(f"{job['id']}.{ALL_STAGES}", index, STAGES) if one_task else None
        records = {}
        for stage in job["stages"]:
            stage_id = evaluated_id(stage, matrix)
            task_id = f"{job['id']}.{ALL_STAGES if one_task else stage['task_id']}"
            task = self._facts.task(task_id, index)
            record = self._from_task(task_id, index, task)
            told = inner.get(stage_id) if isinstance(inner, dict) else self._told(task_id, index, task)
            if one_task and isinstance(told, dict):
                record |= {key: value for key, value in told.items() if key not in _OF_TASK}
            elif isinstance(told, dict):
                record |= {key: value for key, value in told.items() if key not in _OF_AIRFLOW}
            error = None if one_task else self._facts.xcom(task_id, index, ERROR)
            if error is not None and record["state"] in ("failed", "up_for_retry"):
                record["error"] = error if isinstance(error, dict) else {"message": str(error)}
            if not isinstance(told, dict):
                record |= explain(
                    self._facts,
                    task,
                    leg_result=result,
                    anchor=self._run.anchor_state(job["id"]),
                    timeout=self._timeout,
                    spoke=error is not None,
                )
            record["throughput"] = _throughput(record)
            records[stage_id] = record
        return records

    def _told(self, task_id: str, index: int | None, task: TaskFacts | None) -> dict[str, Any] | None:
        """The record that a task's last try left.

        A try whose worker was killed left none: what is there may be of the try before it.
        """
        record = self._facts.xcom(task_id, index, RECORD)
        if not isinstance(record, dict) or task is None or task.last is None:
            return None
        end, began = _moment(record.get("end")), task.last.start
        return None if end is not None and began is not None and end < began else record

    def _from_task(self, task_id: str, index: int | None, task: TaskFacts | None) -> dict[str, Any]:
        """What Airflow knows of a stage's task."""
        state = task.state if task is not None else None
        tries = task.tries if task is not None else ()
        last = task.last if task is not None else None
        ended = state in FINISHED or state == "up_for_retry"
        return {
            "task_id": task_id,
            "map_index": index,
            "state": state,
            "outcome": _OUTCOMES.get(state or ""),
            "category": None,
            "reason": None,
            "waits_for": WAITS_FOR.get(state or ""),
            "next_try": _text(task.next_try) if task is not None and state == "up_for_retry" else None,
            "start": _text(last.start) if last is not None else None,
            "end": _text(last.end) if last is not None and ended else None,
            "duration": self._duration(last.start, last.end if ended else None) if last is not None else None,
            "queue_seconds": _between(last.queued, last.start) if last is not None else None,
            "tries": len(tries),
            "max_tries": max(len(tries), (task.max_tries if task is not None else 0) + 1),
            "attempts": [
                {
                    "try": one.number,
                    "state": one.state,
                    "start": _text(one.start),
                    "end": _text(one.end),
                    "duration": self._duration(one.start, one.end),
                    "hostname": one.hostname,
                }
                for one in tries
            ],
            "exit_code": None,
            "cpu_seconds": None,
            "peak_memory": None,
            "metrics": {},
            "external_id": None,
            "error": None,
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


def _numbers(metrics: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in metrics.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }


def _throughput(record: Mapping[str, Any]) -> dict[str, float]:
    """Each metric per second of the stage's time."""
    seconds = record["duration"]
    return {name: round(value / seconds, 3) for name, value in _numbers(record["metrics"]).items() if seconds}


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
