"""The models of a workflow and its params."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, PlainValidator, ValidationInfo, WithJsonSchema, model_validator

from airflow_stagecoach.document.diagnostics import DocumentError, did_you_mean, found
from airflow_stagecoach.document.fields import (
    Env,
    Flag,
    Text,
    Timeout,
    bool_value,
    filled_text,
    has_expression,
    list_of,
    plain_data,
    text_value,
    whole_number,
)
from airflow_stagecoach.document.jobs import Job, jobs_value
from airflow_stagecoach.document.model import (
    Faults,
    Model,
    fault,
)
from airflow_stagecoach.document.params import TYPES, ParamError, coerce, to_json
from airflow_stagecoach.document.retry import RetryField  # noqa: TC001 - pydantic reads it
from airflow_stagecoach.document.schedule import date_value, schedule_value

if TYPE_CHECKING:
    from airflow_stagecoach.document.plan import ParamPlan, SchedulePlan, WorkflowPlan

#: Airflow keeps DAG ids in 250 characters.
MAX_NAME = 250
MAX_TAG = 100

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
            else did_you_mean(text, TYPES, f"the types are {', '.join(TYPES)}")
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


class Defaults(Model):
    """What all stages of a workflow have unless they say otherwise."""

    noun = "defaults"
    habits: ClassVar[Mapping[str, str]] = {
        "env": "write env: on the workflow itself",
        "run": "write shell: on the stage",
        "runs-on": "write runs-on: on each job",
        "retries": "write retry",
    }

    retry: RetryField | None = Field(None, description="of a stage whose job has none either")
    timeout: Timeout | None = Field(None, description="of a stage, per try")


def dag_id(name: str) -> str:
    """The DAG id of a name: ``My Report`` gives ``My-Report``."""
    return re.sub(r"[^\w.-]+", "-", name.strip(), flags=re.ASCII).strip("-")


def name_value(value: Any) -> str:
    """The name of a workflow, which gives the DAG id."""
    text = filled_text(value)
    if has_expression(text) or "{{" in text:
        raise fault("bad-name", "the name of a workflow cannot hold an expression")
    if len(text) > MAX_NAME:
        raise fault("bad-name", f"the name of a workflow may have at most {MAX_NAME} characters")
    if not dag_id(text):
        raise fault("bad-name", f"no DAG id can be made of '{text[:60]}'", "use letters, digits, -, _ and .")
    return text.strip()


def tag_value(value: Any) -> str:
    """A tag; Airflow keeps 100 characters."""
    text = filled_text(value)
    if len(text) > MAX_TAG:
        raise fault("bad-name", f"a tag may have at most {MAX_TAG} characters")
    return text


def workflow_type(value: Any) -> str:
    """The one word ``Workflow``."""
    text = text_value(value)
    if text != "Workflow":
        raise fault("bad-type", f"expected type: Workflow, found {found(text)}", "write type: Workflow")
    return text


_SCHEDULE_SCHEMA: dict[str, Any] = {
    "description": "a cron, a preset, a list of them, a map, or manual",
    "type": ["string", "array", "object", "null"],
}


class Workflow(Model):
    """One workflow: it becomes one Airflow DAG."""

    noun = "workflow"
    nullable = frozenset({"desc", "on"})
    habits: ClassVar[Mapping[str, str]] = {
        "schedule": "write on",
        "schedule-interval": "write on",
        "triggers": "write on",
        "cron": "write on",
        "true": "write on",
        "steps": "a workflow has jobs, and a job has stages",
        "stages": "a workflow has jobs, and a job has stages: jobs: {main: {stages: [...]}}",
        "tasks": "a workflow has jobs, and a job has stages",
        "job": "write jobs",
        "default-args": "write defaults: {retry: ..., timeout: ...}",
        "dag-id": "write name",
        "id": "write name",
        "description": "write desc",
        "doc-md": "write desc",
        "dagrun-timeout": "write timeout",
        "timeout-minutes": "write timeout: 10m",
        "max-active-tasks": "write max-parallel in the strategy of a job",
        "concurrency": "write max-active-runs",
        "extras": "settings of the older engine do not exist here",
        "inputs": "write params",
        "variables": "write env",
        "runs-on": "`runs-on` belongs to a job",
        "strategy": "`strategy` belongs to a job",
        "retry": "write defaults: {retry: ...}",
        "retries": "write defaults: {retry: ...}",
        "outputs": "`outputs` belongs to a job",
        "permissions": "Airflow decides who may do what",
    }

    name: Annotated[
        str,
        PlainValidator(name_value),
        WithJsonSchema({"type": "string", "minLength": 1, "maxLength": MAX_NAME}),
    ] = Field(description="gives the DAG id; the key of the workflow where the file holds a map of them")
    type: (
        Annotated[Literal["Workflow"], PlainValidator(workflow_type), WithJsonSchema({"const": "Workflow"})]
        | None
    ) = Field(None, description="marks the document as ours")
    desc: Text | None = Field(None, description="what it is for, markdown; the docs of the DAG")
    on: Annotated[Any, PlainValidator(schedule_value), WithJsonSchema(_SCHEDULE_SCHEMA)] = Field(
        None, description="when it runs, by hand only if absent"
    )
    params: (
        Annotated[
            dict[str, Param],
            PlainValidator(params_value),
            WithJsonSchema(
                {
                    "type": "object",
                    "additionalProperties": {"anyOf": [{"enum": list(TYPES)}, {"x-ref": "Param"}]},
                }
            ),
        ]
        | None
    ) = Field(None, description="name -> type or map; any name may be passed if absent")
    env: Env | None = Field(None, description="environment of all stages")
    defaults: (
        Annotated[
            Defaults,
            PlainValidator(lambda value, info: Defaults.model_validate(value, context=info.context)),
            WithJsonSchema({"x-ref": "Defaults"}),
        ]
        | None
    ) = Field(None, description="retry and timeout of stages that have none")
    tags: (
        Annotated[
            list[str],
            PlainValidator(list_of(tag_value, "tags")),
            WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
        ]
        | None
    ) = Field(None, description="for filtering in the UI")
    jobs: Annotated[
        dict[str, Job],
        PlainValidator(jobs_value),
        WithJsonSchema({"type": "object", "additionalProperties": {"x-ref": "Job"}}),
    ] = Field(description="id -> job")
    start_date: Annotated[str, PlainValidator(date_value), WithJsonSchema({"type": "string"})] | None = Field(
        None, description="no scheduled run before it"
    )
    end_date: Annotated[str, PlainValidator(date_value), WithJsonSchema({"type": "string"})] | None = Field(
        None, description="no scheduled run after it"
    )
    catchup: Annotated[bool, PlainValidator(bool_value), WithJsonSchema({"type": "boolean"})] | None = Field(
        None, description="make up for runs missed since start-date, false if absent"
    )
    max_active_runs: (
        Annotated[
            int,
            PlainValidator(whole_number(1, 1000)),
            WithJsonSchema({"type": "integer", "minimum": 1, "maximum": 1000}),
        ]
        | None
    ) = Field(None, description="runs at a time")
    timeout: Timeout | None = Field(None, description="of a whole run")

    @model_validator(mode="after")
    def _parts_fit(self) -> Workflow:
        faults = Faults()
        if self.start_date and self.end_date and self.start_date > self.end_date:
            faults.add(fault("bad-date", "the end date lies before the start date"), "end-date")
        if self.catchup and self.start_date is None:
            hint = "write start-date: 2024-01-01"
            faults.add(fault("bad-combination", "catchup needs a start-date", hint, on_key=True), "catchup")
        continuous = self.schedule is not None and self.schedule.get("continuous")
        if continuous and self.max_active_runs is not None and self.max_active_runs > 1:
            message = "a continuous workflow runs one at a time"
            hint = "remove max-active-runs"
            faults.add(fault("bad-combination", message, hint, on_key=True), "max-active-runs")
        if self.on is not None and self.params:
            for name, param in self.params.items():
                if param.required and param.default is None:
                    message = f"param '{name}' is required, but a scheduled run cannot give it"
                    faults.add(
                        fault("required-param", message, "give it a default, or remove `on`", on_key=True),
                        "params",
                        name,
                    )
        faults.raise_any()
        return self

    @property
    def dag_id(self) -> str:
        """The id of the DAG."""
        return dag_id(self.name)

    @property
    def schedule(self) -> SchedulePlan | None:
        """``on`` as a plan."""
        schedule: SchedulePlan | None = self.on
        return schedule

    def plan(self, *, max_legs: int = 1024) -> WorkflowPlan:
        """The plan of a workflow that was built in Python; ``line`` is 1 throughout.

        Raises :class:`DocumentError` with every fault that the models alone cannot see: needs, ids,
        expressions, the size of a matrix.
        """
        from airflow_stagecoach.document.checks import check_workflow
        from airflow_stagecoach.document.planner import plan_workflow

        problems = check_workflow(self, (), max_legs=max_legs)
        if problems:
            raise DocumentError([problem.without_position() for problem in problems])
        return plan_workflow(self)
