"""``stagecoach runs show`` and ``stagecoach status``, beside a real Airflow on PostgreSQL."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from e2e_client import Client, Installation, Run

    from airflow_stagecoach.cli.local_airflow import LocalAirflow

DOCUMENT = """
    seen:
      type: Workflow
      jobs:
        lost:
          stages:
            - {name: Killed, id: killed, bash: 'kill -9 "$PPID"; sleep 5'}
            - {name: Later, id: later, echo: x}
        hand:
          stages:
            - {name: Long, id: long, bash: sleep 600}
        legs:
          strategy:
            matrix: {part: [a, b]}
            fail-fast: true
          stages:
            - name: Work
              id: work
              bash: |
                echo "::metric name=rows value=5"
                test "${{ matrix.part }}" = a || exit 7
        ask:
          needs: legs
          if: always()
          stages:
            - {name: Go on, id: go, approval: Is it seen?}
    """


def stagecoach(airflow: LocalAirflow, *words: str) -> tuple[int, Any]:
    """Exit code and JSON of a command."""
    done = subprocess.run(
        [sys.executable, "-m", "airflow_stagecoach.cli.main", *words, "--json"],
        env=airflow.environment(),
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_a_run_is_seen(installation: Installation) -> None:
    client: Client = installation.client
    client.drop("seen.yaml", DOCUMENT)
    client.wait_for_dag("seen")
    run: Run = client.trigger("seen")
    client.wait_for_task(run, "hand.long", {"running"})
    client.wait_for_task(run, "lost.killed", {"failed"})
    client.wait_for_task(run, "ask.go", {"awaiting_input", "deferred"})

    code, seen = stagecoach(installation.airflow, "runs", "show", "seen", "latest")
    assert (code, seen["run_id"], seen["state"], seen["end"]) == (0, run.run_id, "running", None)
    assert seen["jobs"]["hand"]["stages"]["long"]["state"] == "running"
    assert seen["jobs"]["hand"]["result"] is None
    assert seen["jobs"]["ask"]["stages"]["go"]["waits_for"] in ("person", "trigger")
    killed = seen["jobs"]["lost"]["stages"]["killed"]
    assert (killed["category"], killed["reason"]) == ("system", "worker-lost"), killed
    assert seen["progress"]["done"] < seen["progress"]["total"]

    code, status = stagecoach(installation.airflow, "status")
    assert status["status"] in ("ok", "degraded"), status
    assert {one["status"] for one in status["components"].values()} == {"healthy"}
    assert status["runs"]["running"] >= 1
    assert status["pools"]["default_pool"]["running"] >= 1

    client.set_task_state(run, "hand.long", "failed")
    client.answer(run, "ask.go", "Approve")
    client.wait_for_run(run)
    _, seen = stagecoach(installation.airflow, "runs", "show", "seen", run.run_id)
    assert seen["state"] == "failed"
    results = {job_id: job["result"] for job_id, job in seen["jobs"].items()}
    assert results == {"lost": "failure", "hand": "failure", "legs": "failure", "ask": "success"}
    long = seen["jobs"]["hand"]["stages"]["long"]
    assert (long["outcome"], long["category"]) == ("cancelled", "cancelled"), long
    good, bad = seen["jobs"]["legs"]["legs"]
    assert (bad["stages"]["work"]["exit_code"], bad["stages"]["work"]["category"]) == (7, "component")
    assert bad["stages"]["work"]["queue_seconds"] is not None
    assert good["result"] in ("success", "cancelled"), "it was as fast as the failure, or not"
    assert seen["metrics"]["rows"] in (5, 10)
    assert seen["jobs"]["lost"]["stages"]["later"]["reason"] == "upstream-failed"
