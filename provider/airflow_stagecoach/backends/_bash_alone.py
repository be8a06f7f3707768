"""A ``bash:`` stage where there is no Python: a plain ``/bin/sh`` runs it.

Expressions are evaluated here, on the worker, before the container starts; what the shell leaves
(exit code, the last of stdout and stderr, ``$STAGE_OUTPUT``) becomes the same result as the engine's
here as well. Three things differ: ``env.X`` knows the document's variables alone, not those of
the image; ``::metric`` lines count only in the last 64 KiB; nobody measures CPU and memory.
"""

from __future__ import annotations

import contextlib
import math
import os
import shlex
import tempfile
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_stagecoach import expressions
from airflow_stagecoach.backends._bash_scripts import AWK, REFUSAL, RUN
from airflow_stagecoach.engine import Hooks, Runner
from airflow_stagecoach.engine.bash import check_exit, read_output_file, shell_command
from airflow_stagecoach.engine.environment import add_layers
from airflow_stagecoach.engine.errors import StageError
from airflow_stagecoach.engine.failures import error_of, text_of_error
from airflow_stagecoach.engine.frame import STATUS, render
from airflow_stagecoach.engine.process import Finished
from airflow_stagecoach.engine.secrets import connection_secrets, forms
from airflow_stagecoach.engine.sequence import UNTROUBLED
from airflow_stagecoach.engine.stage import condition_holds
from airflow_stagecoach.engine.streams import KEPT, Stream
from airflow_stagecoach.engine.usage import Usage, parse_metric
from airflow_stagecoach.engine.values import storable_outputs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_stagecoach.engine.contract import Error, Result, StageResult, Unit
    from airflow_stagecoach.engine.frame import Frame

#: A result that a shell has written begins so.
MAGIC = b"stagecoach-shell 1 "

#: How long what the script left in the background may keep its output open, in tenths of a second.
_DRAIN = 100

#: Between SIGTERM and SIGKILL after the timeout, in seconds.
_GRACE = 5


class Fallback(NamedTuple):
    """What travels for a place without Python.

    :ivar result: handed over where the script cannot run
    :ivar files: name -> text; ``otherwise.sh`` is what runs
    """

    result: Result | None
    files: dict[str, str]


def is_bash_alone(unit: Unit) -> bool:
    """Whether a unit is one bash stage, tried once."""
    if len(unit["stages"]) != 1:
        return False
    (spec,) = unit["stages"]
    return spec.get("kind") == "bash" and not (unit.get("enforce_retries", False) and spec.get("retry"))


def fallback(unit: Unit, folder: str, workdir: str) -> Fallback:
    """What a place without Python needs for a unit.

    :param folder: where the files lie there
    :param workdir: the scratch folder there
    :return: its result is that of a stage that does not run at all: its ``if`` is false, or it is wrong
    """
    refusal = {"otherwise.sh": REFUSAL.replace("@FOLDER@", shlex.quote(folder))}
    if not is_bash_alone(unit):
        return Fallback(None, refusal)
    (spec,) = unit["stages"]
    frame = _Evaluation(unit, folder).frame
    try:
        with _naming("if"):
            wanted_at_all = condition_holds(spec, frame)
        if not wanted_at_all:
            return Fallback(_skipped(unit), refusal)
        env = _environment(spec, frame)
        contexts = {**frame.contexts, "env": env}
        script = expressions.to_text(render(spec["bash"], contexts))
        wanted = expressions.to_text(render(spec.get("working_directory"), contexts))
        command = _command(spec, f"{folder}/stage.sh")
    except (expressions.ExpressionError, StageError) as error:
        return Fallback(_failed(unit, error_of(error)), refusal)
    hidden = _hiding(unit.get("contexts") or {})
    # As the travelling engine does: nobody else there looks at the clock.
    limit = math.ceil(spec.get("timeout") or 0) if unit.get("enforce_timeouts", True) else 0
    assignments = [*(f"{name}={value}" for name, value in env.items()), f"STAGE_OUTPUT={folder}/output"]
    values = {
        "@FOLDER@": shlex.quote(folder),
        "@WORKDIR@": shlex.quote(workdir),
        "@FOLDER_OF_STAGE@": shlex.quote(wanted or "."),
        "@SHELL@": shlex.join(command),
        "@ENV@": shlex.join(assignments),
        "@LIMIT@": str(limit),
        "@GRACE@": str(_GRACE),
        "@DRAIN@": str(_DRAIN),
        "@KEPT@": str(KEPT),
        "@TOOLS@": "sed" if hidden else "",
    }
    text = RUN
    # The environment last: a value may look like one of our marks.
    for name in sorted(values, key=lambda name: name == "@ENV@"):
        text = text.replace(name, values[name])
    files = {"otherwise.sh": text, "stage.sh": script if script.endswith("\n") else f"{script}\n"}
    return Fallback(None, files | hidden)


