"""A task ends with its supervisor, and what a task started ends with it, even when it is killed.

Airflow's supervisor signals the process group of a task. Two deaths come
without a signal to anybody: a supervisor that was killed leaves its task
working, while Airflow counts the task as lost and starts its next try; a task
that was killed leaves what its Python code started. (Commands of ``bash:`` have
a guardian of their own, see :mod:`airflow_stagecoach.engine.process`.)
"""

from __future__ import annotations

import _thread
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

#: Seconds that a task has for ending its work when its supervisor is gone.
GRACE = 8.0

_PR_SET_PDEATHSIG = 1

#: Waits on a pipe that only the task holds: its end without a word means that the task was killed.
_GUARDIAN = r"""
read -r end && exit 0
kill -s TERM -- "-$1" 2>/dev/null
sleep 1
kill -s KILL -- "-$1" 2>/dev/null
"""


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Around the work of a task. Does nothing where no supervisor runs, as in ``dag.test()``."""
    if not _is_supervised() or threading.current_thread() is not threading.main_thread():
        yield
        return
    with _ending_with_supervisor(), _guarded():
        yield


def _is_supervised() -> bool:
    """Whether this process talks with a supervisor over a socket, and leads a process group."""
    from airflow.sdk.execution_time import task_runner

    comms = getattr(task_runner, "SUPERVISOR_COMMS", None)
    return hasattr(comms, "socket") and os.getpgrp() == os.getpid()


@contextlib.contextmanager
def _ending_with_supervisor() -> Iterator[None]:
    """Let Linux send SIGTERM when the supervisor dies: Airflow's handler stops the operator's work.

    Work that does not heed it has no supervisor that would kill it, so the task does that itself.
    """
    if sys.platform != "linux":
        yield
        return
    pid, supervisor = os.getpid(), os.getppid()
    previous: Any = signal.getsignal(signal.SIGTERM)

    def on_term(number: int, frame: FrameType | None) -> None:
        if os.getpid() == pid and os.getppid() != supervisor:
            # Not threading.Thread, which takes locks: this is a signal handler.
            _thread.start_new_thread(_end, (pid,))
        if callable(previous):
            previous(number, frame)

    signal.signal(signal.SIGTERM, on_term)
    _end_with_parent(signal.SIGTERM)
    try:
        yield
    finally:
        _end_with_parent(0)
        signal.signal(signal.SIGTERM, previous)


def _end(pid: int) -> None:
    time.sleep(GRACE)
    os.kill(pid, signal.SIGKILL)


def _end_with_parent(number: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)


@contextlib.contextmanager
def _guarded() -> Iterator[None]:
    """Let a guardian end the task's process group if the task is killed. Without /bin/sh there is none."""
    try:
        guardian = subprocess.Popen(  # noqa: S603 - a fixed script; its argument is a number
            ["/bin/sh", "-c", _GUARDIAN, "stagecoach-guardian", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"PATH": os.defpath},
            cwd="/",
            start_new_session=True,
        )
    except OSError:
        yield
        return
    assert guardian.stdin is not None
    try:
        yield
    finally:
        with contextlib.suppress(BrokenPipeError):
            guardian.stdin.write(b"end\n")
            guardian.stdin.flush()
        with contextlib.suppress(BrokenPipeError):
            guardian.stdin.close()
        guardian.wait()
