"""``resources`` of a stage that runs on this machine: what can be enforced here, and how.

What a stage may use at most is what ``limits`` says, else what it asks for: on a worker that it shares
with others nothing is set aside for it. Memory and CPU are enforced by a control group where there is
a delegated one. Else memory by ``RLIMIT_DATA`` (per process; what it shares with others and its
program are not counted) and whole cores by the affinity of the processes. The rest cannot be
enforced here: it is refused, or with ``enforce: best-effort`` left out with a warning.
"""

from __future__ import annotations

import math
import os
import sys
from typing import TYPE_CHECKING, Any, List, Mapping, NamedTuple

from airflow_stagecoach.engine import cgroup
from airflow_stagecoach.engine.errors import StageError

if TYPE_CHECKING:
    from typing import Set

#: What a Python process of the engine needs before the stage's own code begins, in bytes.
_LEAST = 24 * 1024 * 1024

#: Advice for who is refused, and not for who has followed it.
_BEST_EFFORT = "set `enforce: best-effort`, "
_PLACES = "or let the job run where it can be (`runs-on`)"


class Limits(NamedTuple):
    """How a stage is limited."""

    group: cgroup.Group | None  # holds memory and cpu
    memory: int | None  # bytes, by a limit of the process; None: none, or by the group
    cores: int | None  # by affinity; None: none, or by the group
    warnings: List[str]  # what is left out


def prepare(resources: Mapping[str, Any]) -> Limits:
    """Find out how ``resources`` can be enforced on this machine, and make the group where there is one.

    :param resources: ``ResourcesPlan``: bytes and cores
    :raises StageError: something cannot be given or enforced, and nothing says ``best-effort``
    """
    most = {**resources, **(resources.get("limits") or {})}
    memory, cpu, storage = most.get("memory"), most.get("cpu"), most.get("ephemeral_storage")
    problems = _too_much(resources)
    if resources.get("gpu"):
        problems.append(
            "resources: gpu: a worker cannot give GPUs to one stage alone; leave it out, " + _PLACES
        )
    if storage is not None:
        problems.append(
            "resources: ephemeral-storage: a worker cannot limit what a stage writes; leave it out, "
            + _PLACES
        )
    group = _group(memory, cpu)
    cores: int | None = None
    if group is None:
        if memory is not None and memory < _LEAST:
            problems.append(
                f"resources: memory: {memory} bytes are too few for a stage here; write at least "
                f"{_LEAST // 1024 // 1024}Mi"
            )
            memory = _LEAST
        if memory is not None and not sys.platform.startswith("linux"):
            problems.append(
                "resources: memory: this system cannot limit the memory of a process; " + _left_out()
            )
            memory = None
        if cpu is not None:
            cores, problem = _by_affinity(cpu)
            problems += problem
    if problems and resources.get("enforce") != "best-effort":
        if group is not None:
            group.remove()
        raise StageError("\n".join(problems), type="ResourcesUnavailable")
    if group is not None:
        memory = cores = None
    return Limits(group, memory, cores, [problem.replace(_BEST_EFFORT, "") for problem in problems])


def _too_much(resources: Mapping[str, Any]) -> List[str]:
    """What is asked for and is more than the whole machine has."""
    problems = []
    cpu, memory = resources.get("cpu"), resources.get("memory")
    cores, whole = len(_cores()) or (os.cpu_count() or 1), _machine_memory()
    if cpu is not None and cpu > cores:
        problems.append(
            f"resources: cpu: this worker has {cores} cores, the stage asks for {cpu:g}; "
            f"write {cores} or less, {_PLACES}"
        )
    if memory is not None and whole and memory > whole:
        problems.append(
            f"resources: memory: this worker has {whole // 1024 // 1024}Mi, the stage asks for "
            f"{memory // 1024 // 1024}Mi; write less, " + _PLACES
        )
    return problems


def _group(memory: int | None, cpu: float | None) -> cgroup.Group | None:
    controllers = [name for name, value in (("memory", memory), ("cpu", cpu)) if value is not None]
    parent = cgroup.delegated(controllers) if controllers else None
    if parent is None:
        return None
    try:
        return cgroup.Group(parent, memory, cpu)
    except OSError:  # Delegated by half.
        return None


def _by_affinity(cpu: float) -> tuple[int | None, List[str]]:
    """Whole cores; what a fraction is rounded up to, with the problem."""
    whole = max(1, math.ceil(cpu))
    if not hasattr(os, "sched_setaffinity"):
        return None, ["resources: cpu: this system cannot bind a process to cores; " + _left_out()]
    if whole == cpu:
        return whole, []
    return whole, [
        f"resources: cpu: {cpu:g} cores cannot be enforced here, only whole ones; write {whole}, "
        + _BEST_EFFORT
        + _PLACES
    ]


def _left_out() -> str:
    return "leave it out, " + _BEST_EFFORT + _PLACES


def _cores() -> Set[int]:
    if hasattr(os, "sched_getaffinity"):
        return set(os.sched_getaffinity(0))
    return set(range(os.cpu_count() or 1))


def _machine_memory() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return 0


def apply(entrance: str | None, memory: int | None, cores: int | None) -> str | None:
    """Limit this very process and all that it starts from now on.

    :param entrance: of the group to enter
    :param memory: bytes
    :param cores: how many of those that it may use now
    :return: what this system did not do although it should, for a person
    :raises OSError: the system refuses
    """
    if entrance is not None:
        with open(entrance, "w", encoding="ascii") as file:
            file.write("0")
    if cores is not None:
        os.sched_setaffinity(0, sorted(_cores())[-cores:])
    if memory is not None:
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
        if not _holds(memory):
            return "resources: memory: this system does not enforce RLIMIT_DATA; " + _left_out()
    return None


def _holds(memory: int) -> bool:
    """Whether the limit is one: kernels before Linux 4.7 and some sandboxes count only the heap."""
    import mmap

    try:
        mmap.mmap(-1, memory + mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    except (OSError, MemoryError):
        return True
    return False
