"""The models of a job, its strategy and the place where it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, ValidationInfo, WithJsonSchema, model_validator

from airflow_stagecoach.document.diagnostics import did_you_mean, found
from airflow_stagecoach.document.fields import (
    ID_PATTERN,
    Condition,
    Data,
    Duration,
    Env,
    Faults,
    FilledText,
    Flag,
    Model,
    Text,
    check_id,
    fault,
    filled_text,
    has_expression,
    kebab,
    list_of,
    map_value,
    plain_data,
    text_value,
)
from airflow_stagecoach.document.retry import RetryField, word
from airflow_stagecoach.document.stages import Stages, bounded

MAX_PARALLEL = 10_000

#: Checks the ``with`` of a backend: takes the map, gives its canonical form, raises ``fault`` or ``Faults``.
BackendCheck = Callable[[dict[str, Any]], dict[str, Any]]

#: Every type that a document may name, by its canonical name.
BACKEND_TYPES = ("local", "docker", "kubernetes", "aws-batch", "azure-batch", "cloud-batch", "self-hosted")
BACKEND_ALIASES = {
    "container": "docker",
    "local-container": "docker",
    "k8s-job": "kubernetes",
    "k8s": "kubernetes",
    "az-batch": "azure-batch",
    "gcp-batch": "cloud-batch",
}


def no_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """The check of ``local``, which takes no settings."""
    if settings:
        faults = Faults()
        for key in settings:
            faults.add(
                fault("unknown-key", f"unknown key '{key}': local takes no settings", on_key=True), key
            )
        faults.raise_any()
    return {}


#: The backends of this version. ``load`` takes another map when more are installed.
LOCAL_ONLY: Mapping[str, BackendCheck] = {"local": no_settings}


class Rule(str, Enum):
    """When a job starts, judged on the results of its needs. Names and meaning are Airflow's."""

    ALL_SUCCESS = "all_success"
    ALL_FAILED = "all_failed"
    ALL_DONE = "all_done"
    ALL_DONE_MIN_ONE_SUCCESS = "all_done_min_one_success"
    ALL_SKIPPED = "all_skipped"
    ONE_SUCCESS = "one_success"
    ONE_FAILED = "one_failed"
    ONE_DONE = "one_done"
    NONE_FAILED = "none_failed"
    NONE_FAILED_MIN_ONE_SUCCESS = "none_failed_min_one_success"
    NONE_SKIPPED = "none_skipped"
    ALWAYS = "always"


def rule_value(value: Any) -> Rule:
    """A trigger rule by its name."""
    text = text_value(value)
    try:
        return Rule(text)
    except ValueError:
        known = [rule.value for rule in Rule]
        hint = did_you_mean(text, known, f"known are {', '.join(known)}")
        raise fault("bad-word", f"unknown trigger rule '{text[:60]}'", hint) from None


class RunsOn(Model):
    """Where a job runs: a backend and its settings."""

    noun = "runs-on"
    habits = {"args": "write with", "image": "write with: {image: ...}", "config": "write with"}

    type: FilledText = Field(description="the backend")
    with_: Data | None = Field(None, alias="with", description="settings of the backend")

    @model_validator(mode="after")
    def _backend_exists(self, info: ValidationInfo) -> RunsOn:
        backends = LOCAL_ONLY
        if isinstance(info.context, dict):
            backends = info.context.get("backends") or LOCAL_ONLY
        faults = Faults()
        self.type = faults.check(lambda value: backend_type(value, backends), self.type, "type") or self.type
        check = backends.get(self.type)
        if check is not None:
            settings = faults.check(check, self.with_ or {}, "with")
            self.with_ = settings or None
        faults.raise_any()
        return self


class OnLocal(RunsOn):
    """``runs-on: local``: on an Airflow worker."""

    type: FilledText = "local"


def backend_type(value: Any, backends: Mapping[str, BackendCheck]) -> str:
    """The canonical name of a backend; ``-`` and ``_`` are the same, aliases are resolved."""
    text = text_value(value)
    if has_expression(text):
        raise fault("wrong-type", "runs-on must be known when the document is loaded, found an expression")
    name = text.strip().lower().replace("_", "-")
    name = BACKEND_ALIASES.get(name, name)
    if name in backends:
        return name
    if name in BACKEND_TYPES:
        raise fault(
            "not-available", f"runs-on: {name} is not available in this version", "write runs-on: local"
        )
    if name.startswith(("ubuntu-", "windows-", "macos-")):
        raise fault(
            "unknown-backend",
            f"unknown backend '{text[:60]}'",
            "GitHub's machines do not exist here, write runs-on: local",
        )
    hint = did_you_mean(
        name, [*BACKEND_TYPES, *backends, *BACKEND_ALIASES], f"known are {', '.join(BACKEND_TYPES)}"
    )
    raise fault("unknown-backend", f"unknown backend '{text[:60]}'", hint)


