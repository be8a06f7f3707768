"""What one task costs: memory of its process, and requests to the API server."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from benchmarks.series import Series, interleave

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.live import Live

#: Tasks of each kind in a run. The first of a kind is not counted: its worker is new.
TASKS = 5

_YAML = """\
cost_stagecoach:
  type: Workflow
  jobs:
    chain:
      stages:
STAGES"""

_STAGE = """\
        - {name: Shell N, id: bash_N, bash: "test N -ge 0"}
        - {name: Code N, id: python_N, run: "number = N"}
"""

_PYTHON = '''\
"""Bash and Python tasks one after the other."""

from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, TaskGroup, chain


def give(number):
    return {"number": number}


with DAG("cost_python"), TaskGroup("chain"):
    chain(
STAGES    )
'''

_TASK = """\
        BashOperator(task_id="bash_N", bash_command="test N -ge 0"),
        PythonOperator(task_id="python_N", python_callable=give, op_args=[N]),
"""

#: Memory in KiB (see ``executor.memory``), and seconds of processor time of worker, task and command.
FIGURES = ("own", "proportional", "resident", "cpu")

#: Label -> (DAG id, how its task ids begin). A kind's first is what its second is compared with.
KINDS = {
    "BashOperator": ("cost_python", "chain.bash"),
    "bash stage, Stagecoach": ("cost_stagecoach", "chain.bash"),
    "PythonOperator": ("cost_python", "chain.python"),
    "Python stage, Stagecoach": ("cost_stagecoach", "chain.python"),
}


def dag_ids() -> list[str]:
    """Give the ids of both DAGs."""
    return list(dict.fromkeys(dag_id for dag_id, _ in KINDS.values()))


def documents() -> dict[str, str]:
    """Give the files of both DAGs."""
    written = {}
    for name, whole, part in (("cost.yaml", _YAML, _STAGE), ("cost_by_hand.py", _PYTHON, _TASK)):
        parts = "".join(part.replace("N", str(number)) for number in range(TASKS))
        written[name] = whole.replace("STAGES", parts)
    return written


def measure(live: Live, repeats: int, say: Callable[[str], None]) -> list[Series]:
    """Run both, each with a new worker of its own, alternating.

    :return: a series for each of ``KINDS``: ``FIGURES`` and ``requests``
    """
    say("memory and requests of a task")
    runs = [Series(dag_id) for dag_id in dag_ids()]
    interleave(runs, repeats, lambda series: _run(live, series.label), say)
    figures = {series.label: series.figures for series in runs}
    found: list[Series] = []
    for index, (label, (dag_id, _)) in enumerate(KINDS.items()):
        baseline = found[index - 1] if index % 2 else None
        found.append(Series(label, baseline, [one[label] for one in figures[dag_id]]))
    return found


def _run(live: Live, dag_id: str) -> dict[str, Any]:
    """Give, for each kind of the DAG, the medians over its tasks."""
    live.new_workers(1)
    live.forget_tasks()
    live.client.run(dag_id)
    tasks = live.cost_of_tasks(len({prefix for owner, prefix in KINDS.values() if owner == dag_id}) * TASKS)
    found = {}
    for label, (owner, prefix) in KINDS.items():
        if owner != dag_id:
            continue
        counted = [tasks[f"{prefix}_{number}"] for number in range(1, TASKS)]
        found[label] = {
            **{name: statistics.median(one[name] for one in counted) for name in FIGURES},
            "requests": statistics.median(len(one["requests"]) for one in counted),
            "sent": counted[-1]["requests"],
        }
    return found
