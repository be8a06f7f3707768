"""The result document that work has left, checked: where it was written, others may write as well."""

from __future__ import annotations

import math
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from airflow_stagecoach.engine.classification import CATEGORIES
from airflow_stagecoach.engine.transport import load

if TYPE_CHECKING:
    from airflow_stagecoach.engine.contract import Result, Unit

_STATES = frozenset({"success", "failed", "skipped", "upstream_failed"})
_OUTCOMES = frozenset({"success", "failure", "skipped", "cancelled"})

_NUMBER = (int, float)

#: What an error may have beside its type and message.
_OF_ERROR: dict[str, type | tuple[type, ...]] = {
    "reason": str,
    "http_status": int,
    "retry_after": _NUMBER,
    "oom": bool,
    "exit_code": int,
    "signal": str,
    "stderr": str,
    "classes": list,
    "line": int,
}


def parse(unit: Unit, text: bytes) -> Result:
    """The result of a unit, as the engine has written it.

    :raises ValueError: it is cut off, or not what the engine writes for such a unit; the text says where
    """
    try:
        found = load(text.decode("utf-8"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    result = _map(found, "it")
    if result.get("state") not in _STATES - {"upstream_failed"} or result.get("outcome") not in _OUTCOMES:
        raise ValueError("it has no state and outcome")
    _amount(result.get("peak_memory"), "peak_memory")
    stages = _map(result.get("stages"), "stages")
    if not 1 <= len(stages) <= len(unit["stages"]):
        raise ValueError(f"it has {len(stages)} stages, not {len(unit['stages'])}")
    for name, stage in stages.items():
        _stage(_map(stage, name), name)
    return cast("Result", result)


def _stage(stage: dict[str, Any], name: str) -> None:
    if stage.get("state") not in _STATES or stage.get("outcome") not in _OUTCOMES:
        raise ValueError(f"{name} has no state and outcome")
    _map(stage.get("outputs"), f"{name}.outputs")
    if stage.get("error", "") is not None:
        _error(_map(stage.get("error"), f"{name}.error"), name)
    for key in ("start", "end"):
        if not isinstance(stage.get(key), str):
            raise ValueError(f"{name}.{key} is no time")
        datetime.fromisoformat(stage[key])
    for key in ("tries", "cpu_seconds", "peak_memory"):
        if key in stage:
            _amount(stage[key], f"{name}.{key}")
    for metric, value in _map(stage.get("metrics", {}), f"{name}.metrics").items():
        if not isinstance(value, _NUMBER):
            raise ValueError(f"{name}.metrics.{metric} is no number")
    omitted = _map(stage.get("omitted", {}), f"{name}.omitted")
    if not all(isinstance(why, str) for why in omitted.values()):
        raise ValueError(f"{name}.omitted is no map of texts")


def _error(error: dict[str, Any], name: str) -> None:
    if not isinstance(error.get("type"), str) or not isinstance(error.get("message"), str):
        raise ValueError(f"{name}.error has no type and message")
    if error.get("category", "component") not in CATEGORIES:
        raise ValueError(f"{name}.error.category is none")
    for key, kind in _OF_ERROR.items():
        if key in error and not isinstance(error[key], kind):
            raise ValueError(f"{name}.error.{key} is no {getattr(kind, '__name__', 'number')}")
    if not all(isinstance(each, str) for each in error.get("classes", ())):
        raise ValueError(f"{name}.error.classes is no list of texts")


def _map(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} is no map")
    return value


def _amount(value: Any, name: str) -> None:
    if not isinstance(value, _NUMBER) or isinstance(value, bool) or not 0 <= value < math.inf:
        raise ValueError(f"{name} is no number")
