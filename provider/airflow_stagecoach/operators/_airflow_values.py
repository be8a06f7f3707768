"""Values that come from Airflow itself: params, variables, connections, facts of the run.

Secrets are masked in every log before they are handed on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_stagecoach.engine.secrets import connection_secrets, forms
from airflow_stagecoach.exceptions import StageConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow_stagecoach.document.plan import WorkflowPlan


def params(context: Mapping[str, Any], workflow: WorkflowPlan | None) -> dict[str, Any]:
    """The run's params, typed as the workflow declares them (dates become dates).

    :raises StageConfigError: the run was started with a param that the workflow does not have. Airflow
        checks the values of a run's conf, not its names.
    """
    given = context.get("params") or {}
    values = {name: given[name] for name in given}
    declared = workflow.get("params") if workflow is not None else None
    if declared is None:
        return values
    from airflow_stagecoach.document.params import coerce

    for name in values.keys() - declared.keys():
        from difflib import get_close_matches

        near = get_close_matches(name, declared, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"it has: {', '.join(declared) or 'none'}"
        raise StageConfigError(
            f"the run was started with param {name!r}, which the workflow does not have; {hint}"
        )
    return {name: coerce(declared[name], value) for name, value in values.items()}


def run_fields(context: Mapping[str, Any]) -> dict[str, Any]:
    """The ``run`` context: facts of the DAG run and of this try.

    Times are time-zone aware datetimes, ``ds`` is ``YYYY-MM-DD``; they are null
    in a run without a logical date.
    """
    dag_run, ti = context["dag_run"], context["ti"]
    logical_date = context.get("logical_date")
    interval_start = context.get("data_interval_start")
    return {
        "id": context["run_id"],
        "type": str(getattr(dag_run.run_type, "value", dag_run.run_type)),
        "dag_id": ti.dag_id,
        "task_id": ti.task_id,
        "map_index": ti.map_index,
        "try_number": ti.try_number,
        "logical_date": _plain(logical_date),
        "data_interval_start": _plain(interval_start),
        "data_interval_end": _plain(context.get("data_interval_end")),
        "run_after": _plain(dag_run.run_after),
        "start_date": _plain(dag_run.start_date),
        "ds": context.get("ds"),
        "ds_nodash": context.get("ds_nodash"),
        "ts": context.get("ts"),
        "ts_nodash": context.get("ts_nodash"),
    }


def _plain(moment: Any) -> Any:
    """A standard datetime: what user code and the travelling engine can rely on."""
    if moment is None:
        return None
    import datetime

    return datetime.datetime.fromisoformat(moment.isoformat())


def variables(names: Iterable[str | None]) -> dict[str, str]:
    """Airflow variables by name; a missing one is left out, so that ``vars.x?`` is null."""
    return dict(_variables(names, "vars"))


def secrets(names: Iterable[str | None]) -> dict[str, str]:
    """Airflow variables treated as secrets: masked in logs from here on."""
    from airflow.sdk.log import mask_secret

    found = dict(_variables(names, "secrets"))
    for value in found.values():
        mask_secret([*forms(value)])
    return found


def _variables(names: Iterable[str | None], context: str) -> Iterable[tuple[str, str]]:
    from airflow.sdk import Variable

    for name in names:
        if name is None:
            raise LookupError(f"name the variable: write {context}.NAME, not a computed name")
        value = Variable.get(name, default=None)
        if value is not None:
            yield name, value


def connections(names: Iterable[str | None]) -> dict[str, dict[str, Any]]:
    """Airflow connections by id, as maps: type, host, login, password, schema, port, extra."""
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException
    from airflow.sdk.log import mask_secret

    found: dict[str, dict[str, Any]] = {}
    for name in names:
        if name is None:
            raise LookupError("name the connection: write conn.ID.host, not a computed name")
        try:
            connection = Connection.get(name)
        except AirflowNotFoundException:
            continue
        extra = connection.extra_dejson
        found[name] = {
            "id": name,
            "type": connection.conn_type,
            "host": connection.host,
            "login": connection.login,
            "password": connection.password,
            "schema": connection.schema,
            "port": connection.port,
            "extra": extra,
        }
        mask_secret(extra)
        mask_secret([form for value in connection_secrets(found[name]) for form in forms(value)])
    return found
