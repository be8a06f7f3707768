"""All kinds of stages, and how a kind is told from the keys of a stage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_stagecoach.document.diagnostics import found
from airflow_stagecoach.document.image_stage import ImageStage
from airflow_stagecoach.document.model import (
    fault,
    kebab,
)
from airflow_stagecoach.document.nested_stages import CaseStage, ForEachStage, ParallelStage, UntilStage
from airflow_stagecoach.document.simple_stages import (
    ApprovalStage,
    BashStage,
    CallStage,
    EmptyStage,
    OperatorStage,
    PyStage,
    RaiseStage,
    TriggerStage,
    VirtualPyStage,
)
from airflow_stagecoach.document.stage import Stage

if TYPE_CHECKING:
    from pydantic import ValidationInfo

#: The key that only one kind has -> its model, in the order of the documentation.
KINDS: dict[str, type[Stage]] = {
    "echo": EmptyStage,
    "sleep": EmptyStage,
    "bash": BashStage,
    "run": PyStage,
    "uses": CallStage,
    "operator": OperatorStage,
    "image": ImageStage,
    "trigger": TriggerStage,
    "parallel": ParallelStage,
    "foreach": ForEachStage,
    "until": UntilStage,
    "case": CaseStage,
    "raise": RaiseStage,
    "approval": ApprovalStage,
}

#: All models of stages, for the JSON Schema and the reference.
STAGE_MODELS: tuple[type[Stage], ...] = (
    EmptyStage,
    BashStage,
    PyStage,
    VirtualPyStage,
    CallStage,
    OperatorStage,
    ImageStage,
    TriggerStage,
    ParallelStage,
    ForEachStage,
    UntilStage,
    CaseStage,
    RaiseStage,
    ApprovalStage,
)

#: Kinds that the engine cannot run inside a nested stage.
NOT_NESTED = ("operator", "image", "approval")

#: Kinds that run something of the author's, which `resources` can be given to.
WITH_RESOURCES = ("bash", "python", "virtual_python", "call", "image", "parallel", "foreach", "until", "case")


def stage_value(value: Any, info: ValidationInfo) -> Stage:
    """The model of one stage, told by the one key that only its kind has."""
    if isinstance(value, Stage):
        return value
    if not isinstance(value, dict):
        hint = f"write `- bash: {value}`" if isinstance(value, str) and len(value) < 60 else None
        raise fault("wrong-type", f"expected a stage (a map), found {found(value)}", hint)
    marks: dict[str, str] = {}
    for key in value:
        norm = kebab(str(key))
        if norm in KINDS:
            marks[norm] = str(key)
    kinds = {("empty" if mark in ("echo", "sleep") else mark) for mark in marks}
    if len(kinds) > 1:
        keys = " and ".join(f"'{key}'" for key in marks.values())
        message = f"this stage has {keys}, but a stage is of one kind"
        hint = "make two stages of it, or remove one of the keys"
        if "image" in kinds:
            hint = "write runs-on: {type: docker, with: {image: ...}} at the job, or image and command"
        raise fault("stage-kind", message, hint)
    model = KINDS[next(iter(marks))] if marks else EmptyStage
    if model is PyStage and any(str(key) in ("deps", "version") for key in value):
        model = VirtualPyStage
    return model.model_validate(value, context=info.context)
