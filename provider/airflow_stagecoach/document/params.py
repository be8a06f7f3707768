"""Values of params: from text to the declared type, and the JSON Schema that Airflow checks.

Pure functions without pydantic: used when a document is loaded (defaults), by the factory (the trigger form)
and by the command line (text from a person).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import date, datetime
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from airflow_stagecoach.document.dates import parse_date, parse_datetime, to_utc
from airflow_stagecoach.document.diagnostics import did_you_mean, found, one_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_stagecoach.document.plan import ParamPlan

TYPES = ("str", "int", "float", "decimal", "bool", "date", "datetime", "choice", "map", "array")

#: Digits after the point of `float` and `decimal` unless the param says otherwise.
DEFAULT_PRECISION = 6

_INT = re.compile(r"[-+]?[0-9]{1,30}")
_NUMBER = re.compile(r"[-+]?(?:[0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(?:[eE][-+]?[0-9]{1,3})?")


class ParamError(ValueError):
    """A value that does not fit its param; the message says what was expected and found."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


def coerce(plan: ParamPlan, value: Any) -> Any:
    """The value of a param in its declared type.

    Text is converted first, as it comes from a command line: ``'1'`` to int, ``'true'`` to bool, ISO text to
    date or datetime, JSON text to map or array. A datetime is given in UTC; without an offset it is taken as
    UTC. Nothing else is converted: ``1.0`` is no int, ``1`` no bool. Null means the default; without one it
    is ``[]`` for an array, ``{}`` for a map, else null, which only a required param refuses. The result is
    Python data (``date``, ``datetime``, ``Decimal``); :func:`to_json` gives the form that JSON can hold.
    Raises :class:`ParamError`.
    """
    if value is None:
        default = plan.get("default")
        if default is not None:
            return _COERCE[plan["type"]](plan, default)
        if plan["type"] == "array":
            return []
        if plan["type"] == "map":
            return {}
        if plan.get("required"):
            raise ParamError("a required param cannot be null")
        return None
    return _COERCE[plan["type"]](plan, value)


def coerce_all(plans: Mapping[str, ParamPlan] | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """The values of all params of a workflow: given ones coerced, absent ones by default.

    ``plans`` is the plan's ``params``; None (no ``params:`` key) lets any name pass as it is. A param with
    neither a default nor ``required`` is null. Raises :class:`ParamError`, the param's name in front, for
    a value that does not fit, for a required param that is absent, and for an unknown name.
    """
    if plans is None:
        return dict(given)
    for name in given:
        if name not in plans:
            known = did_you_mean(str(name), plans, f"the params are {', '.join(plans)}" if plans else None)
            raise ParamError(f"unknown param '{name}'", known)
    values: dict[str, Any] = {}
    for name, plan in plans.items():
        if name not in given:
            if plan.get("required") and "default" not in plan:
                raise ParamError(f"param '{name}' is required", f"give {name}=VALUE")
            values[name] = coerce({**plan, "required": False}, plan["default"]) if "default" in plan else None
            continue
        try:
            values[name] = coerce(plan, given[name])
        except ParamError as error:
            raise ParamError(f"param '{name}': {error}", error.hint) from None
    return values


def to_json(value: Any) -> Any:
    """A coerced value as JSON can hold it: dates as ISO text, decimals as text."""
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    return value


def json_schema(plan: ParamPlan) -> dict[str, Any]:
    """The JSON Schema of a param, for Airflow's ``Param``: its type, format, options and description.

    Null is allowed where there is neither a default nor ``required``.
    """
    kind = plan["type"]
    schema: dict[str, Any] = {
        key: list(v) if isinstance(v, list) else v for key, v in _SCHEMA.get(kind, {}).items()
    }
    if kind == "choice":
        options = plan.get("options", [])
        schema["type"] = sorted({_json_type(option) for option in options})
        if len(schema["type"]) == 1:
            schema["type"] = schema["type"][0]
        schema["enum"] = list(options)
    if not plan.get("required") and plan.get("default") is None:
        types = schema["type"]
        schema["type"] = [*types, "null"] if isinstance(types, list) else [types, "null"]
        if "enum" in schema:
            schema["enum"] = [*schema["enum"], None]
    if "desc" in plan:
        schema["description"] = plan["desc"]
    return schema


_DECIMAL_TEXT = r"^[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d{1,3})?$"

_SCHEMA: dict[str, dict[str, Any]] = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "decimal": {"type": ["string", "number"], "pattern": _DECIMAL_TEXT},
    "bool": {"type": "boolean"},
    "date": {"type": "string", "format": "date"},
    "datetime": {"type": "string", "format": "date-time"},
    "map": {"type": "object"},
    "array": {"type": "array"},
}


