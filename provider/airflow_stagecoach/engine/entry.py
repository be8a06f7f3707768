"""The command of the travelling engine: ``python stagecoach.pyz UNIT.json RESULT.json``."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING, Any, Dict, Sequence

from airflow_stagecoach.engine.hooks import Hooks
from airflow_stagecoach.engine.log_levels import marked
from airflow_stagecoach.engine.transport import dump, load

if TYPE_CHECKING:
    from types import FrameType

    from airflow_stagecoach.engine.secrets import Hider

USAGE = "usage: stagecoach.pyz UNIT.json RESULT.json    (- is standard input or output)"

#: Exit codes. A failed stage is 1, so that whoever only sees the process knows.
SUCCESS, FAILED, UNUSABLE, CANCELLED = 0, 1, 2, 143

#: Enough for the result of stages that have failed, in bytes.
_ROOM = 256 * 1024


def main(arguments: Sequence[str]) -> int:
    """Run a unit from a file and write its result to a file.

    The log goes to standard output, with marks of levels; to standard error when the result itself
    goes to standard output. SIGTERM and SIGINT cancel: the result is written then too.

    :param arguments: paths of the unit and of the result; ``-`` is standard input or output
    :return: an exit code: 0 success or skipped, 1 failed, 2 no usable unit, 143 cancelled
    """
    if len(arguments) != 2:
        sys.stderr.write(USAGE + "\n")
        return UNUSABLE
    source, target = arguments
    result_stream = None
    if target == "-":
        # Whatever the stages print must not stand in the result.
        result_stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
        sys.stdout.flush()
        os.dup2(2, 1)
    try:
        unit = load(_read(source))
        if not isinstance(unit, dict) or not isinstance(unit.get("stages"), list):
            raise ValueError("it has no list of stages")
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{source}: no usable unit: {error}\n")
        return UNUSABLE
    reserve = None if target == "-" else f"{target}.reserve"
    if reserve is not None:
        _keep_room(reserve)
    result = _run(unit)
    if reserve is not None:
        with contextlib.suppress(OSError):
            os.remove(reserve)
    text = dump(result)
    if result_stream is not None:
        with result_stream:
            result_stream.write(text + "\n")
    else:
        _write(target, text)
    if result["outcome"] == "cancelled":
        return CANCELLED
    return FAILED if result["state"] == "failed" else SUCCESS


def _run(unit: Dict[str, Any]) -> Dict[str, Any]:
    from airflow_stagecoach.engine.runner import Runner

    contexts = unit.get("contexts") or {}
    hooks: Hooks = _MarkingHooks()
    hider = None
    if contexts.get("secrets") or contexts.get("conn"):
        from airflow_stagecoach.engine.secrets import Hider

        # Whoever reads this log may not know what is secret.
        hider = Hider(contexts)
        hooks = _HidingHooks(hider)
    # Nobody outside looks at the clock of a single stage, so the engine does, unless told otherwise.
    runner = Runner({"enforce_timeouts": True, **unit}, hooks)

    def stop(number: int, frame: FrameType | None) -> None:
        runner.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    result: Dict[str, Any] = dict(runner.run())
    if hider is not None:
        result = hider.value(result)
    return result


class _MarkingHooks(Hooks):
    """Prints lines with their level: whoever reads them writes a log of its own."""

    def __init__(self) -> None:
        super().__init__()
        # While a stage runs, `sys.stdout` is what the stage prints to.
        self._stream = sys.stdout

    def log(self, text: str, level: str = "info") -> None:
        line = marked(text, level)
        try:
            self._stream.write(f"{line}\n")
        except UnicodeEncodeError:  # A container without a UTF-8 locale.
            self._stream.write(ascii(line)[1:-1] + "\n")
        self._stream.flush()


class _HidingHooks(_MarkingHooks):
    """Prints lines without secret values."""

    def __init__(self, hider: Hider) -> None:
        super().__init__()
        self._hider = hider

    def log(self, text: str, level: str = "info") -> None:
        super().log(self._hider.text(text), level)


def _read(path: str) -> str:
    if path == "-":
        return sys.stdin.buffer.read().decode("utf-8")
    with open(path, encoding="utf-8") as file:
        return file.read()


def _keep_room(path: str) -> None:
    """Take room on the disk that is given back for the result: stages may fill all the rest."""
    with contextlib.suppress(OSError), open(path, "wb") as file:
        file.write(bytes(_ROOM))


def _write(path: str, text: str) -> None:
    """All of the result or nothing: a reader never sees half of it."""
    part = f"{path}.part"
    with open(part, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)
