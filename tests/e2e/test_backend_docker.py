"""Docker under a real Airflow: a task follows its container, whatever happens to either.

One run has a job for everything; the tests look at it one after the other.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from e2e_client import kill, wait
from tests.backends import images
from tests.backends.docker_engine import DockerEngine, why_not

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e_client import Installation, Run

pytestmark = pytest.mark.postgres

#: Seconds between a click and the end of the container: under 10 on a quiet machine. Without being stopped
#: it would go on for minutes.
SOON = 40.0

#: A container says that it is there and goes on when its file is there.
DOCUMENT = r"""
docker-e2e:
  type: Workflow
  jobs:
    hand-over:
      runs-on: DOCKER
      stages:
        - {name: Write, id: write, bash: 'echo "written down" > note; echo "n=5" >> $STAGE_OUTPUT; echo to the log'}
        - {name: Read, id: read, bash: 'cat note; echo "n is ${{ stages.write.outputs.n }}"'}
    long:
      runs-on: DOCKER
      stages:
        - name: Wait
          id: wait
          bash: 'echo one; touch /go/long.up; until [ -e /go/long ]; do sleep 0.2; done; echo two; echo "r=7" >> $STAGE_OUTPUT'
    again:
      runs-on: DOCKER
      stages:
        - name: Wait
          id: wait
          retry: {max: 1, delay: 1s}
          bash: 'echo one; touch /go/again.up; until [ -e /go/again ]; do sleep 0.2; done; echo two'
    container:
      runs-on: DOCKER
      stages:
        - {name: Write, id: write, bash: 'echo "from bash" > in'}
        - name: Wait
          id: wait
          image: BUSYBOX
          entrypoint: sh -c
          command: ['echo one; touch /go/container.up; until [ -e /go/container ]; do sleep 0.2; done; cat in >out; echo two >&2; echo "r=7" >>$STAGE_OUTPUT']
        - {name: Read, id: read, bash: 'cat out'}
    secret:
      runs-on: DOCKER
      stages:
        - name: Wait
          id: wait
          image: BUSYBOX
          entrypoint: sh -c
          command: ['echo "one $TOKEN"; until [ -e /go/container ]; do sleep 0.2; done; echo "two $TOKEN"; exit 3']
          env: {TOKEN: "${{ secrets.docker_e2e }}"}
    beside:
      runs-on: BRIDGED
      services:
        web:
          image: BUSYBOX
          command: [sh, -c, 'echo hi >/x; exec httpd -f -p 8000 -h /']
      stages: [{name: Get, id: get, bash: 'until wget -q -O /go/got http://web:8000/x; do sleep 0.2; done; mv /go/got /go/beside.up; sleep 600'}]
    unready:
      runs-on: BRIDGED
      retry: {max: 1, delay: 1s}
      services: {bad: {image: BUSYBOX, command: [sh, -c, 'echo no password; exit 3'], health: {command: 'false'}}}
      stages: [{name: Never, id: never, bash: 'touch /go/never'}]
    lost:
      runs-on: DOCKER
      stages: [{name: Wait, id: wait, bash: 'touch /go/lost.up; sleep 600'}]
    marked:
      runs-on: DOCKER
      stages: [{name: Wait, id: wait, bash: 'touch /go/marked.up; sleep 600'}]
    marked-deferred:
      runs-on: DOCKER
      stages: [{name: Wait, id: wait, bash: 'touch /go/marked-deferred.up; sleep 600'}]
    late:
      runs-on: DOCKER
      stages: [{name: Wait, id: wait, timeout: 14s, bash: 'sleep 600'}]
    retried:
      needs: hand-over
      runs-on: DOCKER
      stages:
        - name: Try
          id: try
          env: {TRY: "${{ run.try_number }}"}
          retry: {max: 1, delay: 1s}
          bash: 'echo "try $TRY"; [ $TRY != 1 ]'
    legs:
      needs: hand-over
      runs-on: DOCKER
      strategy: {matrix: {n: [1, 2, 3]}}
      stages:
        - name: Meet
          id: meet
          bash: 'touch /go/leg-${{ matrix.n }}; until [ -e /go/leg-1 -a -e /go/leg-2 -a -e /go/leg-3 ]; do sleep 0.2; done'
    fail-fast:
      needs: legs
      runs-on: DOCKER
      strategy: {matrix: {n: [1, 2, 3]}, fail-fast: true}
      stages:
        - name: Race
          id: race
          env: {N: "${{ matrix.n }}"}
          bash: |
            touch /go/race-$N
            if [ $N != 1 ]; then sleep 600; fi
            until [ -e /go/race-2 -a -e /go/race-3 ]; do sleep 0.2; done
            exit 1
