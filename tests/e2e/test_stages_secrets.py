"""Secrets reach the process and nothing else: no log of a task, no rendered field, no XCom, no table."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e_client import Client, Run

    from airflow_stagecoach.cli.local_airflow import LocalAirflow

#: Both are long and appear nowhere but in Airflow's own tables of variables and connections, encrypted.
VARIABLE, PASSWORD = "variable-8d3a1c77e0", "password-51f0b2aa9c"

DOCUMENT = r"""
secrets:
  type: Workflow
  env: {TOKEN: "${{ secrets.e2e_token }}"}
  jobs:
    use:
      env: {DSN: "db://${{ conn.e2e_db.login }}:${{ conn.e2e_db.password }}@${{ conn.e2e_db.host }}"}
      stages:
        - name: Bash
          id: bash
          env: {AGAIN: "again ${{ env.TOKEN }}"}
          bash: |
            echo "hello $TOKEN and $DSN and $AGAIN"
            echo "to stderr $TOKEN" >&2
            echo "variable=$(printf %s "$TOKEN" | sha256sum | cut -c1-64)" >> "$STAGE_OUTPUT"
            echo "dsn=$(printf %s "$DSN" | sha256sum | cut -c1-64)" >> "$STAGE_OUTPUT"
          outputs: {stdout: "${{ 'left out' }}", stderr: "${{ null }}"}
        - name: Python
          id: python
          run: |
            import hashlib, os
            print("python has", os.environ["TOKEN"], env.DSN)
            logger.info("logged %s", env.TOKEN)
            digest = hashlib.sha256(env.TOKEN.encode()).hexdigest()
        - name: Operator
          id: operator
          operator: airflow.providers.standard.operators.bash.BashOperator
          with: {bash_command: 'echo "operator $TOKEN" >&2; echo done', env: {TOKEN: "${{ secrets.e2e_token }}"}, append_env: true}
        - {name: Fail, id: fail, continue-on-error: true, bash: 'echo "$TOKEN is wrong" >&2; exit 1'}
        - {name: Raise, id: raise, continue-on-error: true, run: 'raise ValueError(f"no {env.TOKEN}")'}
        - {name: Missing, id: missing, continue-on-error: true, bash: 'echo "$X"', env: {X: "${{ secrets.e2e_none }}"}}
"""


@pytest.fixture(scope="module")
def run(client: Client) -> Iterator[Run]:
    client.http.post("/variables", json={"key": "e2e_token", "value": VARIABLE}).raise_for_status()
    connection = {
        "connection_id": "e2e_db",
        "conn_type": "generic",
        "host": "db.example",
        "login": "me",
        "password": PASSWORD,
    }
    client.http.post("/connections", json=connection).raise_for_status()
    client.drop("secrets.yaml", DOCUMENT)
    client.wait_for_dag("secrets")
    yield client.run("secrets")
    client.http.delete("/variables/e2e_token")
    client.http.delete("/connections/e2e_db")


def test_the_processes_see_them(client: Client, run: Run) -> None:
    assert run.state == "success", client.states(run)
    outputs = client.xcom(run, "use.bash")
    assert outputs["variable"] == hashlib.sha256(VARIABLE.encode()).hexdigest()
    assert outputs["dsn"] == hashlib.sha256(f"db://me:{PASSWORD}@db.example".encode()).hexdigest()
    assert client.xcom(run, "use.python")["digest"] == outputs["variable"]


@pytest.mark.parametrize("stage", ["bash", "python", "operator", "fail", "raise"])
def test_logs_show_stars(client: Client, run: Run, stage: str) -> None:
    log = client.log(run, f"use.{stage}")
    assert VARIABLE not in log
    assert PASSWORD not in log
    assert "***" in log


def test_rendered_fields_show_stars(client: Client, run: Run) -> None:
    shown = client.rendered(run, "use.bash")["stage"]["env"]
    assert shown == {"AGAIN": "again ***"}


def test_a_missing_secret_is_named(client: Client, run: Run) -> None:
    assert "e2e_none" in client.log(run, "use.missing")


@pytest.mark.parametrize("value", [VARIABLE, PASSWORD])
def test_nothing_of_airflow_holds_them(client: Client, run: Run, airflow: LocalAirflow, value: str) -> None:
    with closing(sqlite3.connect(airflow.database)) as database:
        database.execute("PRAGMA wal_checkpoint(PASSIVE)")
        assert value not in "\n".join(database.iterdump())
    # Not the scheduler's own output: LocalExecutor copies what tasks print there, and Airflow masks no copy.
    logs = [path for path in (airflow.home / "logs").rglob("*.log") if path.is_file()]
    assert logs
    assert [path.name for path in logs if value.encode() in path.read_bytes()] == []
