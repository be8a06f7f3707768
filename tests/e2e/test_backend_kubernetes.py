"""Kubernetes under a real Airflow: a task follows its pod, whatever happens to either.

One run has a job for everything; the tests look at it one after the other.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from e2e_client import kill, wait
from tests.backends import images

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator
    from pathlib import Path

    from e2e_client import Installation, Run
    from tests.backends.cluster.cluster import Cluster

pytest_plugins = ["tests.backends.cluster.fixture"]
pytestmark = pytest.mark.postgres

#: Seconds between a click and the end of the pod: under 10 on a quiet machine. Without being stopped it would
#: go on for minutes.
SOON = 40.0

NAMESPACE = "e2e"

#: A pod says that it is there and goes on when its file is there.
DOCUMENT = r"""
kubernetes-e2e:
  type: Workflow
  jobs:
    long:
      runs-on: JOB
      stages:
        - name: Wait
          id: wait
          bash: 'echo one; touch /go/long.up; until [ -e /go/long ]; do sleep 0.2; done; echo two; echo "r=7" >> $STAGE_OUTPUT'
        - {name: Read, id: read, run: 'seen = int("${{ stages.wait.outputs.r }}") + 1'}
    again:
      runs-on: POD
      stages:
        - name: Wait
          id: wait
          retry: {max: 1, delay: 1s}
          bash: 'echo one; touch /go/again.up; until [ -e /go/again ]; do sleep 0.2; done; echo two'
    again-job:
      runs-on: JOB
      stages:
        - name: Wait
          id: wait
          retry: {max: 1, delay: 1s}
          bash: 'echo one; touch /go/again-job.up; until [ -e /go/again ]; do sleep 0.2; done; echo two'
    lost:
      runs-on: POD
      stages: [{name: Wait, id: wait, bash: 'touch /go/lost.up; sleep 600'}]
    marked:
      runs-on: POD
      stages: [{name: Wait, id: wait, bash: 'touch /go/marked.up; sleep 600'}]
    marked-deferred:
      runs-on: JOB
      stages: [{name: Wait, id: wait, bash: 'touch /go/marked-deferred.up; sleep 600'}]
    late:
      runs-on: POD
      stages: [{name: Wait, id: wait, timeout: 14s, bash: 'sleep 600'}]
    large:
      runs-on: POD
      stages:
        - name: Wait
          id: wait
          run: |
            import pathlib, time
            while not pathlib.Path("/go/long").exists():
                time.sleep(0.2)
            text = "".join(map(str, range(40_000)))
