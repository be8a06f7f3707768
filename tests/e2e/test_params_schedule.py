"""``on:`` as Airflow's timetables: what the UI shows, when the next run is, and a run that the clock starts."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from e2e_client import Run, wait

if TYPE_CHECKING:
    from e2e_client import Client

#: `on:`, what of the summary is shown, minute / hour (UTC) of the next run where they are known.
SCHEDULES: dict[str, tuple[str, str | None, tuple[int, int] | None]] = {
    "none": ("manual", None, None),
    "cron": ('"30 3 * * *"', "30 3 * * *", (30, 3)),
    "preset": ('"@daily"', "0 0 * * *", (0, 0)),
    "zone": ('{cronjob: "0 3 * * *", timezone: Asia/Bangkok}', "0 3 * * *", (0, 20)),
    "interval": ('{interval: weekly, day: monday, time: "18:05"}', "5 18 * * ", (5, 18)),
    "several": ('["0 3 * * *", "0 3 1 * *"]', "0 3 * * *", (0, 3)),
    "older": ('{schedule: [{cronjob: "15 4 * * *"}]}', "15 4 * * *", (15, 4)),
    "every": ("{every: 6h}", "6:00:00", None),
    "at": ("{at: 2099-01-31T12:00:00Z}", "1 event", (0, 12)),
    "assets": ("{assets: [e2e-orders, e2e-customers]}", "Asset", None),
    "both": ('{assets: [e2e-orders], cronjob: "30 3 * * *"}', "30 3 * * *", (30, 3)),
}


@pytest.fixture(scope="module")
def dags(client: Client) -> dict[str, dict[str, Any]]:
    documents = [
        f"schedule-{name}:\n  type: Workflow\n  on: {on}\n"
        "  jobs: {only: {stages: [{name: Only, echo: only}]}}\n"
        for name, (on, _, _) in SCHEDULES.items()
    ]
    client.drop("schedules.yaml", "".join(documents))
    for name in SCHEDULES:
        client.wait_for_dag(f"schedule-{name}")
        client.http.patch(f"/dags/schedule-{name}", json={"is_paused": True}).raise_for_status()
    return client.dags()


@pytest.mark.parametrize("name", SCHEDULES)
def test_summary_and_next_run(dags: dict[str, dict[str, Any]], name: str) -> None:
    dag = dags[f"schedule-{name}"]
    _, summary, at = SCHEDULES[name]
    shown = f"{dag['timetable_summary']} {dag['timetable_description']}"
    if summary is None:
        assert dag["timetable_summary"] is None
    else:
        assert summary in shown
    if at is not None:
        moment = datetime.fromisoformat(dag["next_dagrun_run_after"].replace("Z", "+00:00"))
        assert (moment.minute, moment.hour) == at
        assert moment > datetime.now(timezone.utc)


def runs(client: Client, dag_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get(f"/dags/{dag_id}/dagRuns")["dag_runs"]
    return found


def test_the_clock_starts_runs(client: Client, dags: dict[str, dict[str, Any]]) -> None:
    at = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(seconds=12)
    stages = '[{name: Tell, id: tell, run: "kind = run.type\\nlogical = str(run.logical_date)"}]'
    client.drop(
        "clock.yaml",
        f"clock-at:\n  type: Workflow\n  on: {{at: {at:%Y-%m-%dT%H:%M:%SZ}}}\n"
        f"  start-date: 2024-01-01\n  jobs: {{only: {{stages: {stages}}}}}\n"
        f"clock-every:\n  type: Workflow\n  on: {{every: 10s}}\n  max-active-runs: 1\n"
        f"  jobs: {{only: {{stages: {stages}}}}}\n",
    )
    client.wait_for_dag("clock-at")
    for dag_id in ("clock-every", "clock-at"):
        wait(lambda dag_id=dag_id: runs(client, dag_id), f"{dag_id} has no run", 90)  # type: ignore[misc]  # bound now
        client.http.patch(f"/dags/{dag_id}", json={"is_paused": True}).raise_for_status()
    (first, *_) = runs(client, "clock-at")
    assert first["run_type"] == "scheduled"
    assert datetime.fromisoformat(first["run_after"].replace("Z", "+00:00")) == at
    client.http.patch("/dags/clock-at", json={"is_paused": False}).raise_for_status()
    run = client.wait_for_run(Run("clock-at", first["dag_run_id"], first["state"]))
    assert run.state == "success"
    assert client.xcom(run, "only.tell") == {"kind": "scheduled", "logical": str(at)}
    time.sleep(3)
    assert len(runs(client, "clock-at")) == 1, "it fires once"
    client.remove("clock.yaml")