def runs_on_value(value: Any, info: ValidationInfo) -> RunsOn:
    """The name of a backend, or the map."""
    if isinstance(value, RunsOn):
        return value
    if isinstance(value, str):
        backends = (info.context or {}).get("backends") or LOCAL_ONLY
        name = backend_type(value, backends)
        return RunsOn.model_validate({"type": name}, context=info.context)
    return RunsOn.model_validate(value, context=info.context)


def axis_name(text: str) -> None:
    """Refuse a name that no expression could read as ``matrix.<name>``."""
    import re

    if not re.fullmatch(ID_PATTERN, text):
        hint = "use letters, digits, - and _, beginning with a letter or _"
        raise fault("bad-name", f"'{text[:60]}' is no name for a matrix axis", hint, on_key=True)


def matrix_value(value: Any) -> Any:
    """``matrix``: axis -> list or expression, with ``include`` and ``exclude``; or one expression."""
    if isinstance(value, str):
        if has_expression(value):
            return value
        raise fault("wrong-type", f"expected a map of axes or an expression, found {found(value)}")
    if not isinstance(value, Mapping):
        hint = "write matrix: {name: [...]}" if isinstance(value, (list, tuple)) else None
        raise fault("wrong-type", f"expected a map of axes or an expression, found {found(value)}", hint)
    faults = Faults()
    result: dict[str, Any] = {}
    for key, values in value.items():
        axis = str(key)
        if axis in ("include", "exclude"):
            result[axis] = faults.check(entries_value, values, axis)
            continue
        faults.check(axis_name, axis, axis)
        result[axis] = faults.check(axis_values, values, axis)
    faults.raise_any()
    return result


def axis_values(value: Any) -> Any:
    """The values of an axis: a list (any iterable from Python), or an expression that gives one."""
    if isinstance(value, str):
        if has_expression(value):
            return value
        raise fault("bad-matrix", f"expected a list of values, found {found(value)}", f"write [{value[:60]}]")
    if isinstance(value, Mapping) or not isinstance(value, Iterable):
        hint = f"write [{value}]" if not isinstance(value, Mapping) and value is not None else None
        raise fault("bad-matrix", f"expected a list of values, found {found(value)}", hint)
    from itertools import islice

    # An iterable from Python may be endless.
    items = list(islice(value, 100_001))
    if len(items) > 100_000:
        raise fault("too-many-legs", "a matrix axis may have at most 100000 values")
    return plain_data(items)


def entries_value(value: Any) -> Any:
    """``include`` and ``exclude``: a list of maps, or an expression that gives one."""
    if isinstance(value, str) and has_expression(value):
        return value
    if isinstance(value, Mapping):
        raise fault("bad-matrix", "expected a list of maps, found a map", "begin each entry with `- `")
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise fault("bad-matrix", f"expected a list of maps, found {found(value)}")
    faults = Faults()
    entries: list[Any] = []
    for index, entry in enumerate(value):
        if isinstance(entry, str) and has_expression(entry):
            entries.append(entry)
        elif not isinstance(entry, Mapping):
            faults.add(fault("bad-matrix", f"expected a map of axes and values, found {found(entry)}"), index)
        elif not entry:
            faults.add(
                fault("bad-matrix", "this entry is empty", "name at least one axis and its value"), index
            )
        else:
            for key in entry:
                faults.check(axis_name, str(key), index, str(key))
            entries.append(faults.check(map_value, entry, index))
    faults.raise_any()
    return entries


_ENTRIES_SCHEMA = {"anyOf": [{"type": "array", "items": {"type": ["object", "string"]}}, {"type": "string"}]}

Matrix = Annotated[
    Any,
    PlainValidator(matrix_value),
    WithJsonSchema(
        {
            "anyOf": [
                {
                    "type": "object",
                    "properties": {"include": _ENTRIES_SCHEMA, "exclude": _ENTRIES_SCHEMA},
                    "additionalProperties": {"type": ["array", "string"]},
                },
                {"type": "string"},
            ]
        }
    ),
]
Entries = Annotated[Any, PlainValidator(entries_value), WithJsonSchema(_ENTRIES_SCHEMA)]


