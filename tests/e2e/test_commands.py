"""Airflow's own commands and ours, as processes of their own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from e2e_client import wait

from airflow_stagecoach.cli.local_airflow import LocalAirflow

TWO = """
command-one:
  type: Workflow
  jobs:
    greet:
      stages:
        - name: Say
          id: say
          bash: echo the one
command-two:
  type: Workflow
  jobs:
    greet:
      stages:
        - name: Say
          id: say
          bash: echo the two
"""


def run_airflow(airflow: LocalAirflow, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "airflow", *arguments],
        env=airflow.environment(),
        capture_output=True,
        text=True,
        timeout=180,
    )


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> LocalAirflow:
    """An Airflow with two documents and no servers: a scheduler would take the commands' work from them."""
    root = tmp_path_factory.mktemp("idle")
    dags = root / "dags"
    dags.mkdir()
    (dags / "two.yaml").write_text(TWO)
    bad = TWO.replace("command-", "bad-").replace("bash: echo", "bsah: false")
    (dags / "bad.yaml").write_text(bad)
    found = LocalAirflow(root / "home", dags)
    found.migrate()
    return found


def test_dags_test(idle: LocalAirflow) -> None:
    done = run_airflow(idle, "dags", "test", "command-two")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "the two" in done.stdout + done.stderr
    assert "echo the one" not in done.stdout + done.stderr


def test_tasks_test(idle: LocalAirflow) -> None:
    done = run_airflow(idle, "tasks", "test", "command-two", "greet.say")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "the two" in done.stdout + done.stderr


def test_dags_list(idle: LocalAirflow) -> None:
    listed = run_airflow(idle, "dags", "list", "--local", "--output", "plain")
    assert "command-one" in listed.stdout, listed.stderr[-3000:]
    errors = run_airflow(idle, "dags", "list-import-errors", "--local", "--output", "plain")
    assert "bsah" in errors.stdout + errors.stderr


def test_demo(tmp_path: Path) -> None:
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / "demo.yaml").write_text(TWO.replace("command-", "demo-"))
    output = tmp_path / "output"
    with output.open("wb") as file:
        demo = subprocess.Popen(
            [sys.executable, "-m", "airflow_stagecoach.cli.main", "demo", str(dags), "--home", "home"],
            cwd=tmp_path,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        wait(
            lambda: "Airflow is at" in output.read_text() or demo.poll() is not None,
            "the demo is not up",
            180,
            output.read_text,
        )
        found = re.search(r"Airflow is at (http://127\.0\.0\.1:\d+) \(no login\)", output.read_text())
        assert found is not None, output.read_text()
        assert httpx.get(found[1], follow_redirects=True).status_code == 200
    finally:
        demo.send_signal(signal.SIGTERM)
        demo.wait(120)
    assert demo.returncode == 0, output.read_text()
    assert output.read_text().endswith("Stopping.\n")
    mark = f"AIRFLOW_HOME={tmp_path / 'home'}"
    deadline = time.monotonic() + 30
    while (left := processes_with(mark)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert left == []


def processes_with(mark: str) -> list[str]:
    """Give the command lines of processes that have something in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark in os.fsdecode((folder / "environ").read_bytes()).split("\0"):
                found.append(os.fsdecode((folder / "cmdline").read_bytes()))
        except OSError:
            continue
    return found
