"""The JSON Schema of documents, made from the models, for editors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_stagecoach.document.defaults import Defaults
from airflow_stagecoach.document.group import Concurrency
from airflow_stagecoach.document.health import Health
from airflow_stagecoach.document.jobs import Job
from airflow_stagecoach.document.logs import LogFile, Logging
from airflow_stagecoach.document.nested_stages import Match
from airflow_stagecoach.document.notify import Notify, StageNotify, Target
from airflow_stagecoach.document.on_oom import OnOom
from airflow_stagecoach.document.param_model import Param
from airflow_stagecoach.document.resources import Limits, Resources
from airflow_stagecoach.document.retry import Retry, RetryRule
from airflow_stagecoach.document.runs_on import BACKEND_ALIASES, RunsOn
from airflow_stagecoach.document.services import Credentials, Service
from airflow_stagecoach.document.simple_stages import Approval
from airflow_stagecoach.document.stages import STAGE_MODELS
from airflow_stagecoach.document.strategy import Strategy
from airflow_stagecoach.document.workflow import Workflow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_stagecoach.document.model import Model

#: Models that other models refer to.
_NAMED: tuple[type[Model], ...] = (
    Job,
    Strategy,
    RunsOn,
    Service,
    Health,
    Credentials,
    Retry,
    RetryRule,
    OnOom,
    Resources,
    Limits,
    Logging,
    LogFile,
    Notify,
    StageNotify,
    Target,
    Concurrency,
    Param,
    Defaults,
    Match,
    Approval,
)


def json_schema(backends: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The JSON Schema of a document, for editors: a flat workflow, or a map of workflows.

    It knows the kebab-case spelling of the keys only, which is the one to write.

    :param backends: type -> JSON Schema of its settings, as pydantic gives it; of others anything is accepted
    """
    definitions: dict[str, Any] = {}
    for model in (*_NAMED, *STAGE_MODELS):
        definitions[model.__name__] = schema_of(model)
    definitions["Stage"] = {"anyOf": [{"$ref": f"#/$defs/{model.__name__}"} for model in STAGE_MODELS]}
    for type_, schema in backends.items():
        _add_settings(definitions, type_, schema)
    flat = schema_of(Workflow)
    named = {**flat, "required": ["jobs"]}
    flat["patternProperties"] = {"^(x-|\\.)": True}
    definitions["Workflow"] = named
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Stagecoach workflow",
        "description": "One workflow with a name, or a map of name to workflow.",
        "if": {"required": ["jobs"]},
        "then": flat,
        "else": {
            "type": "object",
            "patternProperties": {"^(x-|\\.)": True, "^(?!x-|\\.)": {"$ref": "#/$defs/Workflow"}},
        },
        "$defs": definitions,
    }


#: A value that only the run knows, in place of one of any type.
_EXPRESSION = {"type": "string", "pattern": r"\$\{\{"}


def settings_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of a backend's settings without titles, nulls and its own definitions."""
    clean: dict[str, Any] = {key: value for key, value in schema.items() if key not in ("title", "$defs")}
    clean["properties"] = {
        name: {
            **_without_null(value, nullable=False),
            **({"default": value["default"]} if value.get("default") else {}),
        }
        for name, value in clean["properties"].items()
    }
    return clean


def _add_settings(definitions: dict[str, Any], type_: str, schema: Mapping[str, Any]) -> None:
    """What stands under ``with`` where ``type`` names this backend."""
    name = f"{type_} settings"
    for own, value in (schema.get("$defs") or {}).items():
        definitions[f"{name} {own}"] = _renamed(_with_expressions(settings_schema(value)), name)
    definitions[name] = _renamed(_with_expressions(settings_schema(schema)), name)
    spellings = [type_, *(alias for alias, other in BACKEND_ALIASES.items() if other == type_)]
    then: dict[str, Any] = {"properties": {"with": {"$ref": f"#/$defs/{name}"}}}
    if schema.get("required"):
        then["required"] = ["with"]
    condition = {"properties": {"type": {"enum": spellings}}, "required": ["type"]}
    definitions["RunsOn"].setdefault("allOf", []).append({"if": condition, "then": then})


def _with_expressions(schema: dict[str, Any]) -> dict[str, Any]:
    """Every value of a map may be an expression."""
    properties = {}
    for name, value in schema["properties"].items():
        told = {key: item for key, item in value.items() if key in ("description", "default")}
        rest = {key: item for key, item in value.items() if key not in told}
        if rest != {"type": "string"}:
            rest = {"anyOf": [*(rest["anyOf"] if set(rest) == {"anyOf"} else [rest]), _EXPRESSION]}
        properties[name] = {**told, **rest}
    return {**schema, "properties": properties}


def _renamed(value: Any, prefix: str) -> Any:
    """References to a schema's own definitions lead to where they stand now."""
    if isinstance(value, dict):
        return {
            key: f"#/$defs/{prefix} {item.rpartition('/')[2]}" if key == "$ref" else _renamed(item, prefix)
            for key, item in value.items()
        }
    return [_renamed(item, prefix) for item in value] if isinstance(value, list) else value


def schema_of(model: type[Model]) -> dict[str, Any]:
    """The schema of one model; references lead to the definitions of the document."""
    schema: dict[str, Any] = _with_references(model.model_json_schema(by_alias=True))
    schema.pop("title", None)
    for name, value in schema["properties"].items():
        schema["properties"][name] = _without_null(value, nullable=name in model.nullable)
    return schema


def _with_references(value: Any) -> Any:
    """Models name others by ``x-ref``, since pydantic follows every ``$ref`` itself."""
    if isinstance(value, dict):
        return {
            "$ref" if key == "x-ref" else key: f"#/$defs/{item}" if key == "x-ref" else _with_references(item)
            for key, item in value.items()
        }
    return [_with_references(item) for item in value] if isinstance(value, list) else value


def _without_null(value: dict[str, Any], *, nullable: bool) -> dict[str, Any]:
    """An absent key is fine, an explicit null is not."""
    value = {key: item for key, item in value.items() if key not in ("title", "default")}
    options = value.get("anyOf")
    if options and {"type": "null"} in options and not nullable:
        rest = [option for option in options if option != {"type": "null"}]
        del value["anyOf"]
        value = {**rest[0], **value} if len(rest) == 1 else {"anyOf": rest, **value}
    return value
