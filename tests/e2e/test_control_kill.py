"""Stages that are stopped: by a person, by a timeout, by a crash. Nothing of them goes on running."""

from __future__ import annotations

import os
import signal
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from e2e_client import PATIENCE, processes, wait

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e_client import Client, Run

    from airflow_stagecoach.cli.local_airflow import LocalAirflow

#: Seconds between a click and the end of the last process: 10 on a quiet machine. What is not stopped
#: would run for five minutes.
SOON = 40.0

KILLS = r"""
kills:
  type: Workflow
  env: {KILL_TEST: "${{ run.id }}"}
  jobs:
    fail:
      stages:
        - {name: Wait, id: wait, env: {KILL_JOB: fail}, bash: 'sleep 300 & (setsid sleep 300 &) ; echo up; sleep 300'}
        - {name: After, id: after, echo: never}
    succeed:
      stages:
        - {name: Wait, id: wait, env: {KILL_JOB: succeed}, bash: 'sleep 300; echo never'}
        - {name: After, id: after, echo: after}
    stubborn:
      stages:
        - {name: Wait, id: wait, env: {KILL_JOB: stubborn}, bash: "trap '' TERM INT HUP; while true; do sleep 1; done"}
    crash:
      stages:
        - name: Wait
          id: wait
          env: {KILL_JOB: crash, TRY: "${{ run.try_number }}"}
          retry: {max: 1, delay: 1s}
          bash: if [ $TRY = 1 ]; then sleep 300 & sleep 300; fi; echo "try $TRY"
"""

MORE = r"""
kills-more:
  type: Workflow
  env: {KILL_TEST: "${{ run.id }}"}
  jobs:
    clear:
      stages:
        - name: Wait
          id: wait
          env: {KILL_JOB: clear, TRY: "${{ run.try_number }}"}
          bash: if [ $TRY = 1 ]; then sleep 300; fi; echo "try $TRY"
        - {name: After, id: after, echo: after}
    python:
      stages:
        - name: Wait
          id: wait
          env: {KILL_JOB: python}
          run: |
            import subprocess, time
            print("up", flush=True)
            subprocess.run(["sleep", "300"])
    slow-bash:
      stages: [{name: Wait, id: wait, timeout: 3s, env: {KILL_JOB: slow-bash}, bash: 'sleep 300 & sleep 300'}]
    slow-python:
      stages:
        - name: Wait
          id: wait
          timeout: 3s
          env: {KILL_JOB: slow-python}
          run: |
            import subprocess
            subprocess.run(["sleep", "300"])
    slow-job:
      timeout: 12s
      stages:
        - {name: First, id: first, sleep: 1}
        - {name: Second, id: second, env: {KILL_JOB: slow-job}, bash: sleep 300}
"""


def running(run: Run, job: str) -> list[int]:
    """Processes that carry the environment of a job of ours."""
    return processes(KILL_TEST=run.run_id, KILL_JOB=job)


def wait_until_it_runs(client: Client, run: Run, job: str, count: int) -> None:
    wait(
        lambda: len(running(run, job)) >= count,
        f"{job} does not run {count} processes",
        PATIENCE,
        lambda: (client.states(run), running(run, job)),
    )


def wait_until_gone(run: Run, job: str, seconds: float = SOON) -> None:
    wait(lambda: not running(run, job), f"processes of {job} are left", seconds)


@pytest.fixture(scope="module")
def kills(client: Client) -> Iterator[Run]:
    client.drop("kills.yaml", KILLS + MORE)
    client.wait_for_dag("kills")
    run = client.trigger("kills")
    yield run
    client.set_state(run, "failed")


@pytest.fixture(scope="module")
def more(client: Client, kills: Run) -> Run:
    """Triggered when the tests of the first run are through: there are four slots for tasks."""
    client.wait_for_dag("kills-more")
    return client.trigger("kills-more")


def test_mark_as_failed(client: Client, kills: Run) -> None:
    wait_until_it_runs(client, kills, "fail", 4)
    client.set_task_state(kills, "fail.wait", "failed")
    wait_until_gone(kills, "fail")
    client.wait_for_task(kills, "fail.after", {"upstream_failed"})
    assert client.tasks(kills)["fail.wait", -1].state == "failed"


def test_mark_as_success(client: Client, kills: Run) -> None:
    wait_until_it_runs(client, kills, "succeed", 2)
    client.set_task_state(kills, "succeed.wait", "success")
    wait_until_gone(kills, "succeed")
    client.wait_for_task(kills, "succeed.after", {"success"})
    assert client.tasks(kills)["succeed.wait", -1].state == "success"


def test_who_ignores_sigterm_is_killed(client: Client, kills: Run) -> None:
    wait_until_it_runs(client, kills, "stubborn", 2)
    client.set_task_state(kills, "stubborn.wait", "failed")
    wait_until_gone(kills, "stubborn")


def test_worker_process_killed(client: Client, kills: Run, airflow: LocalAirflow) -> None:
    wait_until_it_runs(client, kills, "crash", 3)
    with closing(sqlite3.connect(f"file:{airflow.database}?mode=ro", uri=True)) as database:
        (pid,) = database.execute(
            "select pid from task_instance where run_id = ? and task_id = 'crash.wait'", (kills.run_id,)
        ).fetchone()
    os.kill(pid, signal.SIGKILL)
    wait(lambda: not running(kills, "crash"), "processes of crash are left", SOON)
    task = client.wait_for_task(kills, "crash.wait", {"success"})
    assert task.try_number == 2
    assert client.xcom(kills, "crash.wait")["stdout"] == "try 2"


def test_clear_while_running(client: Client, more: Run) -> None:
    wait_until_it_runs(client, more, "clear", 2)
    client.clear(more, "clear.wait")
    task = client.wait_for_task(more, "clear.after", {"success"})
    assert task.state == "success"
    assert client.xcom(more, "clear.wait")["stdout"] == "try 2"
    assert running(more, "clear") == []


def test_mark_python_as_failed(client: Client, more: Run) -> None:
    wait(lambda: "up" in client.log(more, "python.wait").splitlines(), "python does not run", PATIENCE)
    wait_until_it_runs(client, more, "python", 1)
    client.set_task_state(more, "python.wait", "failed")
    wait_until_gone(more, "python")


def test_timeouts(client: Client, more: Run) -> None:
    run = client.wait_for_run(more)
    assert run.state == "failed"
    tasks = client.tasks(run)
    for job in ("slow-bash", "slow-python"):
        task = tasks[f"{job}.wait", -1]
        assert task.state == "failed"
        assert task.raw["duration"] < 3 + SOON
        assert "timeout" in client.log(run, f"{job}.wait").lower()
        assert running(run, job) == []
    assert tasks["slow-job.first", -1].state == "success"
    assert tasks["slow-job.second", -1].state == "failed"
    assert tasks["slow-job.second", -1].raw["duration"] < 12 + SOON
    assert running(run, "slow-job") == []
