"""The kinds of stages that hold no other stages."""

# pydantic evaluates the annotations of models when it runs:
# ruff: noqa: TC001

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, PlainValidator, ValidationInfo, WithJsonSchema, model_validator

from airflow_stagecoach.document.fields import (
    Data,
    FilledText,
    Flag,
    Names,
    Text,
    Variables,
    word,
)
from airflow_stagecoach.document.model import (
    Faults,
    Model,
    fault,
)
from airflow_stagecoach.document.stage import (
    WHICH_KIND,
    Stage,
    present,
)
from airflow_stagecoach.document.stage_fields import (
    Dotted,
    Scalar,
    Script,
    Sleep,
    Source,
    Uses,
    Version,
)


class EmptyStage(Stage):
    """Writes a line to the log, sleeps, or does nothing."""

    kind = "empty"
    noun = "empty stage"

    echo: Scalar | None = Field(None, description="text for the log")
    sleep: Sleep | None = Field(None, description="seconds or a duration")

    @classmethod
    def _take_keys(
        cls, data: dict[Any, Any], faults: Faults, *, written: bool
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """As for every model. A key that could not be read may have been the one that says what it does."""
        clean, seen = super()._take_keys(data, faults, written=written)
        if len(clean) < len(data):
            clean.setdefault("id", "unreadable")
        return clean, seen

    @model_validator(mode="after")
    def _has_a_name(self) -> EmptyStage:
        if self.name is None and self.id is None and self.echo is None and self.sleep is None:
            raise fault("stage-kind", "this stage says neither what it does nor its name", WHICH_KIND)
        return self

    def spec_fields(self) -> dict[str, Any]:
        """``echo`` and ``sleep``."""
        return present(echo=self.echo, sleep=self.sleep)


class BashStage(Stage):
    """Runs a shell script."""

    kind = "bash"
    noun = "bash stage"

    bash: Script = Field(description="the script; stops at the first error")
    shell: FilledText | None = Field(
        None, description="bash, sh, or a command with {0} for the path of the script"
    )
    working_directory: FilledText | None = Field(
        None, description="where it runs, a scratch folder if absent"
    )

    def spec_fields(self) -> dict[str, Any]:
        """The script and how it is run."""
        return present(bash=self.bash, shell=self.shell, working_directory=self.working_directory)


class PyStage(Stage):
    """Runs Python; the names it assigns become outputs."""

    kind = "python"
    noun = "Python stage"

    run: Source = Field(description="Python code; an expression in it is a value")
    vars: Variables | None = Field(None, description="variables that the code sees")

    def spec_fields(self) -> dict[str, Any]:
        """The code and its variables."""
        return present(run=self.run, vars=self.vars)


class VirtualPyStage(PyStage):
    """Runs Python in a virtual environment of its own, made by uv."""

    kind = "virtual_python"
    noun = "virtual Python stage"

    deps: Names | None = Field(None, description="requirements to install, as for pip")
    version: Version | None = Field(None, description='Python version, in quotes: "3.12"')

    def spec_fields(self) -> dict[str, Any]:
        """The code, its variables and its environment."""
        return {**super().spec_fields(), "deps": self.deps or [], **present(version=self.version)}


class CallStage(Stage):
    """Calls a Python function marked with ``tag``."""

    kind = "call"
    noun = "call stage"

    uses: Uses = Field(description="path/func@tag")
    with_: Data | None = Field(None, alias="with", description="arguments, checked against the type hints")

    def spec_fields(self) -> dict[str, Any]:
        """The function and its arguments."""
        return {"uses": self.uses, **present(**{"with": self.with_})}


class OperatorStage(Stage):
    """Runs any Airflow operator or sensor."""

    kind = "operator"
    noun = "operator stage"

    operator: Dotted = Field(description="dotted path of the class")
    with_: Data | None = Field(None, alias="with", description="arguments of the operator")

    @model_validator(mode="after")
    def _with_is_not_ours(self) -> OperatorStage:
        faults = Faults()
        for key in sorted({"task_id", "dag", "task_group", "trigger_rule"} & set(self.with_ or {})):
            faults.add(
                fault("bad-value", f"'{key}' is set by the workflow", f"remove '{key}'", on_key=True),
                "with",
                key,
            )
        faults.raise_any()
        return self

    def spec_fields(self) -> dict[str, Any]:
        """The class and its arguments."""
        return {"operator": self.operator, **present(**{"with": self.with_})}


class TriggerStage(Stage):
    """Runs another workflow or DAG, waits for it, and hands back its outputs."""

    kind = "trigger"
    noun = "trigger stage"

    trigger: FilledText = Field(description="DAG id")
    params: Data | None = Field(None, description="params of the run")

    def spec_fields(self) -> dict[str, Any]:
        """The workflow and its params."""
        return present(trigger=self.trigger, params=self.params)


class RaiseStage(Stage):
    """Fails with a message."""

    kind = "raise"
    noun = "raise stage"

    raise_: FilledText = Field(alias="raise", description="the message")

    def spec_fields(self) -> dict[str, Any]:
        """The message."""
        return {"raise": self.raise_}


class Approval(Model):
    """What a person is asked."""

    noun = "approval"

    subject: FilledText = Field(description="the question")
    body: Text | None = Field(None, description="more about it, markdown")
    assigned_users: Names | None = Field(
        None, description="who may decide, everyone who may run it if absent"
    )
    default: (
        Annotated[
            str, PlainValidator(word("approve", "reject")), WithJsonSchema({"enum": ["approve", "reject"]})
        ]
        | None
    ) = Field(None, description="approve or reject: the decision when the timeout passes")
    fail_on_reject: Flag | None = Field(None, description="a rejection fails the stage, true if absent")


def approval_value(value: Any, info: ValidationInfo) -> Approval:
    """The subject as text, or the map."""
    if isinstance(value, str):
        value = {"subject": value}
    return Approval.model_validate(value, context=info.context)


class ApprovalStage(Stage):
    """Waits until a person decides, in the Airflow UI."""

    kind = "approval"
    noun = "approval stage"

    approval: Annotated[
        Approval,
        PlainValidator(approval_value),
        WithJsonSchema({"anyOf": [{"type": "string"}, {"x-ref": "Approval"}]}),
    ] = Field(description="the question as text, or a map")

    def spec_fields(self) -> dict[str, Any]:
        """The question."""
        ask = self.approval
        return {
            "approval": {
                "subject": ask.subject,
                **present(
                    body=ask.body,
                    assigned_users=ask.assigned_users,
                    default=ask.default,
                    fail_on_reject=False if ask.fail_on_reject is False else None,
                ),
            }
        }
