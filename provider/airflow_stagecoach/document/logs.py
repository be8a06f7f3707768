"""``logging``: how a stage writes its log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, PlainValidator, ValidationInfo, WithJsonSchema, model_validator

from airflow_stagecoach.document.diagnostics import did_you_mean, found, one_of
from airflow_stagecoach.document.fields import (
    filled_text,
    has_expression,
    number_schema,
    text_value,
    whole_number,
    word,
)
from airflow_stagecoach.document.model import Faults, Model, fault
from airflow_stagecoach.document.quantities import parse_bytes
from airflow_stagecoach.document.resources import quantity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_stagecoach.document.plan import LogFilePlan, LoggingPlan

LEVELS = ("debug", "info", "warning", "error", "critical")
FORMATS = ("text", "json")
MAX_BACKUPS = 100
#: The smallest log file, in bytes.
MIN_FILE = 1024
_LEVEL_HABITS = {"warn": "warning", "fatal": "critical", "trace": "debug", "verbose": "debug"}


def level_value(value: Any) -> str:
    """A level of Python's logging, in small letters."""
    text = text_value(value).strip().lower()
    if text not in LEVELS:
        meant = _LEVEL_HABITS.get(text)
        hint = f"did you mean '{meant}'?" if meant else did_you_mean(text, LEVELS)
        raise fault("bad-word", f"expected {one_of(LEVELS)}, found {found(value)}", hint)
    return text


def folder_value(value: Any) -> str:
    """A folder of every worker: an absolute path."""
    text = filled_text(value).strip()
    if has_expression(text):
        message = "the folder of a log must be known when the document is loaded, found an expression"
        raise fault("wrong-type", message, "each try has a file of its own below it")
    if not text.startswith("/") or "\0" in text:
        raise fault("bad-path", f"expected the full path of a folder, found {found(text)}", "begin it with /")
    return text


def file_size(value: Any) -> int:
    """Bytes of a log file: a few lines at least."""
    return parse_bytes(value, MIN_FILE)


class LogFile(Model):
    """An additional log file of each try, ``FOLDER/dag/run/task/try.log``."""

    noun = "log file"
    habits: ClassVar[Mapping[str, str]] = {
        "folder": "write path",
        "directory": "write path",
        "dir": "write path",
        "name": "write path: the folder; the names of the files are made of dag, run, task and try",
        "filename": "write path: the folder; the names of the files are made of dag, run, task and try",
        "max-size": "write max-bytes",
        "backup-count": "write backups",
        "level": "write level beside file",
    }

    path: (
        Annotated[str, PlainValidator(folder_value), WithJsonSchema({"type": "string", "pattern": "^/"})]
        | None
    ) = Field(None, description="the folder, what the option `[stagecoach] log_folder` names if absent")
    max_bytes: (
        Annotated[int, PlainValidator(quantity(file_size)), WithJsonSchema({"type": ["integer", "string"]})]
        | None
    ) = Field(None, description="a file that grows beyond it is continued in a new one: 10M, 64Mi")
    backups: (
        Annotated[
            int, PlainValidator(whole_number(1, MAX_BACKUPS)), WithJsonSchema(number_schema(1, MAX_BACKUPS))
        ]
        | None
    ) = Field(None, description="of max-bytes: older files that are kept, 1 if absent")

    @model_validator(mode="after")
    def _backups_of_something(self) -> LogFile:
        if self.backups is not None and self.max_bytes is None:
            faults = Faults()
            hint = "write max-bytes: 10M"
            faults.add(fault("bad-combination", "'backups' needs 'max-bytes'", hint, on_key=True), "backups")
            faults.raise_any()
        return self

    def plan(self) -> LogFilePlan:
        """The keys that are set."""
        plan: LogFilePlan = {}
        if self.path is not None:
            plan["path"] = self.path
        if self.max_bytes is not None:
            plan["max_bytes"] = self.max_bytes
        if self.backups is not None:
            plan["backups"] = self.backups
        return plan


def file_value(value: Any, info: ValidationInfo) -> LogFile | bool:
    """``true``, ``false``, or the map."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        raise fault(
            "wrong-type", f"expected true, false or a map, found {found(value)}", f"write {{path: {value}}}"
        )
    return LogFile.model_validate(value, context=info.context)


class Logging(Model):
    """How a stage writes its log. Of workflow, job and stage, key by key, the innermost counts."""

    noun = "logging"
    habits: ClassVar[Mapping[str, str]] = {
        "log-level": "write level",
        "handlers": "write file: true for an additional file",
        "path": "write file: {path: ...}",
        "max-bytes": "write file: {max-bytes: ...}",
        "backups": "write file: {backups: ...}",
        "json": "write format: json",
        "structured": "write format: json",
    }

    level: (
        Annotated[
            Literal["debug", "info", "warning", "error", "critical"],
            PlainValidator(level_value),
            WithJsonSchema({"enum": list(LEVELS)}),
        ]
        | None
    ) = Field(None, description="of `logger` in Python, and the variable LOG_LEVEL; all if absent")
    format: (
        Annotated[
            Literal["text", "json"], PlainValidator(word(*FORMATS)), WithJsonSchema({"enum": list(FORMATS)})
        ]
        | None
    ) = Field(None, description="text (if absent), or json: one object per line")
    file: (
        Annotated[
            LogFile | bool,
            PlainValidator(file_value),
            WithJsonSchema({"anyOf": [{"type": "boolean"}, {"x-ref": "LogFile"}]}),
        ]
        | None
    ) = Field(None, description="an additional file for each try: true, or where and how large")


def merged_logging(levels: list[Logging | None]) -> LoggingPlan:
    """The plan of workflow, job and stage together, the outermost first. Empty where all is as usual.

    ``file: false`` takes away what an outer level asked for; ``file: true`` keeps its settings.
    """
    plan: LoggingPlan = {}
    for logging in levels:
        if logging is None:
            continue
        if logging.level is not None:
            plan["level"] = logging.level
        if logging.format is not None:
            plan["format"] = logging.format
        if logging.file is False:
            plan.pop("file", None)
        elif logging.file is not None:
            own: LogFilePlan = logging.file.plan() if isinstance(logging.file, LogFile) else {}
            plan["file"] = {**plan.get("file", {}), **own}
    if plan.get("format") == "text":
        del plan["format"]
    return plan


LoggingField = Annotated[
    Logging,
    PlainValidator(lambda value, info: Logging.model_validate(value, context=info.context)),
    WithJsonSchema({"x-ref": "Logging"}),
]
