"""The kinds of values of keys that defaults, jobs and stages share: what Airflow needs of a task."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import PlainValidator, WithJsonSchema

from airflow_stagecoach.document.fields import (
    filled_text,
    has_expression,
    number_schema,
    timeout_value,
    whole_number,
    word,
)
from airflow_stagecoach.document.model import fault

#: Airflow keeps names of pools in 256 characters, priorities in 32 bits.
MAX_POOL = 256
MAX_SLOTS = 10_000
MAX_PRIORITY = 2**31 - 1

CLEANUPS = ("on-success", "always", "never")

#: The timeout of a stage that shall have none, whatever the defaults say.
NO_TIMEOUT = "none"


def pool_value(value: Any) -> str:
    """The name of an Airflow pool."""
    text = filled_text(value).strip()
    if has_expression(text) or "{{" in text:
        raise fault("wrong-type", "a pool must be known when the document is loaded, found an expression")
    if len(text) > MAX_POOL:
        raise fault("bad-name", f"the name of a pool may have at most {MAX_POOL} characters")
    return text


def stage_timeout_value(value: Any) -> float | str:
    """Seconds of a duration, or ``none``."""
    if isinstance(value, str) and value.strip() == NO_TIMEOUT:
        return NO_TIMEOUT
    if value is False or (isinstance(value, str) and value.strip().lower() in ("no", "never", "off", "inf")):
        raise fault(
            "bad-duration", "expected a duration such as 10m, or none", f"write timeout: {NO_TIMEOUT}"
        )
    return timeout_value(value, f"write {NO_TIMEOUT} for no timeout")


Pool = Annotated[
    str,
    PlainValidator(pool_value),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": MAX_POOL}),
]
PoolSlots = Annotated[
    int, PlainValidator(whole_number(1, MAX_SLOTS)), WithJsonSchema(number_schema(1, MAX_SLOTS))
]
Priority = Annotated[
    int,
    PlainValidator(whole_number(-MAX_PRIORITY, MAX_PRIORITY)),
    WithJsonSchema(number_schema(-MAX_PRIORITY, MAX_PRIORITY)),
]
Cleanup = Annotated[
    Literal["on-success", "always", "never"],
    PlainValidator(word(*CLEANUPS)),
    WithJsonSchema({"enum": list(CLEANUPS)}),
]
StageTimeout = Annotated[
    float | Literal["none"],
    PlainValidator(stage_timeout_value),
    WithJsonSchema({"type": ["number", "string"], "exclusiveMinimum": 0}),
]
