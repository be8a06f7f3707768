"""Concurrency groups in a real Airflow: no two runs of one group work at the same time.

What is proven is taken from Airflow's own times of the task instances.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from e2e_client import moment, processes, wait

if TYPE_CHECKING:
    from e2e_client import Client, Installation, Run

PATIENCE = 240.0

QUEUES = """
group-a:
  type: Workflow
  params: {env: {type: str, default: prod}, file: str}
  concurrency: "deploy-${{ params.env }}"
  jobs:
    work:
      stages:
        - name: Work
          id: work
          env: {FILE: "${{ params.file }}"}
          bash: until [ -z "$FILE" ] || [ -e "$WORKFLOW_DIR/$FILE" ]; do sleep 0.2; done
---
group-b:
  type: Workflow
  concurrency: {group: deploy-prod, on-conflict: queue}
  jobs:
    work:
      stages: [{name: Work, id: work, bash: sleep 0.1}]
"""

CONFLICTS = """
group-hold:
  type: Workflow
  concurrency: release
  jobs:
    work:
      stages:
        - {name: Work, id: work, env: {GROUP_TEST: "${{ run.id }}"}, bash: trap '' TERM; sleep 300 & wait; sleep 300}
        - {name: Next, id: next, bash: echo never}
        - {name: Clean, id: clean, teardown: true, bash: echo clean}
    waits:
      stages:
        - name: Wait
          id: wait
          operator: airflow.providers.standard.sensors.date_time.DateTimeSensorAsync
          with: {target_time: "2999-01-01T00:00:00+00:00"}
    later:
      needs: [work, waits]
      if: ${{ always() }}
      stages: [{name: Later, id: later, bash: echo never}]
---
group-reject:
  type: Workflow
  concurrency: {group: release, on-conflict: reject}
  jobs:
    work:
      stages: [{name: Work, id: work, echo: work}]
    always:
      needs: work
      if: ${{ always() }}
      stages: [{name: Last, id: last, bash: echo never}]
---
group-skip:
  type: Workflow
  concurrency: {group: release, on-conflict: skip}
  jobs:
    work:
      strategy: {matrix: {leg: [1, 2]}}
      stages: [{name: Work, id: work, echo: work}]
    always:
      needs: work
      trigger-rule: all_done
      stages: [{name: Last, id: last, bash: echo never}]
---
group-cancel:
  type: Workflow
  concurrency: {group: release, on-conflict: cancel-running}
  jobs:
    work:
      stages: [{name: Work, id: work, bash: sleep 0.2}]
"""

CLEARED = """
group-fails:
  type: Workflow
  concurrency: once
  jobs:
    work:
      stages: [{name: Work, id: work, bash: "exit 3"}]
---
group-slow:
  type: Workflow
  params: {seconds: {type: int, default: 1}}
  concurrency: once
  jobs:
    work:
      stages: [{name: Work, id: work, env: {GROUP_SLOW: "${{ run.id }}"}, bash: "sleep ${{ params.seconds }}"}]