"""

RUNS_ON = (
    '{type: kubernetes, with: {kind: KIND, image: IMAGE, config-file: "CONFIG", namespace: NAMESPACE,'
    ' volumes: ["host-path:GO:/go"]}}'
)


@pytest.fixture(scope="module")
def go(cluster: Cluster) -> Path:
    folder = cluster.folder / "go"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def made(cluster: Cluster) -> Iterator[Counter[str]]:
    """How many pods were made for each task."""
    cluster.make_namespace(NAMESPACE)
    with cluster.counting(NAMESPACE) as counted:
        yield counted


@pytest.fixture(scope="module")
def run(installation: Installation, cluster: Cluster, made: Counter[str], go: Path) -> Run:
    place = (
        RUNS_ON.replace("IMAGE", images.PYTHON)
        .replace("CONFIG", cluster.kubeconfig)
        .replace("NAMESPACE", NAMESPACE)
        .replace("GO", str(go))
    )
    text = DOCUMENT.replace("POD", place.replace("KIND", "pod")).replace("JOB", place.replace("KIND", "job"))
    installation.client.drop("kubernetes-e2e.yaml", text)
    installation.client.wait_for_dag("kubernetes-e2e")
    return installation.client.trigger("kubernetes-e2e")


def pods(cluster: Cluster, task: str) -> list[str]:
    """Pods of a task that nobody has told to end."""
    label = f"stagecoach.task={task.replace('.', '-')}"
    found = cluster.core.list_namespaced_pod(NAMESPACE, label_selector=label).items
    return [pod.metadata.name for pod in found if pod.metadata.deletion_timestamp is None]


def test_what_happens_in_the_first_seconds(run: Run, installation: Installation, go: Path) -> None:
    """While a worker still follows the pod: three workers are killed, a task is marked."""
    waiting = {"again", "again-job", "lost", "marked"}

    def strike() -> bool:
        for job in [job for job in waiting if (go / f"{job}.up").exists()]:
            if job == "marked":
                installation.client.set_task_state(run, "marked.wait", "failed")
            else:
                kill(installation.worker_pid(run, f"{job}.wait"))
            waiting.remove(job)
        return not waiting

    wait(strike, "the pods do not start", 150, lambda: installation.client.states(run))


def test_a_marked_task_leaves_no_pod(run: Run, cluster: Cluster) -> None:
    wait(lambda: not pods(cluster, "marked.wait"), "the pod goes on", SOON)


def test_the_next_try_finds_the_pod(
    run: Run, installation: Installation, cluster: Cluster, made: Counter[str], go: Path
) -> None:
    client = installation.client
    for job in ("again", "again-job"):
        assert len(pods(cluster, f"{job}.wait")) == 1
    (go / "again").touch()
    for job in ("again", "again-job"):
        client.wait_for_task(run, f"{job}.wait", {"success"})
        assert client.xcom(run, f"{job}.wait")["stdout"] == "one\ntwo"
        assert "is there already, started by an earlier try" in client.log(run, f"{job}.wait", try_number=2)
        assert made[f"{job}-wait"] == 1


def test_sweep(run: Run, installation: Installation, cluster: Cluster) -> None:
    """A killed worker without another try leaves its pod; a sweep takes that, and no other."""
    installation.client.wait_for_task(run, "marked-deferred.wait", {"deferred"})
    installation.client.wait_for_task(run, "lost.wait", {"failed"})
    assert len(pods(cluster, "lost.wait")) == 1
    done = subprocess.run(
        [sys.executable, "-m", "airflow_stagecoach.cli.main", "sweep", "--json"],
        env=installation.airflow.environment(),
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.stdout, done.stderr
    assert {one["of"]["task_id"] for one in json.loads(done.stdout)} == {"lost.wait"}
    wait(lambda: not pods(cluster, "lost.wait"), "the pod goes on", SOON)
    assert len(pods(cluster, "marked-deferred.wait")) == 1


def test_deferred(
    run: Run, installation: Installation, cluster: Cluster, made: Counter[str], go: Path
) -> None:
    """It waits without a worker, passes on the output, and takes the result in the end."""
    client = installation.client
    wait((go / "long.up").exists, "the pod does not start", 120)
    for task in ("long.wait", "large.wait"):
        client.wait_for_task(run, task, {"deferred"})
    assert not installation.query(
        "select pid from task_instance where dag_id = %s and task_id = 'long.wait' and state = 'running'",
        run.dag_id,
    )
    (go / "long").touch()
    client.wait_for_task(run, "long.read", {"success"})
    assert client.xcom(run, "long.wait") == {"return_code": 0, "stdout": "one\ntwo", "stderr": None, "r": "7"}
    assert client.xcom(run, "long.read") == {"seen": 8}
    lines = client.log(run, "long.wait").splitlines()
    assert [line for line in lines if line in ("one", "two")] == ["one", "two"]
    record = client.xcom(run, "long.wait", "record")
    assert record["external_id"]
    assert made["long-wait"] == 1


def test_a_large_result_after_a_deferral(run: Run, installation: Installation) -> None:
    installation.client.wait_for_task(run, "large.wait", {"success"})
    assert installation.client.xcom(run, "large.wait")["text"] == "".join(map(str, range(40_000)))


def test_marked_as_failed_while_deferred(
    run: Run, installation: Installation, cluster: Cluster, go: Path
) -> None:
    installation.client.wait_for_task(run, "marked-deferred.wait", {"deferred"})
    installation.client.set_task_state(run, "marked-deferred.wait", "failed")
    wait(lambda: not pods(cluster, "marked-deferred.wait"), "the pod goes on", SOON)


def test_a_timeout_while_deferred(run: Run, installation: Installation, cluster: Cluster) -> None:
    installation.client.wait_for_task(run, "late.wait", {"failed"})
    error: dict[str, Any] = installation.client.xcom(run, "late.wait", "error")
    assert error["category"] == "timeout"
    assert pods(cluster, "late.wait") == []


def test_nothing_is_left(run: Run, installation: Installation, cluster: Cluster) -> None:
    assert installation.client.wait_for_run(run).state == "failed"
    assert cluster.left(NAMESPACE) == []
