"""A control group for one stage, where this process may make one (Linux, cgroup version 2).

Only a *delegated* group is used: one whose owner lets this process manage what is below it, with the
controllers switched on there. systemd does that for user sessions and for services with ``Delegate=yes``.
Without one, :mod:`airflow_stagecoach.engine.limits` falls back to what a process can do to itself.
"""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from typing import TYPE_CHECKING, Iterator

if TYPE_CHECKING:
    from typing import Iterable

#: Where the hierarchy of version 2 is mounted: alone, or beside version 1.
MOUNTS = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")

_OWN = "/proc/self/cgroup"

#: By these systemd marks what it has delegated.
_MARKS = ("trusted.delegate", "user.delegate")

#: Period of the CPU quota, in microseconds: the kernel's own default.
_PERIOD = 100_000


def delegated(controllers: Iterable[str]) -> str | None:
    """A folder in which this process may make groups that have these controllers, if there is one."""
    wanted = set(controllers)
    for mount in MOUNTS:
        own = _own_path()
        if own is None or not os.path.exists(os.path.join(mount, "cgroup.controllers")):
            continue
        folder = os.path.normpath(os.path.join(mount, own.lstrip("/")))
        for candidate in (folder, os.path.dirname(folder)):
            if not os.path.normpath(candidate).startswith(os.path.normpath(mount)):
                continue
            if wanted <= set(_read(candidate, "cgroup.subtree_control").split()) and _is_ours(candidate):
                return candidate
    return None


def _own_path() -> str | None:
    try:
        with open(_OWN, encoding="utf-8") as file:
            for line in file:
                if line.startswith("0::"):
                    return line[3:].rstrip("\n")
    except OSError:
        pass
    return None


def _is_ours(folder: str) -> bool:
    writable = all(
        os.access(os.path.join(folder, name), os.W_OK)
        for name in (".", "cgroup.procs", "cgroup.subtree_control")
    )
    # The root of all groups has no such file; only systemd and the kernel manage what is below it.
    if not writable or not os.path.exists(os.path.join(folder, "cgroup.events")):
        return False
    return os.geteuid() != 0 or any(_has_mark(folder, mark) for mark in _MARKS)


def _has_mark(folder: str, mark: str) -> bool:
    """Root may write everywhere, which says nothing; systemd's mark does."""
    try:
        return os.getxattr(folder, mark) == b"1"
    except (OSError, AttributeError):
        return False


class Group:
    """One group. A process enters it by writing its number to :attr:`entrance`.

    :param parent: see :func:`delegated`
    :param memory: bytes that its processes may hold together
    :param cpu: cores that they may use together
    :raises OSError: it cannot be made so
    """

    def __init__(self, parent: str, memory: int | None, cpu: float | None) -> None:
        self.path = os.path.join(parent, f"stagecoach-{uuid.uuid4().hex[:16]}")
        os.mkdir(self.path)
        try:
            if memory is not None:
                self._write("memory.max", str(memory))
                with contextlib.suppress(OSError):  # A kernel without an account of swap.
                    self._write("memory.swap.max", "0")
            if cpu is not None:
                self._write("cpu.max", f"{max(1000, round(cpu * _PERIOD))} {_PERIOD}")
        except OSError:
            self.remove()
            raise

    @property
    def entrance(self) -> str:
        """The file that takes the number of a process."""
        return os.path.join(self.path, "cgroup.procs")

    def out_of_memory(self) -> bool:
        """Whether the kernel ended a process of the group because of its limit."""
        for line in _read(self.path, "memory.events").splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill" and count.strip() not in ("", "0"):
                return True
        return False

    def peak_memory(self) -> int:
        """Bytes that its processes held together at most; 0 where the kernel does not tell."""
        text = _read(self.path, "memory.peak").strip()
        return int(text) if text.isdecimal() else 0

    def remove(self) -> None:
        """End what is still in it, and take it away."""
        with contextlib.suppress(OSError):
            self._write("cgroup.kill", "1")
        for _ in range(50):  # A process that was ended leaves its group a moment later.
            try:
                os.rmdir(self.path)
            except FileNotFoundError:
                return
            except OSError:
                time.sleep(0.02)
            else:
                return

    def _write(self, name: str, text: str) -> None:
        with open(os.path.join(self.path, name), "w", encoding="ascii") as file:
            file.write(text)


@contextlib.contextmanager
def removed_at_the_end(group: Group | None) -> Iterator[None]:
    """Take the group away after what is inside."""
    try:
        yield
    finally:
        if group is not None:
            group.remove()


def _read(folder: str, name: str) -> str:
    try:
        with open(os.path.join(folder, name), encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
