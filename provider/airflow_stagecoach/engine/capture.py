"""What Python code of a stage prints goes line by line to the log of that stage, not to the process's output.

``sys.stdout`` and ``sys.stderr`` belong to the process. While stages run, a stand-in takes their
places and asks a context variable whose code is printing, so stages that run at the same
time do not mix. Threads that the code starts itself have no context of their own:
what they print goes to the stage that began first. Processes that it starts or forks write to the
process's output as ever.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, List, Tuple

from airflow_stagecoach.engine.streams import LONGEST_LINE
from airflow_stagecoach.engine.usage import MetricError

if TYPE_CHECKING:
    from typing import Iterator

    from airflow_stagecoach.engine.frame import Work

_current: ContextVar[_Printed | None] = ContextVar("stagecoach_printed", default=None)
_lock = threading.Lock()
_active: List[_Printed] = []
_originals: Tuple[Any, Any] | None = None

#: Whether this thread is writing a line to the log right now: what that writes is no print of a stage.
_writing = threading.local()


@contextlib.contextmanager
def captured(work: Work) -> Iterator[None]:
    """Let what is printed inside be lines of the stage's log, and :func:`metric` count for it."""
    printed = _Printed(work)
    token = _current.set(printed)
    _enter(printed)
    try:
        yield
    finally:
        _current.reset(token)
        _leave(printed)
        printed.close()


def metric(name: str, value: float = 1) -> None:
    """Count something for the stage that runs, such as rows; several calls of a name add up.

    The sums stand in the record of the stage. It never fails: what cannot be counted is a warning in the
    log, and outside of a stage it does nothing, so a function that calls it can be tested alone.

    :param name: letters, digits, ``_``, ``-``, ``.``; at most 64
    :param value: a finite number
    """
    printed = _printed()
    if printed is None:
        return
    try:
        printed.work.usage.count(name, value)
    except MetricError as error:
        printed.work.log(str(error), "warning")


def _printed() -> _Printed | None:
    found = _current.get()
    if found is None and _active:
        found = _active[0]
    return None if found is None or found.pid != os.getpid() else found


class _Printed:
    """What one stage printed, its two streams."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.pid = os.getpid()
        self.streams = (_Lines(work), _Lines(work))

    def close(self) -> None:
        for lines in self.streams:
            lines.close()


class _Lines:
    """One stream, cut into lines."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._lock = threading.RLock()
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._parts: List[str] = []
        self._length = 0

    def feed(self, data: bytes) -> None:
        with self._lock:
            self.write(self._decoder.decode(data))

    def write(self, text: str) -> None:
        with self._lock:
            first, *others = text.split("\n")
            self._append(first)
            for line in others:
                self._emit(ended=True)
                self._append(line)

    def close(self) -> None:
        with self._lock:
            self._append(self._decoder.decode(b"", final=True))
            self._emit()

    def _append(self, text: str) -> None:
        while self._length + len(text) > LONGEST_LINE:
            room = LONGEST_LINE - self._length
            self._parts.append(text[:room])
            self._emit()
            text = text[room:]
        if text:
            self._parts.append(text)
            self._length += len(text)

    def _emit(self, ended: bool = False) -> None:
        line = "".join(self._parts)
        self._parts.clear()
        self._length = 0
        if not line and not ended:
            return
        _writing.now = True
        try:
            self._work.output(line[:-1] if line.endswith("\r") else line)
        finally:
            _writing.now = False


class _Text(io.TextIOBase):
    """Stands for ``sys.stdout`` (0) or ``sys.stderr`` (1)."""

    def __init__(self, original: Any, number: int) -> None:
        self._original = original
        self._number = number

    def _lines(self) -> _Lines | None:
        if getattr(_writing, "now", False):
            return None
        printed = _printed()
        return None if printed is None else printed.streams[self._number]

    def write(self, text: str) -> int:
        lines = self._lines()
        if lines is None:
            return int(self._original.write(text))
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        lines.write(text)
        return len(text)

    def flush(self) -> None:
        self._original.flush()

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        return int(self._original.fileno())

    def close(self) -> None:
        """Code that closes its standard output closes nothing of the worker's."""

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a plain attribute of the base class, always None there
        return "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]  # likewise
        return "replace"

    @property
    def buffer(self) -> _Bytes:
        """For code that writes bytes."""
        return _Bytes(self, self._original)

    def __getattr__(self, name: str) -> Any:
        """What else there is: its name, its mode."""
        return getattr(self._original, name)

    def reconfigure(self, **options: Any) -> None:
        """Nothing here depends on an encoding or a buffer."""


class _Bytes(io.RawIOBase):
    """The ``buffer`` of the stand-in."""

    def __init__(self, text: _Text, original: Any) -> None:
        self._text = text
        self._original = original

    def write(self, data: Any) -> int:
        lines = self._text._lines()
        if lines is None:
            return int(self._original.buffer.write(data))
        taken = bytes(data)
        lines.feed(taken)
        return len(taken)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._text.fileno()

    def flush(self) -> None:
        self._text.flush()

    def close(self) -> None:
        """As with the text."""


def _enter(printed: _Printed) -> None:
    """The first stage puts the stand-ins in place."""
    global _originals
    with _lock:
        _active.append(printed)
        if _originals is None:
            _originals = sys.stdout, sys.stderr
            outputs: Tuple[Any, Any] = _Text(sys.stdout, 0), _Text(sys.stderr, 1)
            sys.stdout, sys.stderr = outputs


def _leave(printed: _Printed) -> None:
    """The last stage takes them away, whatever the code put in their places."""
    global _originals
    with _lock:
        _active.remove(printed)
        if not _active and _originals is not None:
            sys.stdout, sys.stderr = _originals
            _originals = None
