"""``resources``: what a stage is given, and what it may use at most."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, PlainValidator, ValidationInfo, WithJsonSchema, model_validator

from airflow_stagecoach.document.diagnostics import found
from airflow_stagecoach.document.fields import has_expression, number_schema, whole_number, word
from airflow_stagecoach.document.model import Faults, Model, fault
from airflow_stagecoach.document.quantities import QuantityError, parse_bytes, parse_cpu

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_stagecoach.document.plan import LimitsPlan, ResourcesPlan

ENFORCE = ("strict", "best-effort")
MAX_GPUS = 1024

#: What has a limit of its own, and the key of it in a document.
_LIMITED = {"cpu": "cpu", "memory": "memory", "ephemeral_storage": "ephemeral-storage"}


def quantity(parse: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A validator for an amount that is known when the document is loaded."""

    def validate(value: Any) -> Any:
        if has_expression(value):
            message = "an amount must be known when the document is loaded, found an expression"
            raise fault("wrong-type", message)
        try:
            return parse(value)
        except QuantityError as error:
            raise fault("bad-quantity", f"{error}, found {found(value)}", error.hint) from None

    return validate


Cpu = Annotated[float, PlainValidator(quantity(parse_cpu)), WithJsonSchema({"type": ["number", "string"]})]
Bytes = Annotated[int, PlainValidator(quantity(parse_bytes)), WithJsonSchema({"type": ["integer", "string"]})]


class Limits(Model):
    """What a stage may use at most."""

    noun = "limits"
    habits: ClassVar[Mapping[str, str]] = {
        "cpus": "write cpu",
        "mem": "write memory",
        "ram": "write memory",
        "disk": "write ephemeral-storage",
        "storage": "write ephemeral-storage",
        "gpu": "a GPU is not shared: write gpu beside limits",
        "gpus": "a GPU is not shared: write gpu beside limits",
    }

    cpu: Cpu | None = Field(None, description='cores: 2, 0.5 or "500m"')
    memory: Bytes | None = Field(None, description="512Mi, 1G, or a number of bytes")
    ephemeral_storage: Bytes | None = Field(None, description="room on the disk, written as memory")

    def plan(self) -> LimitsPlan:
        """The amounts that are set: cores and bytes."""
        plan: LimitsPlan = {}
        if self.cpu is not None:
            plan["cpu"] = self.cpu
        if self.memory is not None:
            plan["memory"] = self.memory
        if self.ephemeral_storage is not None:
            plan["ephemeral_storage"] = self.ephemeral_storage
        return plan


class Resources(Limits):
    """What a stage is given, and what it may use at most where ``limits`` says so.

    Amounts are those of Kubernetes: cores or thousandths of one (``500m``); bytes, or ``K M G T`` (powers of
    1000) and ``Ki Mi Gi Ti`` (powers of 1024).
    """

    noun = "resources"
    habits: ClassVar[Mapping[str, str]] = {
        **Limits.habits,
        "gpu": "write gpu",
        "gpus": "write gpu",
        "nvidia.com/gpu": "write gpu",
        "requests": "write cpu and memory here, without requests",
        "limit": "write limits",
        "cpu-limit": "write limits: {cpu: ...}",
        "limit-cpu": "write limits: {cpu: ...}",
        "memory-limit": "write limits: {memory: ...}",
        "limit-memory": "write limits: {memory: ...}",
        "mem-limit": "write limits: {memory: ...}",
    }

    gpu: (
        Annotated[int, PlainValidator(whole_number(0, MAX_GPUS)), WithJsonSchema(number_schema(0, MAX_GPUS))]
        | None
    ) = Field(None, description="whole GPUs")
    limits: (
        Annotated[
            Limits,
            PlainValidator(lambda value, info: Limits.model_validate(value, context=info.context)),
            WithJsonSchema({"x-ref": "Limits"}),
        ]
        | None
    ) = Field(None, description="cpu, memory and ephemeral-storage that it may use at most")
    enforce: (
        Annotated[
            Literal["strict", "best-effort"],
            PlainValidator(word(*ENFORCE)),
            WithJsonSchema({"enum": list(ENFORCE)}),
        ]
        | None
    ) = Field(
        None,
        description="strict (if absent): what the backend cannot give or enforce is refused; best-effort",
    )

    @model_validator(mode="after")
    def _requests_fit_the_limits(self) -> Resources:
        if self.limits is None:
            return self
        faults = Faults()
        for name, key in _LIMITED.items():
            request, limit = getattr(self, name), getattr(self.limits, name)
            if request is not None and limit is not None and request > limit:
                faults.add(above_the_limit(key, request, limit), key)
        faults.raise_any()
        return self

    def plan(self) -> ResourcesPlan:
        """The amounts that are set, and what has not its default."""
        own = super().plan()
        plan: ResourcesPlan = {}
        if "cpu" in own:
            plan["cpu"] = own["cpu"]
        if "memory" in own:
            plan["memory"] = own["memory"]
        if "ephemeral_storage" in own:
            plan["ephemeral_storage"] = own["ephemeral_storage"]
        if self.gpu is not None:
            plan["gpu"] = self.gpu
        limits = self.limits.plan() if self.limits is not None else None
        if limits:
            plan["limits"] = limits
        if self.enforce is not None:
            plan["enforce"] = self.enforce
        return plan


def above_the_limit(key: str, request: float, limit: float) -> Any:
    """The fault of a request that is more than the limit."""
    message = f"{key} {shown(key, request)} is above its limit of {shown(key, limit)}"
    return fault("out-of-range", message, f"raise limits: {{{key}: ...}}, or lower {key}")


def shown(key: str, amount: float) -> str:
    """An amount as a document has it."""
    if key == "cpu":
        return f"{amount:g}"
    whole = int(amount)
    for unit, factor in (("Gi", 1 << 30), ("Mi", 1 << 20), ("G", 1000**3), ("M", 1000**2)):
        if whole % factor == 0:
            return f"{whole // factor}{unit}"
    return str(whole)


def merged(outer: ResourcesPlan, inner: ResourcesPlan) -> ResourcesPlan:
    """The inner resources over the outer ones, key by key, those of ``limits`` too."""
    result: ResourcesPlan = {**outer, **inner}
    limits: LimitsPlan = {**outer.get("limits", {}), **inner.get("limits", {})}
    if limits:
        result["limits"] = limits
    return result


def too_large(plan: ResourcesPlan) -> list[tuple[str, float, float]]:
    """Key, request and limit of every request above its limit."""
    limits: Mapping[str, Any] = plan.get("limits", {})
    asked: Mapping[str, Any] = plan
    return [
        (key, asked[name], limits[name])
        for name, key in _LIMITED.items()
        if name in asked and name in limits and asked[name] > limits[name]
    ]


def resources_value(value: Any, info: ValidationInfo) -> Resources:
    """The map."""
    return Resources.model_validate(value, context=info.context)


ResourcesField = Annotated[Resources, PlainValidator(resources_value), WithJsonSchema({"x-ref": "Resources"})]
