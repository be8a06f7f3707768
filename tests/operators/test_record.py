"""Records and failure reports: their shape, and that it is the documented one."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # has none
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_stagecoach.operators._record import LONGEST_MESSAGE, Place, bounded, failure_report, stage_record
from airflow_stagecoach.operators._records_schema import record_schema

SCHEMA = Path(__file__).parents[2] / "docs" / "record.schema.json"

PLACE = Place(
    dag_id="wf",
    run_id="run",
    task_id="a.s",
    try_number=2,
    job="a",
    stage="s",
    name="S",
    kind="bash",
    tries=2,
    max_tries=4,
)

RESULT: dict[str, Any] = {
    "state": "success",
    "outcome": "success",
    "error": None,
    "outputs": {"return_code": 0},
    "start": "2026-01-01T00:00:00+00:00",
    "end": "2026-01-01T00:00:02.500+00:00",
    "cpu_seconds": 0.5,
    "peak_memory": 1024,
    "metrics": {"rows": 10},
}

ERROR: dict[str, Any] = {
    "type": "ExitCode",
    "message": "it ended with 3",
    "category": "component",
    "reason": "exit-3",
    "exit_code": 3,
}


def validate_record(record: Any) -> None:
    jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text())).validate(record)


def validate_report(report: Any) -> None:
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator({**schema["$defs"]["failure"], "$schema": schema["$schema"]}).validate(
        report
    )


def test_the_published_schema_is_the_one_of_the_code() -> None:
    assert json.loads(SCHEMA.read_text()) == record_schema()
    jsonschema.Draft202012Validator.check_schema(record_schema())


def test_a_success() -> None:
    record = stage_record(PLACE, RESULT)
    validate_record(record)
    assert record["duration"] == 2.5
    assert record["throughput"] == {"rows": 4.0}
    assert (record["exit_code"], record["tries"], record["category"], record["error"]) == (0, 2, None, None)


def test_a_failure() -> None:
    record = stage_record(PLACE, {**RESULT, "state": "failed", "outcome": "failure", "error": ERROR})
    validate_record(record)
    assert (record["category"], record["reason"], record["exit_code"]) == ("component", "exit-3", 3)
    assert record["error"] == {"type": "ExitCode", "message": "it ended with 3"}


def test_what_is_not_known_is_null() -> None:
    record = stage_record(PLACE, {"state": "skipped", "outcome": "skipped", "start": None, "end": None})
    validate_record(record)
    for key in ("duration", "cpu_seconds", "peak_memory", "exit_code", "external_id", "queue_seconds"):
        assert record[key] is None


def test_no_time_no_throughput() -> None:
    assert stage_record(PLACE, {**RESULT, "end": RESULT["start"]})["throughput"] == {}


@pytest.mark.parametrize("matrix", [{}, {"a": 1, "b": [None]}])
def test_the_leg(matrix: dict[str, Any]) -> None:
    record = stage_record(replace(PLACE, matrix=matrix, map_index=3), RESULT)
    validate_record(record)
    assert record["matrix"] == (matrix or None)


def test_a_report_says_what_comes_next() -> None:
    now = datetime(2026, 1, 1, tzinfo=timezone.utc)
    report = failure_report(PLACE, ERROR, retries=True, delay=90, now=now)
    validate_report(report)
    assert report["next_retry_at"] == "2026-01-01T00:01:30+00:00"
    assert (report["retry_count"], report["max_retries"], report["will_retry"]) == (1, 3, True)
    last = failure_report(PLACE, ERROR, retries=False, delay=90)
    validate_report(last)
    assert (last["next_retry_at"], last["will_retry"]) == (None, False)


@given(st.text(max_size=3000), st.integers(1, 4))
def test_messages_are_bounded_in_bytes(text: str, times: int) -> None:
    message = bounded(text * times)
    assert len(message.encode("utf-8", "replace")) <= LONGEST_MESSAGE
    if len((text * times).encode("utf-8", "replace")) <= LONGEST_MESSAGE:
        assert message == text * times
