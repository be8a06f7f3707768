"""How a stage writes its log: ``logging: {level, format, file}``.

A line goes to the task log, and where the document asks for it to a file of
its own as well. A file that cannot be written is one warning: it never fails
the stage.
"""

from __future__ import annotations

import json
import logging
import os
from datetime import datetime, timezone
from logging.handlers import RotatingFileHandler
from typing import TYPE_CHECKING, Any

from airflow_stagecoach.operators._names import folder_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from airflow_stagecoach.document.plan import LogFilePlan, LoggingPlan
    from airflow_stagecoach.operators._record import Place

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}

#: Folding marks of the Airflow UI: they are no lines of the stage.
_MARKS = ("::group::", "::endgroup::")

#: Keys of a line's own object that may hold what it says.
_TEXT_KEYS = ("event", "message", "msg")


class StageLog:
    """The log of one try.

    :param plan: the stage's ``logging``
    :param place: where the try takes place
    :param write: writes one line to the task log: ``write(text, level)``
    :param folder: folder of additional files, where the document names none or a relative one
    :param redact: hides secrets in what goes to the file; the task log is masked by Airflow
    """

    def __init__(
        self,
        plan: LoggingPlan,
        place: Place,
        write: Callable[[str, str], None],
        folder: str = "",
        redact: Callable[[str], str] = str,
    ) -> None:
        self._least = LEVELS[plan.get("level", "debug")]
        self._json = plan.get("format", "text") == "json"
        self._place = place
        self._write = write
        self._redact = redact
        self._file: RotatingFileHandler | None = None
        self._broken = False
        if "file" in plan:
            self._path = log_path(plan["file"], place, folder)
            self._limits = plan["file"]
        else:
            self._path = ""

    def line(self, text: str, level: str = "info") -> None:
        """Write one line, if its level is high enough."""
        number = LEVELS.get(level, 20)
        mark = text.startswith(_MARKS)
        if number < self._least and not mark:
            return
        if self._json and not mark:
            text = json_line(text, level, self._place)
        self._write(text, level)
        if self._path and not mark:
            self._to_file(text)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _to_file(self, text: str) -> None:
        if self._broken:
            return
        try:
            if self._file is None:
                self._file = _open(self._path, self._limits)
            self._file.emit(logging.makeLogRecord({"msg": self._redact(text)}))
        except OSError as error:
            self._broken = True
            self._write(f"The additional log file cannot be written: {error}", "warning")


class _File(RotatingFileHandler):
    """Raises what goes wrong, which the base class prints."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # the name is logging's
        raise


def _open(path: str, limits: LogFilePlan) -> RotatingFileHandler:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return _File(
        path,
        maxBytes=limits.get("max_bytes", 0),
        backupCount=limits.get("backups", 1),
        encoding="utf-8",
        errors="backslashreplace",
    )


def log_path(plan: LogFilePlan, place: Place, folder: str) -> str:
    """``{base}/{dag}/{run}/{task}[/{map index}]/{try}.log``.

    :param plan: its ``path`` is the base; a relative one lies in the folder
    :param folder: the option ``[stagecoach] log_folder``
    """
    base = os.path.join(folder, plan.get("path", ""))
    parts = [place.dag_id, place.run_id, place.task_id]
    if place.map_index is not None:
        parts.append(str(place.map_index))
    return os.path.join(base, *map(folder_name, parts), f"{place.try_number}.log")


def default_folder() -> str:
    """Where additional files lie: ``[stagecoach] log_folder``, or ``stagecoach`` among Airflow's logs."""
    from airflow.sdk.configuration import conf

    folder = conf.get("stagecoach", "log_folder", fallback="")
    return folder or os.path.join(conf.get("logging", "base_log_folder", fallback="logs"), "stagecoach")


def json_line(text: str, level: str, place: Place) -> str:
    """A line as a JSON object on one line; one that is an object already stands under ``data``."""
    line: dict[str, Any] = {
        "ts": datetime.now(timezone.utc).isoformat(),
        "level": level,
        "event": text,
        "dag_id": place.dag_id,
        "run_id": place.run_id,
        "task": place.task_id,
        "map_index": place.map_index,
        "try": place.try_number,
        "job": place.job,
        "stage": place.stage,
        "matrix": dict(place.matrix) or None,
    }
    data = _object(text)
    if data is not None:
        line["event"] = next((str(data[key]) for key in _TEXT_KEYS if key in data), "")
        line["data"] = data
    return json.dumps(line, ensure_ascii=False, default=str)


def _object(text: str) -> dict[str, Any] | None:
    if not text.lstrip().startswith("{"):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def merged(plans: Iterable[LoggingPlan]) -> LoggingPlan:
    """One plan for stages that share a task: the lowest level, JSON if one has it, the first file."""
    found: LoggingPlan = {}
    for plan in plans:
        if "level" in plan:
            found["level"] = min(found.get("level", plan["level"]), plan["level"], key=LEVELS.__getitem__)
        if plan.get("format") == "json":
            found["format"] = "json"
        if "file" in plan:
            found.setdefault("file", plan["file"])
    return found


def logger_of(operator: Any, plan: LoggingPlan) -> Any:
    """A logger of an operator that writes what the document asks for, also what Airflow would leave out.

    :param plan: the stage's ``logging``
    """
    level = plan.get("level")
    if level is None:
        return operator.log
    from airflow.sdk.log import logger_at_level

    name = f"{type(operator).__module__}.{type(operator).__qualname__}"
    # Bound as well: Airflow 3.3 and 3.4 keep the first letter of the name alone.
    return logger_at_level(name, LEVELS[level]).bind(logger=name)


def environment(plan: Mapping[str, Any]) -> dict[str, str]:
    """``LOG_LEVEL`` for what a stage starts, in Python's words."""
    return {"LOG_LEVEL": str(plan["level"]).upper()} if "level" in plan else {}