"""

#: Appears nowhere but in a variable of Airflow.
SECRET = "variable-71c0d52e9a"

RUNS_ON = (
    '{type: docker, with: {image: IMAGE, host: "HOST", pull: never, network: none, volumes: ["GO:/go"]}}'
)


@pytest.fixture(scope="module")
def engine() -> Iterator[DockerEngine]:
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    with DockerEngine(Path(tempfile.mkdtemp(prefix="sc-docker-"))) as started:
        yield started


@pytest.fixture(scope="module")
def go(engine: DockerEngine) -> Path:
    folder = engine.folder / "go"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def run(installation: Installation, engine: DockerEngine, go: Path) -> Run:
    text = (
        DOCUMENT.replace("DOCKER", RUNS_ON)
        .replace("BRIDGED", RUNS_ON.replace(" network: none,", ""))
        .replace("BUSYBOX", images.BUSYBOX)
        .replace("IMAGE", images.PYTHON)
        .replace("HOST", engine.url)
        .replace("GO", str(go))
    )
    variable = {"key": "docker_e2e", "value": SECRET}
    installation.client.http.post("/variables", json=variable).raise_for_status()
    installation.client.drop("docker-e2e.yaml", text)
    installation.client.wait_for_dag("docker-e2e")
    return installation.client.trigger("docker-e2e")


def containers(engine: DockerEngine, task: str) -> list[str]:
    """Containers of a task, those of its legs included."""
    label = f"stagecoach.task={task.replace('.', '-')}"
    return [found["Id"] for found in engine.client.containers(all=True, filters={"label": label})]


def starts(engine: DockerEngine) -> Counter[str]:
    """How often a container of each task was started."""
    return Counter(one["stagecoach.task"] for one in engine.starts("stagecoach.task"))


def error_of(installation: Installation, run: Run, task: str, index: int = -1) -> dict[str, Any]:
    error: dict[str, Any] = installation.client.xcom(run, task, "error", map_index=index)
    return error


def test_what_happens_in_the_first_seconds(run: Run, installation: Installation, go: Path) -> None:
    """While a worker still follows the container: two workers are killed, a task is marked."""
    waiting = {"again", "lost", "marked"}

    def strike() -> bool:
        for job in [job for job in waiting if (go / f"{job}.up").exists()]:
            if job == "marked":
                installation.client.set_task_state(run, "marked.wait", "failed")
            else:
                kill(installation.worker_pid(run, f"{job}.wait"))
            waiting.remove(job)
        return not waiting

    wait(strike, "the containers do not start", 150, lambda: installation.client.states(run))


def test_a_marked_task_leaves_no_container(run: Run, engine: DockerEngine) -> None:
    wait(lambda: not containers(engine, "marked.wait"), "the container goes on", SOON)


def test_the_next_try_finds_the_container(
    run: Run, installation: Installation, engine: DockerEngine, go: Path
) -> None:
    client = installation.client
    assert len(containers(engine, "again.wait")) == 1
    (go / "again").touch()
    client.wait_for_task(run, "again.wait", {"success"})
    assert client.xcom(run, "again.wait")["stdout"] == "one\ntwo"
    assert "is there already, started by an earlier try" in client.log(run, "again.wait", try_number=2)
    assert starts(engine)["again-wait"] == 1


def test_sweep(run: Run, installation: Installation, engine: DockerEngine) -> None:
    """A killed worker without another try leaves its container; a sweep takes that, and no other."""
    installation.client.wait_for_task(run, "marked-deferred.wait", {"deferred"})
    installation.client.wait_for_task(run, "lost.wait", {"failed"})
    assert len(containers(engine, "lost.wait")) == 1
    done = subprocess.run(
        [sys.executable, "-m", "airflow_stagecoach.cli.main", "sweep", "--json"],
        env=installation.airflow.environment(),
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.stdout, done.stderr
    assert [one["of"]["task_id"] for one in json.loads(done.stdout)] == ["lost.wait"]
    assert containers(engine, "lost.wait") == []
    assert len(containers(engine, "marked-deferred.wait")) == 1


def test_deferred(run: Run, installation: Installation, engine: DockerEngine, go: Path) -> None:
    """It waits without a worker, passes on the output, and takes the result in the end."""
    client = installation.client
    wait((go / "long.up").exists, "the container does not start", 120)
    client.wait_for_task(run, "long.wait", {"deferred"})
    assert not installation.query(
        "select pid from task_instance where dag_id = %s and task_id = 'long.wait' and state = 'running'",
        run.dag_id,
    )
    (go / "long").touch()
    client.wait_for_task(run, "long.wait", {"success"})
    assert client.xcom(run, "long.wait") == {"return_code": 0, "stdout": "one\ntwo", "stderr": None, "r": "7"}
    lines = client.log(run, "long.wait").splitlines()
    assert [line for line in lines if line in ("one", "two")] == ["one", "two"]
    record = client.xcom(run, "long.wait", "record")
    assert re.fullmatch(r"[0-9a-f]{12}", record["external_id"])
    assert starts(engine)["long-wait"] == 1


def test_image_stages(run: Run, installation: Installation, engine: DockerEngine, go: Path) -> None:
    """One waits without a worker, as any stage does. One with a secret does not: only its worker can hide that."""
    client = installation.client
    wait((go / "container.up").exists, "the container does not start", 120)
    client.wait_for_task(run, "container.wait", {"deferred"})
    (go / "container").touch()
    client.wait_for_task(run, "container.wait", {"success"})
    assert client.xcom(run, "container.wait") == {
        "return_code": 0,
        "stdout": "one",
        "stderr": "two",
        "r": "7",
    }
    lines = client.log(run, "container.wait").splitlines()
    assert [line for line in lines if line in ("one", "two")] == ["one", "two"]
    assert starts(engine)["container-wait"] == 1
    assert client.xcom(run, "container.wait", "record")["backend"] == "docker"
    client.wait_for_task(run, "container.read", {"success"})
    assert client.xcom(run, "container.read")["stdout"] == "from bash"

    client.wait_for_task(run, "secret.wait", {"failed"})
    text = client.log(run, "secret.wait")
    assert {"one ***", "two ***"} <= set(text.splitlines())
    assert SECRET not in text
    assert error_of(installation, run, "secret.wait")["exit_code"] == 3
    assert not installation.query(
        "select 1 from task_instance_history where dag_id = %s and task_id = 'secret.wait'", run.dag_id
    )
    assert "DEFERRED" in client.log(run, "container.wait")
    assert "DEFERRED" not in text


def test_services(run: Run, installation: Installation, engine: DockerEngine, go: Path) -> None:
    """The triggerer ends them with the work; one that does not come up is a reason for another try."""
    engine.need_networks()
    client = installation.client
    wait((go / "beside.up").exists, "the stage does not reach its service", 150, lambda: client.states(run))
    client.wait_for_task(run, "beside.__stages__", {"deferred"})
    assert len(containers(engine, "beside.stages")) == 2
    client.set_task_state(run, "beside.__stages__", "failed")
    wait(lambda: not containers(engine, "beside.stages"), "containers go on", SOON)
    wait(lambda: not engine.networks(), "a network is left", SOON)

    client.wait_for_task(run, "unready.__stages__", {"failed"})
    error = error_of(installation, run, "unready.__stages__")
    assert (error["category"], error["reason"]) == ("component", "ServiceFailed"), error
    assert "no password" in client.log(run, "unready.__stages__", try_number=2)
    assert starts(engine)["unready-stages"] == 2, "one start of the service in each of two tries"
    assert not (go / "never").exists()


def test_marked_as_failed_while_deferred(
    run: Run, installation: Installation, engine: DockerEngine, go: Path
) -> None:
    installation.client.wait_for_task(run, "marked-deferred.wait", {"deferred"})
    assert len(containers(engine, "marked-deferred.wait")) == 1
    installation.client.set_task_state(run, "marked-deferred.wait", "failed")
    wait(lambda: not containers(engine, "marked-deferred.wait"), "the container goes on", SOON)


def test_a_timeout_while_deferred(run: Run, installation: Installation, engine: DockerEngine) -> None:
    installation.client.wait_for_task(run, "late.wait", {"failed"})
    assert error_of(installation, run, "late.wait")["category"] == "timeout"
    assert containers(engine, "late.wait") == []


def test_stages_hand_over(run: Run, installation: Installation) -> None:
    client = installation.client
    client.wait_for_task(run, "hand-over.read", {"success"})
    assert client.xcom(run, "hand-over.read")["stdout"] == "written down\nn is 5"
    assert "to the log" in client.log(run, "hand-over.write").splitlines()


def test_retry(run: Run, installation: Installation, engine: DockerEngine) -> None:
    client = installation.client
    client.wait_for_task(run, "retried.try", {"success"})
    assert client.xcom(run, "retried.try")["stdout"] == "try 2"
    assert "try 1" in client.log(run, "retried.try").splitlines()
    assert starts(engine)["retried-try"] == 2


def test_legs_run_at_the_same_time(run: Run, installation: Installation, engine: DockerEngine) -> None:
    for index in range(3):
        installation.client.wait_for_task(run, "legs.meet", {"success"}, map_index=index)
    assert starts(engine)["legs-meet"] == 3


def test_fail_fast_stops_containers(run: Run, installation: Installation, engine: DockerEngine) -> None:
    client = installation.client
    task = client.wait_for_task(run, "fail-fast.race", {"failed", "skipped"}, map_index=0)
    assert task.state == "failed", client.states(run)
    assert error_of(installation, run, "fail-fast.race", 0)["exit_code"] == 1
    for index in (1, 2):
        client.wait_for_task(run, "fail-fast.race", {"skipped"}, map_index=index)
    wait(lambda: not containers(engine, "fail-fast.race"), "containers go on", SOON)


def test_nothing_is_left(run: Run, installation: Installation, engine: DockerEngine) -> None:
    assert installation.client.wait_for_run(run).state == "failed"
    assert engine.containers() == []
    assert engine.client.volumes()["Volumes"] in (None, [])