def _json_type(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    return "number" if isinstance(value, float) else "string"


def _str(plan: ParamPlan, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _int(plan: ParamPlan, value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and _INT.fullmatch(value.strip()):
        return int(value)
    raise ParamError(f"expected a whole number, found {found(value)}")


def _float(plan: ParamPlan, value: Any) -> float:
    precision = plan.get("precision", DEFAULT_PRECISION)
    if (isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)) or (
        isinstance(value, str) and _NUMBER.fullmatch(value.strip())
    ):
        number = float(value)
    else:
        raise ParamError(f"expected a number, found {found(value)}")
    if number != number or number in (float("inf"), float("-inf")):
        raise ParamError("expected a finite number")
    return round(number, precision)


def _decimal(plan: ParamPlan, value: Any) -> Decimal:
    precision = plan.get("precision", DEFAULT_PRECISION)
    if isinstance(value, str) and not _NUMBER.fullmatch(value.strip()):
        raise ParamError(f"expected a decimal number, found {found(value)}")
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
        raise ParamError(f"expected a decimal number, found {found(value)}")
    try:
        number = Decimal(str(value).strip())
        return number.quantize(Decimal(1).scaleb(-precision), rounding=ROUND_HALF_EVEN)
    except InvalidOperation:
        raise ParamError(f"expected a decimal number of at most 28 digits, found {found(value)}") from None


def _bool(plan: ParamPlan, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    raise ParamError(f"expected true or false, found {found(value)}")


def _date(plan: ParamPlan, value: Any) -> date:
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    if isinstance(value, str):
        try:
            return parse_date(value)
        except ValueError as error:
            raise ParamError(f"{error}, found {found(value)}") from None
    raise ParamError(f"expected a date such as 2024-12-31, found {found(value)}")


def _datetime(plan: ParamPlan, value: Any) -> datetime:
    if isinstance(value, datetime):
        return to_utc(value)
    if isinstance(value, date):
        return to_utc(datetime(value.year, value.month, value.day))
    if isinstance(value, str):
        try:
            return to_utc(parse_datetime(value))
        except (ValueError, OverflowError) as error:
            raise ParamError(f"{error}, found {found(value)}") from None
    raise ParamError(f"expected a date or time such as 2024-12-31T23:59:00Z, found {found(value)}")


def _choice(plan: ParamPlan, value: Any) -> Any:
    options = plan.get("options", [])
    for option in options:
        if type(option) is type(value) and option == value:
            return option
    if isinstance(value, str):
        # From a command line every value is text; an option written as text was found above.
        for option in options:
            if not isinstance(option, str) and json.dumps(option) == value.strip():
                return option
    shown = one_of(str(option) for option in options[:20])
    texts = [option for option in options if isinstance(option, str)]
    raise ParamError(
        f"expected {shown}, found {found(value)}",
        did_you_mean(value, texts) if isinstance(value, str) else None,
    )


def _map(plan: ParamPlan, value: Any) -> dict[Any, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    parsed = _from_json(value, "{")
    if isinstance(parsed, dict):
        return parsed
    raise ParamError(f"expected a map, or a map as JSON text, found {found(value)}")


def _array(plan: ParamPlan, value: Any) -> list[Any]:
    if isinstance(value, (list, tuple)):
        return list(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=repr)
    parsed = _from_json(value, "[")
    if isinstance(parsed, list):
        return parsed
    raise ParamError(f"expected a list, or a list as JSON text, found {found(value)}")


def _from_json(value: Any, bracket: str) -> Any:
    if not isinstance(value, str) or not value.strip().startswith(bracket):
        return None
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


_COERCE: dict[str, Callable[[ParamPlan, Any], Any]] = {
    "str": _str,
    "int": _int,
    "float": _float,
    "decimal": _decimal,
    "bool": _bool,
    "date": _date,
    "datetime": _datetime,
    "choice": _choice,
    "map": _map,
    "array": _array,
}
