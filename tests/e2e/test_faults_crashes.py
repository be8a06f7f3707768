"""What is killed comes back: nothing is lost, nothing runs twice, nothing is left running.

One run lives through all of it, test by test.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest
from e2e_client import kill, parent_of, processes, wait

if TYPE_CHECKING:
    from pathlib import Path

    from e2e_client import Installation, Run

pytestmark = pytest.mark.postgres

#: Every stage writes a line when it starts, and goes on when its file is there.
DOCUMENT = r"""
crashes:
  type: Workflow
  env: {E2E_RUN: "${{ run.id }}", TRY: "${{ run.try_number }}"}
  jobs:
    worker:
      stages:
        - name: Wait
          id: wait
          env: {E2E_JOB: worker}
          retry: {max: 1, delay: 1s}
          bash: 'echo "worker $TRY" >> "GO.starts"; sleep 1000 & while [ ! -e "GO" ]; do sleep 1; done'
        - {name: After, id: after, bash: 'echo "worker-after $TRY" >> "GO.starts"'}
    python-worker:
      stages:
        - name: Wait
          id: wait
          env: {E2E_JOB: python-worker}
          retry: {max: 1, delay: 1s}
          run: |
            import os, subprocess, time
            with open("GO.starts", "a") as file:
                file.write(f"python-worker {context.attempt}\n")
            subprocess.Popen(["sleep", "1000"])
            while not os.path.exists("GO"):
                time.sleep(1)
    supervisor:
      stages:
        - name: Wait
          id: wait
          env: {E2E_JOB: supervisor}
          retry: {max: 1, delay: 1s}
          bash: 'echo "supervisor $TRY" >> "GO.starts"; sleep 1000 & while [ ! -e "GO" ]; do sleep 1; done'
    lost:
      stages: [{name: Wait, id: wait, env: {E2E_JOB: lost}, bash: 'echo "lost $TRY" >> "GO.starts"; sleep 1000'}]
    slots:
      strategy: {matrix: {n: [1, 2, 3]}, max-parallel: 1}
      stages:
        - {name: Wait, id: wait, env: {E2E_JOB: slots, N: "${{ matrix.n }}"}, bash: 'echo "slots-$N $TRY" >> "GO.starts"; while [ ! -e "GO" ]; do sleep 1; done'}
    trigger:
      stages: [{name: Wait, id: wait, trigger: crashes-child}]
    deferred:
      stages:
        - name: Wait
          id: wait
          operator: airflow.providers.standard.sensors.date_time.DateTimeSensorAsync
          with: {target_time: "${{ params.until }}"}
        - {name: After, id: after, bash: 'echo "deferred-after $TRY" >> "GO.starts"'}
crashes-child:
  type: Workflow
  jobs:
    wait:
      stages:
        - {name: Wait, id: wait, env: {TRY: "${{ run.try_number }}"}, bash: 'echo "child $TRY" >> "GO.starts"; while [ ! -e "GO" ]; do sleep 1; done'}
"""

#: Jobs whose process is killed, in one way or the other.
KILLED = ("worker", "python-worker", "supervisor", "lost")


def running(run: Run, job: str, try_number: int) -> list[int]:
    return processes(E2E_RUN=run.run_id, E2E_JOB=job, TRY=str(try_number))


@pytest.fixture(scope="module")
def go(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file on which every stage waits."""
    return tmp_path_factory.mktemp("crashes") / "go"


def starts(go: Path) -> Counter[str]:
    """How often each try of each stage has started."""
    return Counter(go.with_name("go.starts").read_text().splitlines())


