"""The kinds of stages that hold other stages; each is one task."""

# pydantic evaluates the annotations of models when it runs:
# ruff: noqa: TC001

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field, PlainValidator, ValidationInfo, WithJsonSchema, model_validator

from airflow_stagecoach.document.diagnostics import found
from airflow_stagecoach.document.fields import (
    Condition,
    Flag,
    has_expression,
)
from airflow_stagecoach.document.model import (
    Faults,
    Model,
    fault,
)
from airflow_stagecoach.document.stage import (
    Stage,
    Stages,
    present,
    spec_of,
    stages_value,
)
from airflow_stagecoach.document.stage_fields import (
    Concurrent,
    Items,
    Loops,
    Scalar,
    Workers,
)
from airflow_stagecoach.expressions import to_text


def branches_value(value: Any, info: ValidationInfo) -> dict[str, list[Stage]]:
    """``parallel``: branch -> stages."""
    if not isinstance(value, Mapping):
        raise fault(
            "wrong-type",
            f"expected a map of branches, found {found(value)}",
            "write parallel: {branch: [stages]}",
        )
    if not value:
        raise fault("empty-value", "expected at least one branch")
    faults = Faults()
    branches = {}
    for branch, stages in value.items():
        if not str(branch).strip():
            faults.add(fault("empty-value", "a branch has no name", on_key=True), str(branch))
        branches[str(branch)] = faults.check(lambda item: stages_value(item, info), stages, str(branch))
    faults.raise_any()
    return branches


Branches = Annotated[
    dict[str, list[Stage]],
    PlainValidator(branches_value),
    WithJsonSchema(
        {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": {"type": "array", "items": {"x-ref": "Stage"}},
        }
    ),
]


class ParallelStage(Stage):
    """Runs branches of stages side by side, in one task."""

    kind = "parallel"
    noun = "parallel stage"

    parallel: Branches = Field(description="branch -> stages; they see `branch`")
    max_workers: Workers | None = Field(None, description="branches at a time, 2 if absent")

    def spec_fields(self) -> dict[str, Any]:
        """The branches, their stages as specs."""
        branches = {branch: [spec_of(stage) for stage in stages] for branch, stages in self.parallel.items()}
        return {"parallel": branches, **present(max_workers=self.max_workers)}

    def children(self) -> list[tuple[tuple[str | int, ...], list[Stage]]]:
        """One list for each branch."""
        return [(("parallel", branch), stages) for branch, stages in self.parallel.items()]


class ForEachStage(Stage):
    """Runs stages once for each item, in one task."""

    kind = "foreach"
    noun = "foreach stage"

    foreach: Items = Field(description="a list, or an expression that gives one")
    stages: Stages = Field(description="they see `item` and `loop` (from 0)")
    concurrent: Concurrent | None = Field(None, description="items at a time, 1 if absent")
    use_index_as_key: Flag | None = Field(None, description="key of the outputs is the index, not the item")

    @model_validator(mode="after")
    def _items_are_keys(self) -> ForEachStage:
        if self.use_index_as_key or not isinstance(self.foreach, list) or has_expression(self.foreach):
            return self
        faults = Faults()
        seen: dict[str, int] = {}
        hint = "write use-index-as-key: true"
        for index, item in enumerate(self.foreach):
            if isinstance(item, (dict, list)):
                message = f"{found(item)} cannot be the key of an item's outputs"
                faults.add(fault("bad-foreach", message, hint), "foreach", index)
                continue
            key = "null" if item is None else to_text(item)
            if key in seen:
                message = f"item {found(item)} stands twice, first at index {seen[key]}"
                faults.add(fault("bad-foreach", message, hint), "foreach", index)
            seen.setdefault(key, index)
        faults.raise_any()
        return self

    def spec_fields(self) -> dict[str, Any]:
        """The items and the stages, as specs."""
        return {
            "foreach": self.foreach,
            "stages": [spec_of(stage) for stage in self.stages],
            **present(concurrent=self.concurrent, use_index_as_key=self.use_index_as_key or None),
        }

    def children(self) -> list[tuple[tuple[str | int, ...], list[Stage]]]:
        """The one list."""
        return [(("stages",), self.stages)]


