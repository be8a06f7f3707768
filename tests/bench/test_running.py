"""What the measurements of runs measure, and how it is written down."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import BundleDagBag
from benchmarks import costs, executor, legs, live, report, running, starts
from benchmarks.series import Series

from airflow_stagecoach.document import load

ROOT = Path(__file__).parent.parent.parent

DOCUMENTS = {**legs.documents(3), **starts.documents(), **costs.documents()}
DAG_IDS = {*legs.DAGS.values(), *starts.DAGS.values(), *costs.dag_ids()}


@pytest.mark.parametrize("name", sorted(DOCUMENTS))
def test_both_kinds_define_as_many_stages(name: str, tmp_path: Path) -> None:
    kind = name.partition("_")[0].partition(".")[0]
    stages = {"legs": legs.STAGES, "start": starts.TASKS, "cost": 2 * costs.TASKS}[kind]
    if name.endswith(".yaml"):
        loaded = load(DOCUMENTS[name].encode(), name)
        assert loaded.diagnostics == []
        (plan,) = loaded.plans
        assert plan["dag_id"] in DAG_IDS
        assert sum(len(job["stages"]) for job in plan["jobs"]) == stages
    else:
        file = tmp_path / name
        file.write_text(DOCUMENTS[name])
        bag = BundleDagBag(str(file), bundle_path=tmp_path, bundle_name="tests")
        assert bag.import_errors == {}
        (dag,) = bag.dags.values()
        assert dag.dag_id in DAG_IDS
        assert len(dag.tasks) == stages


def test_legs_of_both_kinds_are_as_many() -> None:
    (plan,) = load(legs.documents(7)["legs.yaml"].encode(), "legs.yaml").plans
    assert len(plan["jobs"][0]["strategy"]["legs"]) == 7
    assert "for number in [0, 1, 2, 3, 4, 5, 6]" in legs.documents(7)["legs_by_hand.py"]


def test_only_tasks_of_cost_are_weighed() -> None:
    assert {dag_id for dag_id in DAG_IDS if dag_id.startswith(executor.WEIGHED)} == set(costs.dag_ids())


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_grows_with_what_a_process_takes() -> None:
    # In a process of its own: this one may have memory to spare, and takes no more.
    code = (
        "import json; from benchmarks import executor; before = executor.memory();"
        "taken = b'x' * (32 * 2**20); print(json.dumps([before, executor.memory()]))"
    )
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT)
    before, after = json.loads(told.stdout.splitlines()[-1])
    assert after["own"] - before["own"] > 24 * 1024
    assert before["own"] <= before["proportional"] <= before["resident"]


def test_figures_of_a_task_come_from_both_its_processes(tmp_path: Path) -> None:
    nothing: Any = None
    airflow = live.Live(nothing, nothing, "SQLite", tmp_path)
    lines: list[dict[str, Any]] = [{"task": "a", "own": 1}, {"task": "b", "own": 2}]
    lines += [{"task": "b", "cpu": 3.0}, {"task": "a", "cpu": 4.0}]
    (tmp_path / "tasks").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert airflow.cost_of_tasks(2) == {
        "a": {"task": "a", "own": 1, "cpu": 4.0},
        "b": {"task": "b", "own": 2, "cpu": 3.0},
    }
    with pytest.raises(AssertionError):
        airflow.cost_of_tasks(3, timeout=0)
    airflow.forget_tasks()
    assert not (tmp_path / "tasks").exists()


def test_report_has_the_parts_that_were_measured() -> None:
    def two(**figures: float) -> list[Series]:
        baseline = Series("by hand", figures=[dict(figures)])
        return [baseline, Series("ours", baseline, [{name: value * 2 for name, value in figures.items()}])]

    runs = running.Runs("3.3.2", "PostgreSQL")
    runs.legs = legs.Legs(1000, two(seconds=100, scheduler=30, api=40, machine=200))
    runs.costs = two(own=20480, proportional=40960, resident=81920, cpu=0.08, requests=5)
    text = report._runs(runs)
    assert "A matrix of 1,000 legs" in text
    assert "| ours | 200.00 s (200.00–200.00) | **2.00** | 60.00 s" in text
    assert (
        "| ours | 40.0 | **2.00** | 80.0 | **2.00** | 160.0 | **2.00** | 160 ms (160–160) | **2.00** | 10 |"
        in text
    )
    assert "start of a task" not in text
