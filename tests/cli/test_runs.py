"""``stagecoach runs``, on a database with real runs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from airflow_stagecoach.operators._records_schema import run_schema
from tests.cli.airflow_home import AirflowHome

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.runs

DOCUMENT = """
report:
  type: Workflow
  jobs:
    split:
      stages:
        - {name: parts, id: parts, run: "found = [1, 2]"}
        - {name: rows, id: rows, bash: "echo '::metric name=rows value=10'"}
    load:
      needs: split
      strategy: {matrix: {part: [a, b]}}
      stages:
        - {name: work, id: work, bash: 'test "${{ matrix.part }}" = a || exit 7', retry: {max: 1, delay: 0}}
        - {name: after, id: after, echo: done}
    each:
      needs: split
      strategy: {matrix: {n: "${{ needs.split.outputs.found }}"}}
      stages: [{name: work, id: work, run: "y = matrix.n"}]
    together:
      granularity: job
      stages:
        - {name: good, id: good, bash: "true"}
        - {name: bad, id: bad, bash: "exit 3"}
    tail: {needs: load, stages: [{id: last, echo: x}]}
quiet:
  type: Workflow
  jobs: {j: {stages: [{id: s, bash: "true"}]}}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> AirflowHome:
    return AirflowHome.with_runs(tmp_path_factory.mktemp("runs") / "home", DOCUMENT)


def show(home: AirflowHome, dag_id: str = "report") -> dict[str, Any]:
    jsonschema = pytest.importorskip("jsonschema")
    ((code, out, err),) = home.commands(f"runs show {dag_id} latest --json")
    assert code == 0, err
    run: dict[str, Any] = json.loads(out)
    jsonschema.Draft202012Validator(run_schema()).validate(run)
    return run


def test_show_as_json(home: AirflowHome) -> None:
    run = show(home)
    assert (run["dag_id"], run["state"], run["document_version"]) == ("report", "failed", 1)
    assert run["document"].endswith("document.yaml")
    assert {job_id: job["result"] for job_id, job in run["jobs"].items()} == {
        "split": "success",
        "load": "failure",
        "each": "success",
        "together": "failure",
        "tail": "upstream_failed",
    }
    assert (run["progress"], run["failed_tries"]) == ({"done": 11, "total": 11}, 3)
    assert run["metrics"] == {"rows": 10}
    good, bad = run["jobs"]["load"]["legs"]
    assert (good["name"], good["result"], bad["name"], bad["result"]) == ("a", "success", "b", "failure")
    record = bad["stages"]["work"]
    assert (record["category"], record["exit_code"], record["tries"]) == ("component", 7, 2)
    assert [tried["state"] for tried in record["attempts"]] == ["failed", "failed"]
    assert record["failure"]["exit_code"] == 7
    assert bad["stages"]["after"]["reason"] == "upstream-failed"
    assert [leg["matrix"] for leg in run["jobs"]["each"]["legs"]] == [{"n": 1}, {"n": 2}]
    stages = run["jobs"]["together"]["stages"]
    assert (stages["good"]["state"], stages["good"]["failure"]) == ("success", None)
    assert (stages["bad"]["state"], stages["bad"]["exit_code"]) == ("failed", 3)
    assert run["jobs"]["tail"]["stages"]["last"]["reason"] == "upstream-failed"


def test_the_other_forms(home: AirflowHome) -> None:
    (code, text, _), (_, markdown, _), (_, listed, _), (_, table, _), (_, none, _) = home.commands(
        "runs show report latest",
        "runs show report latest --format markdown",
        "runs list --json",
        "runs list report",
        "runs list --state running",
    )
    assert code == 0, "a run that failed was found"
    lines = [line.split() for line in text.splitlines()]
    assert ["load", "failure", "4/4", "4"] in [line[:4] for line in lines]
    assert "load / b / work: component, exit-7, try 2 of 2" in text
    assert "rows: 10" in text
    assert "| load | failure | 4/4 | 4 |" in markdown
    assert "**load / b / work**" in markdown
    assert [(run["dag_id"], run["state"]) for run in json.loads(listed)] == [
        ("quiet", "success"),
        ("report", "failed"),
    ]
    assert len(table.splitlines()) == 2
    assert re.search(r" failed +\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00  ", table), "to the second"
    assert none == "no runs\n"


def test_what_is_not_there(home: AirflowHome) -> None:
    done = home.commands(
        "runs show reprot latest", "runs show quiet manual__20", "runs list quite", "runs show report manual"
    )
    assert [code for code, _, _ in done] == [1, 1, 1, 1]
    assert done[0][2] == "there is no DAG 'reprot'; did you mean 'report'?\n"
    assert "DAG 'quiet' has no run 'manual__20'; there is: manual__" in done[1][2]
    assert "did you mean 'quiet'?" in done[2][2]
    assert all(out == "" for _, out, _ in done)


def test_a_run_that_goes_on_and_lost_a_worker(home: AirflowHome) -> None:
    """States that a scheduler, a triggerer or a kill leave behind, written into the database."""
    where = "dag_id = 'quiet'"
    try:
        home.sql(f"UPDATE dag_run SET state = 'running', end_date = NULL WHERE {where}")
        home.forget_records("quiet")
        home.sql(f"UPDATE task_instance SET state = 'awaiting_input', end_date = NULL WHERE {where}")
        record = show(home, "quiet")["jobs"]["j"]["stages"]["s"]
        assert (record["waits_for"], record["end"], record["tries"]) == ("person", None, 1)
        ((_, text, _),) = home.commands("runs show quiet latest")
        assert "j / s: waits for a person to answer in the Airflow UI" in text
        home.sql(
            f"UPDATE task_instance SET state = 'failed', end_date = datetime(start_date, '+1 second') WHERE {where}"
        )
        record = show(home, "quiet")["jobs"]["j"]["stages"]["s"]
        assert (record["category"], record["reason"]) == ("system", "worker-lost")
        home.sql(
            "INSERT INTO log (event, dttm, dag_id, run_id, task_id, owner) SELECT 'patch_task_instance',"
            f" end_date, dag_id, run_id, task_id, 'ada' FROM task_instance WHERE {where}"
        )
        record = show(home, "quiet")["jobs"]["j"]["stages"]["s"]
        assert (record["outcome"], record["reason"], record["by"]) == ("cancelled", "set-by-hand", "ada")
    finally:
        home.sql(f"UPDATE dag_run SET state = 'success' WHERE {where}")
        home.sql(f"UPDATE task_instance SET state = 'success' WHERE {where}")


def test_through_airflow(home: AirflowHome) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "airflow", "stagecoach", "runs", "list", "report", "--json"],
        env=home.environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["dag_id"] == "report"


def test_without_a_database(tmp_path: Path) -> None:
    nothing = AirflowHome(tmp_path / "nothing")
    (runs, status, pools) = nothing.commands("runs list", "status --json", "pools")
    for code, _, err in (runs, pools):
        assert code == 1
        assert "there is no Airflow database at sqlite:///" in err
        assert "airflow db migrate" in err
    assert status[0] == 1
    assert json.loads(status[1])["status"] == "down"
    assert not (tmp_path / "nothing" / "airflow.db").exists()
    empty = AirflowHome(tmp_path / "empty")
    os.makedirs(empty.home)
    (empty.home / "airflow.db").touch()
    ((code, _, err),) = empty.commands("runs list")
    assert code == 1
    assert "no such table" in err
