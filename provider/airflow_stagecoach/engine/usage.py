"""What a stage used and counted: CPU time, memory, metrics of its own.

What an inner stage used and counted counts for the outer one too.
"""

from __future__ import annotations

import contextlib
import re
import sys
import threading
import time
from typing import TYPE_CHECKING, Dict, Tuple

if TYPE_CHECKING:
    from typing import Iterator

    from airflow_stagecoach.engine.contract import StageResult

#: How a line begins that is to count something.
_SIGN = "::metric"

_METRIC = re.compile(
    r"::metric\s+name=(?P<name>[A-Za-z_][A-Za-z0-9_.-]{0,63})\s+"
    r"value=(?P<value>[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?)\s*",
    re.ASCII,
)

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")

#: So many metrics may a stage have; a name made of data would otherwise fill the database.
_MOST = 100

#: Sums stay in what every reader of JSON takes.
_LARGEST = 1e300

#: The kernel counts memory roughly: a child's peak is its own only when it exceeds ours by that, in bytes.
_ROUGHLY = 1024 * 1024


class MetricError(ValueError):
    """A metric that cannot be counted; the message says what to write."""


def parse_metric(line: str) -> Tuple[str, float] | None:
    """Name and value of a line ``::metric name=rows value=10``; None when it is another line.

    :raises MetricError: it begins like one, and is none
    """
    if not line.startswith(_SIGN) or line[len(_SIGN) : len(_SIGN) + 1] not in ("", " ", "\t"):
        return None
    found = _METRIC.fullmatch(line)
    if found is None:
        raise MetricError(
            f"not counted: {line[:200]!r}; write `::metric name=rows value=10`: a name of letters, "
            "digits and _.-, then a number"
        )
    return found.group("name"), _number(found.group("value"))


def _number(text: str) -> float:
    """A whole number stays one."""
    try:
        return int(text)
    except ValueError:
        return float(text)


class Usage:
    """What one stage has used so far, all its tries together. May be told from several threads.

    :param outer: of the stage around it, which is told too
    """

    def __init__(self, outer: Usage | None = None) -> None:
        self._outer = outer
        self._lock = threading.Lock()
        self.cpu_seconds = 0.0
        self.peak_memory = 0
        self.metrics: Dict[str, float] = {}

    def count(self, name: str, value: float) -> None:
        """Add to a metric.

        :raises MetricError: no name of a metric, no finite number, or too many names
        """
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise MetricError(f"not counted: {name!r} is no name of a metric; write letters, digits and _.-")
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < _LARGEST:
            raise MetricError(f"not counted: the value of the metric {name!r} is no finite number")
        with self._lock:
            if name not in self.metrics and len(self.metrics) >= _MOST:
                raise MetricError(f"not counted: {name!r}; a stage may have {_MOST} metrics")
            total = self.metrics.get(name, 0) + value
            if not abs(total) < _LARGEST:
                raise MetricError(f"not counted: the sum of the metric {name!r} is too large")
            self.metrics[name] = total
        if self._outer is not None:
            self._outer.count(name, value)

    def add(self, cpu_seconds: float, peak_memory: int) -> None:
        """Add what a process, or code in this one, used."""
        with self._lock:
            self.cpu_seconds += cpu_seconds
            self.peak_memory = max(self.peak_memory, peak_memory)
        if self._outer is not None:
            self._outer.add(cpu_seconds, peak_memory)

    def write(self, result: StageResult) -> None:
        """Put it into the result of the stage."""
        result["cpu_seconds"] = round(self.cpu_seconds, 3)
        result["peak_memory"] = self.peak_memory
        if self.metrics:
            result["metrics"] = dict(self.metrics)

    @contextlib.contextmanager
    def measured(self, concurrent: bool) -> Iterator[None]:
        """Add what the code inside uses.

        While other stages run in this process, only the time of this thread is known; the memory is then that
        of the process, and processes that the code starts are not counted.
        """
        if not concurrent:
            forget_peak()
        children_before, largest_before = _children()
        clock = time.thread_time if concurrent else time.process_time
        start = clock()
        try:
            yield
        finally:
            seconds, peak = clock() - start, own_peak()
            if not concurrent:
                children, largest = _children()
                seconds += children - children_before
                if largest > largest_before:
                    peak = max(peak, largest)
            self.add(seconds, peak)


def own_peak() -> int:
    """Bytes that this process held at most, since :meth:`Usage.measured` began; 0 where it cannot be told.

    Of Linux's own account: getrusage includes what the parent of the process held before it.
    """
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:
        import resource
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _unit()


def forget_peak() -> None:
    """Let the kernel count this process's peak anew (Linux 4.0); elsewhere it is that of its whole life."""
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")


def _children() -> Tuple[float, int]:
    """CPU seconds of all finished children, and the peak of the largest, in bytes."""
    try:
        import resource
    except ImportError:
        return 0.0, 0
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime, child_peak(used.ru_maxrss)


def child_peak(reported: int, sampled: int = 0) -> int:
    """The peak of a finished child, in bytes.

    A child's ``ru_maxrss`` begins with what its parent held when it was started. Only a larger one is
    the child's own; else what was seen while it ran counts.

    :param reported: ``ru_maxrss``
    :param sampled: bytes seen
    """
    own = reported * _unit()
    return max(own if own > own_peak() + _ROUGHLY else 0, sampled)


def _unit() -> int:
    return 1 if sys.platform == "darwin" else 1024


def tree_memory(pid: int) -> int:
    """Bytes that a process and its descendants hold now, at least the peak of each (Linux; elsewhere 0)."""
    total = largest = 0
    left, seen = [pid], 0
    while left and seen < 1000:
        one = left.pop()
        seen += 1
        with contextlib.suppress(OSError, ValueError, IndexError):
            with open(f"/proc/{one}/status", "rb") as file:
                for line in file:
                    if line.startswith(b"VmHWM:"):
                        largest = max(largest, int(line.split()[1]) * 1024)
                    elif line.startswith(b"VmRSS:"):
                        total += int(line.split()[1]) * 1024
                        break
            with open(f"/proc/{one}/task/{one}/children", "rb") as file:
                left += [int(child) for child in file.read().split()]
    return max(total, largest)
