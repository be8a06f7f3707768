"""fail-fast: when a leg fails for good the others end soon, whatever they do, and nothing else does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from e2e_client import kill, moment, processes, wait

if TYPE_CHECKING:
    from pathlib import Path

    from e2e_client import Client, Installation, Run

pytestmark = pytest.mark.postgres

#: Seconds from the failure to the end of the last leg. On a quiet machine it is below 10; here others
#: work, too. Who is not stopped goes on for ten minutes.
SOON = 45.0

HEAD = r"""
NAME:
  type: Workflow
  env: {E2E_RUN: "${{ run.id }}"}
  jobs:
"""

#: A leg that fails when a file is there, and one that would work for ten minutes.
JOB = r"""
    JOB:
      strategy: {matrix: {leg: [bad, long]}, fail-fast: true}
      stages:
        - {name: Fail, id: fail, if: "${{ matrix.leg == 'bad' }}", bash: 'while [ ! -e "GO" ]; do sleep 0.5; done; [ -e "GO.fixed" ]'}
        - {name: Work, id: work, if: "${{ matrix.leg == 'long' }}", STAGE}
        - {name: After, id: after, bash: echo done}
"""

STAGES = {
    "bash": "env: {E2E_JOB: bash}, bash: 'sleep 600 & sleep 600'",
    "python": "run: 'import time; time.sleep(600)'",
    "nested": "foreach: [1, 2], concurrent: 2, stages: [{env: {E2E_JOB: nested}, bash: sleep 600}]",
    "command": "env: {E2E_JOB: command}, operator: airflow.providers.standard.operators.bash.BashOperator,"
    " with: {bash_command: sleep 600, append_env: true, env: {E2E_RUN: '${{ run.id }}', E2E_JOB: command}}",
    "sensor": "operator: airflow.providers.standard.sensors.date_time.DateTimeSensor,"
    " with: {target_time: '2099-01-01T00:00:00+00:00', poke_interval: 300}",
    "deferred": "operator: airflow.providers.standard.sensors.date_time.DateTimeSensorAsync,"
    " with: {target_time: '2099-01-01T00:00:00+00:00'}",
    "trigger": "trigger: fail-fast-child",
    "approval": "approval: {subject: Well?}",
}

CHILD = r"""
fail-fast-child:
  type: Workflow
  jobs:
    wait: {stages: [{name: Wait, bash: 'while [ ! -e "GO.child" ]; do sleep 1; done'}]}
"""

#: All stages of a leg in one task; legs that wait for a slot; no fail-fast; another job.
OTHERS = r"""
    whole:
      granularity: job
      strategy: {matrix: {leg: [bad, long]}, fail-fast: true}
      stages:
        - {name: Fail, id: fail, if: "${{ matrix.leg == 'bad' }}", bash: 'while [ ! -e "GO" ]; do sleep 0.5; done; exit 3'}
        - {name: Work, id: work, env: {E2E_JOB: whole}, bash: sleep 600}
    late:
      strategy: {matrix: {leg: [bad, late-1, late-2]}, max-parallel: 1, fail-fast: true}
      stages:
        - {name: Fail, id: fail, retry: {max: 1, delay: 1s}, bash: 'while [ ! -e "GO" ]; do sleep 0.5; done; exit 3'}
    patient:
      strategy: {matrix: {leg: [bad, good]}}
      stages:
        - name: Fail
          id: fail
          env: {LEG: "${{ matrix.leg }}"}
          bash: 'while [ ! -e "GO" ]; do sleep 0.5; done; [ $LEG = good ]; sleep 8'
    apart:
      stages: [{name: Work, id: work, bash: 'while [ ! -e "GO" ]; do sleep 0.5; done; sleep 8'}]
    look:
      needs: [bash, python, deferred, approval, whole, late, patient]
      if: always()
      stages:
        - {name: Look, id: look, run: 'how = {name: [leg["result"] for leg in job["legs"]] for name, job in needs.items()}'}