class Strategy(Model):
    """A matrix: the job runs once for each combination (a leg)."""

    noun = "strategy"

    matrix: Matrix | None = Field(None, description="axis -> list of values, or expressions that give them")
    include: Entries | None = Field(None, description="combinations to add, or keys to add to existing ones")
    exclude: Entries | None = Field(None, description="combinations to drop; a part of one is enough")
    max_parallel: bounded(1, MAX_PARALLEL, expression=True) | None = Field(  # type: ignore[valid-type] # computed
        None, description="legs at a time, no limit if absent"
    )
    fail_fast: Flag | None = Field(None, description="the first failed leg stops the others")

    @classmethod
    def unknown_key(cls, key: str, data: Mapping[str, Any]) -> tuple[str, str | None]:
        """An axis written beside ``matrix`` is the usual reason."""
        message, hint = super().unknown_key(key, data)
        if isinstance(data.get(key), list) and not (hint or "").startswith("did you mean"):
            hint = f"an axis stands below matrix: {{{key}: [...]}}"
        return message, hint

    @model_validator(mode="after")
    def _in_one_place(self) -> Strategy:
        faults = Faults()
        if isinstance(self.matrix, dict):
            for key in ("include", "exclude"):
                if key in self.matrix and getattr(self, key) is not None:
                    message = f"'{key}' stands in the matrix and beside it"
                    faults.add(fault("bad-combination", message, "keep one of them", on_key=True), key)
        faults.raise_any()
        return self

    def axes(self) -> Any:
        """The matrix without ``include`` and ``exclude``: a map, an expression, or None."""
        if isinstance(self.matrix, dict):
            return {
                axis: values for axis, values in self.matrix.items() if axis not in ("include", "exclude")
            }
        return self.matrix

    def entries(self, key: str) -> Any:
        """``include`` or ``exclude``, wherever it stands."""
        inside = self.matrix.get(key) if isinstance(self.matrix, dict) else None
        return inside if inside is not None else getattr(self, key)


def needs_value(value: Any) -> list[str]:
    """One job or a list of jobs."""
    if isinstance(value, Mapping):
        raise fault("wrong-type", "expected a job or a list of jobs, found a map")
    return list_of(filled_text, "jobs")(value)


Needs = Annotated[
    list[str],
    PlainValidator(needs_value),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]


def job_stages(value: Any, info: ValidationInfo) -> Any:
    """The stages of a job: at least one, a job that does nothing is most likely a mistake."""
    from airflow_stagecoach.document.stages import stages_value

    if isinstance(value, (list, tuple)) and not value:
        raise fault(
            "empty-value",
            "this job has no stages",
            "for a job that does nothing write stages: [{name: nothing}]",
        )
    return stages_value(value, info)


