"""``notify``: who is told about the end of a stage or a run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, PlainValidator, ValidationInfo, WithJsonSchema, model_validator

from airflow_stagecoach.document.diagnostics import found
from airflow_stagecoach.document.fields import (
    Data,
    FilledText,
    filled_text,
    has_expression,
    map_value,
    text_value,
)
from airflow_stagecoach.document.model import Faults, Model, fault

if TYPE_CHECKING:
    from airflow_stagecoach.document.plan import NotifyPlan

EVENTS = ("success", "failure", "retry", "skip", "deadline")
#: Targets of one event.
MAX_TARGETS = 20

_CLASS = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", re.ASCII)
_CONNECTION = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)
_URL = re.compile(r"https?://[^\s/]\S*", re.IGNORECASE)
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)
#: Headers that the sender makes itself.
_OWN_HEADERS = ("content-type", "content-length", "host")


def url_value(value: Any) -> str:
    """The URL of a webhook, or a text with an expression that gives it."""
    text = filled_text(value).strip()
    if has_expression(text) or _URL.fullmatch(text):
        return text
    hint = "begin it with https://"
    if re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", text):
        hint = "write {notifier: airflow.providers.smtp.notifications.smtp.SmtpNotifier, with: {to: ...}}"
    elif _CLASS.fullmatch(text) and any(part[:1].isupper() for part in text.split(".")):
        hint = f"write {{notifier: {text}}}"
    elif _CONNECTION.fullmatch(text) and "." not in text:
        hint = f"write {{conn: {text}}} for an Airflow connection"
    raise fault("bad-url", f"expected the URL of a webhook, found {found(text)}", hint)


def connection_value(value: Any) -> str:
    """The id of an Airflow connection."""
    text = filled_text(value).strip()
    if not _CONNECTION.fullmatch(text):
        hint = "write webhook" if _URL.fullmatch(text) else None
        if has_expression(text):
            hint = "for a connection that only the run knows write webhook: and secret:"
        raise fault("bad-name", f"expected the id of an Airflow connection, found {found(text)}", hint)
    return text


def notifier_value(value: Any) -> str:
    """The dotted path of a notifier class."""
    text = text_value(value).strip()
    if not _CLASS.fullmatch(text):
        hint = "for instance airflow.providers.slack.notifications.slack.SlackNotifier"
        raise fault(
            "bad-notifier", f"expected the dotted path of a notifier class, found {found(text)}", hint
        )
    return text


def headers_value(value: Any) -> dict[str, Any]:
    """HTTP headers: names that HTTP knows, values that are text, numbers or booleans."""
    result = map_value(value)
    faults = Faults()
    for name, item in result.items():
        if not _HEADER.fullmatch(name):
            faults.add(fault("bad-name", f"'{name[:60]}' is no name for a header", on_key=True), name)
        elif name.lower() in _OWN_HEADERS:
            message = f"the header '{name}' is set by the sender"
            faults.add(fault("bad-value", message, f"remove '{name}'", on_key=True), name)
        if item is None or isinstance(item, (dict, list)):
            faults.add(fault("wrong-type", f"a header is text, found {found(item)}"), name)
    faults.raise_any()
    return result


class Target(Model):
    """One who is told: a webhook, or an Airflow notifier."""

    noun = "target"
    habits: ClassVar[Mapping[str, str]] = {
        "url": "write webhook",
        "http": "write webhook",
        "post": "write webhook",
        "connection": "write conn",
        "conn-id": "write conn",
        "class": "write notifier",
        "type": "write notifier",
        "uses": "write notifier",
        "args": "write with",
        "kwargs": "write with",
        "params": "write with",
        "token": "write secret, or headers: {Authorization: ...}",
        "key": "write secret",
        "slack": "write notifier: airflow.providers.slack.notifications.slack.SlackNotifier",
        "email": "write notifier: airflow.providers.smtp.notifications.smtp.SmtpNotifier",
        "to": "write with: {to: ...} beside notifier",
        "body": "the body is the event as JSON",
    }

    webhook: (
        Annotated[str, PlainValidator(url_value), WithJsonSchema({"type": "string", "minLength": 1})] | None
    ) = Field(None, description="the URL that the event is posted to, as JSON")
    conn: (
        Annotated[str, PlainValidator(connection_value), WithJsonSchema({"type": "string", "minLength": 1})]
        | None
    ) = Field(None, description="in place of the URL: an Airflow connection, its password is the secret")
    secret: FilledText | None = Field(
        None, description="key of the signature (HMAC-SHA256): `${{ secrets.NAME }}`"
    )
    headers: (
        Annotated[dict[str, Any], PlainValidator(headers_value), WithJsonSchema({"type": "object"})] | None
    ) = Field(None, description="more headers of the request")
    notifier: (
        Annotated[str, PlainValidator(notifier_value), WithJsonSchema({"type": "string", "pattern": "\\."})]
        | None
    ) = Field(None, description="dotted path of an Airflow notifier class")
    with_: Data | None = Field(None, alias="with", description="arguments of the notifier")

    @model_validator(mode="after")
    def _of_one_kind(self) -> Target:
        kinds = [key for key in ("webhook", "conn", "notifier") if getattr(self, key) is not None]
        if not kinds:
            message = "a target needs 'webhook', 'conn' or 'notifier'"
            raise fault("missing-key", message, "for instance {webhook: https://...}")
        faults = Faults()
        if len(kinds) > 1:
            message = f"a target has '{kinds[0]}' or '{kinds[1]}'"
            faults.add(fault("bad-combination", message, "make two targets of it", on_key=True), kinds[1])
        for key in ("secret", "headers"):
            if getattr(self, key) is not None and kinds == ["notifier"]:
                message = f"'{key}' belongs to a webhook"
                hint = f"remove '{key}', arguments of a notifier stand in `with`"
                faults.add(fault("bad-combination", message, hint, on_key=True), key)
        if self.with_ is not None and "notifier" not in kinds:
            message = "'with' holds the arguments of a notifier"
            faults.add(fault("bad-combination", message, "write headers for a webhook", on_key=True), "with")
        faults.raise_any()
        return self

    def templates(self) -> list[tuple[str, Any]]:
        """The keys whose expressions are evaluated when it is sent, with their values."""
        values = (
            ("webhook", self.webhook),
            ("secret", self.secret),
            ("headers", self.headers),
            ("with", self.with_),
        )
        return [(key, value) for key, value in values if value is not None]

    def plan(self, event: str) -> NotifyPlan:
        """What is sent on one event."""
        plan: NotifyPlan = {"event": event}
        if self.webhook is not None:
            plan["webhook"] = self.webhook
        if self.conn is not None:
            plan["conn"] = self.conn
        if self.secret is not None:
            plan["secret"] = self.secret
        if self.headers:
            plan["headers"] = self.headers
        if self.notifier is not None:
            plan["notifier"] = self.notifier
        if self.with_:
            plan["with_"] = self.with_
        return plan


def target_value(value: Any, info: ValidationInfo) -> Target:
    """A URL, or the map."""
    if isinstance(value, str):
        return Target.model_construct(webhook=url_value(value))
    return Target.model_validate(value, context=info.context)


def targets_value(value: Any, info: ValidationInfo) -> list[Target]:
    """One target or a list of them."""
    if isinstance(value, (str, Mapping, Target)):
        return [target_value(value, info)]
    if not isinstance(value, (list, tuple)):
        raise fault("wrong-type", f"expected a URL, a target or a list of them, found {found(value)}")
    if not value:
        raise fault("empty-value", "expected at least one target")
    if len(value) > MAX_TARGETS:
        raise fault("too-many", f"an event may have at most {MAX_TARGETS} targets, found {len(value)}")
    faults = Faults()
    targets = [
        faults.check(lambda item: target_value(item, info), item, index) for index, item in enumerate(value)
    ]
    faults.raise_any()
    return targets


_TARGET: dict[str, Any] = {"anyOf": [{"type": "string"}, {"x-ref": "Target"}]}
Targets = Annotated[
    list[Target],
    PlainValidator(targets_value),
    WithJsonSchema({"anyOf": [*_TARGET["anyOf"], {"type": "array", "minItems": 1, "items": _TARGET}]}),
]


_OF_THE_RUN = "a deadline is that of a run: it belongs to the notify of the workflow"


class StageNotify(Model):
    """Who is told about what happened to a stage: event -> a URL, a target, or a list of them."""

    noun = "notify"
    habits: ClassVar[Mapping[str, str]] = {
        "on-success": "write success",
        "succeeded": "write success",
        "done": "write success and failure",
        "always": "write success and failure",
        "on-failure": "write failure",
        "fail": "write failure",
        "failed": "write failure",
        "error": "write failure",
        "on-retry": "write retry",
        "retries": "write retry",
        "on-skip": "write skip",
        "on-skipped": "write skip",
        "skipped": "write skip",
        **dict.fromkeys(
            ("deadline", "sla", "late"), f"{_OF_THE_RUN}; a stage that is late fails by its timeout"
        ),
        **dict.fromkeys(("webhook", "conn", "notifier", "url", "email", "slack"), "write failure: {...}"),
    }

    success: Targets | None = Field(None, description="it succeeded")
    failure: Targets | None = Field(None, description="it failed, and is not tried again")
    retry: Targets | None = Field(None, description="a try of a stage failed, and another one follows")
    skip: Targets | None = Field(None, description="a stage was skipped")

    def targets(self) -> list[tuple[str, list[Target]]]:
        """Event -> targets, for the events that are given."""
        found = [(event, getattr(self, event, None)) for event in EVENTS]
        return [(event, targets) for event, targets in found if targets]

    def plan(self) -> list[NotifyPlan]:
        """What is sent, in the order of the events."""
        return [target.plan(event) for event, targets in self.targets() for target in targets]


class Notify(StageNotify):
    """Who is told about what happened to a run: event -> a URL, a target, or a list of them."""

    habits: ClassVar[Mapping[str, str]] = {
        **StageNotify.habits,
        "sla": "write deadline",
        "late": "write deadline",
    }

    deadline: Targets | None = Field(None, description="the run passed the `deadline` of the workflow")


def stage_notify_value(value: Any, info: ValidationInfo) -> StageNotify:
    """The map, without the event that only a run has."""
    if isinstance(value, Notify) and value.deadline:
        raise fault("bad-combination", _OF_THE_RUN, "remove deadline")
    return StageNotify.model_validate(value, context=info.context)


NotifyField = Annotated[
    Notify,
    PlainValidator(lambda value, info: Notify.model_validate(value, context=info.context)),
    WithJsonSchema({"x-ref": "Notify"}),
]
StageNotifyField = Annotated[
    StageNotify, PlainValidator(stage_notify_value), WithJsonSchema({"x-ref": "StageNotify"})
]
