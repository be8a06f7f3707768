"""The model of a workflow's defaults."""

# pydantic evaluates the annotations of models when it runs:
# ruff: noqa: TC001, TC003

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field, PlainValidator, WithJsonSchema

from airflow_stagecoach.document.logs import LoggingField
from airflow_stagecoach.document.model import Model
from airflow_stagecoach.document.resources import ResourcesField
from airflow_stagecoach.document.retry import RetryField
from airflow_stagecoach.document.stage import TASK_HABITS
from airflow_stagecoach.document.task_fields import Cleanup, Pool, PoolSlots, Priority, StageTimeout


class Defaults(Model):
    """What all stages of a workflow have unless they say otherwise."""

    noun = "defaults"
    habits: ClassVar[Mapping[str, str]] = {
        "env": "write env: on the workflow itself",
        "run": "write shell: on the stage",
        "runs-on": "write runs-on: on each job",
        "retries": "write retry",
        **TASK_HABITS,
        "notify": "write notify: on the workflow itself, or on a job",
        "deadline": "write deadline: on the workflow itself",
        "concurrency": "write concurrency: on the workflow itself",
        "max-active-tasks": "write max-active-tasks: on the workflow itself",
        "execution-timeout": "write timeout",
        "retry-delay": "write retry: {max: 3, delay: 30s}",
        "granularity": "write granularity: on each job",
    }

    retry: RetryField | None = Field(None, description="of a stage whose job has none either")
    timeout: StageTimeout | None = Field(
        None, description="of a stage, per try; none: no timeout, whatever the option `default_timeout` says"
    )
    pool: Pool | None = Field(None, description="the Airflow pool of all stages")
    pool_slots: PoolSlots | None = Field(
        None, description="slots of the pool that each stage takes, 1 if absent"
    )
    priority: Priority | None = Field(None, description="a higher number starts first, 1 if absent")
    logging: LoggingField | None = Field(None, description="how stages write their logs")
    resources: ResourcesField | None = Field(None, description="what each stage is given and may use")
    cleanup: Cleanup | None = Field(
        None, description="when the scratch folder of a leg is removed, on-success if absent"
    )


DefaultsField = Annotated[
    Defaults,
    PlainValidator(lambda value, info: Defaults.model_validate(value, context=info.context)),
    WithJsonSchema({"x-ref": "Defaults"}),
]
