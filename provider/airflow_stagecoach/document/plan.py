"""The shapes that stand between a document and a DAG: plain JSON-able data.

``document`` writes a plan, ``importer`` caches it, ``factory`` builds the DAG
from it. Nothing here imports pydantic or Airflow, so a cached document costs
only ``json.loads``. Durations are seconds, dates ISO 8601 text. A key marked
``NotRequired`` is absent when it has its default.
"""

from __future__ import annotations

from typing import Any, TypedDict

from typing_extensions import NotRequired

#: Raised whenever the shape changes, so that older cache entries are not read.
PLAN_FORMAT = 1

#: A stage in the shape that the engine runs (see docs/architecture.md, "The stage spec").
StageSpec = dict[str, Any]


class RetryPlan(TypedDict):
    """How often and when a failed try is repeated. ``max`` retries follow the first try."""

    max: int
    delay: float
    backoff: NotRequired[str]  # fixed (default), linear, exponential, custom
    delays: NotRequired[list[float]]  # for custom: the delays one by one, the last repeats
    factor: NotRequired[float]
    increment: NotRequired[float]
    max_delay: NotRequired[float]
    jitter: NotRequired[str]  # none (default), full, equal
    on: NotRequired[list[str]]
    never: NotRequired[list[str]]


class StagePlan(TypedDict):
    """One stage: what the engine runs, and what Airflow needs to know around it."""

    task_id: str  # without the job's prefix, unique in the job
    spec: StageSpec
    line: int  # of the stage in the document, from 1
    timeout: NotRequired[float]  # after workflow and job defaults
    retry: NotRequired[RetryPlan]  # after workflow and job defaults


class StrategyPlan(TypedDict):
    """A matrix. Exactly one of ``legs`` (known at load time) and ``matrix`` (known at run time)."""

    legs: NotRequired[list[dict[str, Any]]]
    matrix: NotRequired[Any]  # a map axis -> list or template, or one template
    include: NotRequired[Any]  # with a run-time matrix: list or template
    exclude: NotRequired[Any]
    axes: list[str]  # names that a leg may have; empty when not known
    max_parallel: NotRequired[int | str]
    fail_fast: NotRequired[bool]


class RunsOnPlan(TypedDict):
    """Where a job runs: the canonical backend type and its configuration."""

    type: str
    with_: NotRequired[dict[str, Any]]


class JobPlan(TypedDict):
    """One job."""

    id: str
    line: int
    stages: list[StagePlan]
    runs_on: RunsOnPlan
    name: NotRequired[str]
    desc: NotRequired[str]
    needs: NotRequired[list[str]]  # in document order, without duplicates
    trigger_rule: NotRequired[str]  # only where the document says so
    condition: NotRequired[str | bool]  # `if`
    status_functions: NotRequired[bool]  # the condition calls always(), failure(), success() ...
    strategy: NotRequired[StrategyPlan]
    env: NotRequired[dict[str, Any]]
    outputs: NotRequired[dict[str, Any]]
    continue_on_error: NotRequired[bool]
    granularity: NotRequired[str]  # only where the document says so
    timeout: NotRequired[float]  # the job's total


class CronPlan(TypedDict):
    """One cron expression, five fields or a preset such as ``@daily``."""

    cron: str
    timezone: str


class SchedulePlan(TypedDict, total=False):
    """When a workflow runs. No key at all: only by hand. ``crons`` and ``assets`` may stand together."""

    crons: list[CronPlan]
    every: float
    at: list[str]
    continuous: bool
    assets: Any  # a name, {"all": [...]}, {"any": [...]}, nested; leaves are {"name", "uri"?}


class ParamPlan(TypedDict):
    """One typed parameter."""

    type: str  # str int float decimal bool date datetime choice map array
    desc: NotRequired[str]
    required: NotRequired[bool]
    default: NotRequired[Any]
    options: NotRequired[list[Any]]
    precision: NotRequired[int]


class WorkflowPlan(TypedDict):
    """One workflow of a document."""

    format: int
    dag_id: str
    line: int
    jobs: list[JobPlan]  # in document order
    name: NotRequired[str]  # as written, where it differs from dag_id
    desc: NotRequired[str]
    tags: NotRequired[list[str]]
    schedule: NotRequired[SchedulePlan]
    start_date: NotRequired[str]
    end_date: NotRequired[str]
    catchup: NotRequired[bool]
    max_active_runs: NotRequired[int]
    timeout: NotRequired[float]
    params: NotRequired[dict[str, ParamPlan]]  # absent: any name may be passed
    env: NotRequired[dict[str, Any]]
