"""What a notification says: one JSON object per event."""

from __future__ import annotations

import hashlib
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The shape of an event; raised when a key changes its meaning or goes.
EVENT_VERSION = 1

#: Airflow's state of a task -> the event that callbacks are called for.
_EVENT_OF_STATE = {"success": "success", "failed": "failure", "up_for_retry": "retry", "skipped": "skip"}


def event_of(context: Mapping[str, Any]) -> str:
    """The event of a callback in a handwritten DAG, from the state of its task."""
    ti = context.get("ti")
    state = getattr(ti, "state", None)
    state = str(getattr(state, "value", state))
    if state in _EVENT_OF_STATE:
        return _EVENT_OF_STATE[state]
    return "failure" if context.get("exception") is not None else "success"


def task_event(
    event: str,
    context: Mapping[str, Any],
    *,
    record: Mapping[str, Any] | None = None,
    failure: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """An event of a task, or of the run where the context has no task.

    :param event: success failure retry skip
    :param context: Airflow's context of the callback
    :param record: the stage's record; by default the one that its operator has just written
    :param failure: the failure report, likewise
    """
    ti = context.get("ti")
    if ti is None:
        return run_event(event, context)
    task = context.get("task")
    if record is None:
        record = getattr(task, "record", None)
    if failure is None and event in ("failure", "retry"):
        failure = getattr(task, "failure_report", None)
    job = getattr(task, "job", None)
    stage = getattr(task, "stage", None)
    told: dict[str, Any] = {
        **_head(event, ti.dag_id, ti.run_id, ti.task_id, ti.map_index, ti.try_number),
        "job": (record or {}).get("job") or (job["id"] if job else None),
        "stage": (record or {}).get("stage") or (stage.get("id") if isinstance(stage, dict) else None),
        "fallback": job.get("fallback") if job else None,
        "fallback_of": job.get("fallback_of") if job else None,
        "task_id": ti.task_id,
        "map_index": ti.map_index if ti.map_index is not None and ti.map_index >= 0 else None,
        "matrix": (record or {}).get("matrix") or {},
        "try_number": ti.try_number,
        "log_url": ti.log_url,
        "record": None if record is None else dict(record),
    }
    if event in ("failure", "retry"):
        told["failure"] = None if failure is None else dict(failure)
        if record is None and event == "failure" and context.get("exception") is None:
            # The callback of a task whose process is gone runs elsewhere, and knows nothing of the try.
            told["reason"] = "worker-lost"
    if event == "retry":
        told["next_retry_at"] = (failure or {}).get("next_retry_at")
    return told


def run_event(event: str, context: Mapping[str, Any]) -> dict[str, Any]:
    """An event of a whole run: success, failure or deadline.

    :param context: of a DAG's callback (``dag``, ``run_id``, ``reason``, maybe ``dag_run``), or of a
        deadline's (``dag_run`` as a map, ``deadline``)
    """
    dag_run = context.get("dag_run")
    if isinstance(dag_run, dict):
        dag_id, run_id = dag_run.get("dag_id"), dag_run.get("dag_run_id") or dag_run.get("run_id")
    else:
        dag = context.get("dag")
        dag_id = getattr(dag_run, "dag_id", None) or getattr(dag, "dag_id", None)
        run_id = context.get("run_id") or getattr(dag_run, "run_id", None)
    deadline = context.get("deadline")
    # A run that was cleared ends once more: that is another event.
    again = deadline.get("id") if deadline else getattr(dag_run, "clear_number", None)
    told = {
        **_head(event, str(dag_id), str(run_id), *([again] if again else [])),
        "reason": context.get("reason"),
        "log_url": _run_url(dag_id, run_id),
    }
    if deadline:
        # Airflow writes it with a space.
        told["deadline"] = {**deadline, "deadline_time": str(deadline.get("deadline_time")).replace(" ", "T")}
    return told


def _head(event: str, dag_id: str, run_id: str, *place: Any) -> dict[str, Any]:
    """What every event has. The id is made from what happened, so the receiver can tell a repetition."""
    digest = hashlib.sha256("\n".join(map(str, (event, dag_id, run_id, *place))).encode()).hexdigest()
    return {
        "version": EVENT_VERSION,
        "id": digest[:32],
        "event": event,
        "time": datetime.now(timezone.utc).isoformat(),
        "dag_id": dag_id,
        "run_id": run_id,
    }


def _run_url(dag_id: Any, run_id: Any) -> str:
    from urllib.parse import quote

    from airflow.sdk.configuration import conf

    base = conf.get("api", "base_url", fallback="http://localhost:8080/").rstrip("/")
    return f"{base}/dags/{dag_id}/runs/{quote(str(run_id))}"


def stage_event(context: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, Any] | None:
    """The event of one stage in a task that ran several; ``None`` for a stage that never began.

    :param record: of that stage
    """
    event = {"success": "success", "failed": "failure", "skipped": "skip"}.get(str(record.get("state")))
    if event is None:
        return None
    told = task_event(event, context, record=record, failure=record if event == "failure" else None)
    ti = context["ti"]
    place = (ti.dag_id, ti.run_id, ti.task_id, ti.map_index, ti.try_number, record.get("stage"))
    return {**told, **_head(event, *place)}
