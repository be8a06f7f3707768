"""Runs several things at the same time, in threads that never outlive a cancelled unit."""

from __future__ import annotations

import contextvars
import queue
import threading
import time
from typing import TYPE_CHECKING, List

from airflow_stagecoach.engine.control import TICK, Scope
from airflow_stagecoach.engine.errors import Interrupted
from airflow_stagecoach.engine.process import GRACE

if TYPE_CHECKING:
    from typing import Callable, Sequence

    #: Takes the scope it runs in; gives whether the next ones may start.
    Task = Callable[[Scope], bool]

#: Threads that do not end in time (a blocking call of user code) are left behind, in seconds.
_PATIENCE = GRACE + 3.0


def run_all(tasks: Sequence[Task], workers: int, scope: Scope) -> None:
    """Run tasks, at most ``workers`` at a time, started in order.

    When a task gives False or raises, those not started never start.

    :raises BaseException: what the first failing task raised; the others were stopped and have ended
    """
    if workers == 1 or len(tasks) < 2:
        for task in tasks:
            if not task(scope):
                return
        return
    _Crew(tasks, scope).run(min(workers, len(tasks)))


class _Crew:
    def __init__(self, tasks: Sequence[Task], scope: Scope) -> None:
        self._outer = scope
        self._scope = Scope(scope)
        self._left = iter(tasks)
        self._open = True
        self._errors: List[BaseException] = []
        self._ended: queue.SimpleQueue[None] = queue.SimpleQueue()

    def run(self, workers: int) -> None:
        context = contextvars.copy_context
        for _ in range(workers):
            threading.Thread(target=context().run, args=(self._work,), name="stagecoach", daemon=True).start()
        give_up: float | None = None
        while workers:
            try:
                self._ended.get(timeout=TICK)
                workers -= 1
            except queue.Empty:
                if give_up is None and self._scope.pending() is not None:
                    give_up = time.monotonic() + _PATIENCE
                if give_up is not None and time.monotonic() > give_up:
                    break
            except BaseException:  # A timeout of Airflow, an interrupt: the others go first.
                self._stop()
                self._wait(workers)
                raise
        for error in self._errors:
            if not isinstance(error, Interrupted):
                raise error
        self._outer.check()
        if self._errors:
            raise self._errors[0]

    def _work(self) -> None:
        try:
            for task in self._left:
                if not self._open or not task(self._scope):
                    self._open = False
                    break
        except BaseException as error:  # Carried over to the thread that waits.
            self._errors.append(error)
            self._stop()
        finally:
            self._ended.put(None)

    def _stop(self) -> None:
        self._open = False
        self._scope.cancel()

    def _wait(self, workers: int) -> None:
        end = time.monotonic() + _PATIENCE
        while workers and time.monotonic() < end:
            try:
                self._ended.get(timeout=TICK)
                workers -= 1
            except queue.Empty:
                continue