class Job(Model):
    """A group of stages that run in order."""

    noun = "job"
    habits = {
        "steps": "write stages",
        "tasks": "write stages",
        "run-on": "write runs-on",
        "depends-on": "write needs",
        "dependencies": "write needs",
        "depends": "write needs",
        "upstream": "write needs",
        "matrix": "write strategy: {matrix: ...}",
        "include": "write strategy: {include: ...}",
        "exclude": "write strategy: {exclude: ...}",
        "max-parallel": "write strategy: {max-parallel: ...}",
        "fail-fast": "write strategy: {fail-fast: ...}",
        "timeout-minutes": "write timeout: 10m",
        "extras": "settings of the older engine do not exist here",
        "container": "write runs-on: {type: docker, with: {image: ...}}",
        "script": "a job has stages: [{bash: ...}]",
        "bash": "a job has stages: [{bash: ...}]",
        "run": "a job has stages: [{run: ...}]",
        "uses": "a job has stages: [{uses: ...}]",
        "with": "write runs-on: {type: ..., with: ...}",
        "services": "services are not available",
        "concurrency": "write max-active-runs on the workflow, or max-parallel in the strategy",
        "permissions": "Airflow decides who may do what",
        "defaults": "`defaults` belongs to the workflow",
        "retries": "write retry",
        "params": "`params` belongs to the workflow",
        "description": "write desc",
        "rule": "write trigger-rule",
    }

    id: FilledText | None = Field(None, description="the key of the job; here only the same again")
    name: FilledText | None = Field(None, description="shown in the UI")
    desc: Text | None = Field(None, description="what the job is for, markdown")
    runs_on: (
        Annotated[
            RunsOn,
            PlainValidator(runs_on_value),
            WithJsonSchema({"anyOf": [{"type": "string"}, {"$ref": "#/$defs/RunsOn"}]}),
        ]
        | None
    ) = Field(None, description="where it runs, local if absent")
    condition: Condition | None = Field(None, alias="if", description="run only when this is true, else skip")
    needs: Needs | None = Field(None, description="jobs that end before this one starts")
    trigger_rule: (
        Annotated[Rule, PlainValidator(rule_value), WithJsonSchema({"enum": [rule.value for rule in Rule]})]
        | None
    ) = Field(None, description="which results of the needs let it start, all_success if absent")
    strategy: (
        Annotated[
            Strategy,
            PlainValidator(lambda value, info: Strategy.model_validate(value, context=info.context)),
            WithJsonSchema({"$ref": "#/$defs/Strategy"}),
        ]
        | None
    ) = Field(None, description="run once for each combination")
    env: Env | None = Field(None, description="environment of its stages, on top of the workflow's")
    stages: Annotated[
        Stages,
        PlainValidator(job_stages),
        WithJsonSchema({"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/Stage"}}),
    ] = Field(description="what it does, in order; at least one")
    outputs: Data | None = Field(
        None, description="`needs.<job>.outputs`; all outputs of its stages if absent"
    )
    timeout: Duration | None = Field(None, description="of all its stages together")
    retry: RetryField | None = Field(None, description="for its stages that have none of their own")
    continue_on_error: Flag | None = Field(None, description="a failure does not fail the run")
    granularity: (
        Annotated[
            Literal["stage", "job"],
            PlainValidator(word("stage", "job")),
            WithJsonSchema({"enum": ["stage", "job"]}),
        ]
        | None
    ) = Field(None, description="stage: every stage is a task; job: one task runs all stages of a leg")


def job_id(value: str) -> str:
    """The key of a job."""
    return check_id(value, "job")


def jobs_value(value: Any, info: ValidationInfo) -> dict[str, Job]:
    """``jobs``: id -> job; from Python also a list of jobs with ids."""
    if isinstance(value, (list, tuple)) and not isinstance(info.context, dict):
        return _jobs_of_list(value)
    if not isinstance(value, Mapping):
        hint = "write jobs: {name: {stages: [...]}}, the name of each job is its key"
        raise fault("wrong-type", f"expected a map of jobs, found {found(value)}", hint)
    faults = Faults()
    jobs: dict[str, Job] = {}
    for key, item in value.items():
        name = str(key)
        try:
            job_id(name)
        except Exception as error:
            faults.add(_on_key(error), name)
        job = faults.check(lambda item: _job(item, info), item, name)
        if job is not None:
            if job.id is not None and job.id != name:
                message = f"the id of this job is its key, '{name}'"
                faults.add(fault("bad-id", message, "remove `id`, or write the same"), name, "id")
            job.id = name
            jobs[name] = job
    faults.raise_any()
    return jobs


def _on_key(error: Any) -> Any:
    context = error.context or {}
    return fault(context["code"], context["message"], context["hint"], on_key=True)


def _job(value: Any, info: ValidationInfo) -> Job:
    if value is None:
        raise fault("wrong-type", "expected a job (a map with `stages`), found null")
    return Job.model_validate(value, context=info.context)


def _jobs_of_list(value: Iterable[Any]) -> dict[str, Job]:
    faults = Faults()
    jobs: dict[str, Job] = {}
    for index, job in enumerate(value):
        if not isinstance(job, Job):
            faults.add(fault("wrong-type", f"expected a Job, found {found(job)}"), index)
        elif job.id is None:
            faults.add(fault("missing-key", "a job in a list needs an id"), index)
        elif job.id in jobs:
            faults.add(fault("duplicate-id", f"job '{job.id}' stands twice"), index)
        else:
            faults.check(job_id, job.id, index, "id")
            jobs[job.id] = job
    faults.raise_any()
    return jobs


__all__ = [
    "BACKEND_ALIASES",
    "BACKEND_TYPES",
    "Job",
    "OnLocal",
    "Rule",
    "RunsOn",
    "Strategy",
    "jobs_value",
    "kebab",
]
