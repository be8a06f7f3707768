"""Self-hosted under a real Airflow: stages run at a runner, and what is stored of its token."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

import pytest
from e2e_client import wait
from tests.runner.server import TOKEN, Server

from airflow_stagecoach.backends.self_hosted import SelfHostedBackend

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from e2e_client import Client, Run

DOCUMENT = r"""
self-hosted-e2e:
  type: Workflow
  jobs:
    long:
      runs-on: {type: self-hosted, with: {conn: e2e_runner, labels: [lab]}}
      stages:
        - name: Wait
          id: wait
          bash: 'echo one; touch GO/long.up; until [ -e GO/long ]; do sleep 0.2; done; echo two; echo "r=7" >> $STAGE_OUTPUT'
    marked:
      runs-on: {type: self_hosted, with: {conn: e2e_runner}}
      stages: [{name: Wait, id: wait, bash: 'sleep 600'}]
    by-token:
      runs-on: {type: self-hosted, with: {host: 'URL', token: '${{ secrets.e2e_runner_token }}'}}
      stages:
        - name: Wait
          id: wait
          bash: 'touch GO/by-token.up; until [ -e GO/long ]; do sleep 0.2; done'
    hand-over:
      runs-on: {type: self-hosted, with: {conn: e2e_runner}}
      strategy: {matrix: {n: [1, 2]}}
      stages:
        - {name: Write, id: write, bash: 'echo "leg ${{ matrix.n }}" > note'}
        - {name: Read, id: read, run: 'text = open("note").read().strip()'}
"""

#: Seconds between a click and the end of the process: some on a quiet machine. It would go on for minutes.
SOON = 60.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("self-hosted")
    with Server(folder / "runner", "--jobs", "8", "--label", "lab") as started:
        yield started


@pytest.fixture(scope="module")
def run(client: Client, server: Server) -> Iterator[Run]:
    connection = {"connection_id": "e2e_runner", "conn_type": "http", "host": "127.0.0.1", "schema": "http"}
    connection |= {"port": server.port, "password": TOKEN}  # type: ignore[dict-item]  # a number among texts
    client.http.post("/connections", json=connection).raise_for_status()
    client.http.post("/variables", json={"key": "e2e_runner_token", "value": TOKEN}).raise_for_status()
    text = DOCUMENT.replace("GO", str(server.folder.parent)).replace("URL", server.url)
    client.drop("self-hosted-e2e.yaml", text)
    client.wait_for_dag("self-hosted-e2e")
    yield client.trigger("self-hosted-e2e")
    client.remove("self-hosted-e2e.yaml")
    client.http.delete("/connections/e2e_runner")
    client.http.delete("/variables/e2e_runner_token")


@pytest.fixture(scope="module")
def go(server: Server) -> Path:
    return server.folder.parent


def jobs(server: Server, task: str) -> list[str]:
    backend = SelfHostedBackend({"host": server.url, "token": TOKEN})
    found = backend.call("GET", "/jobs", patience=30).json()["jobs"]
    return [job["name"] for job in found if job["owner"]["task_id"] == task]


def is_clean(server: Server, task: str) -> bool:
    return not jobs(server, task)


def test_deferred(run: Run, client: Client, server: Server, go: Path) -> None:
    """It waits without a worker, and the trigger asks for the connection itself."""
    wait((go / "long.up").exists, "the job does not start", 150)
    client.wait_for_task(run, "long.wait", {"deferred"})
    path = f"/dags/{run.dag_id}/dagRuns/{run.run_id}/taskInstances/long.wait"
    trigger = client.http.get(path).raise_for_status().text
    assert "WorkTrigger" in trigger, trigger
    assert TOKEN not in trigger


def test_with_a_token_the_worker_stays(run: Run, client: Client, server: Server, go: Path) -> None:
    wait((go / "by-token.up").exists, "the job does not start", 150)
    up = (go / "by-token.up").stat().st_mtime
    wait(lambda: time.time() > up + 20, "time stands still", 60)
    assert client.tasks(run)["by-token.wait", -1].state == "running"


def test_the_result_is_taken(run: Run, client: Client, server: Server, go: Path) -> None:
    (go / "long").touch()
    for task in ("long.wait", "by-token.wait"):
        client.wait_for_task(run, task, {"success"})
        wait(partial(is_clean, server, task), "the job is left", SOON)
    assert client.xcom(run, "long.wait") == {"return_code": 0, "stdout": "one\ntwo", "stderr": None, "r": "7"}
    lines = client.log(run, "long.wait").splitlines()
    assert [line for line in lines if line in ("one", "two")] == ["one", "two"]
    assert TOKEN not in client.log(run, "by-token.wait")
    assert TOKEN not in str(client.rendered(run, "by-token.wait"))


def test_marked_as_failed_while_deferred(run: Run, client: Client, server: Server) -> None:
    client.wait_for_task(run, "marked.wait", {"deferred"})
    assert len(jobs(server, "marked.wait")) == 1
    client.set_task_state(run, "marked.wait", "failed")
    wait(partial(is_clean, server, "marked.wait"), "the job goes on", SOON)


def test_stages_hand_over(run: Run, client: Client, server: Server) -> None:
    for index, text in enumerate(("leg 1", "leg 2")):
        client.wait_for_task(run, "hand-over.read", {"success"}, map_index=index)
        assert client.xcom(run, "hand-over.read", map_index=index) == {"text": text}


def test_nothing_is_left(run: Run, client: Client, server: Server) -> None:
    assert client.wait_for_run(run).state == "failed"
    backend = SelfHostedBackend({"host": server.url, "token": TOKEN})
    assert list(backend.leftovers()) == []
    assert list((server.folder / "jobs").iterdir()) == list((server.folder / "legs").iterdir()) == []
