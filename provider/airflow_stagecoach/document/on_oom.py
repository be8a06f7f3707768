"""``retry: {on-oom}``: more memory for the try after one that ran out of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, PlainValidator, WithJsonSchema

from airflow_stagecoach.document.diagnostics import found
from airflow_stagecoach.document.fields import has_expression
from airflow_stagecoach.document.model import Model, fault
from airflow_stagecoach.document.quantities import QuantityError, parse_bytes
from airflow_stagecoach.document.resources import Bytes  # noqa: TC001 - pydantic reads it

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_stagecoach.document.plan import OnOomPlan

#: Memory grows at most so many times at once.
MAX_FACTOR = 100

_EXPECTED = "expected a factor such as x2 or x1.5, or an amount such as +512Mi"
_FACTOR = re.compile(r"[xX*]\s*(\d{1,6}(?:\.\d{1,6})?)", re.ASCII)


def growth_value(value: Any) -> OnOomPlan:
    """``x2`` or ``+512Mi``."""
    if has_expression(value):
        message = "how memory grows must be known when the document is loaded, found an expression"
        raise fault("wrong-type", message)
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise fault("wrong-type", f"{_EXPECTED}, found {found(value)}")
    text = str(value).strip()
    if text.startswith("+"):
        try:
            return {"add": parse_bytes(text[1:].strip())}
        except QuantityError as error:
            hint = error.hint and error.hint.replace("write ", "write +")
            raise fault("bad-quantity", f"{error}, found {found(value)}", hint) from None
    match = _FACTOR.fullmatch(text)
    if match is None:
        raise fault("bad-growth", f"{_EXPECTED}, found {found(value)}", _meant(text))
    factor = float(match[1])
    if not 1 < factor <= MAX_FACTOR:
        raise fault("out-of-range", f"a factor is above 1 and at most {MAX_FACTOR}, found {found(value)}")
    return {"factor": factor}


def _meant(text: str) -> str | None:
    """``2``, ``2x``, ``200%``, ``512`` (YAML's ``+512``), ``512Mi``: the same as it is to be written."""
    times = re.fullmatch(r"(\d{1,3}(?:\.\d{1,6})?)\s*[xX*]?", text, re.ASCII)
    if times is not None:
        return f"write x{times[1]}" if float(times[1]) <= MAX_FACTOR else f"write +{times[1]}Mi"
    percent = re.fullmatch(r"(\d{3,5})\s*%", text, re.ASCII)
    if percent is not None:
        return f"write x{int(percent[1]) / 100:g}"
    try:
        parse_bytes(text)
    except QuantityError:
        return None
    return f"write +{text}"


class OnOom(Model):
    """More memory for the try after one that ran out of it, within the `max` of all tries."""

    noun = "on-oom"
    needed: ClassVar[Mapping[str, str]] = {"memory": "write memory: x2"}
    habits: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("factor", "multiply", "add", "mem", "by"), "write memory"),
        "limit": "write max: the most memory that a try may get",
        "max-memory": "write max",
        "retries": "the tries are counted by the `max` of the retry",
    }

    memory: Annotated[
        dict[str, Any],
        PlainValidator(growth_value),
        WithJsonSchema({"type": "string", "pattern": r"^[xX*+]"}),
    ] = Field(description="by how much request and limit grow each time: x2, x1.5 or +512Mi")
    max: Bytes | None = Field(None, description="no try gets more")

    def plan(self) -> OnOomPlan:
        """The growth as numbers: a factor or bytes."""
        plan: OnOomPlan = {}
        if "factor" in self.memory:
            plan["factor"] = self.memory["factor"]
        else:
            plan["add"] = self.memory["add"]
        if self.max is not None:
            plan["max"] = self.max
        return plan
