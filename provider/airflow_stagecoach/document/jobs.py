"""The model of a job."""

# pydantic evaluates the annotations of models when it runs:
# ruff: noqa: TC001

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PlainValidator, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError

from airflow_stagecoach.document.diagnostics import did_you_mean, found
from airflow_stagecoach.document.fields import (
    Condition,
    Data,
    Env,
    FilledText,
    Flag,
    Text,
    check_id,
    filled_text,
    list_of,
    text_value,
    word,
)
from airflow_stagecoach.document.logs import LoggingField
from airflow_stagecoach.document.model import (
    Faults,
    Model,
    fault,
    on_key,
)
from airflow_stagecoach.document.notify import StageNotifyField
from airflow_stagecoach.document.resources import ResourcesField
from airflow_stagecoach.document.retry import RetryField
from airflow_stagecoach.document.runs_on import RunsOn, runs_on_value
from airflow_stagecoach.document.services import Services
from airflow_stagecoach.document.stage import CALLBACK_HABITS, Stages, stages_value
from airflow_stagecoach.document.strategy import Strategy
from airflow_stagecoach.document.task_fields import Cleanup, Pool, PoolSlots, Priority, StageTimeout

#: Jobs of one workflow: Airflow's UI and scheduler do not like more either.
MAX_JOBS = 1000


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
    habits: ClassVar[Mapping[str, str]] = {
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
        **dict.fromkeys(("timeout-minutes", "execution-timeout"), "write timeout: 10m"),
        "extras": "settings of the older engine do not exist here",
        "container": "write runs-on: {type: docker, with: {image: ...}}",
        "script": "a job has stages: [{bash: ...}]",
        "bash": "a job has stages: [{bash: ...}]",
        "run": "a job has stages: [{run: ...}]",
        "uses": "a job has stages: [{uses: ...}]",
        "with": "write runs-on: {type: ..., with: ...}",
        **dict.fromkeys(("service", "sidecars"), "write services"),
        **CALLBACK_HABITS,
        "concurrency": "`concurrency` belongs to the workflow; for legs write strategy: {max-parallel: ...}",
        "deadline": "`deadline` belongs to the workflow; a job has a timeout",
        "teardown": "`teardown` belongs to a stage",
        "max-active-tasks": "`max-active-tasks` belongs to the workflow",
        "max-active-runs": "`max-active-runs` belongs to the workflow",
        "permissions": "Airflow decides who may do what",
        "defaults": "`defaults` belongs to the workflow",
        **dict.fromkeys(("retries", "max-retry", "max-retries"), "write retry"),
        "retry-delay": "write retry: {max: 3, delay: 30s}",
        "params": "`params` belongs to the workflow",
        "description": "write desc",
        "rule": "write trigger-rule",
        **dict.fromkeys(("fallback-job", "fallbacks", "on-failure-job", "instead"), "write fallback"),
    }

    id: FilledText | None = Field(None, description="the key of the job; here only the same again")
    name: FilledText | None = Field(None, description="shown in the UI")
    desc: Text | None = Field(None, description="what the job is for, markdown")
    runs_on: (
        Annotated[
            RunsOn,
            PlainValidator(runs_on_value),
            WithJsonSchema({"anyOf": [{"type": "string"}, {"x-ref": "RunsOn"}]}),
        ]
        | None
    ) = Field(None, description="where it runs, local if absent")
    services: Services | None = Field(
        None, description="containers that run beside it: id -> service or image; the id is the host name"
    )
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
            WithJsonSchema({"x-ref": "Strategy"}),
        ]
        | None
    ) = Field(None, description="run once for each combination")
    env: Env | None = Field(None, description="environment of its stages, on top of the workflow's")
    stages: Annotated[
        Stages,
        PlainValidator(job_stages),
        WithJsonSchema({"type": "array", "minItems": 1, "items": {"x-ref": "Stage"}}),
    ] = Field(description="what it does, in order; at least one")
    outputs: Data | None = Field(
        None, description="`needs.<job>.outputs`; all outputs of its stages if absent"
    )
    timeout: StageTimeout | None = Field(
        None,
        description="of all its stages together; none: no timeout, also not the default one for its stages",
    )
    retry: RetryField | None = Field(None, description="for its stages that have none of their own")
    continue_on_error: Flag | None = Field(None, description="a failure does not fail the run")
    fallback: FilledText | None = Field(
        None,
        description="the job that runs in its place when it has failed, after its last try; who needs it "
        "goes on when either succeeded",
    )
    granularity: (
        Annotated[
            Literal["stage", "job"],
            PlainValidator(word("stage", "job")),
            WithJsonSchema({"enum": ["stage", "job"]}),
        ]
        | None
    ) = Field(
        None,
        description="stage: every stage is a task; job: one task runs all stages of a leg. If absent, job "
        "where there are services, else stage",
    )
    pool: Pool | None = Field(None, description="the Airflow pool of its stages")
    pool_slots: PoolSlots | None = Field(
        None, description="slots of the pool that each stage takes, 1 if absent"
    )
    priority: Priority | None = Field(None, description="a higher number starts first, 1 if absent")
    logging: LoggingField | None = Field(None, description="how its stages write their logs")
    resources: ResourcesField | None = Field(
        None, description="what each stage, or with granularity: job the whole leg, is given and may use"
    )
    notify: StageNotifyField | None = Field(None, description="who is told about the end of each stage")
    cleanup: Cleanup | None = Field(
        None, description="when the scratch folder of a leg is removed, on-success if absent"
    )

    @property
    def one_task(self) -> str | None:
        """What in the document makes one task of all stages of a leg; ``None`` where each is a task.

        Services live as long as the container that the stages run in, so all of them run in one.
        """
        if self.services:
            return "services"
        return "granularity: job" if self.granularity == "job" else None


def jobs_value(value: Any, info: ValidationInfo) -> dict[str, Job]:
    """``jobs``: id -> job; from Python also a list of jobs with ids."""
    if isinstance(value, (list, tuple)) and not isinstance(info.context, dict):
        return _jobs_of_list(value)
    if not isinstance(value, Mapping):
        hint = "write jobs: {name: {stages: [...]}}, the name of each job is its key"
        raise fault("wrong-type", f"expected a map of jobs, found {found(value)}", hint)
    if len(value) > MAX_JOBS:
        raise fault("too-many", f"a workflow may have at most {MAX_JOBS} jobs, found {len(value)}")
    faults = Faults()
    jobs: dict[str, Job] = {}
    for key, item in value.items():
        name = str(key)
        try:
            check_id(name, "job")
        except PydanticCustomError as error:
            faults.add(on_key(error), name)
        job = faults.check(lambda item: _job(item, info), item, name)
        if job is not None:
            if job.id is not None and job.id != name:
                message = f"the id of this job is its key, '{name}'"
                faults.add(fault("bad-id", message, "remove `id`, or write the same"), name, "id")
            job.id = name
            jobs[name] = job
    faults.raise_any()
    return jobs


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
            faults.check(lambda value: check_id(value, "job"), job.id, index, "id")
            jobs[job.id] = job
    faults.raise_any()
    return jobs