def compose(unit: Unit, text: bytes) -> Result:
    """The result of what a shell has left.

    :raises ValueError: it is damaged
    """
    head, _, rest = text.partition(b"\n")
    why, *facts = head[len(MAGIC) :].decode("ascii").split(" ")
    code, began, ended = int(facts[0]), facts[1], facts[2]
    out_size, err_size, out_kept, err_kept = map(int, facts[3:])
    if len(rest) < out_kept + err_kept:
        raise ValueError("it is cut off")
    out, err = rest[:out_kept], rest[out_kept : out_kept + err_kept]
    (spec,) = unit["stages"]
    stage = _stage(began, ended)
    if why == "stopped":
        error: Error = {"type": "Cancelled", "message": "The work was stopped", "category": "cancelled"}
        stage["state"], stage["outcome"], stage["error"] = "failed", "cancelled", error
        return _result(unit, stage)
    try:
        _check(why, spec)
        finished = Finished(code, _stream(out, out_size), _stream(err, err_size))
        check_exit(finished, "the script")
        outputs = {
            "return_code": code,
            "stdout": finished.stdout.text(),
            "stderr": finished.stderr.text(),
            **_written(rest[out_kept + err_kept :]),
        }
        stage["outputs"], omitted = _with_declared(unit, spec, outputs)
        if omitted:
            stage["omitted"] = omitted
    except (expressions.ExpressionError, StageError) as error_found:
        _fail(spec, stage, error_of(error_found))
    usage = Usage()
    for line in (out + b"\n" + err).decode("utf-8", "replace").splitlines():
        counted = _metric(line)
        if counted is not None:
            usage.count(*counted)
    usage.write(stage)
    stage.pop("cpu_seconds", None)
    return _result(unit, stage)


class _Evaluation(Runner):
    """The engine's values for a stage that runs elsewhere: nothing of this process's environment."""

    def __init__(self, unit: Unit, folder: str = "/stagecoach") -> None:
        super().__init__(unit, Hooks(log=lambda text, level: None))
        frame = self._frame(folder)
        contexts = {**frame.contexts, STATUS: unit.get("status") or UNTROUBLED}
        self.frame = frame._replace(env={"WORKFLOW_DIR": f"{folder}/document"}, contexts=contexts)


def _environment(spec: Mapping[str, Any], frame: Frame) -> dict[str, str]:
    layers = [*frame.layers, spec.get("env") or {}]
    return add_layers(frame.env, layers, lambda value, env: render(value, {**frame.contexts, "env": env}))


def _command(spec: Mapping[str, Any], script: str) -> list[str]:
    """The shell and the script; nothing where the place shall choose, as the engine does."""
    shell = spec.get("shell")
    return [] if shell is None else shell_command(shell, script, {})


def _check(why: str, spec: Mapping[str, Any]) -> None:
    """Refuse a script that did not run to its end."""
    if why == "late":
        raise StageError(f"it ran longer than its timeout of {spec['timeout']:g} s", type="TimedOut")
    if why == "folder":
        wanted = spec.get("working_directory")
        raise StageError(
            f"working-directory: there is no folder {wanted!r} "
            "(relative ones start at the scratch folder of the stage)",
            type="FolderNotFound",
        )
    if why == "shell":
        raise StageError(f"shell: there is no {spec.get('shell', 'sh')} in the image", type="ShellNotFound")
    if why != "-":
        raise ValueError(f"{why!r} is no end of a script")


