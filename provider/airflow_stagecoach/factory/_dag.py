"""A plan as an Airflow DAG."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG
from airflow.sdk.definitions.param import ParamsDict

from airflow_stagecoach.factory._concurrency import surround
from airflow_stagecoach.factory._graph import Graph
from airflow_stagecoach.factory._params import airflow_params
from airflow_stagecoach.factory._schedule import moment, schedule

if TYPE_CHECKING:
    from airflow.sdk.definitions.deadline import DeadlineAlert

    from airflow_stagecoach.document.plan import WorkflowPlan


#: A start for what shall simply run: before any document was written.
_LONG_AGO = datetime(2020, 1, 1, tzinfo=timezone.utc)


def build_dag(plan: WorkflowPlan, *, fileloc: str | None = None) -> DAG:
    """Build the DAG of a workflow.

    :param plan: from :func:`airflow_stagecoach.document.load`
    :param fileloc: path of the document, shown by the Code tab; by default the file that calls
    :raises airflow.exceptions.AirflowException: what Airflow itself refuses
    """
    arguments: dict[str, Any] = {
        "schedule": schedule(plan.get("schedule")),
        "catchup": plan.get("catchup", False),
        "tags": plan.get("tags", ()),
        "doc_md": plan.get("desc"),
        "description": _first_line(plan.get("desc")),
        "render_template_as_native_obj": False,
    }
    if "name" in plan:
        arguments["dag_display_name"] = plan["name"]
    for key in ("start_date", "end_date"):
        if key in plan:
            arguments[key] = moment(plan[key])
    if "max_active_runs" in plan:
        arguments["max_active_runs"] = plan["max_active_runs"]
    if "max_active_tasks" in plan:
        arguments["max_active_tasks"] = plan["max_active_tasks"]
    if "timeout" in plan:
        arguments["dagrun_timeout"] = timedelta(seconds=plan["timeout"])
    if plan.get("schedule", {}).get("continuous"):
        # Airflow runs this timetable one run at a time, and only from some start date on.
        arguments.setdefault("max_active_runs", 1)
        arguments.setdefault("start_date", _LONG_AGO)
    if "deadline" in plan:
        arguments["deadline"] = _deadline_alerts(plan, plan["deadline"])
    if "notify" in plan:
        from airflow_stagecoach.operators.notify import dag_callbacks

        arguments |= dag_callbacks(plan)
    with DAG(plan["dag_id"], **arguments) as dag:
        Graph(plan).build()
        if "concurrency" in plan:
            surround(dag, plan, plan["concurrency"])
    # Not before: Airflow would copy the params into every task, and check and store them there again.
    dag.params = ParamsDict(airflow_params(plan.get("params")))
    dag.fileloc = fileloc if fileloc is not None else sys._getframe(1).f_code.co_filename
    return dag


def _deadline_alerts(plan: WorkflowPlan, seconds: float) -> list[DeadlineAlert]:
    """One alert for everybody who is to be told; without anybody one that is only logged and shown."""
    from airflow.sdk.definitions.callback import AsyncCallback
    from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

    from airflow_stagecoach.operators.deadline import log_missed
    from airflow_stagecoach.operators.notify import deadline_callbacks

    callbacks = deadline_callbacks(plan) or [AsyncCallback(log_missed, {"seconds": seconds})]
    return [
        DeadlineAlert(
            reference=DeadlineReference.DAGRUN_QUEUED_AT,
            interval=timedelta(seconds=seconds),
            callback=callback,
            name="deadline",
        )
        for callback in callbacks
    ]


def _first_line(text: str | None) -> str | None:
    return text.strip().split("\n", 1)[0] if text else None
