"""Tests of airflow_stagecoach.backends.detached: a process that is known by its folder."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import TYPE_CHECKING

import pytest

from airflow_stagecoach.backends import detached
from airflow_stagecoach.backends.detached import Detached

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def wait_for(condition: Callable[[], bool], timeout: float = 60) -> None:
    until = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def script(folder: Path, text: str) -> Detached:
    process = Detached(str(folder))
    process.start(["/bin/sh", "-c", text])
    return process


@pytest.mark.parametrize("code", [0, 3, 126])
def test_exit_code_and_output(code: int, tmp_path: Path) -> None:
    process = script(tmp_path, f"echo out; echo err >&2; printf last; exit {code}")
    wait_for(lambda: process.state == "ended")
    # Anybody who knows the folder sees the same.
    again = Detached(str(tmp_path))
    assert (again.exit_code, again.output(0)) == (code, (b"out\nerr\nlast", 12))
    assert again.output(4) == (b"err\nlast", 12)
    assert again.output(12) == (b"", 12)


def test_it_has_a_session_of_its_own_and_little_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "hunter2")
    process = script(tmp_path, "env; sleep 60")
    assert os.getsid(process.pid or 0) == process.pid != os.getsid(0)
    wait_for(lambda: b"PATH=" in process.output(0)[0])
    assert b"hunter2" not in process.output(0)[0]
    process.stop(10)


def test_a_folder_is_started_once(tmp_path: Path) -> None:
    process = Detached(str(tmp_path))
    command = ["/bin/sh", "-c", "echo x >>count; sleep 0.5"]
    assert process.start(command) == Detached(str(tmp_path)).start(command)
    wait_for(lambda: process.state == "ended")
    assert process.start(command)
    assert (tmp_path / "count").read_text() == "x\n"


def test_one_that_was_killed_is_lost(tmp_path: Path) -> None:
    process = script(tmp_path, "sleep 60")
    assert process.state == "running"
    process.send(signal.SIGKILL)
    wait_for(lambda: process.state == "lost")
    assert process.exit_code is None
    process.send(signal.SIGKILL)
    process.stop(1)


def test_another_process_with_the_same_pid_is_not_it(tmp_path: Path) -> None:
    with open(f"/proc/{os.getpid()}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    fields[19] = str(int(fields[19]) - 1)
    (tmp_path / "process").write_text(f"{os.getpid()} (sh) {' '.join(fields)}\nboot\n")
    process = Detached(str(tmp_path))
    assert process.state == "lost"
    process.stop(0)


def test_before_it_is_started(tmp_path: Path) -> None:
    process = Detached(str(tmp_path))
    assert (process.pid, process.state, process.output(0)) == (None, "lost", (b"", 0))


def test_what_is_asked_to_stop_may_say_something(tmp_path: Path) -> None:
    process = script(tmp_path, "trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.1; done")
    wait_for(lambda: process.output(0)[0] == b"up\n")
    process.stop(60)
    assert process.exit_code == 7
    assert process.output(0)[0].endswith(b"bye\n")


def test_what_does_not_stop_is_killed(tmp_path: Path) -> None:
    process = script(tmp_path, "trap '' TERM; echo up; while :; do sleep 0.1; done")
    wait_for(lambda: process.output(0)[0] == b"up\n")
    process.stop(0.3)
    assert process.state == "lost"


def test_long_output_comes_in_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detached, "CHUNK", 10)
    process = script(tmp_path, "echo 123; echo 456; echo 789; echo abcdefghijklmnop; printf end")
    wait_for(lambda: process.state == "ended")
    position, pieces = 0, []
    while True:
        data, position = process.output(position)
        if not data:
            break
        pieces.append(data)
    assert pieces == [b"123\n456\n", b"789\n", b"abcdefghij", b"klmnop\n", b"end"]


def test_a_line_that_is_not_whole_waits(tmp_path: Path) -> None:
    process = script(tmp_path, "printf 'one\\ntwo'; until [ -e go ]; do sleep 0.05; done; echo ' three'")
    wait_for(lambda: process.output(0) == (b"one\n", 4))
    (tmp_path / "go").touch()
    wait_for(lambda: process.state == "ended")
    assert process.output(4)[0] == b"two three\n"


def test_a_command_that_is_not_there(tmp_path: Path) -> None:
    process = Detached(str(tmp_path))
    process.start(["/no/such/program"])
    wait_for(lambda: process.state == "ended")
    assert process.exit_code == 127


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises((RuntimeError, OSError)):
        Detached(str(tmp_path / "missing")).start([sys.executable, "-V"])
