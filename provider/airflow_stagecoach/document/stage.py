"""What all kinds of stages have in common."""

# pydantic evaluates the annotations of models when it runs:
# ruff: noqa: TC001, TC003

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field, PlainValidator, ValidationInfo, WithJsonSchema

from airflow_stagecoach.document.diagnostics import did_you_mean, found, one_of
from airflow_stagecoach.document.fields import (
    Condition,
    Data,
    Env,
    FilledText,
    Flag,
    Text,
)
from airflow_stagecoach.document.logs import LoggingField
from airflow_stagecoach.document.model import (
    Faults,
    Model,
    article,
    fault,
    habit_of,
    kebab,
)
from airflow_stagecoach.document.notify import StageNotifyField
from airflow_stagecoach.document.resources import ResourcesField
from airflow_stagecoach.document.retry import RetryField
from airflow_stagecoach.document.task_fields import NO_TIMEOUT, Pool, PoolSlots, Priority, StageTimeout

#: Stages of one list.
MAX_STAGES = 500

#: The keys that tell the kinds apart.
KIND_KEYS = (
    "echo",
    "sleep",
    "bash",
    "run",
    "uses",
    "operator",
    "image",
    "trigger",
    "parallel",
    "foreach",
    "until",
    "case",
    "raise",
    "approval",
)

WHICH_KIND = f"a stage has one of the keys {', '.join(KIND_KEYS)}"

#: What Airflow's operators call keys that jobs, stages and defaults have.
TASK_HABITS = {
    "priority-weight": "write priority",
    "weight-rule": "a priority is absolute here: remove it",
    "weight": "write priority",
    "slots": "write pool-slots",
    "log-level": "write logging: {level: ...}",
    "logs": "write logging",
    "cpu": "write resources: {cpu: ...}",
    "cpus": "write resources: {cpu: ...}",
    "memory": "write resources: {memory: ...}",
    "mem": "write resources: {memory: ...}",
    "gpu": "write resources: {gpu: ...}",
    "gpus": "write resources: {gpu: ...}",
    "limits": "write resources: {limits: ...}",
    "executor-config": "write resources, or runs-on: {with: ...} of the job",
}
CALLBACK_HABITS = {
    **TASK_HABITS,
    "on-failure-callback": "write notify: {failure: ...}",
    "on-success-callback": "write notify: {success: ...}",
    "on-retry-callback": "write notify: {retry: ...}",
    "on-skipped-callback": "write notify: {skip: ...}",
    "on-failure": "write notify: {failure: ...}",
    "on-success": "write notify: {success: ...}",
    "email": "write notify",
    "email-on-failure": "write notify: {failure: ...}",
    "email-on-retry": "write notify: {retry: ...}",
    "notifications": "write notify",
    "sla": "write deadline on the workflow",
}

STAGE_HABITS = {
    "script": "write bash: for a shell script, run: for Python",
    "command": "write bash",
    "bash-command": "write bash",
    "cmd": "write bash",
    "sh": "write bash",
    "python": "write run",
    "python-callable": "write uses: path/func@tag",
    "code": "write run",
    "message": "write raise",
    "fail": "write raise",
    "error": "write raise",
    "throw": "write raise",
    "args": "write with",
    "steps": "write stages",
    "timeout-minutes": "write timeout: 10m",
    "execution-timeout": "write timeout: 10m",
    "retries": "write retry",
    "retry-delay": "write retry: {max: 3, delay: 30s}",
    "depends-on": "stages run in the order they are written; a job may `need` other jobs",
    "dependencies": "stages run in the order they are written; a job may `need` other jobs",
    "needs": "stages run in the order they are written; `needs` belongs to a job",
    "task-id": "write id",
    "type": "the kind of a stage is told by its own key, such as bash or run",
    "extras": "settings of the older engine do not exist here",
    "strategy": "'strategy' belongs to a job; a stage may have foreach",
    "matrix": "a matrix belongs to the strategy of a job; a stage may have foreach",
    "requirements": "write deps",
    "python-version": "write version",
    **CALLBACK_HABITS,
    "trigger-rule": "`trigger-rule` belongs to a job; write if: failure() or always() on a stage",
    "finally": "write teardown: true",
    "always-run": "write teardown: true",
    "as-teardown": "write teardown: true",
    "on-cleanup": "write a stage of its own with teardown: true",
    "setup": "stages run in the order they are written; what cleans up has teardown: true",
    "cleanup": "`cleanup` belongs to a job; a stage that cleans up has teardown: true",
    "concurrency": "`concurrency` belongs to the workflow",
    "deadline": "`deadline` belongs to the workflow; a stage has a timeout",
    "max-active-tis-per-dag": "write pool, or max-parallel in the strategy of the job",
}


