"""A task ends with its supervisor, and what a task started ends with it, even when it is killed.

Airflow's supervisor signals the process group of a task. Two deaths come
without a signal to anybody: a supervisor that was killed leaves its task
working, while Airflow counts the task as lost and starts its next try; a task
that was killed leaves what its Python code started. A task that ends by itself
may leave something, too: Airflow would wait for that, since it holds the task's
log. (Commands of ``bash:`` are looked after by
:mod:`airflow_stagecoach.engine.process`.)
"""

from __future__ import annotations

import _thread
import contextlib
import ctypes
import logging
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

log = logging.getLogger(__name__)

#: Seconds that a task has for ending its work when its supervisor is gone.
GRACE = 8.0

#: Seconds between SIGTERM and SIGKILL for what the work left running.
_BACKGROUND_GRACE = 1.0

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
    try:
        with _ending_with_supervisor(), _guarded():
            yield
    finally:
        _end_what_is_left()


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


def _end_what_is_left() -> None:
    """End what the work left running in the task's process group."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:  # the usual case: nothing was started, or all has ended
        return
    end = time.monotonic() + _BACKGROUND_GRACE
    left = _others_in_group()
    if left:
        log.warning("Ending what the stage left running in the background")
    for pid in left:
        _signal(pid, signal.SIGTERM)
    while (left := _others_in_group()) and time.monotonic() < end:
        time.sleep(0.05)
    for pid in left:
        _signal(pid, signal.SIGKILL)


def _others_in_group() -> list[int]:
    """Living processes of this one's group (Linux; elsewhere none are seen)."""
    spared = {os.getpid()}
    if tracker := sys.modules.get("multiprocessing.resource_tracker"):
        # It ends with this process, and then removes shared memory that was forgotten.
        spared.add(getattr(tracker._resource_tracker, "_pid", None) or 0)
    found = []
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():
        if name.isdigit() and int(name) not in spared:
            with contextlib.suppress(OSError, ValueError):
                with open(f"/proc/{name}/stat", "rb") as file:
                    # The name in brackets may hold anything; what follows the last bracket is regular.
                    state, _, group = file.read().rpartition(b")")[2].split()[:3]
                if int(group) == os.getpid() and state not in (b"Z", b"X"):
                    found.append(int(name))
    return found


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
