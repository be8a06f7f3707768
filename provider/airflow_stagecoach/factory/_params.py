"""Typed params as Airflow params: the trigger form, and bad values refused before a run starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import Param

    from airflow_stagecoach.document.plan import ParamPlan


#: Airflow checks the format date-time only where another package happens to be installed.
_DATETIME_TEXT = (
    r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])"
    r"([T ]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,9})?)?\s*([Zz]|[+-]\d{2}(:?\d{2})?)?)?$"
)


def airflow_params(params: dict[str, ParamPlan] | None) -> dict[str, Param]:
    """Airflow params by name. A param without default that is not required is null."""
    if not params:
        return {}
    from airflow.sdk import Param
    from airflow.sdk.definitions._internal.types import NOTSET

    from airflow_stagecoach.document.params import json_schema

    made: dict[str, Any] = {}
    for name, plan in params.items():
        default = plan.get("default", NOTSET if plan.get("required") else None)
        made[name] = Param(default, source="dag", **form_schema(plan, json_schema(plan)))
    return made


def form_schema(plan: ParamPlan, schema: dict[str, Any]) -> dict[str, Any]:
    """The same schema, said so that Airflow's trigger form has the right field for it.

    The form chooses by ``type`` and ``items.type``:

    * several types give a large field that reads JSON, and makes the number 19.9 of the text 19.90;
      without ``type`` a decimal is a line of text;
    * a list is one text per line, unless its items are said to be something else. A default with
      numbers or maps would come back as texts, so such a list is JSON.
    """
    if plan["type"] == "decimal":
        rest = {key: value for key, value in schema.items() if key not in ("type", "pattern")}
        kinds = [{"type": kind} for kind in schema["type"]]
        kinds[0]["pattern"] = schema["pattern"]
        return {**rest, "anyOf": kinds}
    if plan["type"] == "datetime":
        return {**schema, "pattern": _DATETIME_TEXT}
    if plan["type"] == "array" and any(not isinstance(item, str) for item in plan.get("default") or ()):
        return {**schema, "items": {"type": ["string", "number", "boolean", "object", "array", "null"]}}
    return schema
