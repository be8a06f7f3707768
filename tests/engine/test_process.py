"""Real processes: floods, binary, background children, and every way to be stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from airflow_stagecoach.engine import Hooks, Runner
from airflow_stagecoach.engine.streams import KEPT
from tests.engine.harness import alive, bash, empty, named, python, read, run, wait_for

if TYPE_CHECKING:
    from pathlib import Path


def test_lines_appear_while_it_runs() -> None:
    seen: list[float] = []
    Runner(
        {"stages": named([bash("echo one; sleep 0.5; echo two")])},
        Hooks(log=lambda text, level: seen.append(time.monotonic())),
    ).run()
    assert seen[1] - seen[0] > 0.3


def test_a_short_script_is_fast() -> None:
    assert run(bash("true")).seconds < 0.5


def test_both_streams_at_once_do_not_block() -> None:
    ran = run(
        bash("head -c 1000000 /dev/zero | tr '\\0' x >&2 & head -c 1000000 /dev/zero | tr '\\0' y; wait")
    )
    assert ran.outputs["stdout"].endswith("y" * 100)
    assert ran.outputs["stderr"].endswith("x" * 100)


def test_a_long_line_comes_in_pieces_and_only_its_end_is_kept() -> None:
    ran = run(bash("head -c 10000000 /dev/zero | tr '\\0' x; echo"))
    assert max(map(len, ran.texts)) <= 16 * 1024
    assert sum(map(len, ran.texts)) == 10_000_000
    mark, _, rest = ran.outputs["stdout"].partition("\n")
    assert mark == f"[the first {10_000_001 - KEPT} bytes are left out]"
    assert rest == "x" * (KEPT - 1)


def test_much_output_needs_little_memory() -> None:
    code = (
        "from airflow_stagecoach.engine import Hooks, Runner\n"
        "script = 'yes ' + '0123456789' * 20 + ' | head -c 100000000'\n"
        "Runner({'stages': [{'kind': 'bash', 'id': 'b', 'bash': script}]},"
        " Hooks(log=lambda text, level: None)).run()\n"
        "print([line for line in open('/proc/self/status') if line.startswith('VmHWM')][0].split()[1])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert int(done.stdout) < 80 * 1024


def test_binary_is_replaced_not_fatal() -> None:
    outputs = run(bash(r"printf 'a\377\376b\0c\n'; printf '\303'")).outputs
    assert outputs["stdout"] == "a��b�c\n�"


def test_characters_cut_between_reads_stay_whole() -> None:
    assert run(bash(r"printf '\303'; sleep 0.2; printf '\251\n'")).texts == ["é"]


def test_a_background_child_that_keeps_the_pipe_does_not_hang(tmp_path: Path) -> None:
    ran = run(bash(f"sleep 60 & echo $! > {tmp_path}/pid; echo done"))
    assert ran.outputs["stdout"] == "done"
    assert ran.seconds < 5
    assert not alive(int(read(tmp_path / "pid")))
    assert any(level == "warning" and "background" in text for level, text in ran.lines)


def test_a_background_writer_may_finish() -> None:
    ran = run(bash("(sleep 0.3; echo late) & echo early"))
    assert ran.outputs["stdout"] == "early\nlate"


def test_timeout_kills_what_ignores_sigterm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_stagecoach.engine.process.GRACE", 0.5)
    script = (
        f"trap '' TERM; echo $$ > {tmp_path}/pid; sleep 60 & echo $! > {tmp_path}/child\n"
        "while :; do sleep 0.1; done"
    )
    ran = run(bash(script, timeout=0.5), enforce_timeouts=True)
    assert ran.error == {
        "type": "TimedOut",
        "message": "it ran longer than its timeout of 0.5 s",
        "category": "timeout",
        "reason": "timed-out",
    }
    assert 0.9 < ran.seconds < 4
    assert not alive(int(read(tmp_path / "pid")))
    assert not alive(int(read(tmp_path / "child")))


def test_sigterm_comes_first_and_last_words_are_heard() -> None:
    ran = run(
        bash("trap 'echo bye; exit 0' TERM; while :; do sleep 0.05; done", timeout=0.3), enforce_timeouts=True
    )
    assert ran.error["type"] == "TimedOut"
    assert "bye" in ran.texts
    assert ran.seconds < 3


def test_children_in_sessions_of_their_own_go_too(tmp_path: Path) -> None:
    script = f"setsid sleep 61 & setsid sh -c 'echo $$ > {tmp_path}/pid; sleep 62' & sleep 60"
    ran = run(bash(script, timeout=0.6), enforce_timeouts=True)
    assert ran.error["type"] == "TimedOut"
    assert not alive(int(read(tmp_path / "pid")))


def test_timeouts_of_a_single_stage_are_the_callers_unless_it_says_otherwise() -> None:
    assert run(bash("sleep 0.4; echo ok", timeout=0.1)).outputs["stdout"] == "ok"


@pytest.mark.parametrize("later", [[], [bash("echo never", **{"if": "always()"})]])
def test_cancel_from_another_thread(tmp_path: Path, later: list[Any]) -> None:
    runner = Runner(
        {"stages": named([bash(f"echo $$ > {tmp_path}/pid; sleep 60"), *later])}, Hooks(log=lambda *_: None)
    )

    def cancel() -> None:
        wait_for(lambda: read(tmp_path / "pid"))
        runner.cancel()
        runner.cancel()

    threading.Thread(target=cancel).start()
    started = time.monotonic()
    result = runner.run()
    assert time.monotonic() - started < 5
    assert result["outcome"] == "cancelled"
    assert result["state"] == "failed"
    assert result["stages"]["s1"]["outcome"] == "cancelled"
    assert [stage["state"] for name, stage in result["stages"].items() if name != "s1"] == [
        "upstream_failed"
    ] * len(later)
    assert not alive(int(read(tmp_path / "pid")))


def test_cancel_before_the_start() -> None:
    runner = Runner({"stages": named([bash("echo never")])}, Hooks(log=lambda *_: None))
    runner.cancel()
    assert runner.run()["outcome"] == "cancelled"


@pytest.mark.parametrize(
    "stage",
    [
        bash("sleep 60"),
        python("import time\ntime.sleep(60)"),
        empty(sleep=60),
        {"kind": "parallel", "parallel": {"a": [bash("sleep 60", id="s")], "b": [empty(sleep=60, id="s")]}},
    ],
    ids=lambda stage: str(stage["kind"]),
)
def test_cancel_in_a_signal_handler(stage: dict[str, Any]) -> None:
    runner = Runner({"stages": named([stage])}, Hooks(log=lambda *_: None))
    started = time.monotonic()
    previous = signal.signal(signal.SIGALRM, lambda *_: runner.cancel())
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        assert runner.run()["outcome"] == "cancelled"
    finally:
        signal.signal(signal.SIGALRM, previous)
    assert time.monotonic() - started < 4


class TaskTimeout(BaseException):
    """As Airflow's own."""


