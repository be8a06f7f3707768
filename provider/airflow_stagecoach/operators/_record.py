"""The record of a stage, and the report of a failed try. Pure functions over plain data.

Their shapes are described in ``docs/records.md`` and ``docs/record.schema.json``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

# The names of the XComs that hold them.
from airflow_stagecoach.operators._run import ERROR as ERROR
from airflow_stagecoach.operators._run import RECORD as RECORD

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Raised when a key of a record changes its meaning or goes; new keys may come without.
RECORD_VERSION = 1

STATES = ("success", "failed", "skipped", "upstream_failed")
OUTCOMES = ("success", "failure", "skipped", "cancelled")

#: Bytes of a message in UTF-8.
LONGEST_MESSAGE = 4096


@dataclass(frozen=True)
class Place:
    """Where a try took place: what the record has of Airflow and of the document.

    :param tries: which try of this series it is, from 1; a clear begins a new series
    :param max_tries: tries that the stage may have in a series
    :param stage: id of the stage as it is in this leg; ``None`` for a task that runs several
    """

    dag_id: str
    run_id: str
    task_id: str
    try_number: int
    map_index: int | None = None
    job: str | None = None
    stage: str | None = None
    name: str | None = None
    kind: str | None = None
    backend: str = "local"
    matrix: Mapping[str, Any] = field(default_factory=dict)
    tries: int = 1
    max_tries: int = 1
    log_url: str | None = None
    hostname: str | None = None


def stage_record(place: Place, result: Mapping[str, Any]) -> dict[str, Any]:
    """The record of one stage.

    :param place: where it ran
    :param result: a stage result of the engine, or what is known in its place: ``state``, ``outcome``,
        ``error`` (classified), ``start`` and ``end``, and maybe ``cpu_seconds``, ``peak_memory``,
        ``memory_limit``, ``metrics``, ``external_id``, ``tries`` (inside the task)
    :return: JSON-able
    """
    error = result.get("error") or {}
    seconds = duration(result.get("start"), result.get("end"))
    failed = result["outcome"] in ("failure", "cancelled")
    metrics = {str(name): value for name, value in (result.get("metrics") or {}).items()}
    memory = result.get("peak_memory")
    return {
        **_where(place),
        "name": place.name,
        "kind": place.kind,
        "state": result["state"],
        "outcome": result["outcome"],
        "category": error.get("category") if failed else None,
        "reason": error.get("reason") if error else None,
        "error": {"type": error["type"], "message": bounded(error["message"])} if error else None,
        "tries": int(result.get("tries") or place.tries),
        "max_tries": place.max_tries,
        "start": result.get("start"),
        "end": result.get("end"),
        "duration": seconds,
        "queue_seconds": None,
        "exit_code": _exit_code(result, error),
        "cpu_seconds": result.get("cpu_seconds"),
        "peak_memory": memory or None,
        "memory_limit": result.get("memory_limit"),
        "metrics": metrics,
        "throughput": throughput(metrics, seconds),
        "external_id": result.get("external_id"),
        "hostname": place.hostname,
    }


def failure_report(
    place: Place,
    error: Mapping[str, Any],
    *,
    retries: bool,
    delay: float | None = None,
    external_id: str | None = None,
    memory_limit: int | None = None,
    next_memory_limit: int | None = None,
    now: datetime | None = None,
) -> dict[str, Any]:
    """What is told of one failed try: the XCom ``error``, one log line, and notifications.

    :param error: classified
    :param retries: whether there is another try
    :param delay: seconds until it, ``None`` where only Airflow knows
    :param memory_limit: bytes that the try could use at most, where the document limits it
    :param next_memory_limit: the same of the other try
    :param now: the moment of the failure
    """
    next_retry = None
    if retries and delay is not None:
        next_retry = ((now or datetime.now(timezone.utc)) + timedelta(seconds=delay)).isoformat()
    return {
        **_where(place),
        "error_type": error["type"],
        "category": error.get("category"),
        "reason": error.get("reason"),
        "message": bounded(error["message"]),
        "exit_code": error.get("exit_code"),
        "http_status": error.get("http_status"),
        "external_id": external_id,
        "memory_limit": memory_limit,
        "next_memory_limit": next_memory_limit,
        "retry_count": place.tries - 1,
        "max_retries": place.max_tries - 1,
        "will_retry": retries,
        "next_retry_at": next_retry,
    }


def _where(place: Place) -> dict[str, Any]:
    """What a record and a report both say of their try."""
    return {
        "version": RECORD_VERSION,
        "dag_id": place.dag_id,
        "run_id": place.run_id,
        "task_id": place.task_id,
        "map_index": place.map_index,
        "try_number": place.try_number,
        "job": place.job,
        "stage": place.stage,
        "backend": place.backend,
        "matrix": dict(place.matrix) or None,
        "log_url": place.log_url,
    }


def throughput(metrics: Mapping[str, Any], seconds: float | None) -> dict[str, float]:
    """Each metric per second; empty where no time passed."""
    if not seconds:
        return {}
    return {
        name: round(value / seconds, 3)
        for name, value in metrics.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }


def duration(start: str | None, end: str | None) -> float | None:
    """Seconds between two ISO 8601 moments, three decimals."""
    if not start or not end:
        return None
    seconds = (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
    return round(max(0.0, seconds), 3)


def bounded(message: str) -> str:
    """A message of at most :data:`LONGEST_MESSAGE` bytes."""
    data = message.encode("utf-8", "replace")
    if len(data) <= LONGEST_MESSAGE:
        return message
    return data[: LONGEST_MESSAGE - 4].decode("utf-8", "ignore") + " ..."


def _exit_code(result: Mapping[str, Any], error: Mapping[str, Any]) -> int | None:
    """Of the process that a stage was: a bash stage tells it as an output."""
    if "exit_code" in error:
        return int(error["exit_code"])
    outputs = result.get("outputs")
    code = outputs.get("return_code") if isinstance(outputs, dict) else None
    return code if isinstance(code, int) and not isinstance(code, bool) else None