class Stage(Model):
    """What every stage takes; the kinds add their own keys."""

    kind: ClassVar[str] = ""
    noun = "stage"

    name: FilledText | None = Field(None, description="shown in the UI; may hold expressions over `matrix`")
    id: FilledText | None = Field(
        None, description="key in `stages.<id>`; may hold expressions over `matrix` only"
    )
    desc: Text | None = Field(None, description="what the stage is for, markdown")
    condition: Condition | None = Field(None, alias="if", description="run only when this is true, else skip")
    env: Env | None = Field(None, description="environment of this stage, on top of the job's")
    retry: RetryField | None = Field(None, description="repeat after a failure")
    timeout: StageTimeout | None = Field(
        None, description="a try that takes longer fails; none: no timeout, whatever the defaults say"
    )
    outputs: Data | None = Field(
        None, description="names added to the outputs; sees the raw ones as `outputs.<name>`"
    )
    continue_on_error: Flag | None = Field(None, description="a failure does not fail the job")
    teardown: Flag | None = Field(
        None, description="clean-up after the other stages of the job, however those ended"
    )
    pool: Pool | None = Field(None, description="the Airflow pool that it takes slots of")
    pool_slots: PoolSlots | None = Field(None, description="how many slots of its pool, 1 if absent")
    priority: Priority | None = Field(None, description="a higher number starts first, 1 if absent")
    logging: LoggingField | None = Field(None, description="how its log is written")
    resources: ResourcesField | None = Field(
        None, description="what it is given and may use; of bash, Python, call, image and nested stages"
    )
    notify: StageNotifyField | None = Field(None, description="who is told about its end")

    @classmethod
    def unknown_key(cls, key: str, data: Mapping[str, Any]) -> tuple[str, str | None]:
        """Message and hint for a key that this kind does not have; another kind may have it."""
        from airflow_stagecoach.document.simple_stages import EmptyStage
        from airflow_stagecoach.document.stages import KINDS, STAGE_MODELS

        norm = key.replace("_", "-")
        noun = article(cls.noun)
        habit = habit_of(STAGE_HABITS, key, data)
        others = [other for other in STAGE_MODELS if norm in other.keys()]  # noqa: SIM118 - a method, not a dict
        message = f"unknown key '{key}' in {noun}"
        if norm in KINDS and cls is EmptyStage:
            return message, None
        if others and not habit:
            habit = f"'{norm}' belongs to {one_of(article(other.noun) for other in others)}"
        known = dict.fromkeys([*cls.keys(), *(KINDS if cls is EmptyStage else ())])
        expected = f"the keys of {noun} are {', '.join(cls.keys())}"
        if cls is EmptyStage and not any(kebab(str(other)) in KINDS for other in data):
            expected = WHICH_KIND
        return message, habit or did_you_mean(key, known, expected)

    def spec_fields(self) -> dict[str, Any]:
        """The keys of the kind in the stage spec, without those that have their default."""
        return {}

    def children(self) -> list[tuple[tuple[str | int, ...], list[Stage]]]:
        """The nested lists of stages, each with the path that leads to it."""
        return []


def stages_value(value: Any, info: ValidationInfo) -> list[Stage]:
    """A list of stages of any kind; it must hold at least one."""
    if isinstance(value, dict):
        raise fault("wrong-type", "expected a list of stages, found a map", "begin each stage with `- `")
    if not isinstance(value, (list, tuple)):
        raise fault("wrong-type", f"expected a list of stages, found {found(value)}")
    if not value:
        raise fault(
            "empty-value",
            "expected at least one stage",
            "for a stage that does nothing write [{name: nothing}]",
        )
    if len(value) > MAX_STAGES:
        raise fault("too-many", f"a list may have at most {MAX_STAGES} stages, found {len(value)}")
    from airflow_stagecoach.document.stages import stage_value

    faults = Faults()
    stages = [
        faults.check(lambda item: stage_value(item, info), item, index) for index, item in enumerate(value)
    ]
    faults.raise_any()
    return stages


Stages = Annotated[
    list[Stage],
    PlainValidator(stages_value),
    WithJsonSchema({"type": "array", "minItems": 1, "items": {"x-ref": "Stage"}}),
]


def present(**keys: Any) -> dict[str, Any]:
    """The keys that have a value."""
    return {key: value for key, value in keys.items() if value is not None}


def spec_of(stage: Stage) -> dict[str, Any]:
    """The stage in the shape that the engine runs (docs/architecture.md, "The stage spec")."""
    return {
        "kind": stage.kind,
        **present(id=stage.id, name=stage.name),
        **present(**{"if": stage.condition}),
        **present(
            env=stage.env or None,
            timeout=stage.timeout if stage.timeout != NO_TIMEOUT else None,
            retry=stage.retry.plan() if stage.retry is not None else None,
            outputs=stage.outputs or None,
            continue_on_error=stage.continue_on_error or None,
            teardown=stage.teardown or None,
            logging={"level": stage.logging.level} if stage.logging and stage.logging.level else None,
        ),
        **stage.spec_fields(),
    }