@pytest.mark.parametrize("nested", [False, True])
def test_a_foreign_interruption_passes_through_after_the_processes_ended(
    tmp_path: Path, nested: bool
) -> None:
    def ring(*_: Any) -> None:
        raise TaskTimeout

    stage = bash(f"echo $$ >> {tmp_path}/pid; sleep 60", id="b")
    if nested:
        stage = {"kind": "parallel", "parallel": {"x": [stage], "y": [dict(stage)]}}
    runner = Runner({"stages": named([stage])}, Hooks(log=lambda *_: None))
    previous = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.6)
    try:
        with pytest.raises(TaskTimeout):
            runner.run()
    finally:
        signal.signal(signal.SIGALRM, previous)
    pids = read(tmp_path / "pid").split()
    assert len(pids) == (2 if nested else 1)
    assert not any(alive(int(pid)) for pid in pids)


def test_when_the_runner_is_killed_its_processes_die(tmp_path: Path) -> None:
    script = (
        f"trap '' TERM; echo $$ > {tmp_path}/pid; setsid sh -c 'echo $$ > {tmp_path}/far; sleep 60' &\n"
        "while :; do sleep 0.1; done"
    )
    code = (
        "import sys\nfrom airflow_stagecoach.engine import Runner\n"
        "Runner({'stages': [{'kind': 'bash', 'id': 'b', 'bash': sys.argv[1]}]}).run()"
    )
    runner = subprocess.Popen([sys.executable, "-c", code, script])
    try:
        pid = int(wait_for(lambda: read(tmp_path / "pid")))
        far = int(wait_for(lambda: read(tmp_path / "far")))
        time.sleep(0.2)
    finally:
        os.kill(runner.pid, signal.SIGKILL)
        runner.wait()
    wait_for(lambda: not alive(pid) and not alive(far))