"""


def span(client: Client, run: Run) -> tuple[Any, Any]:
    """When a run worked: the start of its first stage and the end of its last."""
    stages = [task.raw for (name, _), task in client.tasks(run).items() if "__" not in name]
    worked = [
        one for one in stages if one["start_date"] and one["state"] not in ("skipped", "upstream_failed")
    ]
    return (
        min(moment(one["start_date"]) for one in worked),
        max(moment(one["end_date"]) for one in worked),
    )


def start(client: Client, run: Run) -> Any:
    return moment(client.get(f"/dags/{run.dag_id}/dagRuns/{run.run_id}")["start_date"])


def tickets(client: Client) -> list[str]:
    """What is left of all groups."""
    found = client.get("/variables", variable_key_pattern="stagecoach/concurrency/%", limit=100)
    return [one["key"] for one in found["variables"]]


def waiting(client: Client) -> list[str]:
    return [key for key in tickets(client) if key.endswith("/waiting")]


def test_runs_of_two_workflows_work_one_after_another(installation: Installation) -> None:
    """Ten at once, in the order of their starts; meanwhile the triggerer is killed."""
    client = installation.client
    client.drop("queues.yaml", QUEUES)
    client.wait_for_dag("group-a")
    client.wait_for_dag("group-b")
    first = client.trigger("group-a", {"file": "go"})
    client.wait_for_task(first, "work.work", {"running"})
    runs = [first, *(client.trigger("group-a" if number % 2 else "group-b") for number in range(9))]
    wait(lambda: len(waiting(client)) == 10, "not all take part", PATIENCE, lambda: waiting(client))
    (client.dags_folder / "go").touch()
    installation.kill("triggerer")
    installation.start("triggerer")
    for run in runs:
        assert client.wait_for_run(run, timeout=PATIENCE).state == "success", client.states(run)
    spans = sorted((start(client, run), *span(client, run)) for run in runs)
    for (_, _, end), (_, next_start, _) in itertools.pairwise(spans):
        assert end <= next_start, spans
    wait(lambda: not tickets(client), "tickets are left", PATIENCE, lambda: tickets(client))


def test_conflicts(installation: Installation) -> None:
    """Reject and skip end at once and do nothing; cancel-running stops what runs, waits or has not started."""
    client = installation.client
    client.drop("conflicts.yaml", CONFLICTS)
    for name in ("group-hold", "group-reject", "group-skip", "group-cancel"):
        client.wait_for_dag(name)
    holder = client.trigger("group-hold")
    client.wait_for_task(holder, "work.work", {"running"})
    wait(lambda: processes(GROUP_TEST=holder.run_id), "the stage does not run", PATIENCE)
    client.wait_for_task(holder, "waits.wait", {"deferred"})
    queued = client.trigger("group-hold")
    client.wait_for_task(queued, "__concurrency__", {"deferred"})

    rejected = client.run("group-reject")
    assert rejected.state == "failed"
    assert client.states(rejected) == {
        "__concurrency__": "failed",
        "__entered__": "upstream_failed",
        "__lease__": "upstream_failed",
        "__release__": "upstream_failed",
        "__run__": "upstream_failed",
        "always.__gate__": "upstream_failed",
        "always.last": "upstream_failed",
        "work.work": "upstream_failed",
    }
    told = client.xcom(rejected, "__concurrency__", "error")
    assert told["reason"] == "already_running"
    assert holder.run_id in told["message"]
    assert "group-hold" in told["message"]
    assert holder.run_id in client.log(rejected, "__concurrency__")

    skipped = client.run("group-skip")
    assert skipped.state == "success"
    assert {task.state for task in client.tasks(skipped).values()} == {"skipped"}

    canceller = client.trigger("group-cancel")
    assert client.wait_for_run(holder).state == "failed"
    states = client.states(holder)
    assert states["work.work"] == "failed"
    assert states["work.next"] in ("skipped", "upstream_failed")
    assert states["work.clean"] == "success"
    assert states["waits.wait"] == "skipped"
    assert states["later.later"] in ("skipped", "upstream_failed")
    assert states["__lease__"] == "failed"
    assert client.xcom(holder, "work.work", "error")["reason"] == "cancelled"
    assert client.xcom(holder, "__lease__", "error")["reason"] == "cancelled"
    assert not processes(GROUP_TEST=holder.run_id)
    assert client.wait_for_run(canceller).state == "success"
    assert span(client, holder)[1] <= span(client, canceller)[0]
    asked = moment(client.tasks(canceller)["__concurrency__", -1].raw["start_date"])
    stopped = moment(client.tasks(holder)["work.work", -1].raw["end_date"])
    print(f"stopped {(stopped - asked).total_seconds():.1f} s after the other run asked for it")

    # Next in the queue. Nobody cancels it, so a person does; then nothing is left.
    client.wait_for_task(queued, "work.work", {"running"})
    client.set_state(queued, "failed")
    assert client.wait_for_run(queued).state == "failed"
    wait(lambda: not tickets(client), "tickets are left", PATIENCE, lambda: tickets(client))


def test_a_cleared_run_takes_part_again(installation: Installation) -> None:
    """Clearing a stage clears the setup. Where Airflow clears the stage alone, it takes part for its run."""
    client = installation.client
    client.drop("cleared.yaml", CLEARED)
    client.wait_for_dag("group-fails")
    client.wait_for_dag("group-slow")
    one, other = client.trigger("group-fails"), client.trigger("group-fails")
    for run in (one, other):
        assert client.wait_for_run(run, timeout=PATIENCE).state == "failed"

    slow = client.trigger("group-slow", {"seconds": 300})
    client.wait_for_task(slow, "work.work", {"running"})
    client.clear(one, "work.work", downstream=False)
    client.wait_for_task(one, "__concurrency__", {"deferred"})
    assert client.tasks(one)["work.work", -1].state is None

    path = f"/dags/{other.dag_id}/dagRuns/{other.run_id}/clear"
    client.http.post(path, json={"dry_run": False, "only_failed": True}).raise_for_status()
    client.wait_for_task(other, "work.work", {"up_for_reschedule"})
    assert client.states(other)["__concurrency__"] == "success"

    client.set_state(slow, "failed")
    for run in (one, other):
        assert client.wait_for_run(run, timeout=PATIENCE).state == "failed"
        assert client.xcom(run, "work.work", "error")["exit_code"] == 3
    spans = sorted(span(client, run) for run in (slow, one, other))
    for (_, end), (next_start, _) in itertools.pairwise(spans):
        assert end <= next_start, spans
