"""Tasks that are killed, or whose supervisor is, with real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Started = tuple[subprocess.Popen[str], int, int, int]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are watched by Linux")

#: A supervisor that forks a task, as Airflow does. The task starts a process and waits.
SUPERVISOR = r"""
import os, signal, subprocess, sys, time
from types import ModuleType, SimpleNamespace
# Not the real one, which takes seconds to import.
for name in ("airflow", "airflow.sdk", "airflow.sdk.execution_time"):
    sys.modules[name] = ModuleType(name)
task_runner = sys.modules["airflow.sdk.execution_time"].task_runner = SimpleNamespace()
from airflow_stagecoach.operators import _lifeline

how = sys.argv[1]
task = os.fork()
if task:
    os.waitpid(task, 0)
    time.sleep(60)
os.setpgid(0, 0)
_lifeline.GRACE = 1.0
task_runner.SUPERVISOR_COMMS = SimpleNamespace(socket=None)
def on_term(number, frame):
    print("term", flush=True)
    if how == "heeds":
        os._exit(0)
signal.signal(signal.SIGTERM, on_term)
with _lifeline.held():
    child = subprocess.Popen(["sleep", "60"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    stubborn = subprocess.Popen(["sh", "-c", "trap '' TERM; sleep 60"], stdin=-3, stdout=-3)
    print(os.getpid(), child.pid, stubborn.pid, flush=True)
    while how != "ends":
        time.sleep(0.1)
print("handler", signal.getsignal(signal.SIGTERM) is on_term, flush=True)
time.sleep(60)
"""


@pytest.fixture
def start() -> Iterator[Callable[[str], Started]]:
    """Starts a supervisor; gives it, its task, and two processes of that: one is stubborn."""
    started: list[int] = []

    def run(how: str) -> Started:
        supervisor = subprocess.Popen(
            [sys.executable, "-c", SUPERVISOR, how], stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert supervisor.stdout is not None
        task, child, stubborn = map(int, supervisor.stdout.readline().split())
        started.extend((supervisor.pid, task, child, stubborn))
        return supervisor, task, child, stubborn

    yield run
    for pid in started:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def until_gone(*pids: int) -> None:
    end = time.monotonic() + 20
    while any(map(lives, pids)):
        assert time.monotonic() < end, f"{[pid for pid in pids if lives(pid)]} live on"
        time.sleep(0.05)


def test_what_a_killed_task_started_ends(
    start: Callable[[str], Started],
) -> None:
    _, task, *children = start("waits")
    os.kill(task, signal.SIGKILL)
    until_gone(*children)


@pytest.mark.parametrize("how", ["heeds", "stubborn"])
def test_a_task_ends_with_its_supervisor(how: str, start: Callable[[str], Started]) -> None:
    supervisor, *processes = start(how)
    supervisor.kill()
    supervisor.wait()
    until_gone(*processes)
    assert supervisor.stdout is not None
    assert supervisor.stdout.readline() == "term\n", "the operator was told first"


def test_a_task_that_ends_leaves_the_process_as_it_was(
    start: Callable[[str], Started],
) -> None:
    supervisor, task, child, stubborn = start("ends")
    assert supervisor.stdout is not None
    assert supervisor.stdout.readline() == "handler True\n"
    assert not lives(child), "what it left running is ended"
    until_gone(stubborn)
    supervisor.kill()
    time.sleep(1.5)
    assert lives(task)


def test_without_a_supervisor_nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_stagecoach.operators import _lifeline

    monkeypatch.setattr(subprocess, "Popen", lambda *args, **options: pytest.fail("started"))
    before = signal.getsignal(signal.SIGTERM)
    with _lifeline.held():
        assert signal.getsignal(signal.SIGTERM) == before
