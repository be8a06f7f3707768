"""Typed params as Airflow params: the trigger form, and bad values refused before a run starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import Param

    from airflow_stagecoach.document.plan import ParamPlan


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
        made[name] = Param(default, **json_schema(plan))
    return made