"""

KILLED = ("bash", "deferred", "trigger")

LATE = OTHERS[OTHERS.index("    late:") : OTHERS.index("    patient:")]


def document(name: str, go: Path, *jobs: str, others: str = "") -> str:
    parts = [JOB.replace("JOB", job).replace("STAGE", STAGES[job]) for job in jobs]
    return "".join([HEAD.replace("NAME", name), *parts, others]).replace("GO", str(go))


def running(run: Run, job: str) -> list[int]:
    return processes(E2E_RUN=run.run_id, E2E_JOB=job)


def until_in_place(client: Client, run: Run, states: dict[str, str], commands: dict[str, int]) -> None:
    """Wait until legs are as far as they shall be.

    :param states: task id -> state of its second leg
    :param commands: job -> how many processes
    """

    def look() -> bool:
        tasks = client.tasks(run)
        return all(
            (task_id, 1) in tasks and tasks[task_id, 1].state == state for task_id, state in states.items()
        ) and all(len(running(run, job)) >= count for job, count in commands.items())

    wait(look, "the legs are not in place", 180, lambda: client.states(run))


def seconds_between(client: Client, run: Run, failed: tuple[str, int], ended: tuple[str, int]) -> float:
    tasks = client.tasks(run)
    first, second = (moment(tasks[task].raw["end_date"]) for task in (failed, ended))
    return (second - first).total_seconds()


@pytest.fixture(scope="module")
def go(tmp_path_factory: pytest.TempPathFactory, installation: Installation) -> Path:
    """The file that lets legs fail."""
    go = tmp_path_factory.mktemp("fail-fast") / "go"
    client = installation.client
    client.drop("fail-fast-child.yaml", CHILD.replace("GO", str(go)))
    client.drop("fail-fast.yaml", document("fail-fast-failed", go, *STAGES, others=OTHERS))
    client.drop("fail-fast-killed.yaml", document("fail-fast-killed", go, *KILLED, others=LATE))
    for dag_id in ("fail-fast-child", "fail-fast-failed", "fail-fast-killed"):
        client.wait_for_dag(dag_id)
    return go


@pytest.fixture(scope="module")
def failed(installation: Installation, go: Path) -> Run:
    """A run in which every first leg failed while every other one was at work."""
    client = installation.client
    run = client.trigger("fail-fast-failed")
    until_in_place(
        client,
        run,
        {
            "python.work": "running",
            "sensor.work": "running",
            "deferred.work": "deferred",
            "trigger.work": "deferred",
            "approval.work": "awaiting_input",
            "late.__slot__": "deferred",
        },
        {"bash": 3, "nested": 2, "command": 1, "whole": 2},
    )
    go.touch()
    return client.wait_for_run(run, timeout=300)


@pytest.mark.parametrize("job", STAGES)
def test_whatever_a_leg_does_it_ends(job: str, failed: Run, installation: Installation) -> None:
    client = installation.client
    assert failed.state == "failed"
    states = client.states(failed)
    assert states[f"{job}.fail"] == ["failed", "skipped"]
    assert states[f"{job}.work"] == ["upstream_failed", "skipped"]
    assert states[f"{job}.after"] == ["upstream_failed", "skipped"]
    late = seconds_between(client, failed, (f"{job}.fail", 0), (f"{job}.work", 1))
    print(f"{job}: {late:.1f} s")
    assert late < SOON
    assert running(failed, job) == []
    assert client.tasks(failed)[f"{job}.after", 1].raw["pid"] is None, "it never started"


def test_granularity_job(failed: Run, installation: Installation) -> None:
    client = installation.client
    assert client.states(failed)["whole.__stages__"] == ["failed", "skipped"]
    assert seconds_between(client, failed, ("whole.__stages__", 0), ("whole.__stages__", 1)) < SOON
    assert running(failed, "whole") == []


def test_legs_that_wait_for_a_slot_never_start(failed: Run, installation: Installation) -> None:
    tasks = installation.client.tasks(failed)
    assert tasks["late.fail", 0].try_number == 2, "its retry came first"
    for leg in (1, 2):
        assert tasks["late.__slot__", leg].state == "skipped"
        assert tasks["late.fail", leg].state == "skipped"
        assert tasks["late.fail", leg].raw["pid"] is None


def test_without_fail_fast_nothing_is_stopped(failed: Run, installation: Installation) -> None:
    client = installation.client
    states = client.states(failed)
    assert states["patient.fail"] == ["failed", "success"]
    assert states["apart.work"] == "success"
    assert seconds_between(client, failed, ("patient.fail", 0), ("patient.fail", 1)) > 3
    assert seconds_between(client, failed, ("bash.fail", 0), ("apart.work", -1)) > 3, "another job goes on"


def test_results(failed: Run, installation: Installation) -> None:
    how = installation.client.xcom(failed, "look.look")["how"]
    assert how.pop("patient") == ["failure", "success"]
    assert how.pop("late") == ["failure", "cancelled", "cancelled"]
    assert set(how) == {"bash", "python", "deferred", "approval", "whole"}
    assert all(results == ["failure", "cancelled"] for results in how.values()), how


def test_clear_the_failed_leg(failed: Run, installation: Installation, go: Path) -> None:
    go.with_name("go.fixed").touch()
    client = installation.client
    client.clear(failed, ("bash.fail", 0), downstream=True)
    client.wait_for_task(failed, "bash.after", {"success"}, map_index=0)
    client.wait_for_run(failed)
    states = client.states(failed)
    assert states["bash.fail"] == ["success", "skipped"]
    assert states["bash.work"] == ["skipped", "skipped"]
    assert states["bash.after"] == ["success", "skipped"]
    assert running(failed, "bash") == []


def test_a_leg_whose_worker_was_killed(failed: Run, installation: Installation, go: Path) -> None:
    """Nobody is there to tell the others: they find it out."""
    go.unlink()
    client = installation.client
    run = client.trigger("fail-fast-killed")
    until_in_place(
        client,
        run,
        {"deferred.work": "deferred", "trigger.work": "deferred", "late.__slot__": "deferred"},
        {"bash": 3},
    )
    client.wait_for_task(run, "late.fail", {"running"}, map_index=0)
    for job in KILLED:
        kill(installation.worker_pid(run, f"{job}.fail", 0))
    client.wait_for_task(run, "deferred.work", {"skipped"}, map_index=1)
    kill(installation.worker_pid(run, "late.fail", 0))
    wait(lambda: client.tasks(run)["late.fail", 0].try_number == 2, "the killed try is not repeated", 90)
    client.wait_for_task(run, "late.fail", {"running"}, map_index=0)
    kill(installation.worker_pid(run, "late.fail", 0))
    run = client.wait_for_run(run)
    go.with_name("go.child").touch()
    assert run.state == "failed"
    states = client.states(run)
    for job in KILLED:
        assert states[f"{job}.fail"] == ["failed", "skipped"]
        assert states[f"{job}.work"] == ["upstream_failed", "skipped"]
        assert states[f"{job}.after"] == ["upstream_failed", "skipped"]
        late = seconds_between(client, run, (f"{job}.fail", 0), (f"{job}.work", 1))
        print(f"{job}: {late:.1f} s")
        assert late < SOON
    assert states["late.fail"] == ["failed", "skipped", "skipped"]
    assert running(run, "bash") == []