class UntilStage(Stage):
    """Repeats stages until a condition is true, in one task."""

    kind = "until"
    noun = "until stage"

    until: Condition = Field(description="tested after each loop; sees the new `item` and `loop`")
    item: Scalar | None = Field(None, description="the first item, 0 if absent")
    stages: Stages = Field(description="they see `item` and `loop` (from 1)")
    max_loop: Loops | None = Field(None, description="more loops are a failure, 10 if absent")

    def spec_fields(self) -> dict[str, Any]:
        """The condition and the stages, as specs."""
        return {
            "until": self.until,
            "stages": [spec_of(stage) for stage in self.stages],
            **present(item=self.item, max_loop=self.max_loop),
        }

    def children(self) -> list[tuple[tuple[str | int, ...], list[Stage]]]:
        """The one list."""
        return [(("stages",), self.stages)]


class Match(Model):
    """One entry of ``match``: ``{case, stages}``, or ``{else: stages}`` for everything else."""

    noun = "match entry"
    habits: ClassVar[Mapping[str, str]] = {
        "default": "write else: [stages]",
        "when": "write case",
        "if": "write case",
        "then": "write stages",
    }

    case: Scalar | None = Field(None, description="equal in type and value; `_` matches everything else")
    stages: Stages | None = Field(None, description="they see `case`")
    else_: Stages | None = Field(
        None, alias="else", description="stages for everything else, in place of both"
    )

    @model_validator(mode="after")
    def _one_form(self) -> Match:
        if self.else_ is not None:
            if self.case is not None or self.stages is not None:
                raise fault("bad-combination", "'else' stands alone, without 'case' and 'stages'")
        elif self.case is None or self.stages is None:
            raise fault("missing-key", f"a match entry needs '{'case' if self.case is None else 'stages'}'")
        return self


def matches_value(value: Any, info: ValidationInfo) -> list[Match]:
    """``match``: a list of entries, at most one for everything else."""
    if not isinstance(value, (list, tuple)):
        raise fault("wrong-type", f"expected a list of match entries, found {found(value)}")
    if not value:
        raise fault("empty-value", "expected at least one match entry")
    faults = Faults()
    entries: list[Match | None] = []
    for index, item in enumerate(value):
        entries.append(
            faults.check(lambda item: Match.model_validate(item, context=info.context), item, index)
        )
    first_default: int | None = None
    seen: list[Any] = []
    for index, entry in enumerate(entries):
        if entry is None:
            continue
        if entry.else_ is not None or entry.case == "_":
            if first_default is not None:
                message = "a second entry for everything else: `else` and `case: _` are the same"
                faults.add(fault("duplicate-case", message, "keep one of them"), index)
            first_default = index if first_default is None else first_default
        elif any(type(entry.case) is type(case) and entry.case == case for case in seen):
            faults.add(fault("duplicate-case", f"case {found(entry.case)} stands twice"), index, "case")
        else:
            seen.append(entry.case)
    faults.raise_any()
    return [entry for entry in entries if entry is not None]


Matches = Annotated[
    list[Match],
    PlainValidator(matches_value),
    WithJsonSchema({"type": "array", "minItems": 1, "items": {"x-ref": "Match"}}),
]


class CaseStage(Stage):
    """Runs the stages of the first entry that matches, in one task."""

    kind = "case"
    noun = "case stage"

    case: Scalar = Field(description="the value that is compared")
    match: Matches = Field(description="entries, the first that matches runs")
    skip_not_match: Flag | None = Field(None, description="skip when nothing matches, fail if absent")

    def spec_fields(self) -> dict[str, Any]:
        """The value and the entries, their stages as specs."""
        entries: list[dict[str, Any]] = []
        for entry in self.match:
            if entry.else_ is not None:
                entries.append({"else": [spec_of(stage) for stage in entry.else_]})
            else:
                entries.append(
                    {"case": entry.case, "stages": [spec_of(stage) for stage in entry.stages or ()]}
                )
        return {"case": self.case, "match": entries, **present(skip_not_match=self.skip_not_match or None)}

    def children(self) -> list[tuple[tuple[str | int, ...], list[Stage]]]:
        """One list for each entry."""
        return [
            (
                ("match", index, "else" if entry.else_ is not None else "stages"),
                entry.else_ or entry.stages or [],
            )
            for index, entry in enumerate(self.match)
        ]
