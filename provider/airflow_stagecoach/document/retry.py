"""``retry``: how often and when a failed try is repeated."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, PlainValidator, WithJsonSchema, model_validator

from airflow_stagecoach.document.diagnostics import found
from airflow_stagecoach.document.fields import (
    Data,
    Duration,
    duration_value,
    has_expression,
    list_of,
    number,
    number_schema,
    text_value,
    whole_number,
    word,
)
from airflow_stagecoach.document.model import (
    Faults,
    Model,
    fault,
)
from airflow_stagecoach.document.on_oom import OnOom
from airflow_stagecoach.document.retry_matches import Matches  # noqa: TC001 - pydantic reads it

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic_core import PydanticCustomError

    from airflow_stagecoach.document.plan import RetryPlan, RetryRulePlan

#: Retries after the first try, at most; and seconds between two tries unless the document says otherwise.
MAX_RETRIES = 100
DEFAULT_DELAY = 10

BACKOFFS = ("fixed", "linear", "exponential", "custom")
JITTERS = ("none", "full", "equal")
ACTIONS = ("retry", "fail")
#: Rules of one retry.
MAX_RULES = 50

_POLICY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)


def policy_value(value: Any) -> str:
    """``package.module:Class``."""
    text = text_value(value).strip()
    if not _POLICY.fullmatch(text):
        module, dot, name = text.rpartition(".")
        hint = "for instance my_package.policies:Patient"
        if dot and _POLICY.fullmatch(f"{module}:{name}"):
            hint = f"write {module}:{name}"
        raise fault("bad-policy", f"expected package.module:Class, found {found(text)}", hint)
    return text


def rules_value(value: Any) -> list[RetryRule]:
    """``rules``: a list of maps."""
    if isinstance(value, dict):
        raise fault("wrong-type", "expected a list of rules, found a map", "begin each rule with `- `")
    if isinstance(value, str) or not isinstance(value, (list, tuple)):
        raise fault("wrong-type", f"expected a list of rules, found {found(value)}")
    if len(value) > MAX_RULES:
        raise fault("too-many", f"a retry may have at most {MAX_RULES} rules, found {len(value)}")
    faults = Faults()
    rules = [
        faults.check(lambda item: RetryRule.model_validate(item, context={}), item, index)
        for index, item in enumerate(value)
    ]
    faults.raise_any()
    return rules


Delays = Annotated[
    list[float],
    PlainValidator(list_of(duration_value, "durations", single=False)),
    WithJsonSchema({"type": "array", "items": {"type": ["number", "string"]}, "minItems": 1}),
]


def _cancelled() -> PydanticCustomError:
    """Somebody wanted it to stop."""
    message = "what was cancelled is never retried"
    return fault("bad-combination", message, "remove 'cancelled'; a person may clear the task")


class RetryRule(Model):
    """What is done after one sort of failure, in place of what the rest of the retry says."""

    noun = "rule"
    habits: ClassVar[Mapping[str, str]] = {
        "on": "write match",
        "if": "write match",
        "when": "write match",
        "retries": "write max",
    }

    match: Matches = Field(description="the failures, written as in `on`; the first rule that matches counts")
    action: (
        Annotated[
            Literal["retry", "fail"], PlainValidator(word(*ACTIONS)), WithJsonSchema({"enum": list(ACTIONS)})
        ]
        | None
    ) = Field(None, description="retry (if absent), or fail without another try")
    delay: Duration | None = Field(None, description="time before the retry, in place of the backoff's")
    max: (
        Annotated[
            int,
            PlainValidator(whole_number(1, MAX_RETRIES, "write action: fail")),
            WithJsonSchema(number_schema(1, MAX_RETRIES)),
        ]
        | None
    ) = Field(None, description="retries by this rule, within the `max` of all")

    @model_validator(mode="after")
    def _keys_fit_the_action(self) -> RetryRule:
        faults = Faults()
        if not self.match:
            faults.add(fault("empty-value", "expected at least one failure"), "match")
        for key in ("delay", "max"):
            if self.action == "fail" and getattr(self, key) is not None:
                message = f"a rule with action: fail has no '{key}'"
                faults.add(fault("bad-combination", message, f"remove '{key}'", on_key=True), key)
        faults.raise_any()
        return self

    def plan(self) -> RetryRulePlan:
        """The rule without what has its default."""
        plan: RetryRulePlan = {"match": self.match}
        if self.action == "fail":
            plan["action"] = "fail"
        if self.delay is not None:
            plan["delay"] = self.delay
        if self.max is not None:
            plan["max"] = self.max
        return plan


#: Failures of which running out of memory is always one.
_OUT_OF_MEMORY = frozenset({"resource", "reason:OOMKilled", "reason:out-of-memory", "MemoryError"})

#: Which keys belong to which backoff.
_BELONGS = {
    "factor": "exponential",
    "increment": "linear",
    "delays": "custom",
    "policy": "custom",
    "with": "custom",
}
#: What a policy decides itself.
_NOT_WITH_POLICY = ("delays", "max_delay", "jitter")


class Retry(Model):
    """How a failed try is repeated. ``retry: 3`` is short for ``retry: {max: 3}``.

    Delays are exact: before retry n they are ``delay`` (fixed), ``delay + (n - 1) * increment`` (linear),
    ``delay * factor ** (n - 1)`` (exponential) or entry n of ``delays`` (custom, the last one repeats), never
    more than ``max-delay``; ``jitter`` takes a random part of that.
    """

    noun = "retry"
    needed: ClassVar[Mapping[str, str]] = {"max": "write max: 3"}
    habits: ClassVar[Mapping[str, str]] = {
        "attempts": "write max: the number of retries after the first try",
        "retries": "write max",
        "limit": "write max",
        "count": "write max",
        "retry-delay": "write delay",
        "wait": "write delay",
        "interval": "write delay",
        "max-attempts": "write max: the number of retries after the first try",
        "strategy": "write backoff",
        "type": "write backoff",
        "multiplier": "write factor",
        "base": "write factor",
        "max-retry-delay": "write max-delay",
        "retry-on": "write on",
        "exceptions": "write on",
        "codes": "write on: [exit:75]",
        "exit-codes": "write on: [exit:75]",
        "except": "write never",
        "args": "write with",
        "kwargs": "write with",
        **dict.fromkeys(("oom", "on-out-of-memory", "on-memory"), "write on-oom"),
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
    on: Matches | None = Field(None, description="retry only after these failures")
    never: Matches | None = Field(None, description="do not retry after these, whatever `on` says")
    rules: (
        Annotated[
            list[RetryRule],
            PlainValidator(rules_value),
            WithJsonSchema({"type": "array", "items": {"x-ref": "RetryRule"}}),
        ]
        | None
    ) = Field(None, description="what to do after which failure; looked at first, in order")
    on_oom: (
        Annotated[
            OnOom,
            PlainValidator(lambda value, info: OnOom.model_validate(value, context=info.context)),
            WithJsonSchema({"x-ref": "OnOom"}),
        ]
        | None
    ) = Field(None, description="more memory for the try after one that ran out of it")
    policy: (
        Annotated[str, PlainValidator(policy_value), WithJsonSchema({"type": "string", "pattern": ":"})]
        | None
    ) = Field(
        None, description="of custom, in place of delays: `package.module:Class`, an Airflow RetryPolicy"
    )
    with_: Data | None = Field(None, alias="with", description="arguments of the policy")

    @model_validator(mode="after")
    def _keys_fit_the_backoff(self) -> Retry:
        faults = Faults()
        for key, backoff in _BELONGS.items():
            if getattr(self, "with_" if key == "with" else key) is not None and self.backoff != backoff:
                hint = f"write backoff: {backoff}, or remove '{key}'"
                faults.add(
                    fault("bad-combination", f"'{key}' belongs to backoff: {backoff}", hint, on_key=True), key
                )
        if self.backoff == "custom":
            self._custom(faults)
        if self.on and "cancelled" in self.on:
            faults.add(_cancelled(), "on")
        if self.on_oom is not None:
            self._out_of_memory(faults)
        for index, rule in enumerate(self.rules or ()):
            if "cancelled" in rule.match and rule.action != "fail":
                faults.add(_cancelled(), "rules", index, "match")
            if rule.max is not None and rule.max > self.max:
                message = f"a rule may have at most the {self.max} retries of all, found {rule.max}"
                faults.add(fault("out-of-range", message, f"raise max to {rule.max}"), "rules", index, "max")
        faults.raise_any()
        return self

    def _out_of_memory(self, faults: Faults) -> None:
        """There must be a next try that can get more."""
        if self.max == 0:
            message = "'on-oom' is about the next try, and with max: 0 there is none"
            faults.add(fault("bad-combination", message, "raise max", on_key=True), "on-oom")
        for name in sorted(_OUT_OF_MEMORY.intersection(self.never or ())):
            message = f"'on-oom' needs another try, which `never: {name}` forbids"
            faults.add(fault("bad-combination", message, f"remove {name} from never, or on-oom"), "never")
        for index, rule in enumerate(self.rules or ()):
            if rule.action == "fail" and _OUT_OF_MEMORY.intersection(rule.match):
                message = "'on-oom' needs another try, which this rule forbids"
                faults.add(fault("bad-combination", message, "remove the rule, or on-oom"), "rules", index)

    def _custom(self, faults: Faults) -> None:
        """What ``backoff: custom`` takes: delays, or a policy that decides itself."""
        if self.policy is None:
            if not self.delays:
                hint = "write delays: [10s, 1m, 5m]"
                message = "backoff: custom needs 'delays' or 'policy'"
                faults.add(fault("missing-key", message, hint), "backoff")
            if self.delay is not None:
                message = "backoff: custom takes 'delays', not 'delay'"
                faults.add(fault("bad-combination", message, on_key=True), "delay")
            if self.with_ is not None:
                message = "'with' holds the arguments of a 'policy'"
                hint = "write policy: my_package.policies:Patient"
                faults.add(fault("bad-combination", message, hint, on_key=True), "with")
            return
        for key in _NOT_WITH_POLICY:
            if getattr(self, key) is not None:
                written = key.replace("_", "-")
                message = f"'{written}' cannot stand beside a policy, which decides itself"
                faults.add(fault("bad-combination", message, f"remove '{written}'", on_key=True), written)
        if has_expression(self.with_):
            message = "the arguments of a policy must be known when the document is loaded"
            faults.add(fault("wrong-type", f"{message}, found an expression"), "with")

    def plan(self) -> RetryPlan:
        """The retry in seconds, without what has its default."""
        plan: RetryPlan = {"max": self.max, "delay": DEFAULT_DELAY if self.delay is None else self.delay}
        if self.backoff not in (None, "fixed"):
            plan["backoff"] = self.backoff
        if self.delays:
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
        if self.on:
            plan["on"] = self.on
        if self.never:
            plan["never"] = self.never
        if self.rules:
            plan["rules"] = [rule.plan() for rule in self.rules]
        if self.on_oom is not None:
            plan["on_oom"] = self.on_oom.plan()
        if self.policy is not None:
            plan["policy"] = self.policy
            if self.with_:
                plan["with_"] = self.with_
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
