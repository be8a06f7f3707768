"""The models of the stage kinds, and how a kind is told from the keys of a stage."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field, PlainValidator, ValidationInfo, WithJsonSchema, model_validator

from airflow_stagecoach.document.diagnostics import did_you_mean, found, one_of
from airflow_stagecoach.document.durations import MAX_SECONDS
from airflow_stagecoach.document.fields import (
    Condition,
    Data,
    Duration,
    Env,
    Faults,
    FilledText,
    Flag,
    Model,
    Names,
    Text,
    Variables,
    article,
    duration_value,
    fault,
    has_expression,
    kebab,
    or_expression,
    plain_data,
    text_value,
    whole_number,
)
from airflow_stagecoach.document.retry import RetryField, word

MAX_CONCURRENT = 1000
MAX_LOOP = 1000

_USES = re.compile(r"[^/@\s][^@\s]*/[^/@\s]+@[^/@\s]+")
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_EXPRESSION = re.compile(r"(?<!\$)\$\{\{.*?\}\}", re.DOTALL)


def bounded(low: int, high: int, *, expression: bool = False) -> Any:
    """The type of a whole number within limits, or of an expression that gives one."""
    check = whole_number(low, high)
    schema: dict[str, Any] = {"type": "integer", "minimum": low, "maximum": high}
    if not expression:
        return Annotated[int, PlainValidator(check), WithJsonSchema(schema)]
    either = {"anyOf": [schema, {"type": "string", "pattern": r"\$\{\{"}]}
    validator = or_expression(check, f"a whole number from {low} to {high}")
    return Annotated[int | str, PlainValidator(validator), WithJsonSchema(either)]


def scalar_value(value: Any) -> Any:
    """A text, number or boolean."""
    value = plain_data(value)
    if value is None or isinstance(value, (dict, list)):
        raise fault("wrong-type", f"expected text, a number or a boolean, found {found(value)}")
    return value


def sleep_value(value: Any) -> float | str:
    """Seconds, a duration, or an expression that gives seconds."""
    if has_expression(value):
        return str(value)
    return duration_value(value)


def source_value(value: Any) -> str:
    """Python source; a block that is indented as a whole is moved to the left."""
    text = text_value(value)
    if not text.strip():
        raise fault("empty-value", "expected Python code, found an empty text")
    first = next(line for line in text.splitlines() if line.strip())
    return textwrap.dedent(text) if first[:1].isspace() else text


def script_value(value: Any) -> str:
    """A shell script; a block that is indented as a whole is moved to the left."""
    text = text_value(value)
    if not text.strip():
        raise fault("empty-value", "expected a script, found an empty text")
    first = next(line for line in text.splitlines() if line.strip())
    return textwrap.dedent(text) if first[:1].isspace() else text


def uses_value(value: Any) -> str:
    """``path/func@tag``."""
    text = text_value(value)
    if re.fullmatch(r"actions/[\w.-]+@(v\d[\w.]*|main|master|[0-9a-f]{40})", text):
        hint = "call a Python function of yours, path/func@tag, or run a command with `bash:`"
        raise fault("bad-uses", f"GitHub actions such as '{text}' cannot run here", hint)
    if not _USES.fullmatch(_EXPRESSION.sub("x", text)):
        hint = "for instance `uses: tasks/load-table@latest` for a function with @tag('latest') in tasks.py"
        raise fault("bad-uses", f"expected path/func@tag, found {found(text)}", hint)
    return text


def operator_value(value: Any) -> str:
    """A dotted path to an operator class."""
    text = text_value(value)
    if not _DOTTED.fullmatch(text):
        hint = "for instance airflow.providers.standard.operators.bash.BashOperator"
        raise fault(
            "bad-operator", f"expected the dotted path of an operator class, found {found(text)}", hint
        )
    return text


def version_value(value: Any) -> str:
    """A Python version, ``"3.12"``."""
    if isinstance(value, float):
        hint = f'put it in quotes, YAML reads 3.10 as 3.1: "{value}"'
        raise fault("wrong-type", f"expected a Python version in quotes, found {found(value)}", hint)
    text = text_value(value)
    if not re.fullmatch(r"3(\.\d{1,2}(\.\d{1,3})?)?|(>=|==|~=)?3\.\d{1,2}(\.\d{1,3})?", text.strip()):
        raise fault("bad-version", f'expected a Python version such as "3.12", found {found(text)}')
    return text.strip()


def items_value(value: Any) -> Any:
    """The items of ``foreach``: a list, a map, an expression, or a list as JSON text."""
    if isinstance(value, str):
        if has_expression(value):
            return value
        try:
            items = json.loads(value)
        except ValueError:
            items = None
        if isinstance(items, (list, dict)):
            return items
        hint = f"write a list: [{', '.join(value.split(','))}]" if 0 < len(value) < 60 else None
        hint = re.sub(r"\s+", " ", hint) if hint else None
        raise fault("bad-foreach", f"expected a list, a map or an expression, found {found(value)}", hint)
    items = plain_data(value)
    if not isinstance(items, (list, dict)):
        raise fault(
            "bad-foreach",
            f"expected a list, a map or an expression, found {found(value)}",
            f"write [{value}]",
        )
    return items


Sleep = Annotated[
    float | str,
    PlainValidator(sleep_value),
    WithJsonSchema({"type": ["number", "string"], "minimum": 0, "maximum": MAX_SECONDS}),
]
Source = Annotated[str, PlainValidator(source_value), WithJsonSchema({"type": "string", "minLength": 1})]
Script = Annotated[str, PlainValidator(script_value), WithJsonSchema({"type": "string", "minLength": 1})]
Uses = Annotated[str, PlainValidator(uses_value), WithJsonSchema({"type": "string", "pattern": "^.+/.+@.+$"})]
Dotted = Annotated[str, PlainValidator(operator_value), WithJsonSchema({"type": "string", "pattern": "\\."})]
Version = Annotated[str, PlainValidator(version_value), WithJsonSchema({"type": "string"})]
Scalar = Annotated[
    Any, PlainValidator(scalar_value), WithJsonSchema({"type": ["string", "number", "boolean"]})
]
Items = Annotated[Any, PlainValidator(items_value), WithJsonSchema({"type": ["array", "object", "string"]})]


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
    timeout: Duration | None = Field(None, description="a try that takes longer fails")
    outputs: Data | None = Field(
        None, description="names added to the outputs; sees the raw ones as `outputs.<name>`"
    )
    continue_on_error: Flag | None = Field(None, description="a failure does not fail the job")

    @classmethod
    def unknown_key(cls, key: str, data: Mapping[str, Any]) -> tuple[str, str | None]:
        """Message and hint for a key that this kind does not have; another kind may have it."""
        norm = key.replace("_", "-")
        noun = article(cls.noun)
        habit = STAGE_HABITS.get(norm)
        others = [other for other in KINDS.values() if norm in other.keys()]  # noqa: SIM118 - a method, not a dict
        message = f"unknown key '{key}' in {noun}"
        if norm in KINDS and cls is EmptyStage:
            return message, None
        if others and not habit:
            habit = f"'{norm}' belongs to {one_of(article(other.noun) for other in others)}"
        known = dict.fromkeys([*cls.keys(), *(KINDS if cls is EmptyStage else ())])
        return message, habit or did_you_mean(key, known, f"the keys of {noun} are {', '.join(cls.keys())}")

    def spec_fields(self) -> dict[str, Any]:
        """The keys of the kind in the stage spec, without those that have their default."""
        return {}

    def children(self) -> list[tuple[tuple[str | int, ...], list[Stage]]]:
        """The nested lists of stages, each with the path that leads to it."""
        return []


class EmptyStage(Stage):
    """Writes a line to the log, sleeps, or does nothing."""

    kind = "empty"
    noun = "empty stage"

    echo: Scalar | None = Field(None, description="text for the log")
    sleep: Sleep | None = Field(None, description="seconds or a duration")

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
    faults = Faults()
    stages = [
        faults.check(lambda item: stage_value(item, info), item, index) for index, item in enumerate(value)
    ]
    faults.raise_any()
    return stages


Stages = Annotated[
    list[Stage],
    PlainValidator(stages_value),
    WithJsonSchema({"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/Stage"}}),
]


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
            "additionalProperties": {"type": "array", "items": {"$ref": "#/$defs/Stage"}},
        }
    ),
]


class ParallelStage(Stage):
    """Runs branches of stages side by side, in one task."""

    kind = "parallel"
    noun = "parallel stage"

    parallel: Branches = Field(description="branch -> stages; they see `branch`")
    max_workers: bounded(1, MAX_CONCURRENT, expression=True) | None = Field(  # type: ignore[valid-type] # computed
        None, description="branches at a time, 2 if absent"
    )

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

    foreach: Items = Field(description="a list, a map, or an expression that gives one")
    stages: Stages = Field(description="they see `item` and `loop` (from 0)")
    concurrent: bounded(1, MAX_CONCURRENT) | None = Field(  # type: ignore[valid-type] # computed
        None, description="items at a time, 1 if absent"
    )
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
            key = json.dumps(item) if not isinstance(item, str) else item
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
    max_loop: bounded(1, MAX_LOOP) | None = Field(  # type: ignore[valid-type] # computed
        None, description="more loops are a failure, 10 if absent"
    )

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
    habits = {
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
    WithJsonSchema({"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/Match"}}),
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
    fail_on_reject: Flag | None = Field(
        None, description="a rejection fails the stage, else it skips what follows"
    )


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
        WithJsonSchema({"anyOf": [{"type": "string"}, {"$ref": "#/$defs/Approval"}]}),
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
                    fail_on_reject=ask.fail_on_reject or None,
                ),
            }
        }


#: The key that only one kind has -> its model, in the order of the documentation.
KINDS: dict[str, type[Stage]] = {
    "echo": EmptyStage,
    "sleep": EmptyStage,
    "bash": BashStage,
    "run": PyStage,
    "uses": CallStage,
    "operator": OperatorStage,
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
    TriggerStage,
    ParallelStage,
    ForEachStage,
    UntilStage,
    CaseStage,
    RaiseStage,
    ApprovalStage,
)

#: Kinds that the engine cannot run inside a nested stage.
NOT_NESTED = ("operator", "approval")

WHICH_KIND = f"a stage has one of the keys {', '.join(KINDS)}"

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
}


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
        if norm in KINDS or norm == "image":
            marks[norm] = str(key)
    kinds = {("empty" if mark in ("echo", "sleep") else mark) for mark in marks}
    if len(kinds) > 1:
        keys = " and ".join(f"'{key}'" for key in marks.values())
        message = f"this stage has {keys}, but a stage is of one kind"
        raise fault("stage-kind", message, "make two stages of it, or remove one of the keys")
    if "image" in kinds:
        faults = Faults()
        hint = "this backend runs bash, run, uses and nested stages on the worker itself"
        faults.add(
            fault("not-available", "image stages are not available on backend 'local'", hint, on_key=True),
            "image",
        )
        faults.raise_any()
    model = KINDS[next(iter(marks))] if marks else EmptyStage
    if model is PyStage and any(str(key) in ("deps", "version") for key in value):
        model = VirtualPyStage
    return model.model_validate(value, context=info.context)


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
            timeout=stage.timeout,
            retry=stage.retry.plan() if stage.retry is not None else None,
            outputs=stage.outputs or None,
            continue_on_error=stage.continue_on_error or None,
        ),
        **stage.spec_fields(),
    }
