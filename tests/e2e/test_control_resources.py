"""Stages with resources, what stages count, print and use, and how they vanish, in a running Airflow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from e2e_client import Client, Run

RESOURCES = """
resources:
  type: Workflow
  jobs:
    python:
      continue-on-error: true
      stages:
        - name: Python
          id: python
          resources: {memory: 64Mi, cpu: 1}
          run: |
            import os
            print("before", len(os.sched_getaffinity(0)))
            metric("rows", 3)
            held = bytearray(1024 ** 3)
    bash:
      continue-on-error: true
      stages:
        - name: Bash
          id: bash
          resources: {limits: {memory: 64Mi}}
          bash: |
            echo "::metric name=rows value=4"
            head -c 1G /dev/zero | tail
    vanishes:
      continue-on-error: true
      stages:
        - name: Vanishes
          id: vanishes
          resources: {memory: 256Mi}
          run: |
            import os
            os.kill(os.getpid(), 9)
    refused:
      continue-on-error: true
      stages:
        - name: Refused
          id: refused
          retry: {max: 3, delay: 1s}
          resources: {cpu: 4000}
          run: print("never")
    hungry:
      stages:
        - name: Hungry
          id: hungry
          resources: {memory: 128Mi}
          retry: {max: 2, delay: 1s, on-oom: {memory: x2}}
          run: |
            held = bytearray(300 * 1024 ** 2)
            size = len(held)
            del held
    beside:
      stages:
        - name: Beside
          id: beside
          max-workers: 2
          parallel:
            left:
              - {name: Left, id: l, run: 'for n in range(20): print("left", n)'}
            right:
              - {name: Right, id: r, run: 'for n in range(20): print("right", n)'}
    together:
      granularity: job
      continue-on-error: true
      stages:
        - {name: One, id: one, bash: "exit 9"}
        - {name: Two, id: two, bash: echo never}
        - {name: Down, id: down, teardown: true, bash: echo torn down}
"""


@pytest.fixture(scope="module")
def ended(client: Client) -> Run:
    """One run of the document."""
    client.drop("resources.yaml", RESOURCES)
    client.wait_for_dag("resources")
    return client.run("resources")


def record(client: Client, run: Run, task_id: str) -> dict[str, Any]:
    return dict(client.xcom(run, task_id, "record"))


@pytest.mark.parametrize(
    ("task_id", "category", "reason"),
    [
        ("python.python", "resource", "out-of-memory"),
        ("bash.bash", "resource", "out-of-memory"),
        ("vanishes.vanishes", "system", "killed"),
        ("refused.refused", "configuration", "resources-unavailable"),
    ],
)
def test_how_they_fail(client: Client, ended: Run, task_id: str, category: str, reason: str) -> None:
    found = record(client, ended, task_id)
    assert (found["state"], found["category"], found["reason"]) == ("failed", category, reason)


def test_what_a_limited_stage_printed_counted_and_used(client: Client, ended: Run) -> None:
    assert "before 1" in client.log(ended, "python.python")
    found = record(client, ended, "python.python")
    assert found["metrics"] == {"rows": 3}
    assert found["peak_memory"] < 128 * 1024 * 1024
    assert 0 <= found["cpu_seconds"] < 30
    assert record(client, ended, "bash.bash")["metrics"] == {"rows": 4}


def test_what_cannot_be_enforced_is_refused_once(client: Client, ended: Run) -> None:
    log = client.log(ended, "refused.refused")
    assert "resources: cpu: this worker has" in log
    assert "never" not in log
    assert client.tasks(ended)["refused.refused", -1].try_number == 1


def test_the_third_try_has_enough_memory(client: Client, ended: Run) -> None:
    found = record(client, ended, "hungry.hungry")
    assert (found["state"], found["tries"], found["memory_limit"]) == ("success", 3, 512 * 1024 * 1024)
    assert "with 128Mi; the next one gets 256Mi" in client.log(ended, "hungry.hungry", try_number=1)


def test_branches_do_not_mix(client: Client, ended: Run) -> None:
    log = client.log(ended, "beside.beside")
    assert all(f"{side} {number}" in log for side in ("left", "right") for number in range(20))


def test_a_teardown_inside_one_task(client: Client, ended: Run) -> None:
    stages = client.xcom(ended, "together.__stages__", "stages")
    assert {name: stage["state"] for name, stage in stages.items()} == {
        "one": "failed",
        "two": "upstream_failed",
        "down": "success",
    }
    assert "torn down" in client.log(ended, "together.__stages__")
