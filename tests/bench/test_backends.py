"""What is measured of backends: the documents, and how it is written down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import BundleDagBag
from benchmarks import corpus, deferring, engine_start, executor, loading, places, report, running
from benchmarks.series import Series

from airflow_stagecoach.backends import registry
from airflow_stagecoach.document import load
from airflow_stagecoach.importer.backends import InstalledBackends

PLACES = [
    places.docker("unix:///nowhere/docker.sock", "image:1"),
    places.kubernetes("/nowhere/kubeconfig", "space", "image:1"),
]


def plan_of(text: str) -> Any:
    loaded = load(text.encode(), "document.yaml", backends=InstalledBackends())
    assert loaded.diagnostics == []
    (plan,) = loaded.plans
    return plan


def test_every_backend_of_ours_is_in_the_documents_that_are_loaded() -> None:
    # A new backend: give it settings in `corpus.SETTINGS`.
    plan = plan_of(corpus.with_backends(corpus.fill(corpus.STAGECOACH, 0)))
    without = plan_of(corpus.fill(corpus.STAGECOACH, 0))
    assert {job["runs_on"]["type"] for job in plan["jobs"]} == set(registry.BUILT_IN)
    for job in (*plan["jobs"], *without["jobs"]):
        del job["runs_on"], job["line"]
        for stage in job["stages"]:
            del stage["line"]
    assert plan == without, "they differ in nothing else"


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.type)
def test_stages_and_operators_are_as_many(place: places.Place, tmp_path: Path) -> None:
    pytest.importorskip(place.operator.rpartition(".operators")[0], reason="needs the provider")
    files = places.documents(place)
    by_hand, ours = place.dag_ids()
    assert by_hand.startswith(executor.WEIGHED)
    assert ours.startswith(executor.WEIGHED)
    plan = plan_of(files[f"cost_{place.type}.yaml"])
    jobs = [f"{kind}_{number}" for number in range(places.TASKS) for kind in places.KINDS]
    assert plan["dag_id"] == ours
    assert [job["id"] for job in plan["jobs"]] == jobs
    assert all(job["runs_on"] == {"type": place.type, "with_": place.settings} for job in plan["jobs"])
    file = tmp_path / "by_hand.py"
    file.write_text(files[f"cost_{place.type}_by_hand.py"])
    bag = BundleDagBag(str(file), bundle_path=tmp_path, bundle_name="tests")
    assert bag.import_errors == {}
    (dag,) = bag.dags.values()
    assert dag.dag_id == by_hand
    assert dag.task_ids == jobs, "the same names, so that one is compared with the other"
    for task in dag.tasks:
        kind = task.task_id.partition("_")[0]
        assert getattr(task, place.command) == places.KINDS[kind][1]


def test_as_many_containers_wait_as_are_asked_for() -> None:
    files = deferring.documents("unix:///nowhere/docker.sock", "image:1", Path("/gate"), 50)
    (job,) = plan_of(files["deferring.yaml"])["jobs"]
    assert len(job["strategy"]["legs"]) == 50


def test_slots_by_hand_are_taken_from_start_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import datetime, timedelta, timezone

    now = datetime.now(timezone.utc)
    tasks: list[dict[str, Any]] = [
        {"state": "deferred", "start_date": (now - timedelta(seconds=seconds)).isoformat()}
        for seconds in (100, 60)
    ]
    tasks.append({"state": None, "start_date": None})
    assert deferring._seconds_since_start(tasks) == pytest.approx(160, abs=5)


def test_the_engine_is_compared_with_the_python_of_the_same_turn() -> None:
    python = [{"seconds": seconds, "cpu": 1.0} for seconds in (1.0, 5.0, 1.0)]
    engine = [{"seconds": seconds, "cpu": 1.5} for seconds in (1.1, 5.2, 1.3)]
    found = engine_start._series({"python": python, "engine": engine})
    assert [one.baseline for one in found] == [None, found[0]]
    assert found[1].median("over") == pytest.approx(0.2), "not the difference of the medians"
    assert found[1].median("over_cpu") == 0.5


def test_report_has_the_backends() -> None:
    def two(factor: float = 2, **figures: float) -> list[Series]:
        baseline = Series("by hand", figures=[dict(figures)])
        return [
            baseline,
            Series("ours", baseline, [{name: value * factor for name, value in figures.items()}]),
        ]

    figures = {"python": [{"seconds": 0.02, "cpu": 0.01}], "engine": [{"seconds": 0.07, "cpu": 0.05}]}
    engine = engine_start.EngineStart(120_400, "3.12.1", engine_start._series(figures))
    waited = deferring.Deferred(50, 60.2, 140, 0, 0, 0.1, 0.5, 20, 220, 1300)
    runs = running.Runs("3.3.2", "SQLite", engine=engine, deferring=waited)
    runs.places = [
        places.Overhead("docker", two(seconds=1, cpu=0.5), two(scheduler=2, machine=20)),
    ]
    table = loading.Table("bag", 200, "3.3.2", two(1.05, seconds=1, cpu=1, grown=2048))
    found = report.Report("2026-01-31", {}, {}, 0, backend_tables=[table], runs=runs)
    text = report.render(found)
    assert text.count("## Loading documents") == 1
    for row in (
        "| ours | 1.05 s (1.05–1.05) | **1.05** | **1.05** | 2.1 | **1.05** |",
        "one zip file of 120 KB",
        "| python | 20.0 ms (20.0–20.0) |  | 10.0 ms (10.0–10.0) |  |",
        "| engine | 70.0 ms (70.0–70.0) | **50 ms** | 50.0 ms (50.0–50.0) | **40 ms** |",
        "### A stage on docker",
        "in a run of 10 tasks",
        "| ours | 2.00 s (2.00–2.00) | **2.00** | 1.00 s (1.00–1.00) | **2.00** |",
        "| ours | 4.00 s (4.00–4.00) | **2.00** | 40.00 s (40.00–40.00) | **2.00** |",
        "### 50 containers at a time, with 4 slots",
        "| slots taken while all ran, for 60 s | **0** |",
        "1300 s |",
    ):
        assert row in text
