"""Every example validates, and gives what its comments promise when it runs."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from airflow_stagecoach import document
from airflow_stagecoach.importer.backends import InstalledBackends

EXAMPLES = Path(__file__).resolve().parents[2] / "dags_examples"
FILES = sorted(EXAMPLES.glob("*.yaml"))

#: Examples that need a place which is not on every machine; the tests of that place run them.
ELSEWHERE = {"19_image", "20_services"}  # tests/backends/test_image_stage.py and test_services.py


def load(file: Path) -> document.Loaded:
    return document.load(file.read_bytes(), str(file), backends=InstalledBackends())


@dataclass
class Case:
    """One way to run an example, and what must come of it.

    ``outputs`` are those outputs of jobs, as ``job.name``, that are compared.
    """

    file: str
    state: str
    jobs: dict[str, str]
    arguments: list[str] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return " ".join([self.file, *self.arguments])


CASES = [
    Case("01_hello", "success", {"greet": "success"}),
    Case("02_params", "success", {"invoice": "success"}, outputs={"invoice.total": "53.73"}),
    Case(
        "02_params",
        "success",
        {"invoice": "success"},
        ["-p", "quantity=10", "-p", "unit-price=1.05", "-p", "discount=0", "-p", "express=true"],
        {"invoice.total": "25.50"},
    ),
    Case("03_stages", "success", {"report": "success"}, outputs={"report.rate": 0.2}),
    Case("03_stages", "failed", {"report": "failure"}, ["-p", "max-errors=0.1"]),
    Case(
        "04_fan_out",
        "success",
        {"find": "success", "add-up": "success", "report": "success"},
        outputs={
            "find.regions": ["north", "south", "west"],
            "report.total": 1490.0,
            "report.best": "north",
            "report.regions": {"north": 700.0, "south": 444.0, "west": 346.0},
        },
    ),
    Case(
        "04_fan_out",
        "success",
        {"find": "success", "add-up": "skipped", "report": "skipped"},
        ["-p", "folder=data/none"],
        {"find.regions": []},
    ),
    Case(
        "05_matrix",
        "success",
        {"try": "success", "choose": "success"},
        outputs={
            "choose.settings": {"alpha": 1.0, "weekly": True, "note": "same day last week"},
            "choose.tried": 6,
        },
    ),
    Case(
        "06_circuit_breaker",
        "success",
        {"live": "success", "yesterday": "skipped", "publish": "success"},
        outputs={"publish.source": "live", "publish.rate": 1.09},
    ),
    Case(
        "06_circuit_breaker",
        "success",
        {"live": "success", "yesterday": "success", "publish": "success"},
        ["-p", "service=down", "-p", "currency=THB"],
        {"publish.source": "yesterday", "publish.rate": 38.4},
    ),
    Case(
        "07_clean_up",
        "success",
        {"stage": "success", "notify": "success", "check": "success", "clean": "success"},
        outputs={"stage.rows": 3, "check.customers": 3, "clean.checked": "success"},
    ),
    Case(
        "07_clean_up",
        "failed",
        {"stage": "success", "notify": "success", "check": "failure", "clean": "success"},
        ["-p", "bad-rows=2"],
        {"stage.rows": 5, "clean.checked": "failure"},
    ),
    Case(
        "08_conditions",
        "success",
        {
            "build": "success",
            "test": "success",
            "deploy": "success",
            "alert": "skipped",
            "summary": "success",
        },
        outputs={"build.version": "2.4.1-rc1"},
    ),
    Case(
        "08_conditions",
        "success",
        {
            "build": "success",
            "test": "success",
            "deploy": "success",
            "alert": "skipped",
            "summary": "success",
        },
        ["-p", "environment=production"],
        {"build.version": "2.4.1"},
    ),
    Case(
        "08_conditions",
        "failed",
        {
            "build": "success",
            "test": "failure",
            "deploy": "upstream_failed",
            "alert": "success",
            "summary": "success",
        },
        ["-p", "break-tests=true"],
        {"summary.text": "build: success, test: failure, deploy: upstream_failed"},
    ),
    Case(
        "09_nested",
        "success",
        {"check": "success"},
        outputs={"check.loops": 3, "check.checked": 3, "check.verdict": "good"},
    ),
    Case(
        "09_nested",
        "success",
        {"check": "success"},
        ["-p", 'services=["web"]', "-p", "queue=8"],
        {"check.loops": 4, "check.checked": 1},
    ),
    Case(
        "10_trigger",
        "success",
        {"close": "success", "total": "success"},
        ["--workflow", "month-end"],
        {"total.profits": {"oslo": 1300, "lyon": 800}, "total.total": 2100},
    ),
    Case("10_trigger", "success", {"book": "success"}, ["--workflow", "close-branch"], {"book.profit": 1300}),
    Case(
        "11_operators",
        "success",
        {"deliver": "success", "import": "success", "tidy": "success"},
        outputs={"import.amount": 42},
    ),
    Case(
        "12_approval",
        "success",
        {"prices": "success", "approve": "success", "publish": "success"},
        ["--approve", "sign-off=yes"],
        {"publish.published": {"tea": 468, "coffee": 645, "cocoa": 530}},
    ),
    Case(
        "12_approval",
        "failed",
        {"prices": "success", "approve": "failure", "publish": "upstream_failed"},
        ["--approve", "sign-off=no"],
    ),
    Case("13_schedule", "success", {"note": "success"}),
    Case(
        "14_retry",
        "success",
        {"download": "success"},
        outputs={"download.attempt": 3, "download.files": "12", "download.size": 150 * 1024 * 1024},
    ),
    Case("14_retry", "failed", {"download": "failure"}, ["-p", "answer=forbidden"]),
    Case("16_records", "success", {"import": "success"}, outputs={"import.orders": ["A-1", "A-2", "A-3"]}),
    Case("16_records", "failed", {"import": "failure"}, ["-p", "disk=full"]),
    Case("17_teardown", "success", {"import": "success", "report": "success"}, outputs={"report.orders": 12}),
    Case(
        "17_teardown",
        "failed",
        {"import": "failure", "report": "upstream_failed"},
        ["-p", "broken-shop=berlin"],
    ),
    Case("18_concurrency", "success", {"deploy": "success"}, ["--workflow", "deploy"]),
    Case(
        "21_kubernetes",
        "success",
        {"forecast": "success", "report": "success"},
        outputs={"report.total": 551},
    ),
]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_validates(file: Path) -> None:
    loaded = load(file)
    assert document.render_diagnostics(loaded.diagnostics) == ""
    assert loaded.plans


@pytest.mark.parametrize("file", FILES[1:], ids=lambda file: file.stem)
def test_is_described(file: Path) -> None:
    """What people see in the list of DAGs; only the very first example is as short as can be."""
    for plan in load(file).plans:
        assert plan.get("desc")
        assert "example" in plan.get("tags", [])
        assert all(job.get("name") for job in plan["jobs"])


def test_first_example_has_five_lines() -> None:
    lines = FILES[0].read_text().splitlines()
    assert len([line for line in lines if not line.startswith("#")]) == 5


def test_dag_ids_are_unique() -> None:
    ids = [plan["dag_id"] for file in FILES for plan in load(file).plans]
    assert len(ids) == len(set(ids))


def test_every_example_is_run() -> None:
    assert {case.file for case in CASES} | ELSEWHERE == {file.stem for file in FILES}


def test_python_example_builds_its_dags() -> None:
    from airflow.sdk import DAG

    names = runpy.run_path(str(EXAMPLES / "15_in_python.py"))
    assert names["city_report"].dag_id == "city-report"
    assert names["report"].task_id == "report"
    assert names["report"].dag.dag_id == "stage-by-hand"
    assert isinstance(names["city_report"], DAG)


@pytest.mark.runs
@pytest.mark.parametrize("case", CASES, ids=str)
def test_runs(case: Case) -> None:
    outcome = run(case.file, case.arguments)
    assert outcome["errors"] == []
    assert {job: found["result"] for job, found in outcome["jobs"].items()} == case.jobs
    assert outcome["state"] == case.state
    found = {
        name: outcome["jobs"][job]["outputs"].get(key)
        for name in case.outputs
        for job, _, key in [name.partition(".")]
    }
    assert found == case.outputs


@pytest.mark.runs
def test_refuses_a_param_that_does_not_fit() -> None:
    outcome = run("02_params", ["-p", "quantity=many", "-p", "currency=NOK"], code=2)
    assert outcome["jobs"] == {}
    assert any("quantity" in error for error in outcome["errors"])
    assert any("currency" in error for error in outcome["errors"])


def run(name: str, arguments: list[str], code: int | None = None) -> dict[str, Any]:
    """Run an example and give what ``stagecoach run --json`` prints."""
    command = [
        sys.executable,
        "-m",
        "airflow_stagecoach.cli.main",
        "run",
        "--json",
        f"{EXAMPLES / name}.yaml",
    ]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=180, check=False)
    outcome: dict[str, Any] = json.loads(done.stdout)
    expected = code if code is not None else 1 if outcome["state"] == "failed" else 0
    assert done.returncode == expected, done.stderr
    return outcome
