"""``services``: containers that run beside a job, as GitHub Actions has them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, PlainValidator, ValidationInfo, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from airflow_stagecoach.document.diagnostics import did_you_mean, found
from airflow_stagecoach.document.fields import (
    Env,
    FilledText,
    duration_value,
    filled_text,
    has_expression,
    list_of,
    number_schema,
    or_expression,
    or_expression_schema,
    text_value,
    timeout_value,
    whole_number,
)
from airflow_stagecoach.document.model import Faults, Model, fault, on_key

if TYPE_CHECKING:
    from airflow_stagecoach.document.plan import HealthPlan, ServicePlan

#: Services of one job; each is a container for every leg.
MAX_SERVICES = 20
MAX_HEALTH_RETRIES = 1000

#: A host name of one label, in small letters: what every resolver and every backend takes.
SERVICE_ID = r"[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?"
_ID = re.compile(SERVICE_ID)
_PORT = re.compile(r"(?:(\d{1,5}):)?(\d{1,5})(?:/(?:tcp|udp))?", re.ASCII)
_VOLUME = re.compile(r"/[^:]*|[^:]+:/[^:]*(?::[^:]+)?")

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


def words(text: str) -> list[str]:
    """A text as a shell would part it into words; expressions and Jinja stay whole.

    :raises ValueError: a quote has no end
    """
    from airflow_stagecoach.expressions import TextPart, parse_template

    held: list[str] = []
    marked = ""
    for part in parse_template(text).parts:
        source = text[part.start : part.end]
        if isinstance(part, TextPart):
            marked += source
        else:
            # Characters for private use: no word of a document holds them.
            marked += f"\ue000{len(held)}\ue001"
            held.append(source)
    return [re.sub("\ue000(\\d+)\ue001", lambda m: held[int(m[1])], word) for word in shlex.split(marked)]


def _parted(text: str) -> list[str]:
    """:func:`words`, with its faults in words for the author. Wrong expressions are told by the checks."""
    from airflow_stagecoach.expressions import ExpressionSyntaxError

    try:
        return words(text)
    except ExpressionSyntaxError:
        return []
    except ValueError:
        raise fault("bad-value", f"a quote has no end, found {found(text)}", "write it as a list") from None


def command_value(value: Any) -> str | list[str]:
    """A program and its arguments: a text that is parted as a shell does, or a list."""
    if isinstance(value, str):
        text = filled_text(value)
        _parted(text)
        return text
    items: list[str] = list_of(_argument, "texts", single=False)(value)
    if not items:
        raise fault("empty-value", "expected a program and its arguments, found an empty list")
    return items


def _argument(value: Any) -> str:
    """An argument; a number is as good as its text."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else text_value(value)


def check_value(value: Any) -> str | list[str]:
    """The command of a health check: a text for a shell, or a program and its arguments."""
    return filled_text(value) if isinstance(value, str) else command_value(value)


def port_value(value: Any) -> str:
    """``5432``, ``5432:5432`` or ``5432/tcp``; may hold expressions."""
    text = (
        str(value) if isinstance(value, int) and not isinstance(value, bool) else filled_text(value).strip()
    )
    if has_expression(text) or "{{" in text:
        return text
    match = _PORT.fullmatch(text)
    if match is None:
        hint = "write 5432, or 5432:5432 to publish it on the machine of the containers"
        raise fault("bad-value", f"expected a port such as 5432 or 5432:5432, found {found(text)}", hint)
    for number in match.groups():
        if number is not None and not 1 <= int(number) <= 65535:
            raise fault("out-of-range", f"expected a port from 1 to 65535, found {number}")
    return text


