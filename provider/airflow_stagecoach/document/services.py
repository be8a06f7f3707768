"""``services``: containers that run beside a job, as GitHub Actions has them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, PlainValidator, ValidationInfo, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from airflow_stagecoach.document.container_values import (
    Command,
    image_value,
    in_words,
    ports_value,
    volume_value,
)
from airflow_stagecoach.document.diagnostics import found
from airflow_stagecoach.document.fields import Env, FilledText, list_of, text_value
from airflow_stagecoach.document.health import (
    HEALTH_FLAGS,
    Health,
    health_of_options,
    health_value,
    options_value,
)
from airflow_stagecoach.document.model import Faults, Model, fault, on_key

if TYPE_CHECKING:
    from airflow_stagecoach.document.plan import ServicePlan

#: Services of one job; each is a container for every leg.
MAX_SERVICES = 20

#: A host name of one label, in small letters: what every resolver and every backend takes.
SERVICE_ID = r"[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?"
_ID = re.compile(SERVICE_ID)


def service_image(value: Any) -> str:
    """The image of a service; an empty one starts nothing."""
    text = text_value(value)
    return image_value(text) if text.strip() else ""


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

    image: Annotated[str, PlainValidator(service_image), WithJsonSchema({"type": "string"})] = Field(
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
            PlainValidator(health_value),
            WithJsonSchema({"x-ref": "Health"}),
        ]
        | None
    ) = Field(None, description="the job waits until it succeeds; the check of the image if absent")
    options: Annotated[str, PlainValidator(options_value), WithJsonSchema({"type": "string"})] | None = Field(
        None, description="GitHub's spelling of health: --health-cmd, --health-interval and so on"
    )

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
            plan["entrypoint"] = in_words(self.entrypoint)
        if self.command is not None:
            plan["command"] = in_words(self.command)
        health = self.health
        if self.options is not None:
            health = health_of_options(self.options)
        if health is not None:
            plan["health"] = health.plan()
        return plan


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
        return Service.model_construct(image=service_image(value))
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
