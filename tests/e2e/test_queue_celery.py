"""``runs-on: {type: self-hosted, with: {queue: NAME}}`` under a real Airflow with a Celery worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from airflow_stagecoach.cli.local_airflow import end_with_parent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e_client import Client

    from airflow_stagecoach.cli.local_airflow import LocalAirflow

#: Only the Celery worker has this variable in its environment.
MARK = "STAGECOACH_TEST_WORKER"

DOCUMENT = f"""
queue-celery:
  type: Workflow
  jobs:
    there:
      runs-on: {{type: self-hosted, with: {{queue: special}}}}
      stages: [{{name: Say, id: say, bash: 'echo "by ${{{MARK}:-another}}"'}}]
    here:
      stages: [{{name: Say, id: say, bash: 'echo "by ${{{MARK}:-another}}"'}}]
    after:
      needs: there
      stages: [{{name: Take, id: take, run: 'text = "${{{{ needs.there.outputs.stdout }}}}"'}}]
    nobody:
      runs-on: {{type: self-hosted, with: {{queue: nobody}}}}
      stages: [{{name: Wait, id: wait, bash: 'true'}}]
"""


@pytest.fixture
def worker(airflow: LocalAirflow, broker: str | None) -> Iterator[subprocess.Popen[bytes]]:
    if broker is None:
        pytest.skip("needs apache-airflow-providers-celery, and redis-server")
    command = [sys.executable, "-m", "airflow", "celery", "worker", "--queues", "special"]
    command += ["--concurrency", "1", "--skip-serve-logs", "--without-mingle", "--without-gossip"]
    with airflow.log_file("celery").open("ab") as log:
        process = subprocess.Popen(
            command,
            env={**airflow.environment("celery"), MARK: "special"},
            cwd=airflow.home,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )
    yield process
    # It has nothing to do any more, and would take its time to say so.
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)


def test_a_job_goes_to_the_worker_of_its_queue(
    worker: subprocess.Popen[bytes], client: Client, airflow: LocalAirflow
) -> None:
    client.drop("queue-celery.yaml", DOCUMENT)
    client.wait_for_dag("queue-celery")
    run = client.trigger("queue-celery")
    for task in ("here.say", "there.say", "after.take"):
        client.wait_for_task(run, task, {"success"}, timeout=300)
    assert worker.poll() is None, airflow.log_file("celery").read_text()
    assert client.xcom(run, "there.say")["stdout"] == "by special"
    assert client.xcom(run, "here.say")["stdout"] == "by another"
    assert client.xcom(run, "after.take") == {"text": "by special"}
    tasks = client.tasks(run)
    placed = {name: (task.raw["queue"], task.raw["executor"]) for (name, _), task in tasks.items()}
    assert placed["there.say"] == ("special", "CeleryExecutor")
    assert placed["here.say"] == ("default", None)
    assert "by special" in client.log(run, "there.say").splitlines()
    # Nobody serves the other queue: Airflow keeps the task queued, and so do we.
    assert tasks["nobody.wait", -1].state == "queued"
    client.set_state(run, "failed")
    assert client.wait_for_run(run).state == "failed"
    client.remove("queue-celery.yaml")
