"""From an exception to the ``error`` of a stage result, and to the traceback in the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_stagecoach import expressions
from airflow_stagecoach.engine.errors import Interrupted, SkipStage, StageError

if TYPE_CHECKING:
    from types import TracebackType

    from airflow_stagecoach.engine.contract import Error

#: Longer messages are cut, in characters.
_LONGEST = 4000

#: Exceptions that mean "skipped", also those of Airflow, which is not known here.
_SKIPS = frozenset({SkipStage.__name__, "AirflowSkipException"})

_ENGINE = __name__.rpartition(".")[0] + "."


def is_skip(error: BaseException) -> bool:
    """Whether user code says with this exception that the stage is skipped."""
    return any(kind.__name__ in _SKIPS for kind in type(error).__mro__)


def error_of(error: BaseException) -> Error:
    """The ``error`` of a stage result, classified."""
    # Imported when something has failed: a container pays for what its unit needs.
    from airflow_stagecoach.engine.classification import classified

    return classified(_described(error))


def _described(error: BaseException) -> Error:
    if isinstance(error, StageError):
        described: Error = {"type": error.type, "message": shorten(error.message)}
        if error.exit_code is not None:
            described["exit_code"] = error.exit_code
        described.update(error.details)  # type: ignore[typeddict-item]  # its keys are those of Error
        return described
    if isinstance(error, Interrupted):
        return {"type": type(error).__name__, "message": str(error)}
    name, text = type(error).__name__, text_of_error(error)
    if not isinstance(error, expressions.ExpressionError) and text != name:
        # What user code raised may say little alone: the text of a KeyError is only the key.
        text = f"{name}: {text}"
    kinds = [kind for kind in type(error).__mro__ if kind not in (object, BaseException, Exception)]
    described = {
        "type": name,
        "message": shorten(text),
        "classes": [f"{kind.__module__}.{kind.__qualname__}" for kind in kinds],
    }
    from airflow_stagecoach.engine.classification import reason_of_errno
    from airflow_stagecoach.engine.http_facts import http_facts

    described.update(http_facts(error))  # type: ignore[typeddict-item]  # its keys are those of Error
    reason = reason_of_errno(error.errno) if isinstance(error, OSError) else None
    if reason is not None:
        described["reason"] = reason
    return described


def text_of_error(error: BaseException) -> str:
    """``str(error)``, its type where that is empty or fails itself."""
    try:
        return str(error) or type(error).__name__
    except Exception:  # A broken __str__ of the user's class.
        return type(error).__name__


def shorten(text: str) -> str:
    """A message of bounded length that every file and database takes."""
    text = text.replace("\0", "\ufffd").encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= _LONGEST else text[: _LONGEST - 4] + " ..."


def user_traceback(error: BaseException) -> TracebackType | None:
    """The traceback from the first frame that is not the engine's own."""
    trace = error.__traceback__
    while trace is not None and str(trace.tb_frame.f_globals.get("__name__")).startswith(_ENGINE):
        trace = trace.tb_next
    return trace


def traceback_text(error: BaseException) -> str:
    """The traceback as a person wants it: it begins at their code."""
    import traceback

    lines = traceback.format_exception(type(error), error, user_traceback(error))
    return "".join(lines).rstrip("\n")