def _stream(kept: bytes, size: int) -> Stream:
    stream = Stream(lambda line: None)
    stream.feed(kept)
    stream.close()
    stream.size = size
    return stream


def _written(data: bytes) -> dict[str, str]:
    """What was written to ``$STAGE_OUTPUT``."""
    with tempfile.TemporaryDirectory(prefix="stagecoach-") as folder:
        path = os.path.join(folder, "output")
        with open(path, "wb") as file:
            file.write(data)
        return read_output_file(path)


def _with_declared(
    unit: Unit, spec: Mapping[str, Any], outputs: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Outputs with what the stage's ``outputs:`` adds; and those that cannot be stored, with why."""
    declared = spec.get("outputs")
    if not declared:
        return storable_outputs(outputs)
    frame = _Evaluation(unit).frame
    contexts = {**frame.contexts, "env": _environment(spec, frame), "outputs": outputs}
    values = {}
    for name, value in declared.items():
        with _naming(f"outputs: {name}"):
            values[name] = render(value, contexts)
    return storable_outputs(outputs | values)


@contextlib.contextmanager
def _naming(key: str) -> Iterator[None]:
    """Name the key in what is wrong with its value, as the engine does."""
    try:
        yield
    except (expressions.ExpressionError, StageError) as error:
        type_ = getattr(error, "type", type(error).__name__)
        raise StageError(f"{key}: {text_of_error(error)}", type=type_) from error


def _metric(line: str) -> tuple[str, float] | None:
    if not line.startswith("::metric"):
        return None
    try:
        return parse_metric(line)
    except ValueError:
        return None


def _hiding(contexts: Mapping[str, Any]) -> dict[str, str]:
    """Programs for sed and awk that replace secret values by stars; none without any."""
    values = {*_texts(contexts.get("secrets"))}
    for connection in (contexts.get("conn") or {}).values():
        values.update(connection_secrets(connection))
    found = sorted(
        (form for value in values for form in forms(value) if "\n" not in form), key=len, reverse=True
    )
    if not found:
        return {}
    substitutes, calls = [], []
    for form in found:
        pattern = "".join(f"\\{sign}" if sign in r"\.*[]^$/" else sign for sign in form)
        text = form.replace("\\", "\\\\").replace('"', '\\"')
        substitutes.append(f"s/{pattern}/***/g\n")
        calls.append(f'    line = hide(line, "{text}")\n')
    return {"hide.sed": "".join(substitutes), "hide.awk": AWK.replace("@CALLS@", "".join(calls))}


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)


def _stage(began: str, ended: str) -> StageResult:
    return {
        "state": "success",
        "outcome": "success",
        "outputs": {},
        "error": None,
        "start": began,
        "end": ended,
    }


def _now() -> str:
    from datetime import datetime, timezone

    return datetime.now(timezone.utc).isoformat()


def _skipped(unit: Unit) -> Result:
    stage = _stage(_now(), _now())
    stage["state"] = stage["outcome"] = "skipped"
    return _result(unit, stage)


def _failed(unit: Unit, error: Error) -> Result:
    stage = _stage(_now(), _now())
    _fail(unit["stages"][0], stage, error)
    return _result(unit, stage)


def _fail(spec: Mapping[str, Any], stage: StageResult, error: Error) -> None:
    stage["outcome"], stage["error"] = "failure", error
    if spec.get("continue_on_error"):
        stage["outputs"] = {"outcome": "failure"}
    else:
        stage["state"] = "failed"


def _result(unit: Unit, stage: StageResult) -> Result:
    (spec,) = unit["stages"]
    name = str(
        expressions.render(spec.get("id") or "stage-1", {"matrix": {}, **(unit.get("contexts") or {})})
    )
    outcome = {"success": "success", "skipped": "skipped"}.get(stage["state"], "failure")
    if stage["outcome"] == "cancelled":
        outcome = "cancelled"
    return {"state": stage["state"], "outcome": outcome, "stages": {name: stage}, "peak_memory": 0}
