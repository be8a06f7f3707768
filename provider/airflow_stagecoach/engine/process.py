"""Runs a process in a session of its own, streams what it writes, and leaves nothing behind.

The process leads its own process group. When it ends, its group is ended; when
it shall stop, the group gets SIGTERM, after :data:`GRACE` seconds SIGKILL. Both
hold for every process that left the group but still carries the mark in its
environment (Linux). A small guardian shell does the same when this very process
is killed and cannot do it itself.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
import uuid
from typing import TYPE_CHECKING, Dict, FrozenSet, List, NamedTuple

from airflow_stagecoach.engine.control import TICK
from airflow_stagecoach.engine.streams import Stream
from airflow_stagecoach.engine.usage import child_peak, tree_memory

if TYPE_CHECKING:
    from typing import Callable, Sequence

    from airflow_stagecoach.engine.control import Scope
    from airflow_stagecoach.engine.usage import Usage

#: Between SIGTERM and SIGKILL, in seconds.
GRACE = 5.0

#: How long what a finished process left in the background may still write: without a pause, and at most.
_DRAIN_PAUSE, _DRAIN = 0.5, 3.0

#: How long what is left in the background has between SIGTERM and SIGKILL.
_BACKGROUND_GRACE = 1.0

#: How often its memory is looked at, in seconds.
_LOOK = 0.5

_CHUNK = 64 * 1024

#: Chunks read after everything was stopped; a pipe holds no more than one or a few.
_LAST_READS = 32

#: Set in the environment of every process, to find those that left their group.
MARK = "STAGECOACH_STAGE"

#: Waits on a pipe that only this process holds: its end without a word means that this process was killed.
_GUARDIAN = r"""
read -r group
read -r end && exit 0
[ -z "$group" ] || kill -s TERM -- "-$group" 2>/dev/null
sleep 1
[ -z "$group" ] || kill -s KILL -- "-$group" 2>/dev/null
grep -las -e "$1" /proc/[0-9]*/environ 2>/dev/null | while IFS=/ read -r _ _ pid _; do
    kill -s KILL "$pid" 2>/dev/null
