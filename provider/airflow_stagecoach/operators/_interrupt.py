"""Breaking off Python code of an operator that does not stop by itself."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

#: Seconds that a call into C may keep the signal waiting before this gives the channel free again.
_PATIENCE = 1.0


class Interruption(BaseException):
    """Raised inside the code that is broken off; operators do not catch it by accident."""


@contextlib.contextmanager
def interruptible() -> Iterator[Callable[[], None]]:
    """Around code of the main thread that another thread may break off.

    A signal (SIGURG, harmless by default) ends even a blocking call. It is sent only while nobody
    talks with Airflow's supervisor: an answer that was never read would be taken for the next one's.
    Outside the main thread nothing can be broken off.

    :return: called from another thread, lets the code raise ``Interruption``. May be called again.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    main = threading.get_ident()
    active, raised = True, threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        if active and not raised.is_set():
            raised.set()
            raise Interruption

    def interrupt() -> None:
        if not active:
            return
        raised.clear()
        with _channel():
            signal.pthread_kill(main, signal.SIGURG)
            raised.wait(_PATIENCE)

    previous = signal.signal(signal.SIGURG, on_signal)
    try:
        yield interrupt
    finally:
        active = False
        signal.signal(signal.SIGURG, previous or signal.SIG_DFL)


def _channel() -> Any:
    """The lock of the channel to the supervisor, which a request holds until its answer is there."""
    from airflow.sdk.execution_time import task_runner

    comms = getattr(task_runner, "SUPERVISOR_COMMS", None)
    return getattr(comms, "_thread_lock", None) or contextlib.nullcontext()
