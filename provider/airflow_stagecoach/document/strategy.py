"""``strategy``: the matrix of a job."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Annotated, Any

from pydantic import Field, PlainValidator, WithJsonSchema, model_validator

from airflow_stagecoach.document.diagnostics import found
from airflow_stagecoach.document.fields import (
    ID_PATTERN,
    Flag,
    has_expression,
    map_value,
    number_schema,
    or_expression,
    or_expression_schema,
    plain_data,
    whole_number,
)
from airflow_stagecoach.document.model import (
    Faults,
    Model,
    fault,
)

MAX_PARALLEL = 10_000


def axis_name(text: str) -> None:
    """Refuse a name that no expression could read as ``matrix.<name>``."""
    if not re.fullmatch(ID_PATTERN, text):
        hint = "use letters, digits, - and _, beginning with a letter or _"
        raise fault("bad-name", f"'{text[:60]}' is no name for a matrix axis", hint, on_key=True)


def matrix_value(value: Any) -> Any:
    """``matrix``: axis -> list or expression, with ``include`` and ``exclude``; or one expression."""
    if isinstance(value, str):
        if has_expression(value):
            return value
        raise fault("wrong-type", f"expected a map of axes or an expression, found {found(value)}")
    if not isinstance(value, Mapping):
        hint = "write matrix: {name: [...]}" if isinstance(value, (list, tuple)) else None
        raise fault("wrong-type", f"expected a map of axes or an expression, found {found(value)}", hint)
    faults = Faults()
    result: dict[str, Any] = {}
    for key, values in value.items():
        axis = str(key)
        if axis in ("include", "exclude"):
            result[axis] = faults.check(entries_value, values, axis)
            continue
        faults.check(axis_name, axis, axis)
        result[axis] = faults.check(axis_values, values, axis)
    faults.raise_any()
    return result


def axis_values(value: Any) -> Any:
    """The values of an axis: a list (any iterable from Python), or an expression that gives one."""
    if isinstance(value, str):
        if has_expression(value):
            return value
        raise fault("bad-matrix", f"expected a list of values, found {found(value)}", f"write [{value[:60]}]")
    if isinstance(value, Mapping) or not isinstance(value, Iterable):
        hint = f"write [{value}]" if not isinstance(value, Mapping) and value is not None else None
        raise fault("bad-matrix", f"expected a list of values, found {found(value)}", hint)
    # An iterable from Python may be endless.
    items = list(islice(value, 100_001))
    if len(items) > 100_000:
        raise fault("too-many-legs", "a matrix axis may have at most 100000 values")
    return plain_data(items)


def entries_value(value: Any) -> Any:
    """``include`` and ``exclude``: a list of maps, or an expression that gives one."""
    if isinstance(value, str) and has_expression(value):
        return value
    if isinstance(value, Mapping):
        raise fault("bad-matrix", "expected a list of maps, found a map", "begin each entry with `- `")
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise fault("bad-matrix", f"expected a list of maps, found {found(value)}")
    faults = Faults()
    entries: list[Any] = []
    for index, entry in enumerate(value):
        if isinstance(entry, str) and has_expression(entry):
            entries.append(entry)
        elif not isinstance(entry, Mapping):
            faults.add(fault("bad-matrix", f"expected a map of axes and values, found {found(entry)}"), index)
        elif not entry:
            faults.add(
                fault("bad-matrix", "this entry is empty", "name at least one axis and its value"), index
            )
        else:
            for key in entry:
                faults.check(axis_name, str(key), index, str(key))
            entries.append(faults.check(map_value, entry, index))
    faults.raise_any()
    return entries


_ENTRIES_SCHEMA = {"anyOf": [{"type": "array", "items": {"type": ["object", "string"]}}, {"type": "string"}]}

Matrix = Annotated[
    Any,
    PlainValidator(matrix_value),
    WithJsonSchema(
        {
            "anyOf": [
                {
                    "type": "object",
                    "properties": {"include": _ENTRIES_SCHEMA, "exclude": _ENTRIES_SCHEMA},
                    "additionalProperties": {"type": ["array", "string"]},
                },
                {"type": "string"},
            ]
        }
    ),
]
Entries = Annotated[Any, PlainValidator(entries_value), WithJsonSchema(_ENTRIES_SCHEMA)]


MaxParallel = Annotated[
    int | str,
    PlainValidator(
        or_expression(
            whole_number(1, MAX_PARALLEL, "remove it for no limit"),
            f"a whole number from 1 to {MAX_PARALLEL}",
        )
    ),
    WithJsonSchema(or_expression_schema(number_schema(1, MAX_PARALLEL))),
]


class Strategy(Model):
    """A matrix: the job runs once for each combination (a leg)."""

    noun = "strategy"

    matrix: Matrix | None = Field(None, description="axis -> list of values, or expressions that give them")
    include: Entries | None = Field(None, description="combinations to add, or keys to add to existing ones")
    exclude: Entries | None = Field(None, description="combinations to drop; a part of one is enough")
    max_parallel: MaxParallel | None = Field(None, description="legs at a time, no limit if absent")
    fail_fast: Flag | None = Field(None, description="the first failed leg stops the others")

    @classmethod
    def unknown_key(cls, key: str, data: Mapping[str, Any]) -> tuple[str, str | None]:
        """An axis written beside ``matrix`` is the usual reason."""
        message, hint = super().unknown_key(key, data)
        if isinstance(data.get(key), list) and not (hint or "").startswith("did you mean"):
            hint = f"an axis stands below matrix: {{{key}: [...]}}"
        return message, hint

    @model_validator(mode="after")
    def _in_one_place(self) -> Strategy:
        faults = Faults()
        if isinstance(self.matrix, dict):
            for key in ("include", "exclude"):
                if key in self.matrix and getattr(self, key) is not None:
                    message = f"'{key}' stands in the matrix and beside it"
                    faults.add(fault("bad-combination", message, "keep one of them", on_key=True), key)
        faults.raise_any()
        return self

    def axes(self) -> Any:
        """The matrix without ``include`` and ``exclude``: a map, an expression, or None."""
        if isinstance(self.matrix, dict):
            return {
                axis: values for axis, values in self.matrix.items() if axis not in ("include", "exclude")
            }
        return self.matrix

    def entries(self, key: str) -> Any:
        """``include`` or ``exclude``, wherever it stands."""
        inside = self.matrix.get(key) if isinstance(self.matrix, dict) else None
        return inside if inside is not None else getattr(self, key)
