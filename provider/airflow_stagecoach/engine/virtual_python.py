"""``run:`` stages with ``deps`` or ``version``: Python in a virtual environment of its own, made by uv."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
from typing import TYPE_CHECKING, Any, Dict, List

from airflow_stagecoach import expressions
from airflow_stagecoach.engine import pack
from airflow_stagecoach.engine.bash import check_exit
from airflow_stagecoach.engine.errors import SkipStage, StageError
from airflow_stagecoach.engine.process import run_process
from airflow_stagecoach.engine.transport import dump

if TYPE_CHECKING:
    from airflow_stagecoach.engine.frame import Work
    from airflow_stagecoach.engine.process import Finished

#: Of the worker's own Python; they would lead the new one astray. The document may still set them.
_ASTRAY = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PYTHONSAFEPATH")

_OLDEST = (3, 8)

#: What uv says -> what it means for the document.
_UV_FAULTS = (
    (
        "No interpreter found|No virtual environment or system Python|Failed to inspect Python"
        "|Invalid version request",
        "version: there is no such Python here; install it, or set UV_PYTHON_DOWNLOADS=automatic in `env`",
        "PythonNotFound",
    ),
    (
        "Failed to fetch|Failed to download|Could not connect|error sending request",
        "deps: they cannot be fetched",
        "DepsNotFetched",
    ),
    (
        "No solution found|was not found in the|Failed to resolve",
        "deps: they cannot be resolved",
        "UnresolvedDeps",
    ),
    (
        "Failed to parse|Expected package name|Distribution not found|Failed to build",
        "deps: uv refuses one of them",
        "InvalidDeps",
    ),
)

#: How much of what uv says stands in the message, in characters.
_SAID = 500


def run_virtual_python(work: Work) -> Dict[str, Any]:
    """Run the code of a Python stage in a fresh environment with its dependencies.

    :return: as for a Python stage
    :raises StageError: no uv, no such Python, a dependency that cannot be had, or what the code raised
    :raises SkipStage: the code said so
    """
    deps = [expressions.to_text(dep) for dep in work.render("deps") or []]
    version = work.spec.get("version")
    _check_version(version)
    private = tempfile.mkdtemp(prefix="stagecoach-")
    try:
        app = pack.write(os.path.join(private, "stagecoach.pyz"))
        unit_path, result_path = os.path.join(private, "unit.json"), os.path.join(private, "result.json")
        try:
            text = dump(_unit(work))
        except TypeError as error:
            raise StageError(
                f"a value cannot travel into the environment: {error}", type="NotStorable"
            ) from error
        with open(unit_path, "w", encoding="utf-8") as file:
            file.write(text)
        command = [find_uv(work.env), "run", "--no-project", "--isolated", "--no-progress"]
        if version:
            command += ["--python", str(version)]
        for dep in deps:
            command += ["--with", dep]
        command += ["--", "python", app, unit_path, result_path]
        folder = work.frame.place.made_workdir()
        try:
            finished = run_process(
                command,
                env=_environment(work),
                folder=folder,
                scope=work.scope,
                log=work.log,
                usage=work.usage,
            )
        except OSError as error:
            raise StageError(f"uv does not start: {error.strerror}", type="UvNotFound") from error
        return _outputs(work, result_path, finished)
    finally:
        shutil.rmtree(private, ignore_errors=True)


def _check_version(version: str | None) -> None:
    found = re.match(r"(\d+)\.(\d+)", version or "")
    if found and (int(found.group(1)), int(found.group(2))) < _OLDEST:
        raise StageError("version: the oldest Python that a stage can run in is 3.8", type="PythonNotFound")


def find_uv(env: Dict[str, str]) -> str:
    """The path of uv: of the Python package, else on the stage's PATH.

    :raises StageError: there is none
    """
    try:
        from importlib import import_module

        found: str = import_module("uv").find_uv_bin()
        return found
    except (ImportError, AttributeError, FileNotFoundError):
        pass
    on_path = shutil.which("uv", path=env.get("PATH"))
    if on_path is None:
        raise StageError(
            "`deps` and `version` need uv, and there is none here; pip install uv", type="UvNotFound"
        )
    return on_path


def _unit(work: Work) -> Dict[str, Any]:
    """The same code as a plain Python stage. Its environment is that of the process."""
    contexts = {name: value for name, value in work.contexts.items() if name != "env"}
    stage = {
        "kind": "python",
        "id": work.id.replace("${{", "$${{"),
        "run": work.spec["run"],
        "vars": work.spec.get("vars") or {},
    }
    return {
        "stages": [stage],
        "contexts": contexts,
        "attempt": work.attempt,
        "log_level": work.log_level,
        "document_dir": work.frame.place.document_dir,
        "workdir": work.frame.place.workdir,
    }


def _environment(work: Work) -> Dict[str, str]:
    env = dict(work.env)
    for name in _ASTRAY:
        if name in env and env[name] == os.environ.get(name):
            del env[name]
    if work.spec.get("version") and "PATH" in env:
        env["PATH"] = _without_shims(env["PATH"])
    env.setdefault("UV_PYTHON_DOWNLOADS", "never")
    env.setdefault("PYTHONUNBUFFERED", "1")
    if not work.spec.get("version") and "UV_PYTHON" not in env:
        env["UV_PYTHON"] = sys.executable
    return env


def _without_shims(path: str) -> str:
    """PATH with the Pythons of pyenv itself: uv gives up at a shim whose version is not the selected one."""
    folders: List[str] = []
    for folder in path.split(os.pathsep):
        versions = os.path.join(os.path.dirname(folder), "versions")
        if os.path.basename(folder) == "shims" and os.path.isdir(versions):
            names = [name for name in os.listdir(versions) if name.startswith("3.")]
            folders += [os.path.join(versions, name, "bin") for name in sorted(names, reverse=True)]
        else:
            folders.append(folder)
    return os.pathsep.join(folders)


def _outputs(work: Work, result_path: str, finished: Finished) -> Dict[str, Any]:
    try:
        with open(result_path, encoding="utf-8") as file:
            result = json.load(file)
    except FileNotFoundError:
        raise _without_result(finished) from None
    (stage,) = result["stages"].values()
    for name, value in (stage.get("metrics") or {}).items():
        work.usage.count(name, value)
    work.omitted.update(stage.get("omitted") or {})
    if stage["state"] == "success":
        outputs: Dict[str, Any] = stage["outputs"]
        return outputs
    error = stage.get("error") or {"type": "StageError", "message": "the stage failed"}
    if stage["state"] == "skipped":
        raise SkipStage(error["message"])
    work.told = True  # The environment's own engine wrote it to the log.
    details = {key: error[key] for key in error if key not in ("type", "message", "exit_code")}
    raise StageError(error["message"], type=error["type"], exit_code=error.get("exit_code"), details=details)


def _without_result(finished: Finished) -> StageError:
    """Why the environment's Python gave no result: uv failed, or the process died."""
    stderr = finished.stderr.text() or ""
    for pattern, message, kind in _UV_FAULTS:
        if finished.code > 0 and re.search(f"^error: .*({pattern})", stderr, re.MULTILINE):
            said = " ".join(stderr[stderr.index("error: ") :].split())[:_SAID]
            return StageError(f"{message} (uv: {said})", type=kind, exit_code=finished.code)
    try:
        check_exit(finished, "the environment's Python")
    except StageError as error:
        return error
    return StageError("the environment's Python ended without a result", type="NoResult")
