"""From the moment a worker takes a task to the first line of the user's command."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from benchmarks.series import Series, interleave

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.live import Live

#: Bash tasks one after the other in each workflow.
TASKS = 10

_STAMP = 'echo "$(( $(date +%s%N) - BENCHMARK_TAKEN ))" >> "$BENCHMARK_OUT/FILE"'

_YAML = """\
start_stagecoach:
  type: Workflow
  params: {region: {type: str, default: eu}}
  jobs:
    chain:
      stages:
STAGES"""

_STAGE = """\
        - name: Step N
          id: step_N
          bash: 'STAMP'
          env: {REGION: "${{ params.region }}"}
"""

_PYTHON = '''\
"""Bash tasks one after the other."""

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, Param, TaskGroup, chain

with DAG("start_python", params={"region": Param("eu", type="string")}), TaskGroup("chain"):
    chain(
STAGES    )
'''

_TASK = """\
        BashOperator(
            task_id="step_N",
            bash_command='STAMP',
            env={"REGION": "{{ params.region }}"},
            append_env=True,
        ),
"""

#: Label -> DAG id. The first is what the others are compared with.
DAGS = {"BashOperator, hand-written Python": "start_python", "bash stage, Stagecoach": "start_stagecoach"}


def documents() -> dict[str, str]:
    """Give the files of both DAGs."""
    written = {}
    for name, dag_id, whole, part in (
        ("start.yaml", "start_stagecoach", _YAML, _STAGE),
        ("start_by_hand.py", "start_python", _PYTHON, _TASK),
    ):
        part = part.replace("STAMP", _STAMP.replace("FILE", dag_id))
        parts = "".join(
            part.replace("_N", f"_{number}").replace(" N", f" {number}") for number in range(TASKS)
        )
        written[name] = whole.replace("STAGES", parts)
    return written


def measure(live: Live, repeats: int, say: Callable[[str], None]) -> list[Series]:
    """Run both, alternating, each with a worker of its own that has run the same before.

    :return: one figure a task: ``seconds``, and ``median`` of its run
    """
    say("start of a task")
    first, *others = DAGS
    baseline = Series(first)
    found = [baseline, *(Series(label, baseline) for label in others)]
    interleave(found, repeats, lambda series: _run(live, DAGS[series.label]), say)
    for series in found:
        # One figure a task; its pair is the task of the same place and repeat.
        medians = [statistics.median(one["all"]) for one in series.figures]
        series.figures = [
            {"seconds": seconds, "median": median}
            for one, median in zip(series.figures, medians, strict=True)
            for seconds in one["all"]
        ]
    return found


def _run(live: Live, dag_id: str) -> dict[str, Any]:
    live.new_workers(1)
    live.client.run(dag_id)
    file = live.out / dag_id
    file.unlink()
    live.client.run(dag_id)
    lines = file.read_text().split()
    assert len(lines) == TASKS, lines
    return {"all": [int(line) / 1e9 for line in lines]}
