"""Tests of airflow_stagecoach.importer.python: where jobs of a workflow made in Python run."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk import DAG

import airflow_stagecoach
from airflow_stagecoach import BashStage, DocumentError, Job, OnLocal, RunsOn, Workflow, build_dag
from airflow_stagecoach.document import load
from airflow_stagecoach.importer.backends import InstalledBackends

DOCUMENT = """
made:
  type: Workflow
  jobs:
    j:
      runs-on: %s
      stages: [{name: s, bash: echo}]
"""


def made(runs_on: Any) -> Workflow:
    return Workflow(name="made", jobs={"j": Job(runs_on=runs_on, stages=[BashStage(name="s", bash="echo")])})


def placed(runs_on: Any) -> Any:
    dag: Any = build_dag(made(runs_on))
    assert isinstance(dag, DAG)
    return dag.get_task("j.s").runs_on


@pytest.mark.parametrize(
    ("runs_on", "text"),
    [
        (OnLocal(), "local"),
        ("local", "local"),
        ({"type": "docker", "with": {"image": "python:3"}}, "{type: docker, with: {image: 'python:3'}}"),
        (RunsOn(type="docker", with_={"image": "python:3"}), "{type: docker, with: {image: 'python:3'}}"),
        (RunsOn(type="Local_Container", with_={"image": "a"}), "{type: container, with: {image: a}}"),
        (
            RunsOn(type="self_hosted", with_={"conn": "r", "labels": ["${{ params.x }}"]}),
            "{type: self-hosted, with: {conn: r, labels: ['${{ params.x }}']}}",
        ),
        (
            RunsOn(type="docker", with_={"image": "a"}, emulate=True),
            "{type: docker, with: {image: a}, emulate: true}",
        ),
    ],
)
def test_as_in_a_document(runs_on: Any, text: str) -> None:
    loaded = load(DOCUMENT % text, "w.yaml", backends=InstalledBackends())
    assert loaded.diagnostics == []
    assert placed(runs_on) == loaded.plans[0]["jobs"][0]["runs_on"]


def test_a_queue() -> None:
    dag: Any = build_dag(made(RunsOn(type="self-hosted", with_={"queue": "gpu"})))
    assert (dag.get_task("j.s").queue, dag.get_task("j.s").runs_on) == ("gpu", {"type": "local"})


@pytest.mark.parametrize(
    ("runs_on", "text"),
    [
        (RunsOn(type="docker"), "docker"),
        (
            RunsOn(type="docker", with_={"image": "a", "imag": "b"}),
            "{type: docker, with: {image: a, imag: b}}",
        ),
        (RunsOn(type="dokcer", with_={"image": "a"}), "{type: dokcer, with: {image: a}}"),
        ("ubuntu-latest", "ubuntu-latest"),
        (RunsOn(type="local", with_={"a": 1}), "{type: local, with: {a: 1}}"),
        (
            RunsOn(type="self-hosted", with_={"queue": "{{ ds }}"}),
            "{type: self-hosted, with: {queue: '{{ ds }}'}}",
        ),
    ],
)
def test_what_is_wrong_is_told_as_for_a_document(runs_on: Any, text: str) -> None:
    with pytest.raises(DocumentError) as failure:
        build_dag(made(runs_on))
    told = [(one.code, one.message, one.hint) for one in failure.value.diagnostics]
    written = load(DOCUMENT % text, "w.yaml", backends=InstalledBackends()).diagnostics
    assert told == [(one.code, one.message, one.hint) for one in written] != []
    assert "jobs.j.runs-on" in str(failure.value)


def test_every_fault_is_told_at_once() -> None:
    workflow = made(RunsOn(type="nowhere"))
    workflow.jobs["k"] = Job(needs=["none"], stages=[BashStage(name="s", bash="echo")])
    with pytest.raises(DocumentError) as failure:
        build_dag(workflow)
    assert len(failure.value.diagnostics) == 2


def test_a_plan_alone_knows_no_backends() -> None:
    with pytest.raises(DocumentError, match="docker is not available"):
        made(RunsOn(type="docker", with_={"image": "a"})).plan()
    plan = made(RunsOn(type="docker", with_={"image": "a"})).plan(backends=InstalledBackends())
    assert plan["jobs"][0]["runs_on"] == {"type": "docker", "with_": {"image": "a"}}


def test_the_code_tab_shows_the_file_that_calls() -> None:
    assert build_dag(made("local")).fileloc == __file__
    assert build_dag(made("local"), fileloc="/a.py").fileloc == "/a.py"


def test_the_public_face() -> None:
    assert "RunsOn" in airflow_stagecoach.__all__
    assert sorted(airflow_stagecoach.__all__) == airflow_stagecoach.__all__
