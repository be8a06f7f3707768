"""The model of a param."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, PlainValidator, ValidationInfo, WithJsonSchema, model_validator

from airflow_stagecoach.document.diagnostics import did_you_mean, found
from airflow_stagecoach.document.fields import (
    Flag,
    Text,
    has_expression,
    plain_data,
    text_value,
    whole_number,
)
from airflow_stagecoach.document.model import Faults, Model, fault
from airflow_stagecoach.document.params import TYPES, ParamError, coerce, to_json

if TYPE_CHECKING:
    from airflow_stagecoach.document.plan import ParamPlan

_TYPE_HABITS = {
    "string": "str",
    "text": "str",
    "integer": "int",
    "number": "float",
    "double": "float",
    "boolean": "bool",
    "list": "array",
    "dict": "map",
    "object": "map",
    "mapping": "map",
    "timestamp": "datetime",
    "enum": "choice",
    "select": "choice",
}


def type_value(value: Any) -> str:
    """The type of a param."""
    text = text_value(value).strip()
    if text not in TYPES:
        meant = _TYPE_HABITS.get(text.lower())
        hint = (
            f"did you mean '{meant}'?"
            if meant
            else did_you_mean(
                text,
                TYPES,
                f"the types are {', '.join(TYPES)}; a default is written {{type: str, default: ...}}",
            )
        )
        raise fault("bad-word", f"unknown type of a param, found {found(text)}", hint)
    return text


def options_value(value: Any) -> list[Any]:
    """The options of a choice: texts or numbers, no two alike."""
    if isinstance(value, (str, bytes, Mapping)) or not hasattr(value, "__iter__"):
        raise fault(
            "wrong-type",
            f"expected a list of options, found {found(value)}",
            f"write [{value}]" if isinstance(value, str) else None,
        )
    options = plain_data(list(value))
    faults = Faults()
    if not options:
        raise fault("empty-value", "expected at least one option")
    for index, option in enumerate(options):
        if not isinstance(option, (str, int, float)) or isinstance(option, bool):
            faults.add(fault("wrong-type", f"an option is text or a number, found {found(option)}"), index)
        elif any(type(option) is type(other) and option == other for other in options[:index]):
            faults.add(fault("duplicate-value", f"option {found(option)} stands twice"), index)
    faults.raise_any()
    return list(options)


class Param(Model):
    """One typed param. ``name: int`` is short for ``name: {type: int}``."""

    noun = "param"
    needed: ClassVar[Mapping[str, str]] = {"type": "write type: str, or another type"}
    nullable = frozenset({"desc", "default"})
    habits: ClassVar[Mapping[str, str]] = {
        "description": "write desc",
        "title": "write desc",
        "enum": "write type: choice and options",
        "choices": "write options",
        "values": "write options",
    }

    type: Annotated[
        Literal["str", "int", "float", "decimal", "bool", "date", "datetime", "choice", "map", "array"],
        PlainValidator(type_value),
        WithJsonSchema({"enum": list(TYPES)}),
    ] = Field(description="what it holds")
    desc: Text | None = Field(None, description="shown in the form")
    required: Flag | None = Field(None, description="a run without it is refused")
    default: Annotated[Any, PlainValidator(plain_data), WithJsonSchema({})] = Field(
        None, description="used when it is absent"
    )
    options: (
        Annotated[list[Any], PlainValidator(options_value), WithJsonSchema({"type": "array", "minItems": 1})]
        | None
    ) = Field(None, description="of choice: the values to choose from")
    precision: (
        Annotated[
            int,
            PlainValidator(whole_number(0, 15)),
            WithJsonSchema({"type": "integer", "minimum": 0, "maximum": 15}),
        ]
        | None
    ) = Field(None, description="of float and decimal: digits after the point, 6 if absent")

    @model_validator(mode="after")
    def _fits_its_type(self) -> Param:
        faults = Faults()
        if self.type == "choice" and self.options is None:
            faults.add(fault("missing-key", "a choice needs 'options'", "write options: [a, b]"), "type")
        if self.options is not None and self.type != "choice":
            faults.add(fault("bad-combination", "'options' belongs to type: choice", on_key=True), "options")
        if self.precision is not None and self.type not in ("float", "decimal"):
            faults.add(
                fault("bad-combination", "'precision' belongs to type: float or decimal", on_key=True),
                "precision",
            )
        if self.default is not None and not (self.type == "choice" and self.options is None):
            if has_expression(self.default):
                faults.add(fault("bad-default", "a default cannot hold an expression"), "default")
            else:
                try:
                    self.default = to_json(coerce({**self.plan(), "required": False}, self.default))
                except ParamError as error:
                    faults.add(fault("bad-default", f"bad default: {error}", error.hint), "default")
        faults.raise_any()
        return self

    def plan(self) -> ParamPlan:
        """The param without what has its default."""
        plan: ParamPlan = {"type": self.type}
        if self.desc is not None:
            plan["desc"] = self.desc
        if self.required:
            plan["required"] = True
        if self.default is not None:
            plan["default"] = self.default
        if self.options is not None:
            plan["options"] = self.options
        if self.precision is not None:
            plan["precision"] = self.precision
        return plan


def param_value(value: Any, info: ValidationInfo) -> Param:
    """A type, or the map."""
    if isinstance(value, str):
        value = {"type": value}
    return Param.model_validate(value, context=info.context)


def params_value(value: Any, info: ValidationInfo) -> dict[str, Param]:
    """``params``: name -> param."""
    if not isinstance(value, Mapping):
        raise fault(
            "wrong-type", f"expected a map of params, found {found(value)}", "write params: {name: type}"
        )
    faults = Faults()
    params: dict[str, Param] = {}
    for key, item in value.items():
        name = str(key)
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]{0,99}", name):
            hint = "use letters, digits, - and _, beginning with a letter or _"
            faults.add(fault("bad-name", f"'{name[:60]}' is no name for a param", hint, on_key=True), name)
        params[name] = faults.check(lambda item: param_value(item, info), item, name)
    faults.raise_any()
    return params


Params = Annotated[
    dict[str, Param],
    PlainValidator(params_value),
    WithJsonSchema(
        {
            "type": "object",
            "additionalProperties": {"anyOf": [{"enum": list(TYPES)}, {"x-ref": "Param"}]},
        }
    ),
]
