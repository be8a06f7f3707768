"""A process that outlives whoever started it.

It has a session of its own, and all that is known of it stands in files of its
folder: who it is, its output, its exit code. So anybody who knows the folder can
follow and stop it, and a folder's process is started once, whatever happens.
Linux only: what tells two processes with one pid apart is read from ``/proc``.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: What a process has of the environment of whoever starts it, unless told otherwise.
INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ")

#: Bytes of output that one look gives at most.
CHUNK = 1024 * 1024

_BOOT = "/proc/sys/kernel/random/boot_id"

#: Whoever makes the folder ``claimed`` is the one start that counts, and goes on once it has said who it is.
#: It hears signals, but waits for the command to end by them. The exit code is written last: who sees it
#: knows that the output is complete.
_SCRIPT = (
    "mkdir claimed 2>/dev/null || exit 0; trap : TERM INT HUP; "
    f"{{ cat /proc/$$/stat {_BOOT} >process.part && mv process.part process; }} || exit 125; "
    '"$@" >log 2>&1; echo $? >exit.part; mv exit.part exit'
)

#: Seconds in which a started process has to say who it is.
_BIRTH = 30.0


class _Identity(NamedTuple):
    pid: int
    born: str  # the kernel's count of time, and which boot it belongs to


class Detached:
    """The process of a folder.

    :param folder: exists; nobody else can write there
    """

    def __init__(self, folder: str) -> None:
        self.folder = os.path.abspath(folder)

    @property
    def pid(self) -> int | None:
        """The process id, which is that of its session and group too; ``None`` before it was started."""
        identity = self._identity()
        return None if identity is None else identity.pid

    def start(self, command: Sequence[str], env: Mapping[str, str] | None = None) -> int:
        """Start the command in the folder. When it was started before, that one is left alone.

        :param env: its environment; what :data:`INHERITED` names if absent
        :return: the process id
        :raises RuntimeError: it did not start
        """
        if env is None:
            env = {name: os.environ[name] for name in INHERITED if name in os.environ}
        process = subprocess.Popen(  # noqa: S603  # the caller's own command
            ["/bin/sh", "-c", _SCRIPT, "stagecoach", *command],
            cwd=self.folder,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        until = time.monotonic() + _BIRTH
        while (pid := self.pid) is None:
            if process.poll() is not None and not os.path.exists(self.path("claimed")):
                break
            if process.poll() == 125 or time.monotonic() > until:
                break
            time.sleep(0.002)
        if pid is None:
            raise RuntimeError(f"no process could be started in {self.folder}")
        return pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        identity = self._identity()
        return identity is not None and _born(identity.pid) == identity.born

    @property
    def exit_code(self) -> int | None:
        """How it ended; ``None`` while it runs, and when it was killed before it could say so."""
        try:
            with open(self.path("exit"), encoding="ascii") as file:
                return int(file.read())
        except FileNotFoundError:
            return None

    @property
    def state(self) -> str:
        """``running``, ``ended`` (its exit code and all its output are there) or ``lost``."""
        if self.exit_code is not None:
            return "ended"
        if self.alive:
            return "running"
        # It may have ended between the two looks.
        return "ended" if self.exit_code is not None else "lost"

    def output(self, start: int) -> tuple[bytes, int]:
        """Whole lines of output, and where the next ones begin.

        :param start: in bytes from the beginning
        """
        complete = self.exit_code is not None
        try:
            with open(self.path("log"), "rb") as file:
                file.seek(start)
                data = file.read(CHUNK)
        except FileNotFoundError:
            return b"", start
        end = data.rfind(b"\n") + 1
        # A line that is longer than a look is given in pieces.
        if end if len(data) == CHUNK else not complete:
            data = data[:end]
        return data, start + len(data)

    def send(self, number: int) -> None:
        """Send a signal to the process and all of its group, if it runs."""
        identity = self._identity()
        if identity is not None and self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(identity.pid, number)

    def stop(self, grace: float) -> None:
        """Ask it to end, kill it after a while, and wait for its end.

        :param grace: seconds until it is killed
        """
        until = time.monotonic() + grace
        while self.alive:
            self.send(signal.SIGTERM if time.monotonic() < until else signal.SIGKILL)
            time.sleep(0.1)

    def path(self, *names: str) -> str:
        """Of a file in the folder."""
        return os.path.join(self.folder, *names)

    def _identity(self) -> _Identity | None:
        try:
            with open(self.path("process"), encoding="ascii", errors="replace") as file:
                stat, boot = file.read().splitlines()
        except FileNotFoundError:
            return None
        return _Identity(int(stat.split()[0]), _moment(stat)[1] + boot)


def _born(pid: int) -> str | None:
    """When a living process was started; ``None`` when it does not run any more."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            state, moment = _moment(file.read())
        with open(_BOOT, encoding="ascii") as file:
            return None if state == "Z" else moment + file.read().strip()
    except (OSError, IndexError):
        return None


def _moment(stat: str) -> tuple[str, str]:
    """State and start time from a line of ``/proc/PID/stat``, whose second field may hold anything."""
    fields = stat.rpartition(")")[2].split()
    return fields[0], fields[19]
