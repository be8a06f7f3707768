"""When to stop: cancelling and timeouts, as a tree of scopes.

Nothing here takes a lock, so :meth:`Scope.cancel` is safe in a signal handler.
Whatever waits asks its scope at least every :data:`TICK` seconds.
"""

from __future__ import annotations

import _thread
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from airflow_stagecoach.engine.errors import Cancelled, Interrupted, TimedOut

if TYPE_CHECKING:
    from types import FrameType, TracebackType
    from typing import Callable, Iterator

#: How often a wait looks whether it shall end, in seconds.
TICK = 0.1

#: Python code that swallowed an interruption gets the next one after so many seconds.
_AGAIN = 1.0


class Scope:
    """What runs under one deadline, or may be stopped as a whole.

    :param parent: stopped together with it
    :param limit: seconds until it times out
    """

    def __init__(self, parent: Scope | None = None, limit: float | None = None) -> None:
        self.parent = parent
        self.limit = limit if limit is not None else 0.0
        self._deadline = None if limit is None else time.monotonic() + limit
        self._cancelled = False
        #: Called when the scope is cancelled, for those who cannot keep asking.
        self.listeners: list[Callable[[], None]] = []

    def cancel(self) -> None:
        """Stop everything in this scope. May be called from anywhere, more than once."""
        self._cancelled = True
        for listener in list(self.listeners):
            listener()

    def lineage(self) -> Iterator[Scope]:
        """Give this scope and those around it."""
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.parent

    def ends_by_itself(self) -> bool:
        """Whether there is a deadline, of this scope or one around it."""
        return any(scope._may_end() for scope in self.lineage())

    def pending(self) -> Interrupted | None:
        """Why this scope shall stop, or None. Of several timeouts the outermost counts."""
        found: Interrupted | None = None
        now = time.monotonic()
        for scope in self.lineage():
            reason = scope._reason(now)
            if isinstance(reason, Cancelled):
                return reason
            found = reason or found
        return found

    def _may_end(self) -> bool:
        return self._deadline is not None

    def _reason(self, now: float) -> Interrupted | None:
        """Why this scope alone shall stop, or None."""
        if self._cancelled:
            return Cancelled("it was cancelled")
        if self._deadline is not None and now >= self._deadline:
            return TimedOut(self)
        return None

    def check(self) -> None:
        """:raises Interrupted: this scope shall stop"""
        reason = self.pending()
        if reason is not None:
            raise reason

    def sleep(self, seconds: float) -> None:
        """Wait, unless the scope stops.

        :raises Interrupted: it stopped
        """
        end = time.monotonic() + seconds
        while True:
            self.check()
            left = end - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, TICK))


class Reprieve(Scope):
    """A scope that stops only some seconds after another one does: for what cleans up behind it.

    :param other: whose end is put off
    :param seconds: for how long
    """

    def __init__(self, other: Scope, seconds: float) -> None:
        super().__init__()
        self._other = other
        self._seconds = seconds
        self._end: float | None = None

    def _may_end(self) -> bool:
        return True

    def _reason(self, now: float) -> Interrupted | None:
        reason = self._other.pending()
        if reason is None:
            return super()._reason(now)
        if self._end is None:
            self._end = now + self._seconds
        return reason if now >= self._end else None


class interruptible:  # noqa: N801 - used like a function: `with interruptible(scope):`
    """Around Python code of the user: stops it when the scope stops.

    In the main thread a signal (SIGURG, which nobody else uses and which is
    harmless by default) breaks even a blocking call. In another thread the
    interpreter raises between two byte codes, so a blocking call returns first.

    The thread that watches the clock starts only when there is a deadline or
    when the scope is cancelled: code that forks finds a process without threads.
    """

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._active = False
        self._thread = threading.get_ident()
        self._lock = threading.Lock()
        self._previous: Any = None
        self._by_signal = False
        self._watching = False

    def __enter__(self) -> None:
        self._scope.check()
        if threading.current_thread() is threading.main_thread() and hasattr(signal, "SIGURG"):
            self._previous = signal.signal(signal.SIGURG, self._on_signal)
            self._by_signal = True
        self._active = True
        for scope in self._scope.lineage():
            scope.listeners.append(self._start_watching)
        if self._scope.ends_by_itself() or self._scope.pending() is not None:
            self._start_watching()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._active = False
        for scope in self._scope.lineage():
            scope.listeners.remove(self._start_watching)
        if self._by_signal:
            signal.signal(signal.SIGURG, self._previous or signal.SIG_DFL)
        else:
            with self._lock:
                _raise_in(self._thread, None)
        if isinstance(error, Interrupted):
            self._scope.check()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._active:
            self._scope.check()

    def _start_watching(self) -> None:
        if not self._watching:
            self._watching = True
            # Not threading.Thread, which takes locks: this may be a signal handler.
            _thread.start_new_thread(self._watch, ())

    def _watch(self) -> None:
        while self._active:
            time.sleep(TICK)
            if self._scope.pending() is None:
                continue
            if self._by_signal:
                if self._active:
                    signal.pthread_kill(self._thread, signal.SIGURG)
            else:
                with self._lock:
                    if self._active:
                        _raise_in(self._thread, Interrupted)
            time.sleep(_AGAIN)


def _raise_in(thread: int, kind: type[BaseException] | None) -> None:
    """Let another thread raise at its next byte code; None takes it back."""
    if sys.implementation.name != "cpython":
        return
    import ctypes

    exception = None if kind is None else ctypes.py_object(kind)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), exception)
