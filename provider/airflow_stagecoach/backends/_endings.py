"""What became of work that runs no more: its result, or why there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_stagecoach.backends.work import failed

if TYPE_CHECKING:
    from airflow_stagecoach.backends.work import Handle, Status
    from airflow_stagecoach.engine.contract import Error, Result, Unit

#: Exit codes of a process that got SIGKILL, and of a shell whose command got it.
_KILLED = (-9, 137)

#: A result is at most this long, in bytes.
LONGEST_RESULT = 10 * 1024 * 1024


def cancelled(unit: Unit) -> Result:
    """The result of work that was stopped because somebody wanted it to."""
    error: Error = {"type": "Cancelled", "message": "The work was stopped", "category": "cancelled"}
    return failed(unit, error, "cancelled")


def read(unit: Unit, handle: Handle, status: Status, text: bytes | None) -> Result:
    """The result document, or a result that says why there is none."""
    if text is None:
        return failed(unit, _no_result(handle, status))
    if len(text) > LONGEST_RESULT:
        message = "the outputs take more than the 10 MiB that a result may have; write them to a file"
        return failed(unit, {"type": "ResultTooLarge", "message": message})
    from airflow_stagecoach.backends._bash_alone import MAGIC, compose
    from airflow_stagecoach.backends._result_document import parse

    try:
        result = compose(unit, text) if text.startswith(MAGIC) else parse(unit, text)
    except (ValueError, LookupError, TypeError) as error:
        message = f"the result of {handle['name']} is damaged: {error}"
        return failed(unit, {"type": "DamagedResult", "message": message, "category": "system"})
    return _with_memory(result, status)


def stopped_from_outside(result: Result, handle: Handle, status: Status) -> Result:
    """The result of work that somebody else ended: nobody asked this task to stop, so it has failed."""
    message = f"{handle['name']} was stopped from outside: by a person, or with the machine that it ran on"
    error: Error = {
        "type": "Stopped",
        "message": message,
        "category": "system",
        "reason": status.reason or "terminated",
    }
    result["outcome"] = "failure"
    for stage in result["stages"].values():
        if stage["outcome"] == "cancelled":
            stage["outcome"], stage["error"] = "failure", error
    return result


def _with_memory(result: Result, status: Status) -> Result:
    """The result, with what only the place knows: that a process was killed for its memory."""
    if status.reason == "OOMKilled":
        from airflow_stagecoach.engine.classification import classified

        for stage in result["stages"].values():
            if stage["error"] and stage["error"].get("exit_code") in _KILLED:
                stage["error"] = classified({**stage["error"], "category": "resource", "reason": "OOMKilled"})
    return result


def _no_result(handle: Handle, status: Status) -> Error:
    """Why there is no result: the reason that the place gives, else the exit code."""
    from airflow_stagecoach.engine.classification import classified

    said = f": {status.message}" if status.message else ""
    if status.exit_code:
        message = f"{handle['name']} ended with exit code {status.exit_code} and left no result{said}"
        error: Error = {"type": "ExitCode", "message": message, "exit_code": status.exit_code}
        if status.reason:
            error["type"] = error["reason"] = status.reason
        return classified(error)
    message = f"{handle['name']} ended and left no result{said}"
    reason = status.reason or "NoResult"
    error = {"type": reason, "message": message, "reason": reason}
    if status.reason is None:
        error["category"] = "system"
    return classified(error)


def lost(handle: Handle, status: Status) -> Error:
    """Work that is gone."""
    reason = status.reason or "Lost"
    message = status.message or f"{handle['name']} is gone and left no result"
    return {"type": reason, "message": message, "reason": reason, "category": "system"}


def unreachable(type_: str, handle: Handle, patience: float, error: Error) -> Error:
    """A place that has not answered for so many seconds, and what the last look said."""
    message = (
        f"{type_} has not answered for {patience:.0f} s; {handle['name']} may still run there, "
        f"and another try finds it: {error['message']}"
    )
    return {"type": error["type"], "message": message, "reason": "Unreachable", "category": "network"}