def ports_value(value: Any) -> list[str]:
    """One port or a list of them."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = [value]
    ports: list[str] = list_of(port_value, "ports")(value)
    return ports


def volume_value(value: Any) -> str:
    """``name-or-path:/path[:ro]``, or ``/path`` for one without a name; may hold expressions."""
    text = filled_text(value).strip()
    if has_expression(text) or "{{" in text or _VOLUME.fullmatch(text):
        return text
    hint = "write name:/path, /path/there:/path or /path, with :ro at the end for one that is only read"
    raise fault("bad-value", f"expected a volume such as data:/var/lib/data, found {found(text)}", hint)


_COMMAND_SCHEMA: dict[str, Any] = {
    "anyOf": [{"type": "string", "minLength": 1}, {"type": "array", "items": {"type": ["string", "integer"]}}]
}
Command = Annotated[str | list[str], PlainValidator(command_value), WithJsonSchema(_COMMAND_SCHEMA)]
CheckCommand = Annotated[str | list[str], PlainValidator(check_value), WithJsonSchema(_COMMAND_SCHEMA)]
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


class Credentials(Model):
    """The login of the registry that the image of a service is in."""

    noun = "credentials"
    needed: ClassVar[Mapping[str, str]] = {"conn": "write conn: ID, an Airflow connection"}
    habits: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("username", "user", "login", "password", "token", "connection", "conn-id", "docker-conn-id", "id"),
        "write conn",
    )

    conn: FilledText = Field(description="an Airflow connection of type Docker: login and password are in it")

    @classmethod
    def unknown_key(cls, key: str, data: Mapping[str, Any]) -> tuple[str, str | None]:
        """GitHub's keys hold what never stands in a document."""
        message, hint = super().unknown_key(key, data)
        if key in ("username", "password"):
            message += ": it is in the Airflow connection that conn names"
        return message, hint


class Service(Model):
    """A container that runs beside a job; its id is its host name."""

    noun = "service"
    needed: ClassVar[Mapping[str, str]] = {"image": "write image: postgres:17"}
    habits: ClassVar[Mapping[str, str]] = {
        "environment": "write env",
        "envs": "write env",
        "port": "write ports",
        "expose": "write ports",
        "volume": "write volumes",
        "mounts": "write volumes",
        **dict.fromkeys(("args", "cmd", "run"), "write command"),
        **dict.fromkeys(("healthcheck", "health-check", "readiness", "readiness-probe"), "write health"),
        **{flag[2:]: f"write health: {{{key}: ...}}" for flag, key in HEALTH_FLAGS.items()},
        **dict.fromkeys(
            ("username", "password", "conn", "registry"),
            "write credentials: {conn: ID}, an Airflow connection",
        ),
        **dict.fromkeys(("name", "hostname", "host", "alias"), "the id of a service is its host name"),
        **dict.fromkeys(
            ("network", "networks", "network-mode"),
            "a service is in the network of its job: write network in runs-on: {with: ...}",
        ),
        **dict.fromkeys(
            ("depends-on", "needs"), "services start together; let the command wait for the other"
        ),
        "if": "write image: ${{ CONDITION ? 'postgres:17' : '' }}; an empty image starts nothing",
        "pull": "images are pulled as runs-on: {with: {pull: ...}} says",
    }

    image: Annotated[str, PlainValidator(text_value), WithJsonSchema({"type": "string"})] = Field(
        description="the image; an empty one starts nothing"
    )
    env: Env | None = Field(None, description="its environment; that of workflow and job does not reach it")
    ports: (
        Annotated[
            list[str],
            PlainValidator(ports_value),
            WithJsonSchema(
                {
                    "anyOf": [
                        {"type": ["string", "integer"]},
                        {"type": "array", "items": {"type": ["string", "integer"]}},
                    ]
                }
            ),
        ]
        | None
    ) = Field(None, description="5432, or 5432:5432 to publish it on the machine of the containers")
    volumes: (
        Annotated[
            list[str],
            PlainValidator(list_of(volume_value, "volumes")),
            WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
        ]
        | None
    ) = Field(None, description="name-or-path:/path[:ro], or /path")
    credentials: (
        Annotated[
            Credentials,
            PlainValidator(lambda value, info: Credentials.model_validate(value, context=info.context)),
            WithJsonSchema({"x-ref": "Credentials"}),
        ]
        | None
    ) = Field(None, description="of the registry that the image is in: {conn: ID}, an Airflow connection")
    entrypoint: Command | None = Field(None, description="in place of the image's")
    command: Command | None = Field(None, description="in place of the image's")
    health: (
        Annotated[
            Health,
            PlainValidator(lambda value, info: health_value(value, info)),
            WithJsonSchema({"x-ref": "Health"}),
        ]
        | None
    ) = Field(None, description="the job waits until it succeeds; the check of the image if absent")
    options: (
        Annotated[str, PlainValidator(lambda value: options_value(value)), WithJsonSchema({"type": "string"})]
        | None
    ) = Field(None, description="GitHub's spelling of health: --health-cmd, --health-interval and so on")

    @model_validator(mode="after")
    def _one_health(self) -> Service:
        if self.options is not None and self.health is not None:
            faults = Faults()
            message = "'options' and 'health' say the same"
            faults.add(fault("bad-combination", message, "keep health", on_key=True), "options")
            faults.raise_any()
        return self

    def templates(self) -> Iterator[tuple[tuple[str, ...], Any]]:
        """Every value that may hold expressions, with its place below the service."""
        yield ("image",), self.image
        for key in ("env", "ports", "volumes", "entrypoint", "command", "options"):
            yield (key,), getattr(self, key)
        if self.credentials is not None:
            yield ("credentials", "conn"), self.credentials.conn
        if self.health is not None:
            for key, name in Health.keys().items():
                yield ("health", key), getattr(self.health, name)

    def plan(self) -> ServicePlan:
        """The service in canonical form: commands in words, ``options`` as ``health``."""
        plan: ServicePlan = {"image": self.image}
        if self.env:
            plan["env"] = self.env
        if self.ports:
            plan["ports"] = self.ports
        if self.volumes:
            plan["volumes"] = self.volumes
        if self.credentials is not None:
            plan["conn"] = self.credentials.conn
        if self.entrypoint is not None:
            plan["entrypoint"] = _planned(self.entrypoint)
        if self.command is not None:
            plan["command"] = _planned(self.command)
        health = self.health
        if self.options is not None:
            health = health_of_options(self.options)
        if health is not None:
            plan["health"] = health.plan()
        return plan


