"""Starting another workflow or DAG from a task, waiting for it, and reading what it gave."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_stagecoach.exceptions import StageConfigError, StageFailed
from airflow_stagecoach.operators import _local
from airflow_stagecoach.operators._contexts import TaskRunData
from airflow_stagecoach.operators._report import report
from airflow_stagecoach.operators._run import WorkflowRun

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_stagecoach.document.plan import WorkflowPlan

#: States in which a DAG run stays.
ENDED = ("success", "failed")

#: Seconds between two looks at the child from a worker.
_POLL = 1.0


def run_workflow(
    context: Mapping[str, Any], dag_id: str, params: dict[str, Any], path: str, level: int = 0
) -> dict[str, Any]:
    """Start a workflow, wait in this worker until it ends, and read its outputs.

    :param path: names the place inside the task, so that a retry finds its own child
    :param level: in ``stagecoach run``, how many workflows run one in another around this task
    :return: ``{"state": "success|failed|skipped", "outputs": {"jobs": ..., "params": ...}}``
    :raises StageFailed: no such DAG, or one that cannot run
    """
    if _local.session is not None:
        return _as_result(_local.session.run_workflow(dag_id, params, level))
    run_id = start(context, dag_id, params, path)
    while (state := _run_state(dag_id, run_id)) not in ENDED:
        time.sleep(_POLL)
    return collect(context, dag_id, run_id, params, state)


def start(context: Mapping[str, Any], dag_id: str, params: dict[str, Any], path: str = "") -> str:
    """Start a DAG run, or find the one that an earlier, killed try started.

    The run id is made from this task and its try, so that nothing starts twice.

    :return: the run id
    :raises StageFailed: no such DAG, or one that is paused or has import errors
    :raises StageConfigError: refused params
    """
    from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
    from airflow.sdk.execution_time.comms import ErrorResponse, TriggerDagRun
    from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

    ti = context["ti"]
    if ti.try_number > 1:
        earlier = _child_run_id(ti, dag_id, path, ti.try_number - 1)
        if _run_state(dag_id, earlier) in ("queued", "running"):
            return earlier
    _refuse_paused(ti, dag_id)
    run_id = _child_run_id(ti, dag_id, path, ti.try_number)
    plan = find_plan(ti, dag_id)
    conf = coerced(plan, params)
    try:
        answer = SUPERVISOR_COMMS.send(TriggerDagRun(dag_id=dag_id, run_id=run_id, conf=conf))
    except AirflowRuntimeError as error:
        raise StageFailed(f"cannot trigger {dag_id!r}: {_detail(error)}") from None
    if isinstance(answer, ErrorResponse) and answer.error != ErrorType.DAGRUN_ALREADY_EXISTS:
        raise StageFailed(f"cannot trigger {dag_id!r}: {answer.detail or answer.error}")
    return run_id


def collect(
    context: Mapping[str, Any], dag_id: str, run_id: str, params: dict[str, Any], state: str
) -> dict[str, Any]:
    """Outputs of a DAG run that has ended.

    :return: ``{"state", "outputs"}``; outputs are ``{"jobs", "params"}`` of a workflow, and
        ``{"tasks", "params"}`` of any other DAG
    """
    plan = find_plan(context["ti"], dag_id)
    if plan is None:
        data = TaskRunData(context, dag_id=dag_id, run_id=run_id)
        tasks = {task_id: {"state": task_state} for task_id, task_state in data.states(None).items()}
        return {"state": state, "outputs": {"tasks": tasks, "params": params}}
    data = TaskRunData(context, plan, dag_id=dag_id, run_id=run_id, params=params)
    child = report(WorkflowRun(plan, data))
    if state == "failed":
        child["state"] = "failed"
    return _as_result({**child, "params": params})


def _as_result(child: dict[str, Any]) -> dict[str, Any]:
    return {"state": child["state"], "outputs": {"jobs": child["jobs"], "params": child["params"]}}


def find_plan(ti: Any, dag_id: str) -> WorkflowPlan | None:
    """The plan of a workflow by its DAG id; ``None`` for a DAG that is no document."""
    from airflow_stagecoach import document

    dag = ti.get_dag(dag_id)
    if not dag.relative_fileloc or not dag.relative_fileloc.endswith((".yaml", ".yml")):
        return None
    bundle = getattr(ti, "bundle_instance", None)
    if bundle is None or (bundle.name, bundle.version) != (dag.bundle_name, dag.bundle_version):
        from airflow.dag_processing.bundles.manager import DagBundlesManager

        bundle = DagBundlesManager().get_bundle(name=dag.bundle_name, version=dag.bundle_version)
    path = Path(bundle.path, dag.relative_fileloc)
    loaded = document.load(path.read_bytes(), str(path))
    return next((plan for plan in loaded.plans if plan["dag_id"] == dag_id), None)


def coerced(plan: WorkflowPlan | None, params: dict[str, Any]) -> dict[str, Any]:
    """Params as the child's types want them: a text from an expression becomes a number where it must.

    :raises StageConfigError: a value that does not fit, one that is missing, or a name that the child has not
    """
    values = dict(params)
    declared = None if plan is None else plan.get("params")
    if plan is not None and declared is not None:
        from airflow_stagecoach.document.params import ParamError, coerce_all

        try:
            complete = coerce_all(declared, values)
        except ParamError as error:
            hint = f"; {error.hint}" if error.hint else ""
            raise StageConfigError(f"cannot trigger {plan['dag_id']!r}: {error}{hint}") from None
        values = {name: complete[name] for name in values}
    plain: dict[str, Any] = json.loads(json.dumps(values, default=_json_value))
    return plain


def _json_value(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _child_run_id(ti: Any, dag_id: str, path: str, try_number: int) -> str:
    depth = _depth(ti.run_id) + 1
    if depth > _local.DEEPEST:
        raise StageConfigError(_local.TOO_DEEP)
    place = f"{ti.dag_id}\n{ti.run_id}\n{ti.task_id}\n{ti.map_index}\n{path}\n{dag_id}\n{try_number}"
    digest = hashlib.sha256(place.encode()).hexdigest()[:16]
    return f"stagecoach__{depth}__{ti.dag_id}.{ti.task_id}"[:200] + f"__{digest}"


def _depth(run_id: str) -> int:
    """How many workflows stand above a run that was triggered by ours; 0 for one that was not."""
    mark, _, rest = run_id.partition("__")
    depth = rest.partition("__")[0]
    return int(depth) if mark == "stagecoach" and depth.isdigit() else 0


def _run_state(dag_id: str, run_id: str) -> str | None:
    """State of a DAG run, ``None`` when there is no such run."""
    from airflow.sdk.exceptions import AirflowRuntimeError
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    try:
        state = RuntimeTaskInstance.get_dagrun_state(dag_id=dag_id, run_id=run_id)
    except AirflowRuntimeError:
        return None
    return str(getattr(state, "value", state))


def _refuse_paused(ti: Any, dag_id: str) -> None:
    from airflow.sdk.exceptions import AirflowRuntimeError

    try:
        dag = ti.get_dag(dag_id)
    except AirflowRuntimeError:
        raise StageFailed(f"trigger: there is no DAG {dag_id!r}") from None
    if dag.is_paused:
        raise StageFailed(f"trigger: DAG {dag_id!r} is paused, its run would never start; unpause it first")


def _detail(error: Any) -> str:
    detail = getattr(getattr(error, "error", None), "detail", None) or {}
    inner = detail.get("detail", detail) if isinstance(detail, dict) else detail
    return str(inner.get("message", inner)) if isinstance(inner, dict) else str(inner or error)
