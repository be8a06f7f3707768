"""Pools, priorities and max-active-tasks under Airflow's own scheduler."""

from __future__ import annotations

import itertools
from datetime import datetime
from typing import TYPE_CHECKING

from e2e_client import wait

if TYPE_CHECKING:
    from e2e_client import Client, Run, Task

LIMITED = """
    pools-limited:
      type: Workflow
      jobs:
        wide:
          pool: e2e-narrow
          pool-slots: 2
          strategy: {matrix: {x: [1, 2, 3]}}
          stages: [{name: a, sleep: 1}]
        late: {pool: e2e-single, stages: [{name: a, sleep: 0}]}
        urgent: {pool: e2e-single, priority: 50, stages: [{name: a, sleep: 0}]}
        middle: {pool: e2e-single, priority: 20, granularity: job, stages: [{name: a, sleep: 0}]}
    ---
    pools-one-at-a-time:
      type: Workflow
      max-active-tasks: 1
      jobs:
        one: {stages: [{name: a, sleep: 1}]}
        two: {strategy: {matrix: {x: [1, 2]}}, stages: [{name: a, sleep: 1}]}
"""


def make_pool(client: Client, name: str, slots: int) -> None:
    body = {"name": name, "slots": slots}
    client.http.post("/pools", json=body).raise_for_status()


def intervals(tasks: list[Task]) -> list[tuple[datetime, datetime]]:
    """When some tasks ran, in the order of their starts."""
    moments = [(task.raw["start_date"], task.raw["end_date"]) for task in tasks]
    return sorted((datetime.fromisoformat(start), datetime.fromisoformat(end)) for start, end in moments)


def assert_one_after_another(tasks: list[Task]) -> None:
    ran = intervals(tasks)
    assert len(ran) >= 3
    for (_, end), (start, _) in itertools.pairwise(ran):
        assert end <= start


def of(client: Client, run: Run, *task_ids: str) -> list[Task]:
    return [task for (task_id, _), task in sorted(client.tasks(run).items()) if task_id in task_ids]


def test_no_more_than_the_pool_and_the_workflow_allow(client: Client) -> None:
    make_pool(client, "e2e-narrow", 3)
    make_pool(client, "e2e-single", 1)
    client.drop("pools_limited.yaml", LIMITED)
    client.wait_for_dag("pools-limited")
    client.wait_for_dag("pools-one-at-a-time")
    pooled, single = client.trigger("pools-limited"), client.trigger("pools-one-at-a-time")
    assert client.wait_for_run(pooled).state == "success"
    assert client.wait_for_run(single).state == "success"
    assert_one_after_another(of(client, pooled, "wide.a"))
    assert_one_after_another(of(client, single, "one.a", "two.a"))

    by_priority = of(client, pooled, "urgent.a", "middle.__stages__", "late.a")
    assert_one_after_another(by_priority)
    starts = {task.task_id: task.raw["start_date"] for task in by_priority}
    assert sorted(starts, key=lambda task_id: starts[task_id]) == ["urgent.a", "middle.__stages__", "late.a"]


MISSING = """
    pools-missing:
      type: Workflow
      jobs: {one: {stages: [{name: a, pool: e2e-forgotten, pool-slots: 2, sleep: 0}]}}
"""


def test_a_missing_pool_is_told_of_at_the_dag(client: Client) -> None:
    client.drop("pools_missing.yaml", MISSING)
    client.wait_for_dag("pools-missing")

    def warning() -> str:
        found = client.get("/dagWarnings", dag_id="pools-missing")["dag_warnings"]
        return "\n".join(one["message"] for one in found)

    text = wait(warning, "no warning at pools-missing", 90)
    assert "one.a will wait for ever: there is no pool 'e2e-forgotten'" in text
    run = client.trigger("pools-missing")
    client.wait_for_task(run, "one.a", {"scheduled"})
    make_pool(client, "e2e-forgotten", 1)
    wait(
        lambda: "pool 'e2e-forgotten' has 1 slots" in warning(), "no warning of a pool too small", 90, warning
    )
    body = {"pool": "e2e-forgotten", "slots": 2, "description": "", "include_deferred": False}
    client.http.patch("/pools/e2e-forgotten", json=body).raise_for_status()
    assert client.wait_for_run(run).state == "success"
    wait(lambda: not warning(), "the warning stays", 90, warning)
