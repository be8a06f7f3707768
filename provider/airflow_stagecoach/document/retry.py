"""``retry``: how often and when a failed try is repeated."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, PlainValidator, WithJsonSchema, model_validator

from airflow_stagecoach.document.diagnostics import did_you_mean, found, one_of
from airflow_stagecoach.document.fields import (
    Duration,
    duration_value,
    list_of,
    number,
    text_value,
    whole_number,
)
from airflow_stagecoach.document.model import (
    Faults,
    Model,
    fault,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_stagecoach.document.plan import RetryPlan

#: Retries after the first try, at most; and seconds between two tries unless the document says otherwise.
MAX_RETRIES = 100
DEFAULT_DELAY = 10

BACKOFFS = ("fixed", "linear", "exponential", "custom")
JITTERS = ("none", "full", "equal")

_EXCEPTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


def word(*words: str) -> Callable[[Any], str]:
    """A validator for one of some words."""

    def validate(value: Any) -> str:
        text = text_value(value)
        if text not in words:
            raise fault(
                "bad-word", f"expected {one_of(words)}, found {found(text)}", did_you_mean(text, words)
            )
        return text

    return validate


def reason_value(value: Any) -> str:
    """A reason to retry or not: the name of an exception, or an exit code."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    text = text_value(value).strip()
    if text.isdigit() and len(text) < 4 and int(text) <= 255:
        return str(int(text))
    if not _EXCEPTION.fullmatch(text):
        raise fault(
            "wrong-type",
            f"expected the name of an exception or an exit code from 0 to 255, found {found(text)}",
        )
    return text


def reasons_value(value: Any) -> list[str]:
    """One reason or a list of them."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = [value]
    return list_of(reason_value, "exceptions or exit codes")(value)


Reasons = Annotated[
    list[str],
    PlainValidator(reasons_value),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": ["string", "integer"]},
                {"type": "array", "items": {"type": ["string", "integer"]}},
            ]
        }
    ),
]
Delays = Annotated[
    list[float],
    PlainValidator(list_of(duration_value, "durations", single=False)),
    WithJsonSchema({"type": "array", "items": {"type": ["number", "string"]}, "minItems": 1}),
]

#: Which keys belong to which backoff.
_BELONGS = {"factor": "exponential", "increment": "linear", "delays": "custom"}


class Retry(Model):
    """How a failed try is repeated. ``retry: 3`` is short for ``retry: {max: 3}``.

    Delays are exact: before retry n they are ``delay`` (fixed), ``delay + (n - 1) * increment`` (linear),
    ``delay * factor ** (n - 1)`` (exponential) or entry n of ``delays`` (custom, the last one repeats), never
    more than ``max-delay``; ``jitter`` takes a random part of that.
    """

    noun = "retry"
    habits: ClassVar[Mapping[str, str]] = {
        "attempts": "write max: the number of retries after the first try",
        "retries": "write max",
        "limit": "write max",
        "count": "write max",
        "retry-delay": "write delay",
        "wait": "write delay",
    }

    max: Annotated[
        int,
        PlainValidator(whole_number(0, MAX_RETRIES)),
        WithJsonSchema({"type": "integer", "minimum": 0, "maximum": MAX_RETRIES}),
    ] = Field(description="retries after the first try")
    delay: Duration | None = Field(None, description="time before the first retry, 10 seconds if absent")
    backoff: (
        Annotated[
            Literal["fixed", "linear", "exponential", "custom"],
            PlainValidator(word(*BACKOFFS)),
            WithJsonSchema({"enum": list(BACKOFFS)}),
        ]
        | None
    ) = Field(None, description="how the delay grows, fixed if absent")
    factor: (
        Annotated[
            float,
            PlainValidator(number(1, 100)),
            WithJsonSchema({"type": "number", "minimum": 1, "maximum": 100}),
        ]
        | None
    ) = Field(None, description="of exponential: what each delay is multiplied by, 2 if absent")
    increment: Duration | None = Field(
        None, description="of linear: what is added each time, `delay` if absent"
    )
    delays: Delays | None = Field(None, description="of custom: the delays one by one, the last repeats")
    max_delay: Duration | None = Field(None, description="no delay is longer")
    jitter: (
        Annotated[
            Literal["none", "full", "equal"],
            PlainValidator(word(*JITTERS)),
            WithJsonSchema({"enum": list(JITTERS)}),
        ]
        | None
    ) = Field(
        None, description="none; full: between 0 and the delay; equal: between half of it and all of it"
    )
    on: Reasons | None = Field(
        None, description="retry only after these: names of exceptions, exit codes, `timeout`"
    )
    never: Reasons | None = Field(None, description="do not retry after these, whatever `on` says")

    @model_validator(mode="after")
    def _keys_fit_the_backoff(self) -> Retry:
        faults = Faults()
        for key, backoff in _BELONGS.items():
            if getattr(self, key) is not None and self.backoff != backoff:
                hint = f"write backoff: {backoff}, or remove '{key}'"
                faults.add(
                    fault("bad-combination", f"'{key}' belongs to backoff: {backoff}", hint, on_key=True), key
                )
        if self.backoff == "custom" and not self.delays:
            faults.add(
                fault("missing-key", "backoff: custom needs 'delays'", "write delays: [10s, 1m, 5m]"),
                "backoff",
            )
        if self.backoff == "custom" and self.delay is not None:
            faults.add(
                fault("bad-combination", "backoff: custom takes 'delays', not 'delay'", on_key=True), "delay"
            )
        faults.raise_any()
        return self

    def plan(self) -> RetryPlan:
        """The retry in seconds, without what has its default."""
        plan: RetryPlan = {"max": self.max, "delay": DEFAULT_DELAY if self.delay is None else self.delay}
        if self.backoff not in (None, "fixed"):
            plan["backoff"] = self.backoff
        if self.delays is not None:
            plan["delays"] = self.delays
            plan["delay"] = self.delays[0]
        if self.factor is not None:
            plan["factor"] = self.factor
        if self.increment is not None:
            plan["increment"] = self.increment
        if self.max_delay is not None:
            plan["max_delay"] = self.max_delay
        if self.jitter not in (None, "none"):
            plan["jitter"] = self.jitter
        if self.on is not None:
            plan["on"] = self.on
        if self.never is not None:
            plan["never"] = self.never
        return plan


def retry_value(value: Any) -> Retry:
    """A number of retries, or the map."""
    if isinstance(value, (int, str)):
        return Retry.model_construct(max=whole_number(0, MAX_RETRIES)(value))
    return Retry.model_validate(value, context={})


RetryField = Annotated[
    Retry,
    PlainValidator(retry_value),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": 0, "maximum": MAX_RETRIES}, {"x-ref": "Retry"}]}
    ),
]
