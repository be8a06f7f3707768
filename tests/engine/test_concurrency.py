from __future__ import annotations

import threading
import time

import pytest

from airflow_stagecoach.engine.concurrency import run_all
from airflow_stagecoach.engine.control import Scope
from airflow_stagecoach.engine.errors import Cancelled, TimedOut


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_all_run_and_never_more_than_the_workers(workers: int) -> None:
    lock, now, peak, done = threading.Lock(), [0], [0], []

    def task(number: int) -> bool:
        with lock:
            now[0] += 1
            peak[0] = max(peak[0], now[0])
        time.sleep(0.02)
        with lock:
            now[0] -= 1
            done.append(number)
        return True

    run_all([lambda scope, n=n: task(n) for n in range(12)], workers, Scope())  # type: ignore[misc]  # the default
    assert sorted(done) == list(range(12))
    assert peak[0] == workers


@pytest.mark.parametrize("workers", [1, 3])
def test_false_lets_no_other_start(workers: int) -> None:
    done: list[int] = []

    def task(number: int) -> bool:
        time.sleep(0.02 * (number + 1))
        done.append(number)
        return number != 0

    run_all([lambda scope, n=n: task(n) for n in range(9)], workers, Scope())  # type: ignore[misc]  # the default
    assert sorted(done) == list(range(workers))


def test_an_error_stops_the_others() -> None:
    def fails(scope: Scope) -> bool:
        time.sleep(0.1)
        raise ValueError("x")

    def waits(scope: Scope) -> bool:
        scope.sleep(60)
        return True

    started = time.monotonic()
    with pytest.raises(ValueError, match="x"):
        run_all([waits, fails], 2, Scope())
    assert time.monotonic() - started < 3


def test_timeouts_and_cancels_pass_through() -> None:
    def waits(scope: Scope) -> bool:
        scope.sleep(60)
        return True

    limited = Scope(limit=0.1)
    with pytest.raises(TimedOut) as caught:
        run_all([waits, waits], 2, Scope(limited))
    assert caught.value.scope is limited
    cancelled = Scope()
    threading.Timer(0.1, cancelled.cancel).start()
    with pytest.raises(Cancelled):
        run_all([waits, waits], 2, cancelled)


def test_threads_that_do_not_end_are_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_stagecoach.engine.concurrency._PATIENCE", 0.2)
    free = threading.Event()

    def blocks(scope: Scope) -> bool:
        free.wait(10)
        return True

    started = time.monotonic()
    with pytest.raises(TimedOut):
        run_all([blocks, blocks], 2, Scope(limit=0.1))
    assert time.monotonic() - started < 2
    free.set()
