"""``stagecoach status`` and ``stagecoach pools``, on a real database."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest

from airflow_stagecoach.triggers._group_store import GroupStore
from airflow_stagecoach.triggers._tickets import Ticket
from tests.cli.airflow_home import AirflowHome

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.runs

DOCUMENT = """
uses-pools:
  type: Workflow
  jobs:
    j:
      stages:
        - {name: small, id: small, bash: "true", pool: db}
        - {name: large, id: large, bash: "true", pool: db, pool-slots: 3}
        - {name: other, id: other, bash: "true", pool: gpu}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> AirflowHome:
    return AirflowHome.with_runs(tmp_path_factory.mktemp("status") / "home", DOCUMENT)


def heartbeats(home: AirflowHome, age: str, *parts: str) -> None:
    for part in parts:
        home.sql(
            "INSERT INTO job (job_type, state, hostname, latest_heartbeat)"
            " VALUES (?, 'running', 'here', datetime('now', ?))",
            part,
            age,
        )


ALL = ("SchedulerJob", "TriggererJob", "DagProcessorJob")


def test_status(home: AirflowHome) -> None:
    ((code, out, err),) = home.commands("status --json")
    down = json.loads(out)
    assert (code, down["status"]) == (1, "down"), err
    assert {one["status"] for one in down["components"].values()} == {"absent"}
    assert down["missing_pools"] == ["db", "gpu"]

    heartbeats(home, "-1 day", *ALL)
    heartbeats(home, "+1 hour", "SchedulerJob", "TriggererJob")
    home.sql("UPDATE dag_run SET state = 'running'")
    home.sql("UPDATE task_instance SET state = 'queued', pool = 'default_pool' WHERE task_id = 'j.small'")
    home.sql(
        "INSERT INTO import_error (timestamp, filename, bundle_name, stacktrace)"
        " VALUES (datetime('now'), 'bad.yaml', 'dags', 'bad.yaml:1:1: unknown key')"
    )
    home.sql(
        "INSERT INTO import_error (timestamp, filename, stacktrace) VALUES (datetime('now'), 'a.py', 'x')"
    )
    hold(home, "nightly")
    (code, out, _), (text_code, text, _) = home.commands("status --json", "status")
    found = json.loads(out)
    assert (code, text_code, found["status"]) == (1, 1, "degraded")
    components = {name: one["status"] for name, one in found["components"].items()}
    assert components == {"scheduler": "healthy", "triggerer": "healthy", "dag-processor": "unhealthy"}
    assert found["pools"]["default_pool"]["queued"] == 1
    assert found["documents"] == {"files": 1, "dags": 1, "paused": 1}
    assert (found["runs"], found["tasks"]) == ({"running": 1}, {"queued": 1, "success": 2})
    assert [error["file"] for error in found["import_errors"]] == ["bad.yaml"]
    assert found["concurrency"] == [
        {
            "group": "nightly",
            "held": [{"dag_id": "a", "run_id": "r1"}],
            "waiting": [{"dag_id": "b", "run_id": "r2"}],
        }
    ]
    assert found["backends"]["local"] == {"ok": True, "message": None}
    assert "the dag-processor is unhealthy" in found["problems"]
    for line in (
        "degraded",
        "bad.yaml:1:1: unknown key",
        "concurrency group nightly: held by a r1, 1 waiting",
    ):
        assert line in text

    heartbeats(home, "+1 hour", "DagProcessorJob")
    home.sql("DELETE FROM import_error")
    (made, _, _), (code, out, _) = home.commands("pools --create --slots 4", "status --json")
    assert (made, code, json.loads(out)["status"]) == (0, 0, "ok"), out
    home.sql("DELETE FROM slot_pool WHERE pool IN ('db', 'gpu')")


def hold(home: AirflowHome, group: str) -> None:
    """Write what runs of a concurrency group write."""
    for dag_id, run_id, mark in (("a", "r1", "waiting"), ("a", "r1", "held"), ("b", "r2", "waiting")):
        store = GroupStore(group, dag_id, run_id)
        ticket = Ticket(datetime.now(timezone.utc).isoformat(), "queue", dag_id)
        home.sql(
            'INSERT INTO variable ("key", val, is_encrypted) VALUES (?, ?, 0)',
            store._key(ticket, mark),
            json.dumps(store._own),
        )


def test_pools(home: AirflowHome, tmp_path: Path) -> None:
    file = tmp_path / "more.yaml"
    file.write_text(DOCUMENT.replace("gpu", "tpu").replace("uses-pools", "more"))
    bad = tmp_path / "bad.yaml"
    bad.write_text(DOCUMENT.replace("bash:", "bsah:"))
    missing, of_files, refused, made, again, wrong = home.commands(
        "pools --json", f"pools {file}", f"pools {bad}", "pools --create", "pools --json", "pools --slots 3"
    )
    found: dict[str, Any] = json.loads(missing[1])
    assert (missing[0], {name: one["state"] for name, one in found.items()}) == (
        1,
        {"db": "missing", "gpu": "missing"},
    )
    assert found["db"]["needed"] == 3
    assert found["db"]["stages"] == ["uses-pools.j.small", "uses-pools.j.large"]
    assert of_files[0] == 1
    assert "pool 'tpu': its stages never start" in of_files[2]
    assert (refused[0], refused[2]) == (1, f"{bad} has errors; see `stagecoach validate {bad}`\n")
    assert made[0] == 0
    assert "made" in made[1]
    slots = {name: (one["state"], one["slots"]) for name, one in json.loads(again[1]).items()}
    assert (again[0], slots) == (0, {"db": ("there", 3), "gpu": ("there", 1)})
    assert wrong[0] == 2
    home.sql("UPDATE slot_pool SET slots = 2 WHERE pool = 'db'")
    ((code, out, err),) = home.commands("pools")
    assert code == 1
    assert "too-small" in out
    assert "pool 'db': a stage takes more slots than it has" in err
