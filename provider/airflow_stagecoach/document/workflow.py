"""The model of a workflow."""

# pydantic evaluates the annotations of models when it runs:
# ruff: noqa: TC001, TC003

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, PlainValidator, ValidationError, WithJsonSchema, model_validator

from airflow_stagecoach.document.defaults import DefaultsField
from airflow_stagecoach.document.diagnostics import DocumentError, found
from airflow_stagecoach.document.fields import (
    Env,
    Text,
    Timeout,
    bool_value,
    filled_text,
    has_expression,
    list_of,
    text_value,
    whole_number,
)
from airflow_stagecoach.document.group import ConcurrencyField
from airflow_stagecoach.document.jobs import Job, jobs_value
from airflow_stagecoach.document.logs import LoggingField
from airflow_stagecoach.document.model import (
    Faults,
    Model,
    fault,
)
from airflow_stagecoach.document.notify import NotifyField
from airflow_stagecoach.document.param_model import Params
from airflow_stagecoach.document.schedule import date_value, schedule_value
from airflow_stagecoach.document.stage import CALLBACK_HABITS

if TYPE_CHECKING:
    from airflow_stagecoach.document.plan import SchedulePlan, WorkflowPlan
    from airflow_stagecoach.document.problems import Problem
    from airflow_stagecoach.document.retry_policy import PolicyCheck
    from airflow_stagecoach.document.runs_on import BackendCheck

#: Airflow keeps DAG ids in 250 characters.
MAX_NAME = 250
MAX_TAG = 100
MAX_TASKS = 10_000


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
        **CALLBACK_HABITS,
        **dict.fromkeys(
            ("pool", "pool-slots", "priority", "priority-weight", "resources", "cleanup"),
            "write it below defaults",
        ),
        "max-runs": "write max-active-runs",
        "max-tasks": "write max-active-tasks",
        "max-parallel": "write max-active-tasks, or strategy: {max-parallel: ...} on a job",
        "on-conflict": "write concurrency: {group: ..., on-conflict: ...}",
        "cancel-in-progress": "write concurrency: {group: ..., on-conflict: cancel-running}",
        "sla": "write deadline",
        "deadline-alert": "write deadline",
        "extras": "settings of the older engine do not exist here",
        "inputs": "write params",
        "variables": "write env",
        "runs-on": "`runs-on` belongs to a job",
        "strategy": "`strategy` belongs to a job",
        "retry": "write defaults: {retry: ...}",
        **dict.fromkeys(
            ("retries", "max-retry", "max-retries", "retry-delay"),
            "write defaults: {retry: {max: 3, delay: 30s}}",
        ),
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
    params: Params | None = Field(None, description="name -> type or map; any name may be passed if absent")
    env: Env | None = Field(None, description="environment of all stages")
    defaults: DefaultsField | None = Field(None, description="what stages have that say nothing else")
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
    max_active_tasks: (
        Annotated[
            int,
            PlainValidator(whole_number(1, MAX_TASKS)),
            WithJsonSchema({"type": "integer", "minimum": 1, "maximum": MAX_TASKS}),
        ]
        | None
    ) = Field(None, description="tasks at a time, in each run")
    concurrency: ConcurrencyField | None = Field(
        None, description="runs of this group, of this or another workflow, do not overlap"
    )
    timeout: Timeout | None = Field(None, description="of a whole run")
    deadline: Timeout | None = Field(
        None,
        description="a run that takes longer, counted from when it was queued, is told about, not stopped",
    )
    notify: NotifyField | None = Field(
        None,
        description="who is told about the end of a run, its deadline, and retries and skips of any stage",
    )
    logging: LoggingField | None = Field(None, description="how all stages write their logs")

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

    def plan(
        self,
        *,
        backends: Mapping[str, BackendCheck] | None = None,
        max_legs: int = 1024,
        policies: PolicyCheck | None = None,
    ) -> WorkflowPlan:
        """The plan of a workflow that was built in Python; ``line`` is 1 throughout.

        ``backends``, ``max_legs`` and ``policies`` as for :func:`~airflow_stagecoach.document.load`.
        Raises :class:`DocumentError` with every fault that the models alone cannot see: where jobs run,
        needs, ids, expressions, the size of a matrix.
        """
        from airflow_stagecoach.document.checks import check_workflow
        from airflow_stagecoach.document.planner import plan_workflow

        placed, problems = self._placed(backends)
        problems += check_workflow(placed, (), max_legs=max_legs, policies=policies, backends=backends)
        if problems:
            raise DocumentError([problem.without_position() for problem in problems])
        return plan_workflow(placed)

    def _placed(self, backends: Mapping[str, BackendCheck] | None) -> tuple[Workflow, list[Problem]]:
        """The same with every ``runs-on`` checked, and what is wrong with them."""
        from airflow_stagecoach.document.problems import problems_of
        from airflow_stagecoach.document.runs_on import installed

        jobs = dict(self.jobs)
        problems: list[Problem] = []
        for name, job in self.jobs.items():
            if job.runs_on is None:
                continue
            try:
                jobs[name] = job.model_copy(update={"runs_on": installed(job.runs_on, backends)})
            except ValidationError as error:
                problems += problems_of(error, ("jobs", name, "runs-on"))
        return self.model_copy(update={"jobs": jobs}), problems
