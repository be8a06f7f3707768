"""A matrix of many legs with two stages each, against the same task group mapped by hand."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from benchmarks import starts
from benchmarks.live import machine_cpu
from benchmarks.series import Series, interleave

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.live import Live

_YAML = """\
legs_stagecoach:
  type: Workflow
  jobs:
    many:
      strategy:
        matrix:
          number: LEGS
      stages:
        - name: Load
          id: load
          bash: test "$NUMBER" -ge 0
          env: {NUMBER: "${{ matrix.number }}"}
        - name: Store
          id: store
          bash: test "$NUMBER" -ge 0
          env: {NUMBER: "${{ matrix.number }}"}
"""

_PYTHON = '''\
"""A task group mapped over a list."""

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, task_group


@task_group(group_id="many")
def many(number):
    load, store = (
        BashOperator(
            task_id=name, bash_command='test "$NUMBER" -ge 0', env={"NUMBER": number}, append_env=True
        )
        for name in ("load", "store")
    )
    load >> store


with DAG("legs_python"):
    many.expand(number=[str(number) for number in LEGS])
'''

STAGES = 2

#: Tasks at the same time.
WORKERS = 8

#: Label -> DAG id. The first is what the others are compared with.
DAGS = {"task group mapped by hand": "legs_python", "matrix, Stagecoach": "legs_stagecoach"}

#: A small DAG of the same kind for each.
_BEFORE = dict(zip(DAGS.values(), starts.DAGS.values(), strict=True))


@dataclass
class Legs:
    """``seconds`` is from the queueing of a run to its end; the others are processor time meanwhile."""

    count: int
    series: list[Series] = field(default_factory=list)


def documents(count: int) -> dict[str, str]:
    """Give the files of both DAGs."""
    numbers = json.dumps(list(range(count)))
    return {"legs.yaml": _YAML.replace("LEGS", numbers), "legs_by_hand.py": _PYTHON.replace("LEGS", numbers)}


def measure(live: Live, count: int, repeats: int, say: Callable[[str], None]) -> Legs:
    """Run both to their ends, alternating."""
    say(f"matrix of {count} legs")
    first, *others = DAGS
    baseline = Series(first)
    found = Legs(count, [baseline, *(Series(label, baseline) for label in others)])
    interleave(found.series, repeats, lambda series: _run(live, DAGS[series.label], count), say)
    return found


def _run(live: Live, dag_id: str, count: int) -> dict[str, Any]:
    live.new_workers(WORKERS)
    live.client.run(_BEFORE[dag_id])  # not counted: the servers have imported what they need after it
    clocks: dict[str, Callable[[], float]] = {
        "scheduler": lambda: live.cpu("scheduler"),
        "api": lambda: live.cpu("execution-api"),
        "machine": machine_cpu,
    }
    before = {name: clock() for name, clock in clocks.items()}
    run = live.client.run(dag_id, timeout=120 + 3 * count)
    used = {name: clock() - before[name] for name, clock in clocks.items()}
    # Stagecoach adds a task or two, which no worker runs.
    assert live.client.count_tasks(run, "success") >= STAGES * count, f"{dag_id} did not run every stage"
    queued, ended = (datetime.fromisoformat(run[name]) for name in ("queued_at", "end_date"))
    return {"seconds": (ended - queued).total_seconds(), **used}
