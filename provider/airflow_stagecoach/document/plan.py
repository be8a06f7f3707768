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
PLAN_FORMAT = 3

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
    # Both: an exception's name or dotted path, a category, `exit:N`, `exit:N-M`, `http:N`, `http:N-M`,
    # `reason:Word`, `message:REGEX`.
    on: NotRequired[list[str]]
    never: NotRequired[list[str]]
    policy: NotRequired[str]  # for custom, in place of delays: `package.module:Class`, an Airflow RetryPolicy
    with_: NotRequired[dict[str, Any]]  # arguments of that class
    rules: NotRequired[list[RetryRulePlan]]  # looked at first, in order
    on_oom: NotRequired[OnOomPlan]


class OnOomPlan(TypedDict, total=False):
    """How memory grows after each try that ran out of it. Exactly one of ``factor`` and ``add``."""

    factor: float
    add: int  # bytes
    max: int  # bytes


class RetryRulePlan(TypedDict):
    """What is done after one sort of failure."""

    match: list[str]  # as in `on`
    action: NotRequired[str]  # retry (default) or fail
    delay: NotRequired[float]  # in place of the backoff's
    max: NotRequired[int]  # retries by this rule, within the stage's own max


class LoggingPlan(TypedDict, total=False):
    """How a stage writes its log."""

    level: str  # debug info warning error critical
    format: str  # text (default) or json
    file: LogFilePlan  # an additional file per try


class LogFilePlan(TypedDict, total=False):
    """An additional log file. Without a path it lies in the folder that the option ``log_folder`` names."""

    path: str  # a folder
    max_bytes: int
    backups: int


class LimitsPlan(TypedDict, total=False):
    """What a stage may use at most."""

    cpu: float  # cores
    memory: int  # bytes
    ephemeral_storage: int  # bytes


class ResourcesPlan(LimitsPlan, total=False):
    """What a stage is given, and what it may use at most where ``limits`` says so."""

    gpu: int
    limits: LimitsPlan
    enforce: str  # strict (default): what cannot be enforced is refused. best-effort


class NotifyPlan(TypedDict):
    """Who is told about what. Exactly one of ``webhook`` and ``notifier``."""

    event: str  # success failure retry skip deadline
    webhook: NotRequired[str]  # template: a URL
    conn: NotRequired[str]  # in place of a URL: an Airflow connection that has it, its password is the secret
    secret: NotRequired[str]  # template: key of the HMAC-SHA256 signature
    headers: NotRequired[dict[str, Any]]  # templates
    notifier: NotRequired[str]  # dotted path of an Airflow notifier
    with_: NotRequired[dict[str, Any]]  # its arguments, templates


class ConcurrencyPlan(TypedDict):
    """Runs of one group, of this or any other workflow, do not overlap."""

    group: str  # template over params, run, vars
    on_conflict: str  # queue reject skip cancel-running


class StagePlan(TypedDict):
    """One stage: what the engine runs, and what Airflow needs to know around it."""

    task_id: str  # without the job's prefix, unique in the job
    spec: StageSpec
    line: int  # of the stage in the document, from 1
    # All of these after workflow and job defaults:
    timeout: NotRequired[float]
    no_timeout: NotRequired[bool]  # `timeout: none`: the option default_timeout does not count either
    retry: NotRequired[RetryPlan]
    pool: NotRequired[str]
    pool_slots: NotRequired[int]
    priority: NotRequired[int]  # Airflow's priority_weight, absolute
    logging: NotRequired[LoggingPlan]
    resources: NotRequired[ResourcesPlan]
    notify: NotRequired[list[NotifyPlan]]  # of the stage and its job
    teardown: NotRequired[bool]  # runs when any stage of its leg ran, however those ended


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
    emulate: NotRequired[bool]


class HealthPlan(TypedDict):
    """How it is told that a service can be used."""

    command: str | list[str]  # templates: a text for a shell, or a program and its arguments
    interval: NotRequired[float | str]  # seconds, or a template of a duration
    timeout: NotRequired[float | str]
    retries: NotRequired[int | str]
    start_period: NotRequired[float | str]


class ServicePlan(TypedDict):
    """A container beside a job. All values are templates; each leg evaluates them."""

    image: str  # an empty one starts nothing
    env: NotRequired[dict[str, Any]]
    ports: NotRequired[list[str]]
    volumes: NotRequired[list[str]]
    conn: NotRequired[str]  # Airflow connection of the image's registry
    entrypoint: NotRequired[str | list[str]]  # in words; a text is one expression, parted when it is known
    command: NotRequired[str | list[str]]
    health: NotRequired[HealthPlan]


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
    fallback: NotRequired[str]  # the job that runs when this one has failed
    fallback_of: NotRequired[str]  # the job that this one stands in for; also the first of its needs
    services: NotRequired[dict[str, ServicePlan]]  # by host name; then the granularity is job
    granularity: NotRequired[str]  # stage where absent
    timeout: NotRequired[float]  # the job's total
    cleanup: NotRequired[str]  # of the scratch folder: on-success (default), always, never


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
    max_active_tasks: NotRequired[int]
    timeout: NotRequired[float]
    deadline: NotRequired[float]  # seconds after the run was queued: then `notify: {deadline}`
    concurrency: NotRequired[ConcurrencyPlan]
    notify: NotRequired[list[NotifyPlan]]  # success, failure, deadline of the run; retry, skip of any stage
    params: NotRequired[dict[str, ParamPlan]]  # absent: any name may be passed
    env: NotRequired[dict[str, Any]]
