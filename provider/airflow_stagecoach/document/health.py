"""``health``: when a service can be used; and GitHub's ``options``, which say the same."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, PlainValidator, ValidationInfo, WithJsonSchema

from airflow_stagecoach.document.container_values import COMMAND_SCHEMA, command_value, parted
from airflow_stagecoach.document.diagnostics import did_you_mean, found
from airflow_stagecoach.document.fields import (
    duration_value,
    filled_text,
    has_expression,
    number_schema,
    or_expression,
    or_expression_schema,
    text_value,
    timeout_value,
    whole_number,
)
from airflow_stagecoach.document.model import Faults, Model, fault

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic_core import PydanticCustomError

    from airflow_stagecoach.document.plan import HealthPlan

MAX_HEALTH_RETRIES = 1000

#: Flags of GitHub's ``options`` -> keys of ``health``.
HEALTH_FLAGS = {
    "--health-cmd": "command",
    "--health-interval": "interval",
    "--health-timeout": "timeout",
    "--health-retries": "retries",
    "--health-start-period": "start-period",
}

#: Flags of ``docker create`` that people write there -> what to write here.
_OTHER_FLAGS = {
    **dict.fromkeys(("-e", "--env", "--env-file"), "write env: {NAME: value}"),
    **dict.fromkeys(("-p", "--publish", "--expose", "-P", "--publish-all"), "write ports"),
    **dict.fromkeys(("-v", "--volume", "--mount", "--tmpfs"), "write volumes"),
    "--entrypoint": "write entrypoint",
    **dict.fromkeys(
        ("--name", "-h", "--hostname", "--network-alias"), "the id of a service is its host name"
    ),
    **dict.fromkeys(
        ("--network", "--net"),
        "a service is in the network of its job: write network in runs-on: {with: ...}",
    ),
    "--no-healthcheck": "write health: {command: 'true'}",
    "--health-start-interval": "write interval in health",
    **dict.fromkeys(("--rm", "-d", "--detach", "--pull"), "remove it, that is done for you"),
}


def check_value(value: Any) -> str | list[str]:
    """The command of a health check: a text for a shell, or a program and its arguments."""
    return filled_text(value) if isinstance(value, str) else command_value(value)


CheckCommand = Annotated[str | list[str], PlainValidator(check_value), WithJsonSchema(COMMAND_SCHEMA)]
_Seconds = Annotated[
    float | str,
    PlainValidator(or_expression(lambda value: timeout_value(value, "remove it"), "a duration")),
    WithJsonSchema({"type": ["number", "string"], "exclusiveMinimum": 0}),
]


class Health(Model):
    """How it is told that a service can be used: the job waits until the command succeeds."""

    noun = "health check"
    needed: ClassVar[Mapping[str, str]] = {"command": "write command: what succeeds once it can be used"}
    habits: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("cmd", "test", "health-cmd", "run", "bash", "exec"), "write command"),
        **{flag[2:]: f"write {key}" for flag, key in HEALTH_FLAGS.items() if key != "command"},
        "period": "write interval",
        "start-interval": "write interval",
        "disable": "write command: 'true'",
        "path": "write command: a program of the image that asks it",
        "port": "write command: a program of the image that asks it",
    }

    command: CheckCommand = Field(
        description="runs in the service until it succeeds: a text for /bin/sh, or a program with arguments"
    )
    interval: _Seconds | None = Field(None, description="between two checks, 2s if absent")
    timeout: _Seconds | None = Field(None, description="of one check, 10s if absent")
    retries: (
        Annotated[
            int | str,
            PlainValidator(or_expression(whole_number(1, MAX_HEALTH_RETRIES), "a whole number")),
            WithJsonSchema(or_expression_schema(number_schema(1, MAX_HEALTH_RETRIES))),
        ]
        | None
    ) = Field(None, description="checks that may fail one after the other, 30 if absent")
    start_period: (
        Annotated[
            float | str,
            PlainValidator(or_expression(duration_value, "a duration")),
            WithJsonSchema({"type": ["number", "string"], "minimum": 0}),
        ]
        | None
    ) = Field(None, description="time to start, in which failed checks do not count; none if absent")

    def plan(self) -> HealthPlan:
        """The keys that are set."""
        plan: HealthPlan = {"command": self.command}
        if self.interval is not None:
            plan["interval"] = self.interval
        if self.timeout is not None:
            plan["timeout"] = self.timeout
        if self.retries is not None:
            plan["retries"] = self.retries
        if self.start_period is not None:
            plan["start_period"] = self.start_period
        return plan


def health_value(value: Any, info: ValidationInfo) -> Health:
    """The map."""
    if isinstance(value, (str, list)):
        raise fault(
            "wrong-type", f"expected a health check (a map), found {found(value)}", "write {command: ...}"
        )
    return Health.model_validate(value, context=info.context)


def options_value(value: Any) -> str:
    """GitHub's ``options``: flags of ``docker create``, of which those of the health check count."""
    text = text_value(value)
    if text.strip():
        health_of_options(text)
    return text


def health_of_options(text: str) -> Health | None:
    """The health check that ``options`` asks for; ``None`` where they are empty."""
    if has_expression(text) and not text.lstrip().startswith("-"):
        message = "options must be known when the document is loaded, found an expression"
        raise fault("wrong-type", message, "write health: {command: ...}, whose values may hold expressions")
    given: dict[str, Any] = {}
    parts = iter(parted(text))
    for part in parts:
        flag, equals, value = part.partition("=")
        key = HEALTH_FLAGS.get(flag)
        if key is None:
            raise _unknown_flag(flag)
        if not equals:
            value = next(parts, "")
        if not value.strip():
            raise fault("empty-value", f"{flag} has no value", f"write {flag} VALUE")
        if key in given:
            raise fault("duplicate-key", f"{flag} stands twice in options", "remove one of the two")
        given[key] = int(value) if key == "retries" and re.fullmatch(r"\d{1,9}", value, re.ASCII) else value
    if not given:
        return None
    if "command" not in given:
        raise fault("missing-key", "these options check nothing", "write --health-cmd COMMAND")
    faults = Faults()
    fields = Health.keys()
    checked = {fields[key]: faults.check(_FLAG_CHECKS[key], value) for key, value in given.items()}
    faults.raise_any()
    return Health.model_construct(**checked)


_FLAG_CHECKS: dict[str, Callable[[Any], Any]] = {
    "command": check_value,
    "interval": or_expression(lambda value: timeout_value(value, "remove it"), "a duration"),
    "timeout": or_expression(lambda value: timeout_value(value, "remove it"), "a duration"),
    "retries": or_expression(whole_number(1, MAX_HEALTH_RETRIES), "a whole number"),
    "start-period": or_expression(duration_value, "a duration"),
}


def _unknown_flag(flag: str) -> PydanticCustomError:
    """The fault of a flag that has no meaning here."""
    shown = f"'{flag[:60]}'"
    if not flag.startswith("-"):
        return fault(
            "bad-value", f"expected flags such as --health-cmd, found {shown}", "put values in quotes"
        )
    known = f"options take {', '.join(HEALTH_FLAGS)}"
    hint = _OTHER_FLAGS.get(flag)
    if hint is None:
        hint = did_you_mean(flag, HEALTH_FLAGS, known) if flag.startswith("--health") else known
    return fault("bad-word", f"options: the flag {shown} is not available", hint)