@pytest.fixture(scope="module")
def run(installation: Installation, go: Path) -> Run:
    """A run in which every stage is at work or waits."""
    client = installation.client
    client.drop("crashes.yaml", DOCUMENT.replace("GO", str(go)))
    client.wait_for_dag("crashes")
    client.wait_for_dag("crashes-child")
    until = datetime.now(timezone.utc) + timedelta(seconds=75)
    run = client.trigger("crashes", {"until": until.isoformat()})

    def is_in_place() -> bool:
        states = client.states(run)
        return (
            all(len(running(run, job, 1)) >= 1 for job in KILLED)
            and states["trigger.wait"] == states["deferred.wait"] == "deferred"
            and states["slots.wait"][0] == "running"
            and states["slots.__slot__"][1:] == ["deferred", "deferred"]
        )

    wait(is_in_place, "the stages are not in place", 180, lambda: client.states(run))
    return run


def test_killed_workers_supervisors_and_triggerer(run: Run, installation: Installation, go: Path) -> None:
    client = installation.client
    for job in ("worker", "python-worker", "lost"):
        kill(installation.worker_pid(run, f"{job}.wait"))
    kill(parent_of(installation.worker_pid(run, "supervisor.wait")))
    installation.kill("triggerer")
    for job in KILLED:
        wait(lambda job=job: not running(run, job, 1), f"processes of {job} are left", 30)
    installation.start("triggerer")
    for job in ("worker", "python-worker", "supervisor"):
        wait(lambda job=job: starts(go)[f"{job} 2"], f"{job} was lost", 120, lambda: client.states(run))
        client.wait_for_task(run, f"{job}.wait", {"running"})
    assert client.wait_for_task(run, "lost.wait", {"failed"}).try_number == 1
    assert client.states(run)["slots.wait"] == ["running", None, None]


def test_restarted_database(run: Run, installation: Installation, go: Path) -> None:
    before = starts(go)
    installation.restart_database()
    installation.start_what_ended()
    assert starts(go) == before
    for job in ("worker", "python-worker", "supervisor"):
        assert running(run, job, 2), f"{job} did not survive"


def test_killed_scheduler(run: Run, installation: Installation, go: Path) -> None:
    """With LocalExecutor, workers are the scheduler's: the next one starts their tasks again.

    Airflow's scheduler may stand still after its database was away, so this is its restart, too.
    """
    client = installation.client
    installation.kill("scheduler")
    installation.start("scheduler")
    for job in ("worker", "python-worker", "supervisor"):
        wait(lambda job=job: starts(go)[f"{job} 3"], f"{job} was lost", 180, lambda: client.states(run))
        assert running(run, job, 2) == [], "two tries at once"
    # What was deferred comes back after its time, or at once where that has passed.
    client.wait_for_task(run, "deferred.after", {"success"}, timeout=180)
    assert client.states(run)["trigger.wait"] == "deferred"


def test_everything_ends_as_if_nothing_had_been(run: Run, installation: Installation, go: Path) -> None:
    go.touch()
    client = installation.client
    ended = client.wait_for_run(run, timeout=240)
    assert ended.state == "failed", "of the job without a retry"
    states = client.states(run)
    assert states.pop("lost.wait") == "failed"
    assert states.pop("slots.wait") == ["success"] * 3
    assert states.pop("slots.__slot__") == ["success"] * 3
    assert set(states.values()) == {"success"}
    counts = starts(go)
    assert set(counts.values()) == {1}, f"started twice: {counts}"
    assert {line.split()[0] for line in counts} == {
        *KILLED,
        "worker-after",
        "slots-1",
        "slots-2",
        "slots-3",
        "child",
        "deferred-after",
    }
    for job in (*KILLED, "slots"):
        assert processes(E2E_RUN=run.run_id, E2E_JOB=job) == []


def test_the_reason_is_in_the_record(run: Run, installation: Installation) -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "airflow", "stagecoach", "runs", "show", run.dag_id, run.run_id, "--json"],
        env=installation.airflow.environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    record = json.loads(shown.stdout)
    (stage,) = record["jobs"]["lost"]["stages"].values()
    assert (stage["state"], stage["category"], stage["reason"]) == ("failed", "system", "worker-lost")
