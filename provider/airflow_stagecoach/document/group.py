"""``concurrency``: runs of one group do not overlap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, PlainValidator, ValidationInfo, WithJsonSchema

from airflow_stagecoach.document.diagnostics import found
from airflow_stagecoach.document.fields import filled_text, word
from airflow_stagecoach.document.model import Model, fault

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_stagecoach.document.plan import ConcurrencyPlan

CONFLICTS = ("queue", "reject", "skip", "cancel-running")
MAX_GROUP = 200
_HABITS = {
    "cancel": "cancel-running",
    "cancel-in-progress": "cancel-running",
    "cancel-others": "cancel-running",
    "replace": "cancel-running",
    "wait": "queue",
    "fail": "reject",
    "error": "reject",
    "ignore": "skip",
}


def group_value(value: Any) -> str:
    """The name of a group; may hold expressions."""
    text = filled_text(value).strip()
    if len(text) > MAX_GROUP:
        raise fault("too-long", f"the name of a group may have at most {MAX_GROUP} characters")
    return text


def conflict_value(value: Any) -> str:
    """What happens to a run while another one of its group runs."""
    if isinstance(value, str) and value in _HABITS:
        hint = f"write {_HABITS[value]}"
        raise fault(
            "bad-word", f"expected {', '.join(CONFLICTS[:-1])} or {CONFLICTS[-1]}, found '{value}'", hint
        )
    return word(*CONFLICTS)(value)


class Concurrency(Model):
    """Runs of one group, of this or any other workflow, do not overlap."""

    noun = "concurrency"
    needed: ClassVar[Mapping[str, str]] = {"group": "write group: NAME"}
    habits: ClassVar[Mapping[str, str]] = {
        "name": "write group",
        "key": "write group",
        "cancel-in-progress": "write on-conflict: cancel-running",
        "cancel-running": "write on-conflict: cancel-running",
        "policy": "write on-conflict",
        "strategy": "write on-conflict",
        "queue": "write on-conflict: queue",
        "max-runs": "write max-active-runs on the workflow",
        "max-tasks": "write max-active-tasks on the workflow",
        "max": "write max-active-runs on the workflow",
        "limit": "write max-active-runs on the workflow",
    }

    group: Annotated[
        str,
        PlainValidator(group_value),
        WithJsonSchema({"type": "string", "minLength": 1, "maxLength": MAX_GROUP}),
    ] = Field(description="the name of the group; may hold expressions over params, run and vars")
    on_conflict: (
        Annotated[
            Literal["queue", "reject", "skip", "cancel-running"],
            PlainValidator(conflict_value),
            WithJsonSchema({"enum": list(CONFLICTS)}),
        ]
        | None
    ) = Field(
        None,
        description="what a new run does while another one of the group runs: wait (queue, if absent), fail "
        "(reject), skip all its jobs (skip), or stop the other (cancel-running)",
    )

    @classmethod
    def unknown_key(cls, key: str, data: Mapping[str, Any]) -> tuple[str, str | None]:
        """GitHub's switch says by its value what is meant."""
        message, hint = super().unknown_key(key, data)
        if key.replace("_", "-") == "cancel-in-progress" and data.get(key) is False:
            hint = "write on-conflict: queue"
        return message, hint

    def plan(self) -> ConcurrencyPlan:
        """The group and what happens on a conflict."""
        return {"group": self.group, "on_conflict": self.on_conflict or "queue"}


def concurrency_value(value: Any, info: ValidationInfo) -> Concurrency:
    """The name of a group, or the map."""
    if isinstance(value, str):
        return Concurrency.model_construct(group=group_value(value))
    if isinstance(value, int) and not isinstance(value, bool):
        hint = f"write max-active-tasks: {value} for tasks at a time, max-active-runs: {value} for runs"
        raise fault("wrong-type", f"expected the name of a group or a map, found {found(value)}", hint)
    return Concurrency.model_validate(value, context=info.context)


ConcurrencyField = Annotated[
    Concurrency,
    PlainValidator(concurrency_value),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"x-ref": "Concurrency"}]}),
]