def _planned(command: str | list[str]) -> str | list[str]:
    """A command in words; one whole expression stays a text: what it gives is parted when it is known."""
    if isinstance(command, list):
        return command
    from airflow_stagecoach.expressions import parse_template

    return command if parse_template(command).is_whole else words(command)


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
    parts = iter(_parted(text))
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


def check_service_id(name: str) -> None:
    """Check that an id is a host name, which containers find the service by."""
    if name == "localhost":
        raise fault("bad-id", "'localhost' is every container itself", "give the service another id")
    if _ID.fullmatch(name):
        return
    fitting = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-").lstrip("0123456789-")[:63].rstrip("-")
    hint = "use small letters, digits and -, beginning with a letter"
    message = f"'{name[:60]}' is no id for a service: it is a host name"
    raise fault("bad-id", message, f"{hint}: {fitting}" if fitting else hint)


def services_value(value: Any, info: ValidationInfo) -> dict[str, Service]:
    """``services``: id -> service, or its image."""
    if not isinstance(value, Mapping):
        hint = "write services: {db: {image: postgres:17}}, the name of each service is its key"
        raise fault("wrong-type", f"expected a map of services, found {found(value)}", hint)
    if len(value) > MAX_SERVICES:
        message = f"a job may have at most {MAX_SERVICES} services, found {len(value)}"
        raise fault("too-many", message)
    faults = Faults()
    services: dict[str, Service] = {}
    for key, item in value.items():
        name = str(key)
        try:
            check_service_id(name)
        except PydanticCustomError as error:
            faults.add(on_key(error), name)
        service = faults.check(lambda item: _service(item, info), item, name)
        if service is not None:
            services[name] = service
    faults.raise_any()
    return services


def _service(value: Any, info: ValidationInfo) -> Service:
    if value is None:
        raise fault("wrong-type", "expected a service (an image, or a map with image), found null")
    if isinstance(value, str):
        return Service.model_construct(image=value)
    return Service.model_validate(value, context=info.context)


Services = Annotated[
    dict[str, Service],
    PlainValidator(services_value),
    WithJsonSchema(
        {
            "type": "object",
            "propertyNames": {"pattern": f"^{SERVICE_ID}$"},
            "additionalProperties": {"anyOf": [{"type": "string"}, {"x-ref": "Service"}]},
        }
    ),
]
