"""Breaking off Python code from another thread."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.execution_time import task_runner

from airflow_stagecoach.operators._interrupt import Interruption, interruptible


def later(action: Any, seconds: float = 0.1) -> threading.Timer:
    timer = threading.Timer(seconds, action)
    timer.daemon = True
    timer.start()
    return timer


@pytest.mark.parametrize(
    "work",
    [lambda: time.sleep(20), lambda: subprocess.run(["sleep", "20"]), lambda: threading.Event().wait(20)],
    ids=["sleep", "process", "lock"],
)
def test_a_call_that_blocks_is_broken_off(work: Any) -> None:
    started = time.monotonic()

    def broken_off() -> None:
        with interruptible() as interrupt:
            later(interrupt)
            work()

    with pytest.raises(Interruption):
        broken_off()
    assert time.monotonic() - started < 15


def test_who_swallows_it_gets_the_next_one() -> None:
    def stubborn() -> None:
        with interruptible() as interrupt:
            later(interrupt)
            with contextlib.suppress(BaseException):
                time.sleep(20)
            later(interrupt)
            time.sleep(20)

    with pytest.raises(Interruption):
        stubborn()


def test_no_request_to_the_supervisor_is_torn(monkeypatch: pytest.MonkeyPatch) -> None:
    lock = threading.Lock()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", SimpleNamespace(_thread_lock=lock), raising=False)
    whole = []

    def request() -> None:
        with interruptible() as interrupt:
            with lock:
                later(interrupt, 0)
                time.sleep(0.3)
                whole.append(True)
            time.sleep(20)

    with pytest.raises(Interruption):
        request()
    assert whole == [True]


def test_afterwards_nothing_is_broken_off() -> None:
    before = signal.getsignal(signal.SIGURG)
    with interruptible() as interrupt:
        pass
    interrupt()
    time.sleep(0.05)
    assert signal.getsignal(signal.SIGURG) == before


def test_outside_the_main_thread_nothing_happens() -> None:
    ended = []

    def work() -> None:
        with interruptible() as interrupt:
            interrupt()
            ended.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)
    assert ended == [True]
