"""Runs under a real Airflow: the start of a task, and a matrix of many legs."""

from __future__ import annotations

import json
import os
import statistics
import time
import urllib.request
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_stagecoach.cli.local_airflow import LocalAirflow
from benchmarks import postgres
from benchmarks.series import Series, interleave

if TYPE_CHECKING:
    from benchmarks.loading import Setting

#: Bash tasks one after the other in the workflow that measures starts.
CHAIN = 10

_STAMP = 'echo "$(( $(date +%s%N) - BENCHMARK_TAKEN ))" >> "$BENCHMARK_OUT"'

_CHAIN_YAML = """\
start_stagecoach:
  type: Workflow
  params: {region: {type: str, default: eu}}
  jobs:
    chain:
      stages:
STAGES"""

_CHAIN_STAGE = """\
        - name: Step N
          id: step_N
          bash: 'STAMP'
          env: {BENCHMARK_OUT: "OUT/stagecoach", REGION: "${{ params.region }}"}
"""

_CHAIN_PYTHON = '''\
"""Bash tasks one after the other."""

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, Param, TaskGroup, chain

with DAG("start_python", params={"region": Param("eu", type="string")}), TaskGroup("chain"):
    chain(
STAGES    )
'''

_CHAIN_TASK = """\
        BashOperator(
            task_id="step_N",
            bash_command='STAMP',
            env={"BENCHMARK_OUT": "OUT/python", "REGION": "{{ params.region }}"},
            append_env=True,
        ),
"""

_MATRIX_YAML = """\
matrix_stagecoach:
  type: Workflow
  jobs:
    many:
      strategy:
        matrix:
          number: LEGS
      stages:
        - name: Work
          id: work
          bash: test "$NUMBER" -ge 0
          env: {NUMBER: "${{ matrix.number }}"}
"""

_MATRIX_PYTHON = '''\
"""A task group mapped over a list."""

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, task_group


@task_group(group_id="many")
def many(number):
    BashOperator(
        task_id="work", bash_command='test "$NUMBER" -ge 0', env={"NUMBER": number}, append_env=True
    )


with DAG("matrix_python"):
    many.expand(number=[str(number) for number in LEGS])
'''


@dataclass
class Runs:
    """What runs gave. ``seconds`` of a start is one task's, of a matrix one run's."""

    airflow: str
    database: str
    legs: int
    starts: list[Series] = field(default_factory=list)
    matrices: list[Series] = field(default_factory=list)


def measure(setting: Setting, *, quick: bool) -> Runs:
    """Start an Airflow, measure, and stop it."""
    folder = setting.folder / "running"
    dags = folder / "dags"
    out = folder / "out"
    for one in (dags, out):
        one.mkdir(parents=True)
    legs = 20 if quick else 200
    _write_documents(dags, out, legs)
    # Airflow's processes import the executor and the database's arguments from here.
    os.environ["PYTHONPATH"] = str(Path(__file__).parent.parent)
    with postgres.server(folder) as database:
        setting.say("starting Airflow with " + ("PostgreSQL" if database else "SQLite"))
        airflow = LocalAirflow(
            folder / "home",
            dags,
            options={
                **(database or {}),
                "core.executor": "benchmarks.executor.StampingExecutor",
                "dag_processor.min_file_process_interval": "600",
                "logging.logging_level": "WARNING",
            },
        )
        airflow.start()
        try:
            client = _Client(airflow.url)
            found = Runs(version("apache-airflow"), "PostgreSQL" if database else "SQLite", legs)
            names = ["python", "stagecoach"]
            for name in names:
                client.wait_for_dag(f"start_{name}")
                client.wait_for_dag(f"matrix_{name}")
            time.sleep(3)  # until the DAG processor has settled
            # First, because all workers have run tasks of both then, and have imported what they need.
            _measure_matrices(setting, client, found, names, runs=1 if quick else 2)
            _measure_starts(setting, client, found, out, names, runs=1 if quick else 3)
        finally:
            airflow.stop()
    return found


def _measure_starts(
    setting: Setting, client: _Client, found: Runs, out: Path, names: list[str], runs: int
) -> None:
    setting.say("start of a task")
    python = Series("BashOperator, hand-written Python")
    found.starts = [python, Series("bash stage, Stagecoach", python)]
    by_label = dict(zip((one.label for one in found.starts), names, strict=True))

    def measure_run(series: Series) -> dict[str, Any]:
        name = by_label[series.label]
        client.run(f"start_{name}")
        lines = (out / name).read_text().split()
        (out / name).unlink()
        assert len(lines) == CHAIN, lines
        return {"all": [int(line) / 1e9 for line in lines]}

    interleave(found.starts, runs, measure_run, setting.say)
    for series in found.starts:
        # One figure a task; its pair is the task of the same place and repeat.
        medians = [statistics.median(one["all"]) for one in series.figures]
        series.figures = [
            {"seconds": seconds, "median": median}
            for one, median in zip(series.figures, medians, strict=True)
            for seconds in one["all"]
        ]


def _measure_matrices(setting: Setting, client: _Client, found: Runs, names: list[str], runs: int) -> None:
    setting.say(f"matrix of {found.legs} legs")
    python = Series("task group mapped by hand")
    found.matrices = [python, Series("matrix, Stagecoach", python)]
    by_label = dict(zip((one.label for one in found.matrices), names, strict=True))
    interleave(
        found.matrices,
        runs,
        lambda series: {"seconds": client.run(f"matrix_{by_label[series.label]}")},
        setting.say,
    )


def _write_documents(dags: Path, out: Path, legs: int) -> None:
    numbers = json.dumps(list(range(legs)))
    for name, whole, part in (
        ("start.yaml", _CHAIN_YAML, _CHAIN_STAGE),
        ("start_by_hand.py", _CHAIN_PYTHON, _CHAIN_TASK),
    ):
        parts = [
            part.replace("STAMP", _STAMP).replace("OUT/", f"{out}/").replace("_N", f"_{number}")
            for number in range(CHAIN)
        ]
        (dags / name).write_text(whole.replace("STAGES", "".join(parts)))
    (dags / "matrix.yaml").write_text(_MATRIX_YAML.replace("LEGS", numbers))
    (dags / "matrix_by_hand.py").write_text(_MATRIX_PYTHON.replace("LEGS", numbers))


class _Client:
    """As much of Airflow's REST API as is needed here."""

    def __init__(self, url: str) -> None:
        self.url = url
        with urllib.request.urlopen(f"{url}/auth/token", timeout=30) as answer:
            self.token = json.load(answer)["access_token"]

    def ask(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        request = urllib.request.Request(
            f"{self.url}/api/v2{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def wait_for_dag(self, dag_id: str, timeout: float = 120) -> None:
        deadline = time.monotonic() + timeout
        while dag_id not in {dag["dag_id"] for dag in self.ask("/dags")["dags"]}:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{dag_id}: {self.ask('/importErrors')}")
            time.sleep(1)

    def run(self, dag_id: str, timeout: float = 600) -> float:
        """Run a DAG to its end.

        :return: seconds between the start and the end of the run, as Airflow keeps them
        """
        run = self.ask(f"/dags/{dag_id}/dagRuns", {"logical_date": None})
        path = f"/dags/{dag_id}/dagRuns/{run['dag_run_id']}"
        deadline = time.monotonic() + timeout
        while run["state"] not in ("success", "failed"):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{dag_id} did not end: {run}")
            time.sleep(1)
            run = self.ask(path)
        assert run["state"] == "success", run
        duration: float = run["duration"]
        return duration