done
"""


class Finished(NamedTuple):
    """A process that ended: its exit code (negative: minus a signal's number) and its streams."""

    code: int
    stdout: Stream
    stderr: Stream


def run_process(
    command: Sequence[str],
    *,
    env: Dict[str, str],
    folder: str,
    scope: Scope,
    log: Callable[[str, str], None],
    usage: Usage | None = None,
    grace: float | None = None,
) -> Finished:
    """Run a process to its end.

    :param command: program and arguments; no shell is added
    :param env: its whole environment
    :param folder: where it runs
    :param scope: stops it
    :param log: takes every line that it writes, as it is written, and a level
    :param usage: told what it used, however it ended
    :param grace: seconds between SIGTERM and SIGKILL when it shall stop, by default :data:`GRACE`
    :raises OSError: it could not be started
    :raises Interrupted: the scope stopped; nothing of it runs any more
    """
    mark = uuid.uuid4().hex
    scope.check()
    before = frozenset(_processes())
    with contextlib.ExitStack() as stack:
        guardian = _Guardian(mark)
        stack.callback(guardian.dismiss)
        process = subprocess.Popen(  # noqa: S603 - running what the document says is its purpose
            list(command),
            env={**env, MARK: mark},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        watched = _Watched(process, mark, log, before)
        stack.callback(watched.end, usage)
        stack.callback(guardian.dismiss)  # before the number of the group is free for others
        guardian.watch(process.pid)
        try:
            watched.follow(scope)
        except BaseException:
            # A timeout of Airflow, an interrupt, a cancel: whatever it is, the processes go first.
            watched.stop(GRACE if grace is None else grace)
            raise
        watched.drain()
    return Finished(process.returncode, watched.stdout, watched.stderr)


class _Watched:
    """A running process and its two streams."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        mark: str,
        log: Callable[[str, str], None],
        before: FrozenSet[int],
    ) -> None:
        self._before = before
        assert process.stdout is not None
        assert process.stderr is not None
        self._process = process
        self._mark = mark
        self._log = log
        self.stdout = Stream(lambda line: log(line, "info"))
        self.stderr = Stream(lambda line: log(line, "info"))
        self._peak = tree_memory(process.pid)
        self._next_look = time.monotonic() + _LOOK
        self._selector = selectors.DefaultSelector()
        for pipe, stream in ((process.stdout, self.stdout), (process.stderr, self.stderr)):
            os.set_blocking(pipe.fileno(), False)
            self._selector.register(pipe, selectors.EVENT_READ, stream)

    def follow(self, scope: Scope) -> None:
        """Read until the process has exited."""
        pause = 0.001
        while not self._exited():
            scope.check()
            self._look()
            if self._selector.get_map():
                self._read(TICK)
            else:  # Both streams are closed: it is about to exit, or runs on in silence.
                time.sleep(pause)
                pause = min(pause * 2, TICK)

    def _look(self) -> None:
        """See what it holds in memory, now and then."""
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + _LOOK
            self._peak = max(self._peak, tree_memory(self._process.pid))

    def drain(self) -> None:
        """After its exit: read what is left, then end what it left in the background."""
        end = time.monotonic() + _DRAIN
        while self._selector.get_map() and time.monotonic() < end and self._read(_DRAIN_PAUSE):
            pass
        # Of the few processes that are new: reading them all takes long on a large machine.
        new = [pid for pid in _processes() if pid not in self._before]
        far = _marked(self._mark, new)  # also what went into a session of its own
        if far or _members(self._process.pid, new):
            self._log("Ending what the script left running in the background", "warning")
            _signal_all(far, signal.SIGTERM)
            end = time.monotonic() + _BACKGROUND_GRACE
            self._stop_group(_BACKGROUND_GRACE)
            while far and time.monotonic() < end and _marked(self._mark):
                time.sleep(TICK / 2)
            self._end_marked()

    def stop(self, grace: float) -> None:
        """Stop the group, and whatever carries the mark."""
        self._stop_group(grace)
        self._end_marked()

    def _end_marked(self) -> None:
        for _ in range(10):
            marked = _marked(self._mark)
            if not marked:
                return
            _signal_all(marked, signal.SIGKILL)
            time.sleep(0.02)

    def _stop_group(self, grace: float) -> None:
        end = time.monotonic() + grace
        self._signal(signal.SIGTERM)
        try:
            while time.monotonic() < end and (not self._exited() or _members(self._process.pid)):
                if self._selector.get_map():
                    self._read(TICK / 2)
                else:
                    time.sleep(TICK / 2)
        finally:
            self._signal(signal.SIGKILL)

    def end(self, usage: Usage | None) -> None:
        """Reap the process and close the streams. Its number is free for others only from here on."""
        self._signal(signal.SIGKILL)
        self._reap(usage)
        for _ in range(_LAST_READS):  # Whoever left the group may still hold a pipe and write.
            if not (self._selector.get_map() and self._read(0)):
                break
        self._selector.close()
        for pipe, stream in ((self._process.stdout, self.stdout), (self._process.stderr, self.stderr)):
            if pipe is not None:
                pipe.close()
            stream.close()

    def _reap(self, usage: Usage | None) -> None:
        """Wait for it, and tell what it used: the kernel says that only to who reaps it."""
        if self._process.returncode is None and hasattr(os, "wait4"):
            with contextlib.suppress(ChildProcessError):
                _, status, used = os.wait4(self._process.pid, 0)
                signalled = os.WIFSIGNALED(status)
                self._process.returncode = -os.WTERMSIG(status) if signalled else os.WEXITSTATUS(status)
                if usage is not None:
                    usage.add(used.ru_utime + used.ru_stime, child_peak(used.ru_maxrss, self._peak))
        self._process.wait()

    def _signal(self, number: int) -> None:
        # The process is not reaped yet, so its number still means this group.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _exited(self) -> bool:
        if self._process.returncode is not None:
            return True
        if not hasattr(os, "waitid"):  # macOS before Python 3.13
            return self._process.poll() is not None
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _read(self, timeout: float) -> bool:
        """Read what is there. Gives whether something was, the end of a stream included."""
        events = self._selector.select(timeout)
        for key, _ in events:
            stream: Stream = key.data
            try:
                data = os.read(key.fd, _CHUNK)
            except BlockingIOError:
                continue
            if data:
                stream.feed(data)
            else:
                self._selector.unregister(key.fileobj)
        return bool(events)


class _Guardian:
    """Ends a process and what it started if this very process is killed meanwhile.

    It starts first, so there is no moment without it: what carries the mark it finds by itself.
    Without ``/bin/sh`` there is none.
    """

    def __init__(self, mark: str) -> None:
        self._shell: subprocess.Popen[bytes] | None = None
        with contextlib.suppress(OSError):
            self._shell = subprocess.Popen(  # noqa: S603 - a fixed script; its argument is made here
                ["/bin/sh", "-c", _GUARDIAN, "stagecoach-guardian", f"{MARK}={mark}"],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={"PATH": os.defpath},
                cwd="/",
                start_new_session=True,
            )

    def watch(self, group: int) -> None:
        """Tell the group that it has to end."""
        self._tell(b"%d\n" % group)

    def dismiss(self) -> None:
        """Let it go; may be called more than once."""
        self._tell(b"\nend\n")
        shell, self._shell = self._shell, None
        if shell is not None and shell.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                shell.stdin.close()
            shell.wait()

    def _tell(self, text: bytes) -> None:
        if self._shell is not None and self._shell.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._shell.stdin.write(text)
                self._shell.stdin.flush()


def _signal_all(pids: List[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _members(group: int, among: List[int] | None = None) -> List[int]:
    """Living processes of a group (Linux; elsewhere none are seen)."""
    found = []
    for pid in _processes() if among is None else among:
        with contextlib.suppress(OSError, ValueError, IndexError):
            with open(f"/proc/{pid}/stat", "rb") as file:
                # The name in brackets may hold anything; what follows the last bracket is regular.
                state, _, its_group = file.read().rpartition(b")")[2].split()[:3]
            if int(its_group) == group and state not in (b"Z", b"X"):
                found.append(pid)
    return found


def _marked(mark: str, among: List[int] | None = None) -> List[int]:
    """Living processes that carry the mark in their environment (Linux)."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for pid in _processes() if among is None else among:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
            if wanted in file.read().split(b"\0"):
                found.append(pid)
    return found


def _processes() -> List[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []
