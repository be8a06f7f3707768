"""JSON Schemas of records and of runs; ``docs/record.schema.json`` and ``docs/run.schema.json`` hold them."""

from __future__ import annotations

from typing import Any

from airflow_stagecoach.engine.classification import CATEGORIES
from airflow_stagecoach.operators._record import LONGEST_MESSAGE, OUTCOMES, RECORD_VERSION, STATES
from airflow_stagecoach.operators._records import VERSION, WAITS_FOR
from airflow_stagecoach.operators._results import (
    CANCELLED,
    FAILURE,
    FINISHED,
    SKIPPED,
    SUCCESS,
    UPSTREAM_FAILED,
)
from airflow_stagecoach.operators.states import NORMAL_STATES

_TEXT = {"type": "string"}
_COUNT = {"type": "integer", "minimum": 0}
_SECONDS = {"type": "number", "minimum": 0, "description": "seconds"}
_MOMENT = {"type": "string", "format": "date-time"}
_COUNTS = {"type": "object", "additionalProperties": _COUNT}


def record_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a record, and under ``$defs`` of a failure report."""
    text, moment = {"type": "string"}, {"type": "string", "format": "date-time"}
    count = {"type": "integer", "minimum": 1}
    numbers = {"type": "object", "additionalProperties": {"type": "number"}}
    message = {"type": "string", "maxLength": LONGEST_MESSAGE}
    place = {
        "version": {"const": RECORD_VERSION},
        "dag_id": text,
        "run_id": text,
        "task_id": text,
        "map_index": _maybe({"type": "integer", "minimum": 0}),
        "try_number": count,
        "job": _maybe(text),
        "stage": _maybe(text),
        "matrix": _maybe({"type": "object"}),
        "backend": text,
    }
    why = {
        "category": _maybe({"enum": list(CATEGORIES)}),
        "reason": _maybe(text),
        "exit_code": _maybe({"type": "integer"}),
        "external_id": _maybe(text),
        "log_url": _maybe(text),
    }
    limit = _maybe(
        {"type": "integer", "minimum": 0, "description": "bytes that the last try could use at most"}
    )
    record = {
        **place,
        **why,
        "name": _maybe(text),
        "kind": _maybe(text),
        "state": {"enum": list(STATES)},
        "outcome": {"enum": list(OUTCOMES)},
        "error": _maybe(_closed("What went wrong, in short.", {"type": text, "message": message})),
        "tries": count,
        "max_tries": count,
        "start": _maybe(moment),
        "end": _maybe(moment),
        "duration": _maybe({"type": "number", "minimum": 0, "description": "seconds"}),
        "queue_seconds": _maybe({"type": "number", "minimum": 0, "description": "seconds"}),
        "cpu_seconds": _maybe({"type": "number", "minimum": 0}),
        "peak_memory": _maybe({"type": "integer", "minimum": 0, "description": "bytes"}),
        "memory_limit": limit,
        "metrics": numbers,
        "throughput": {**numbers, "description": "each metric per second"},
        "hostname": _maybe(text),
    }
    report = {
        **place,
        **why,
        "error_type": text,
        "message": message,
        "http_status": _maybe({"type": "integer"}),
        "memory_limit": limit,
        "next_memory_limit": limit,
        "retry_count": {"type": "integer", "minimum": 0},
        "max_retries": {"type": "integer", "minimum": 0},
        "will_retry": {"type": "boolean"},
        "next_retry_at": _maybe(moment),
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Stagecoach stage record",
        **_closed("One stage of a run: the XCom `record` of its task.", record),
        "$defs": {"failure": _closed("One failed try: the XCom `error` of its task.", report)},
    }


def run_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a run; a stage's record under ``$defs`` has the keys of its own schema."""
    whole = record_schema()
    failure = whole["$defs"]["failure"]
    record = {key: whole[key] for key in ("type", "properties", "required", "additionalProperties")}
    results = _maybe({"enum": [SUCCESS, FAILURE, SKIPPED, UPSTREAM_FAILED, CANCELLED]})
    states = [
        None,
        "scheduled",
        "queued",
        "running",
        "restarting",
        *sorted(set(WAITS_FOR) - {"scheduled", "queued"}),
    ]
    attempt = _closed(
        "One try of a task.",
        {
            "try": {"type": "integer", "minimum": 1},
            "state": _maybe(_TEXT),
            "start": _maybe(_MOMENT),
            "end": _maybe(_MOMENT),
            "duration": _maybe(_SECONDS),
            "hostname": _maybe(_TEXT),
        },
    )
    status = {"enum": list(NORMAL_STATES), "description": "where it stands"}
    stage_keys = {
        **record["properties"],
        "status": status,
        "state": {"enum": [*states, *sorted(FINISHED)], "description": "Airflow's; null: not started"},
        "outcome": _maybe({"enum": list(OUTCOMES)}),
        "try_number": _COUNT,
        "tries": _COUNT,
        "waits_for": _maybe({"enum": sorted(WAITS_FOR.values())}),
        "next_try": _maybe(_MOMENT),
        "attempts": {"type": "array", "items": {"$ref": "#/$defs/attempt"}},
        "failure": _maybe({"$ref": "#/$defs/failure"}),
        "by": _maybe({**_TEXT, "description": "the person who set the state by hand"}),
    }
    span = {"start": _maybe(_MOMENT), "end": _maybe(_MOMENT), "duration": _maybe(_SECONDS)}
    totals = {
        "progress": _closed("Stages, those of all legs.", {"done": _COUNT, "total": _COUNT}),
        "states": {**_COUNTS, "description": "stages by state; `none`: not started"},
        "tries": {**_COUNT, "description": "of all tasks, those before a clear too"},
        "failed_tries": _COUNT,
        "error_rate": _maybe(
            {"type": "number", "minimum": 0, "maximum": 1, "description": "failed tries / tries"}
        ),
        "failures": {**_COUNTS, "description": "failed stages by category"},
        "cpu_seconds": _maybe({"type": "number", "minimum": 0}),
        "peak_memory": _maybe(
            {"type": "integer", "minimum": 0, "description": "bytes, of the largest stage"}
        ),
        "metrics": {"type": "object", "additionalProperties": {"type": "number"}, "description": "sums"},
    }
    stages = {"type": "object", "additionalProperties": {"$ref": "#/$defs/stage"}}
    leg = _closed(
        "One leg of a matrix.",
        {
            "index": _COUNT,
            "name": _TEXT,
            "matrix": {"type": "object"},
            "result": results,
            "status": status,
            **span,
            "tries": _COUNT,
            "stages": stages,
        },
    )
    job = _closed(
        "One job: `legs` with a matrix, else `stages`.",
        {
            "name": _TEXT,
            "result": results,
            "outcome": results,
            "status": status,
            "fallback": _maybe({**_TEXT, "description": "the job that runs when this one has failed"}),
            "degraded": {"type": "boolean", "description": "it failed, and its fallback succeeded"},
            **span,
            **totals,
        },
    )
    job["properties"] |= {"stages": stages, "legs": {"type": "array", "items": {"$ref": "#/$defs/leg"}}}
    job["oneOf"] = [{"required": ["stages"]}, {"required": ["legs"]}]
    run = _closed(
        "One run: what `stagecoach runs show DAG_ID RUN_ID --json` prints.",
        {
            "version": {"const": VERSION},
            "dag_id": _TEXT,
            "run_id": _TEXT,
            "state": {"enum": ["queued", "running", "success", "failed"]},
            "run_type": _TEXT,
            "triggered_by": _maybe(_TEXT),
            "logical_date": _maybe(_MOMENT),
            "document": _maybe({**_TEXT, "description": "path of the document"}),
            "document_version": _maybe({"type": "integer"}),
            "queued": _maybe(_MOMENT),
            **span,
            "concurrency": _maybe(
                _closed(
                    "Its concurrency group.",
                    {
                        "state": {"enum": ["waiting", "held", "released", "refused", "skipped", "cancelled"]},
                        "message": _maybe(_TEXT),
                    },
                )
            ),
            "degraded": {"type": "boolean", "description": "whether any of its jobs is"},
            **totals,
            "jobs": {"type": "object", "additionalProperties": {"$ref": "#/$defs/job"}},
        },
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Stagecoach run",
        **run,
        "$defs": {
            "job": job,
            "leg": leg,
            "stage": _closed("A stage's record, and what Airflow knows of its task.", stage_keys),
            "attempt": attempt,
            "failure": failure,
        },
    }


def _maybe(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


def _closed(description: str, properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "description": description,
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
