"""A stage with ``resources``: it runs in a process of its own that is limited.

The child is this engine once more, a fresh interpreter with the paths of this one. It gets the stage as
a unit in a file and writes its result to another. Log lines come over its standard output, each
with a mark and its level; what else appears there was written by programs past Python.

Inside, a stage can do all but trigger workflows, which only a task of Airflow can.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
import uuid
from typing import TYPE_CHECKING, Any, Callable, Dict, Mapping

from airflow_stagecoach.engine import cgroup, limits
from airflow_stagecoach.engine.bash import check_exit
from airflow_stagecoach.engine.classification import classify
from airflow_stagecoach.engine.errors import SkipStage, StageError
from airflow_stagecoach.engine.frame import STATUS
from airflow_stagecoach.engine.hooks import Hooks
from airflow_stagecoach.engine.process import GRACE, run_process
from airflow_stagecoach.engine.transport import dump, load
from airflow_stagecoach.engine.usage import Usage

if TYPE_CHECKING:
    from types import FrameType

    from airflow_stagecoach.engine.frame import Work
    from airflow_stagecoach.engine.process import Finished

#: Keys of a spec that are this process's business, not the child's.
_OUTSIDE = (
    "if",
    "env",
    "timeout",
    "retry",
    "outputs",
    "continue_on_error",
    "resources",
    "logging",
    "teardown",
)

#: The child gets this much more time than its own children get to end.
_GRACE = GRACE + 3.0

_START = (
    "import json, sys\n"
    "with open(sys.argv[1], encoding='utf-8') as file: setup = json.load(file)\n"
    "sys.path[:] = setup['path']\n"
    "from airflow_stagecoach.engine.limited import child\n"
    "child(setup)\n"
)

_MIB = 1024 * 1024

_LEVELS = ("debug", "info", "warning", "error")


def run_limited(work: Work) -> Dict[str, Any]:
    """Run one try of a stage in a limited process.

    :return: its raw outputs
    :raises StageError: the resources cannot be given, or the stage failed
    :raises SkipStage: it said so
    """
    limit = limits.prepare(work.spec["resources"])
    for warning in limit.warnings:
        work.log(f"{warning} (going on: best-effort)", "warning")
    with cgroup.removed_at_the_end(limit.group):
        private = tempfile.mkdtemp(prefix="stagecoach-")
        try:
            return _in_child(work, limit, private)
        finally:
            shutil.rmtree(private, ignore_errors=True)


def _in_child(work: Work, limit: limits.Limits, private: str) -> Dict[str, Any]:
    result_path, setup_path = os.path.join(private, "result.json"), os.path.join(private, "setup.json")
    mark = uuid.uuid4().hex
    setup = {
        "path": sys.path,
        "result": result_path,
        "mark": mark,
        "entrance": None if limit.group is None else limit.group.entrance,
        "memory": limit.memory,
        "cores": limit.cores,
        "strict": work.spec["resources"].get("enforce") != "best-effort",
        "unit": _unit_text(work),
    }
    with open(setup_path, "w", encoding="utf-8") as file:
        json.dump(setup, file)
    used = Usage()
    folder = work.frame.place.made_workdir()
    finished = run_process(
        [sys.executable, "-c", _START, setup_path],
        env=work.env,
        folder=folder,
        scope=work.scope,
        log=_unmarked(work, mark),
        usage=used,
        grace=_GRACE,
    )
    peak = 0 if limit.group is None else limit.group.peak_memory()
    try:
        with open(result_path, encoding="utf-8") as file:
            result = json.load(file)
    except (FileNotFoundError, ValueError):
        work.usage.add(used.cpu_seconds, max(used.peak_memory, peak))
        raise _without_result(finished, limit, work) from None
    (stage,) = result["stages"].values()
    return _taken_over(work, stage, limit, peak)


def _unit_text(work: Work) -> str:
    place = work.frame.place
    spec = {key: value for key, value in work.spec.items() if key not in _OUTSIDE}
    unit = {
        "stages": [{**spec, "id": work.id.replace("${{", "$${{")}],
        "contexts": {name: value for name, value in work.contexts.items() if name not in ("env", STATUS)},
        "status": work.contexts.get(STATUS),
        "attempt": work.attempt,
        "document_dir": place.document_dir,
        "workdir": place.workdir,
        "modules": place.modules.places(),
        "extras": place.extras,
        "log_level": work.log_level,
        "enforce_timeouts": False,
        "enforce_resources": True,
    }
    try:
        return dump(unit)
    except TypeError as error:
        raise StageError(
            f"resources: a value cannot travel into the process of the stage: {error}", type="NotStorable"
        ) from error


def _unmarked(work: Work, mark: str) -> Callable[[str, str], None]:
    """Takes the child's lines: those of its log with their levels, others as they are."""

    def log(line: str, level: str) -> None:
        if line.startswith(mark):
            known = line[len(mark) : len(mark) + 1]
            number = int(known) if known.isdecimal() else 1
            work.log(line[len(mark) + 1 :], _LEVELS[number] if number < len(_LEVELS) else level)
        else:
            work.log(line, level)

    return log


