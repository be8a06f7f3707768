"""A person stops a stage, whatever it does: its work ends. `test_control_kill.py` has the plain cases."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import httpx
import pytest
from e2e_client import processes, wait

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e_client import Installation, Run

pytestmark = pytest.mark.postgres

#: Seconds from the click to the end of the last process: 10 on a quiet machine. Who is not stopped works
#: for ten minutes.
SOON = 40.0

DOCUMENT = r"""
stops:
  type: Workflow
  env: {E2E_RUN: "${{ run.id }}"}
  jobs:
    nested:
      stages:
        - name: Work
          id: work
          parallel:
            one: [{name: One, env: {E2E_JOB: nested}, bash: sleep 600}]
            two: [{name: Two, env: {E2E_JOB: nested}, run: "import subprocess\nsubprocess.run(['sleep', '600'])"}]
        - {name: After, id: after, echo: done}
    whole:
      granularity: job
      stages:
        - {name: Work, id: work, env: {E2E_JOB: whole}, bash: 'sleep 600 & sleep 600'}
        - {name: After, id: after, env: {E2E_JOB: whole}, bash: sleep 600}
    command:
      stages:
        - name: Work
          id: work
          operator: airflow.providers.standard.operators.bash.BashOperator
          with:
            bash_command: '[ {{ ti.try_number }} = 2 ] || sleep 600'
            append_env: true
            env: {E2E_RUN: "${{ run.id }}", E2E_JOB: command}
        - {name: After, id: after, echo: done}
    python:
      stages:
        - {name: Work, id: work, env: {E2E_JOB: python}, run: "import subprocess\nsubprocess.Popen(['sleep', '600']).wait()"}
    deferred:
      strategy: {matrix: {how: [failed, success, skipped]}}
      stages:
        - name: Work
          id: work
          operator: airflow.providers.standard.sensors.date_time.DateTimeSensorAsync
          with: {target_time: "2099-01-01T00:00:00+00:00"}
        - {name: After, id: after, echo: done}
    waiting:
      strategy: {matrix: {n: [1, 2]}, max-parallel: 1}
      stages:
        - {name: Work, id: work, env: {E2E_JOB: waiting}, bash: sleep 600}
    last:
      stages:
        - {name: Work, id: work, env: {E2E_JOB: last}, bash: 'sleep 600 & (setsid sleep 600 &); sleep 600'}
"""

#: Job -> how many of its processes there are while it works.
WORKING = {"nested": 2, "whole": 3, "command": 1, "python": 1, "waiting": 1, "last": 4}


def running(run: Run, job: str) -> list[int]:
    return processes(E2E_RUN=run.run_id, E2E_JOB=job)


@pytest.fixture(scope="module")
def run(installation: Installation) -> Run:
    """A run in which everything works or waits."""
    client = installation.client
    client.drop("stops.yaml", DOCUMENT)
    client.wait_for_dag("stops")
    run = client.trigger("stops")

    def is_in_place() -> bool:
        return (
            all(len(running(run, job)) >= count for job, count in WORKING.items())
            and client.states(run)["deferred.work"] == ["deferred"] * 3
        )

    wait(is_in_place, "the stages are not in place", 180, lambda: client.states(run))
    return run


def gone(run: Run, job: str, act: Callable[[], object]) -> None:
    """Do something, and wait until no process of a job is left."""
    started = time.monotonic()
    act()
    wait(lambda: not running(run, job), f"processes of {job} are left", SOON, lambda: running(run, job))
    print(f"{job}: {time.monotonic() - started:.1f} s")


def test_nested_marked_as_success(run: Run, installation: Installation) -> None:
    client = installation.client
    gone(run, "nested", lambda: client.set_task_state(run, "nested.work", "success"))
    client.wait_for_task(run, "nested.after", {"success"})


def test_granularity_job_marked_as_failed(run: Run, installation: Installation) -> None:
    client = installation.client
    gone(run, "whole", lambda: client.set_task_state(run, "whole.__stages__", "failed"))
    assert client.states(run)["whole.__stages__"] == "failed"


def test_operator_cleared(run: Run, installation: Installation) -> None:
    client = installation.client
    gone(run, "command", lambda: client.clear(run, "command.work"))
    client.wait_for_task(run, "command.after", {"success"})
    assert client.tasks(run)["command.work", -1].try_number == 2


def test_python_marked_as_skipped(run: Run, installation: Installation) -> None:
    client = installation.client
    gone(run, "python", lambda: client.set_task_state(run, "python.work", "skipped"))
    assert client.states(run)["python.work"] == "skipped"


def test_deferred(run: Run, installation: Installation) -> None:
    client = installation.client
    for index, state in enumerate(("failed", "success", "skipped")):
        client.set_task_state(run, "deferred.work", state, map_index=index)
    for index, state in enumerate(("upstream_failed", "success", "success")):
        client.wait_for_task(run, "deferred.after", {state}, map_index=index)

    def triggers() -> int:
        return int(installation.query("select count(*) from trigger")[0][0])

    # The slot that waits still has its own.
    wait(lambda: triggers() == 1, "triggers are left", 60, lambda: triggers())
    client.clear(run, ("deferred.work", 0))
    client.wait_for_task(run, "deferred.work", {"deferred"}, map_index=0)


def test_a_deleted_run(run: Run, installation: Installation) -> None:
    """Airflow deletes a run only when it has ended: a person marks it first. Nothing of it goes on."""
    client = installation.client

    def delete() -> None:
        client.set_state(run, "failed")
        path = f"/dags/{run.dag_id}/dagRuns/{run.run_id}"
        client.http.delete(path).raise_for_status()

    gone(run, "last", delete)
    gone(run, "waiting", lambda: None)
    with pytest.raises(httpx.HTTPStatusError, match="404"):
        client.states(run)
    wait(lambda: installation.query("select count(*) from trigger") == [(0,)], "triggers are left", 60)
