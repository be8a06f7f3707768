"""``teardown: true`` in a list of stages: runs last and whatever happened, and changes no outcome."""

from __future__ import annotations

import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from airflow_stagecoach.engine import Hooks, Runner, sequence
from tests.engine.harness import alive, bash, empty, named, python, read, run, wait_for

if TYPE_CHECKING:
    from pathlib import Path

DOWN = bash("echo torn down", id="down", teardown=True)


def states(ran: Any) -> dict[str, str]:
    return {name: stage["state"] for name, stage in ran.stages.items()}


@pytest.mark.parametrize(
    ("stages", "state", "expected"),
    [
        ([empty(), DOWN], "success", {"s1": "success", "down": "success"}),
        ([bash("exit 1"), DOWN], "failed", {"s1": "failed", "down": "success"}),
        (
            [DOWN, bash("exit 1"), empty()],
            "failed",
            {"s2": "failed", "s3": "upstream_failed", "down": "success"},
        ),
        (
            [bash("exit 1"), empty(**{"if": "always()"}), DOWN],
            "failed",
            {"s1": "failed", "s2": "success", "down": "success"},
        ),
        ([empty(**{"if": "false"}), DOWN], "skipped", {"s1": "skipped", "down": "skipped"}),
        (
            [empty(**{"if": "false"}), empty(), DOWN],
            "success",
            {"s1": "skipped", "s2": "success", "down": "success"},
        ),
        ([empty(), {**DOWN, "if": "failure()"}], "success", {"s1": "success", "down": "skipped"}),
        ([bash("exit 1"), {**DOWN, "if": "failure()"}], "failed", {"s1": "failed", "down": "success"}),
        ([bash("exit 1"), {**DOWN, "if": "success()"}], "failed", {"s1": "failed", "down": "skipped"}),
        ([empty(), {**DOWN, "bash": "exit 3"}], "success", {"s1": "success", "down": "failed"}),
        (
            [empty(), {**DOWN, "bash": "exit 3"}, {**DOWN, "id": "last"}],
            "success",
            {"s1": "success", "down": "failed", "last": "success"},
        ),
        ([bash("exit 1"), {**DOWN, "bash": "exit 3"}], "failed", {"s1": "failed", "down": "failed"}),
        # Alone in a unit, it is a stage like others: the caller says when.
        ([DOWN], "success", {"down": "success"}),
        ([{**DOWN, "bash": "exit 3"}], "failed", {"down": "failed"}),
    ],
)
def test_how_it_ends(stages: Any, state: str, expected: dict[str, str]) -> None:
    ran = run(*stages)
    assert ran.state == state
    assert states(ran) == expected
    assert list(ran.stages) == list(expected)


def test_its_failure_is_told_as_a_warning() -> None:
    ran = run(empty(), {**DOWN, "bash": "exit 3"})
    assert any(level == "warning" and "teardown down failed" in text for level, text in ran.lines)
    assert ran.stages["down"]["error"]["exit_code"] == 3


def test_it_sees_how_the_others_ended() -> None:
    script = "echo ${{ stages.s1.result }} ${{ stages.s1.outputs.return_code? }} ${{ stages.s2.outputs.x? }}"
    ran = run(bash("exit 4"), python("x = 1"), bash(script, id="down", teardown=True))
    assert "failure  " in ran.stages["down"]["outputs"]["stdout"] + "  "


def test_its_own_timeout_and_retry_hold() -> None:
    ran = run(empty(), {**DOWN, "bash": "sleep 9", "timeout": 0.2, "retry": {"max": 1, "delay": 0}})
    assert ran.stages["down"]["error"]["type"] == "TimedOut"
    assert ran.stages["down"]["tries"] == 2
    assert ran.state == "success"


def cancelled(stages: Any, started: Path) -> Any:
    lines: list[str] = []
    runner = Runner({"stages": named(stages)}, Hooks(log=lambda text, level: lines.append(text)))

    def cancel() -> None:
        wait_for(lambda: read(started))
        runner.cancel()

    thread = threading.Thread(target=cancel)
    thread.start()
    began = time.monotonic()
    result = runner.run()
    thread.join()
    return result, lines, time.monotonic() - began


@pytest.mark.parametrize("down", [DOWN, python("print('torn', 'down')", id="down", teardown=True)])
def test_after_a_cancel(tmp_path: Path, down: Any) -> None:
    stages = [bash(f"echo $$ > {tmp_path}/pid; sleep 60"), empty(), down]
    result, lines, _ = cancelled(stages, tmp_path / "pid")
    assert result["outcome"] == "cancelled"
    assert {name: stage["state"] for name, stage in result["stages"].items()} == {
        "s1": "failed",
        "s2": "upstream_failed",
        "down": "success",
    }
    assert "torn down" in lines
    assert not alive(int(read(tmp_path / "pid")))


@pytest.mark.parametrize(
    "endless",
    [
        bash("echo x > {file}; sleep 60"),
        python("import time\nopen('{file}', 'w').write('x')\ntime.sleep(60)"),
    ],
    ids=["bash", "python"],
)
@pytest.mark.parametrize("first", ["sleep 60", "true"], ids=["before", "during"])
def test_a_teardown_without_end_is_stopped_after_the_grace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str, endless: Any
) -> None:
    monkeypatch.setattr(sequence, "TEARDOWN_GRACE", 0.5)
    file = tmp_path / "down"
    down = {key: value.replace("{file}", str(file)) for key, value in endless.items()}
    began = tmp_path / "began" if first == "sleep 60" else file
    stages = [bash(f"echo x > {tmp_path}/began; {first}"), {**down, "id": "down", "teardown": True}]
    result, _, seconds = cancelled(stages, began)
    assert result["outcome"] == "cancelled"
    assert result["stages"]["down"]["state"] == "failed"
    assert seconds < 20
    assert read(file) == "x\n" or read(file) == "x"


class TaskTimeout(BaseException):
    """As Airflow's own."""


def test_after_an_interruption_from_outside() -> None:
    def ring(*_: Any) -> None:
        raise TaskTimeout

    lines: list[str] = []

    def log(text: str, _: str) -> None:
        lines.append(text)
        if text == "up":
            signal.setitimer(signal.ITIMER_REAL, 0.3)

    runner = Runner({"stages": named([bash("echo up; sleep 60"), DOWN])}, Hooks(log=log))
    previous = signal.signal(signal.SIGALRM, ring)
    try:
        with pytest.raises(TaskTimeout):
            runner.run()
    finally:
        signal.signal(signal.SIGALRM, previous)
    assert "torn down" in lines
