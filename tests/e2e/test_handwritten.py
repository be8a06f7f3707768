"""Python DAGs: stages among handwritten tasks, and whole workflows made in Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from e2e_client import Client, Run

CODE = """
from datetime import timedelta

from airflow.sdk import DAG, task

from airflow_stagecoach import (
    BashStage,
    Job,
    Param,
    PyStage,
    StageOperator,
    Strategy,
    TriggerStageOperator,
    Workflow,
    build_dag,
)

made = build_dag(
    Workflow(
        name="made-in-python",
        params={"word": Param(type="str", default="hello")},
        jobs=[
            Job(
                id="say",
                strategy=Strategy(matrix={"n": [1, 2]}, max_parallel=1),
                stages=[BashStage(name="Say", id="say", bash='echo "$W"', env={"W": "${{ params.word }} ${{ matrix.n }}"})],
            ),
            Job(
                id="join",
                needs=["say"],
                stages=[PyStage(name="Join", id="join", run="texts = [leg['outputs']['stdout'] for leg in ${{ needs.say.legs }}]")],
            ),
        ],
    )
)

with DAG("by_hand", schedule=None, params={"name": "world"}):

    @task
    def measure():
        return {"total": 42, "parts": ["a", "b"]}

    @task
    def read(report):
        return report["stdout"]

    measured = measure()
    report = StageOperator(
        task_id="report",
        stage=BashStage(
            name="Report",
            bash='echo "$TEXT"; echo "here=$WORKFLOW_DIR" >> "$STAGE_OUTPUT"',
            env={"TEXT": "${{ params.name }}: ${{ stages.measure.outputs.total }} at {{ ti.task_id }}"},
            retry=1,
        ),
        retry_delay=timedelta(seconds=1),
    )
    each = StageOperator(
        task_id="each",
        stage={
            "foreach": "${{ stages.measure.outputs.parts }}",
            "stages": [{"name": "Up", "id": "up", "run": "up = item.upper()"}],
        },
    )
    fails = StageOperator(task_id="fails", stage={"run": "raise ValueError('no')", "continue-on-error": True})
    skipped = StageOperator(task_id="skipped", stage={"if": "${{ params.name == 'x' }}", "echo": "never"})
    child = TriggerStageOperator(
        task_id="child", stage={"trigger": "made-in-python", "params": {"word": "${{ params.name }}"}}
    )
    measured >> [report, each, fails, skipped, child]
    read(report.output)
"""


@pytest.fixture(scope="module")
def run(client: Client) -> Run:
    client.drop("handwritten.py", CODE)
    client.wait_for_dag("made-in-python")
    client.wait_for_dag("by_hand")
    return client.run("by_hand")


def test_stages_in_a_handwritten_dag(client: Client, run: Run) -> None:
    assert run.state == "success"
    states = client.states(run)
    assert states.pop("skipped") == "skipped"
    assert set(states.values()) == {"success"}
    report = client.xcom(run, "report")
    assert report["stdout"] == "world: 42 at report"
    assert report["here"] == str(client.dags_folder)
    assert client.xcom(run, "read") == "world: 42 at report"
    items = client.xcom(run, "each")["foreach"]
    assert {name: item["stages"]["up"]["outputs"]["up"] for name, item in items.items()} == {
        "a": "A",
        "b": "B",
    }
    assert client.xcom(run, "fails") == {"outcome": "failure"}


def test_a_workflow_made_in_python(client: Client, run: Run) -> None:
    child = client.xcom(run, "child")
    assert child["tasks"]["join.join"]["state"] == "success"
    (made,) = client.get("/dags/made-in-python/dagRuns")["dag_runs"]
    assert made["state"] == "success"
    from e2e_client import Run as AnyRun

    found = AnyRun("made-in-python", made["dag_run_id"], made["state"])
    assert client.xcom(found, "join.join") == {"texts": ["world 1", "world 2"]}
    assert client.dags()["made-in-python"]["fileloc"] == str(client.dags_folder / "handwritten.py")
    assert "build_dag(" in client.code("made-in-python")
