"""Units and results as JSON text, for files and pipes.

Types that JSON lacks keep their type on the way: a datetime is written as
``{"$type": "datetime", "value": "2026-01-31T00:00:00+00:00"}``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Dict, Mapping

if TYPE_CHECKING:
    from typing import Callable

_TYPE, _VALUE = "$type", "value"


def dump(value: Any) -> str:
    """JSON text of a unit or a result.

    :raises TypeError: it holds something that cannot travel
    """
    return json.dumps(value, default=_encode, ensure_ascii=False, separators=(",", ":"))


def load(text: str) -> Any:
    """The value behind text written by :func:`dump`.

    :raises ValueError: it is no JSON
    """
    return json.loads(text, object_hook=_decode)


def _encode(value: Any) -> Any:
    import datetime
    from decimal import Decimal

    if isinstance(value, Mapping):
        return {key: value[key] for key in value}
    if isinstance(value, (set, frozenset)):
        return list(value)
    for kind, name in ((datetime.datetime, "datetime"), (datetime.date, "date"), (datetime.time, "time")):
        if isinstance(value, kind):
            return {_TYPE: name, _VALUE: value.isoformat()}
    if isinstance(value, datetime.timedelta):
        return {_TYPE: "timedelta", _VALUE: value.total_seconds()}
    if isinstance(value, Decimal):
        return {_TYPE: "decimal", _VALUE: str(value)}
    from airflow_stagecoach.engine.errors import StorageError
    from airflow_stagecoach.engine.values import storable

    try:
        return storable(value)
    except StorageError as error:
        raise TypeError(f"a unit cannot carry this: {error.message}") from error


def _decode(found: Dict[str, Any]) -> Any:
    if found.keys() != {_TYPE, _VALUE}:
        return found
    import datetime
    from decimal import Decimal

    makers: Dict[str, Callable[[Any], Any]] = {
        "datetime": datetime.datetime.fromisoformat,
        "date": datetime.date.fromisoformat,
        "time": datetime.time.fromisoformat,
        "timedelta": lambda seconds: datetime.timedelta(seconds=seconds),
        "decimal": Decimal,
    }
    try:
        return makers[found[_TYPE]](found[_VALUE])
    except (KeyError, TypeError, ValueError, ArithmeticError):
        return found  # A map of the user that only looks alike.
