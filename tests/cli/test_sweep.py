"""Tests of ``stagecoach sweep``, with an emulated place and the database of a real run."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from airflow_stagecoach.cli.sweep import places
from tests.cli.airflow_home import AirflowHome

if TYPE_CHECKING:
    from pathlib import Path

DOCUMENT = """
sweeping:
  type: Workflow
  jobs:
    work:
      runs-on: local
      stages:
        - {name: One, id: one, bash: "echo 1"}
        - {name: Two, id: two, bash: "echo 2"}
"""

ELSEWHERE = "{type: docker, emulate: true, with: {image: '${{ params.image }}'}}"

#: Starts work of a task, and forgets it.
START = """
import json, sys
from airflow_stagecoach.backends.emulated import EmulatedBackend
from airflow_stagecoach.backends.ownership import leg_key
from airflow_stagecoach.backends.work import Work
for identity in json.loads(sys.stdin.read()):
    stage = {"kind": "bash", "id": "one", "bash": "sleep 300"}
    unit = {"stages": [stage], "identity": identity, "leg": {"key": leg_key(identity), "keep": False}}
    EmulatedBackend().start(Work.of(identity, unit))
"""


def plan(*runs_on: dict[str, Any], kind: str = "bash") -> Any:
    stages = [{"spec": {"kind": kind}}]
    return {
        "jobs": [{"id": str(number), "runs_on": one, "stages": stages} for number, one in enumerate(runs_on)]
    }


def test_places() -> None:
    docker = {"type": "docker", "with_": {"image": "x"}}
    remote = {"type": "docker", "with_": {"image": "x", "host": "tcp://h"}}
    at_run_time = {"type": "docker", "with_": {"image": "${{ matrix.image }}"}}
    emulated = {"type": "docker", "with_": {"image": "x"}, "emulate": True}
    found = places([plan(docker, {"type": "local"}, remote), plan(docker, at_run_time, emulated)])
    assert list(found) == [docker, remote]


def test_places_of_image_stages() -> None:
    docker = {"type": "docker", "with_": {"image": "x"}}
    queue = {"type": "self-hosted", "with_": {"queue": "q"}}
    found = places([plan({"type": "local"}, queue, docker, kind="image")])
    assert list(found) == [{"type": "docker"}, docker]


def test_no_database(tmp_path: Path) -> None:
    home = AirflowHome(tmp_path / "nowhere")
    ((code, _, err),) = home.commands("sweep")
    assert code == 1
    assert "there is no Airflow database" in err


@pytest.mark.runs
def test_what_is_left_of_an_ended_task_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # the emulated place lies there
    home = AirflowHome.with_runs(tmp_path / "home", DOCUMENT)
    with closing(sqlite3.connect(home.home / "airflow.db")) as connection:
        ((run_id,),) = connection.execute("SELECT run_id FROM dag_run").fetchall()
    ended = {"dag_id": "sweeping", "run_id": run_id, "task_id": "work.one", "map_index": -1, "try_number": 1}
    running, unknown = {**ended, "task_id": "work.two"}, {**ended, "run_id": "of somebody else"}
    subprocess.run(
        [sys.executable, "-c", START],
        env=home.environment,
        input=json.dumps([ended, running, unknown]),
        text=True,
        check=True,
        timeout=60,
    )
    # Its settings are known to a run alone: what is emulated is found all the same.
    home.sql("UPDATE dag_code SET source_code = ?", DOCUMENT.replace("local", ELSEWHERE))
    home.sql("UPDATE dag_run SET state = 'running'")
    home.sql("UPDATE task_instance SET state = 'running' WHERE task_id = 'work.two'")
    dry, removed, again = home.commands("sweep --dry-run --json", "sweep --json", "sweep")
    (left,) = json.loads(dry[1])
    assert (left["backend"], left["kind"], left["of"]) == ("emulated", "process", ended)
    assert json.loads(removed[1]) == [left]
    assert again == (0, "nothing is left\n", "")
    home.sql("UPDATE task_instance SET state = 'failed'")
    home.sql("UPDATE dag_run SET state = 'failed'")
    rest, others, nothing = home.commands("sweep --json", "sweep --unknown", "sweep --unknown")
    assert [one["kind"] for one in json.loads(rest[1])] == ["process", "folder"]
    assert others[1].count("of somebody else") == 2
    assert nothing[1] == "nothing is left\n"
    away = "{type: docker, with: {image: '%s', host: 'tcp://127.0.0.1:9'}}"
    two_images = DOCUMENT.replace("local", away % "a") + DOCUMENT.replace("local", away % "b")
    home.sql("UPDATE dag_code SET source_code = ?", two_images.replace("sweeping:", "again:", 1))
    ((code, out, err),) = home.commands("sweep")
    assert (code, out) == (1, "nothing is left at the other places\n")
    assert err.count("docker: ") == 1
