"""A ``bash:`` stage where there is no Python: a plain ``/bin/sh`` runs it.

Expressions are evaluated here, on the worker, before the container starts; what the shell leaves
(exit code, the last of stdout and stderr, ``$STAGE_OUTPUT``) becomes the same result as the engine's
here as well. Three things differ: ``env.X`` knows the document's variables alone, not those of
the image; ``::metric`` lines count only in the last 64 KiB; nobody measures CPU and memory.
"""

from __future__ import annotations

import math
import shlex
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_stagecoach import expressions
from airflow_stagecoach.backends._bash_scripts import AWK, REFUSAL, RUN
from airflow_stagecoach.backends._without_engine import (
    FAULTS,
    Evaluation,
    count,
    fail,
    new_result,
    refused,
    skipped,
    whole,
)
from airflow_stagecoach.backends.shipment import FOLDER
from airflow_stagecoach.engine.bash import check_exit, parse_output, shell_command
from airflow_stagecoach.engine.errors import StageError
from airflow_stagecoach.engine.failures import error_of
from airflow_stagecoach.engine.frame import render
from airflow_stagecoach.engine.process import Finished
from airflow_stagecoach.engine.secrets import connection_secrets, forms
from airflow_stagecoach.engine.streams import KEPT, Stream
from airflow_stagecoach.engine.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_stagecoach.engine.contract import Error, Result, Unit

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
    evaluation = Evaluation(unit, folder)
    try:
        if not evaluation.is_wanted():
            return Fallback(skipped(unit), refusal)
        env = evaluation.env()
        contexts = evaluation.contexts(env=env)
        script = expressions.to_text(render(spec["bash"], contexts))
        wanted = expressions.to_text(render(spec.get("working_directory"), contexts))
        command = _command(spec, f"{folder}/stage.sh")
    except FAULTS as error:
        return Fallback(refused(unit, error), refusal)
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
    stage = new_result(began, ended)
    if why == "stopped":
        error: Error = {"type": "Cancelled", "message": "The work was stopped", "category": "cancelled"}
        stage["state"], stage["outcome"], stage["error"] = "failed", "cancelled", error
        return whole(unit, stage)
    try:
        _check(why, spec)
        if why == "full" and b"No space left" not in err:
            # Nor was there room to keep what the script said of it.
            err += b"No space left on device\n"
        # Where the disk was full, nobody could count.
        out_size, err_size = max(out_size, len(out)), max(err_size, len(err))
        finished = Finished(code, _stream(out, out_size), _stream(err, err_size))
        check_exit(finished, "the script")
        outputs = {
            "return_code": code,
            "stdout": finished.stdout.text(),
            "stderr": finished.stderr.text(),
            **parse_output(rest[out_kept + err_kept :]),
        }
        stage["outputs"], omitted = Evaluation(unit, FOLDER).outputs(outputs)
        if omitted:
            stage["omitted"] = omitted
    except FAULTS as error_found:
        fail(spec, stage, error_of(error_found))
    usage = Usage()
    for line in (out + b"\n" + err).decode("utf-8", "replace").splitlines():
        count(usage, line)
    usage.write(stage)
    stage.pop("cpu_seconds", None)
    return whole(unit, stage)


def _command(spec: Mapping[str, Any], script: str) -> list[str]:
    """The shell and the script; nothing where the place shall choose, as the engine does."""
    shell = spec.get("shell")
    return [] if shell is None else shell_command(shell, script, {})


def _check(why: str, spec: Mapping[str, Any]) -> None:
    """Refuse a script that did not run to its end."""
    if why == "late":
        raise StageError(f"it ran longer than its timeout of {spec['timeout']:g} s", type="TimedOut")
    if why == "scratch":
        raise StageError(
            "the scratch folder cannot be made: look at `working-dir` of runs-on, and at the user as whom "
            "the stage runs",
            type="FolderNotFound",
        )
    if why == "folder":
        wanted = spec.get("working_directory")
        raise StageError(
            f"working-directory: there is no folder {wanted!r} "
            "(relative ones start at the scratch folder of the stage)",
            type="FolderNotFound",
        )
    if why == "shell":
        raise StageError(f"shell: there is no {spec.get('shell', 'sh')} in the image", type="ShellNotFound")
    if why not in ("-", "full"):
        raise ValueError(f"{why!r} is no end of a script")


def _stream(kept: bytes, size: int) -> Stream:
    stream = Stream(lambda line: None)
    stream.feed(kept)
    stream.close()
    stream.size = size
    return stream


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