def _taken_over(work: Work, stage: Mapping[str, Any], limit: limits.Limits, peak: int) -> Dict[str, Any]:
    """The child's result as this process's own."""
    work.usage.add(stage.get("cpu_seconds", 0.0), max(stage.get("peak_memory", 0), peak))
    for name, value in (stage.get("metrics") or {}).items():
        work.usage.count(name, value)
    work.omitted.update(stage.get("omitted") or {})
    if stage["state"] == "success":
        outputs: Dict[str, Any] = stage["outputs"]
        return outputs
    error = stage.get("error") or {"type": "StageError", "message": "the stage failed"}
    if stage["state"] == "skipped" and stage.get("error"):
        raise SkipStage(error["message"])
    work.outputs.update(stage["outputs"])
    if stage["state"] == "skipped":  # a nested stage of which nothing ran
        work.state = "skipped"
        return work.outputs
    work.told = True  # The child's engine wrote it to the log.
    details = {key: error[key] for key in error if key not in ("type", "message", "exit_code")}
    details.update(_evidence(limit))
    message = _with_limit(error["message"], details, work)
    raise StageError(message, type=error["type"], exit_code=error.get("exit_code"), details=details)


def _evidence(limit: limits.Limits) -> Dict[str, Any]:
    """What the group knows about a failure: whether the kernel ended a process of the stage."""
    if limit.group is not None and limit.group.out_of_memory():
        found = classify({"type": "Signal", "message": "", "oom": True})
        return {"oom": True, "category": found.category, "reason": found.reason}
    return {}


def _with_limit(message: str, details: Mapping[str, Any], work: Work) -> str:
    """The message, with the limit where memory ran out."""
    resources = work.spec["resources"]
    memory = (resources.get("limits") or {}).get("memory", resources.get("memory"))
    if memory is None or details.get("reason") not in ("out-of-memory", "OOMKilled"):
        return message
    return f"{message} (the limit of the stage is {memory / _MIB:g} MiB of memory: `resources`)"


def _without_result(finished: Finished, limit: limits.Limits, work: Work) -> StageError:
    """Why the child gave no result: it was killed, left past Python, or found no memory even to tell."""
    try:
        check_exit(finished, "the process of the stage")
    except StageError as error:
        details = {**error.details, **_evidence(limit)}
        message = _with_limit(error.message, details, work)
        return StageError(message, type=error.type, exit_code=error.exit_code, details=details)
    return StageError("the process of the stage ended without a result", type="NoResult")


class _Marked(Hooks):
    """The child's hooks."""

    def __init__(self, mark: str) -> None:
        super().__init__()
        self._mark = mark
        # A file of its own: stages replace sys.stdout and may close it.
        self._output = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace", newline="\n")

    def log(self, text: str, level: str = "info") -> None:
        number = _LEVELS.index(level) if level in _LEVELS else 1
        self._output.write(f"{self._mark}{number}{text}\n")
        self._output.flush()

    def trigger(self, dag_id: str, params: Dict[str, Any], path: str) -> Dict[str, Any]:
        raise StageError(
            f"{path}: a trigger inside a stage with `resources` cannot run: that stage has a process of its "
            "own; move the trigger out of it, or give `resources` to the stages beside it",
            type="TriggerUnavailable",
        )


def child(setup: Mapping[str, Any]) -> None:
    """Be the limited process: run the unit, write its result, leave with 0.

    :param setup: what :func:`run_limited` wrote
    """
    from airflow_stagecoach.engine.runner import Runner

    sys.argv[:] = [""]
    unit = load(setup["unit"])
    hooks = _Marked(setup["mark"])
    runner = Runner(unit, hooks)

    def stop(number: int, frame: FrameType | None) -> None:
        runner.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    problem = limits.apply(setup["entrance"], setup["memory"], setup["cores"])
    if problem and setup["strict"]:
        sys.exit(problem)
    if problem:
        hooks.log(f"{problem} (going on: best-effort)", "warning")
    text = dump(runner.run())
    part = setup["result"] + ".part"
    with open(part, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(part, setup["result"])
