"""Trigger stages: another workflow, its outputs, and what goes wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from e2e_client import Client, Run

DOCUMENT = r"""
child:
  type: Workflow
  params:
    number: {type: int, required: true}
    day: {type: date, default: 2024-02-29}
    mood: {type: choice, options: [good, bad], default: good}
  jobs:
    work:
      if: "${{ params.mood == 'good' }}"
      stages:
        - {name: Double, id: double, run: "double = params.number * 2\nyear = params.day.year"}
    legs:
      if: "${{ params.mood == 'good' }}"
      strategy: {matrix: {n: [1, 2]}}
      stages: [{name: Leg, id: leg, run: "n = matrix.n"}]
      outputs: {n: "${{ stages.leg.outputs.n }}"}
child-fails:
  type: Workflow
  jobs:
    fine: {stages: [{name: Fine, id: fine, run: "x = 1"}]}
    bad: {stages: [{name: Bad, id: bad, raise: bad}]}
child-slow:
  type: Workflow
  jobs:
    work: {stages: [{name: Slow, id: slow, sleep: 12}, {name: Give, id: give, run: "x = 1"}]}
child-paused:
  type: Workflow
  jobs:
    work: {stages: [{name: Never, id: never, echo: never}]}
parent:
  type: Workflow
  jobs:
    plain:
      stages:
        - {name: Make, id: make, bash: "echo 21"}
        - {name: Run, id: run, trigger: child, params: {number: "${{ stages.make.outputs.stdout }}"}, outputs: {short: "${{ outputs.jobs.work.stages.double.outputs.double }}"}}
        - {name: Read, id: read, run: "double = ${{ stages.run.outputs.jobs.work.outputs.double }}\nshort = ${{ stages.run.outputs.short }}"}
    fails: {stages: [{name: Run, id: run, trigger: child-fails}, {name: After, id: after, echo: never}]}
    skipped: {stages: [{name: Run, id: run, trigger: child, params: {number: 1, mood: bad}}, {name: After, id: after, echo: after}]}
    slow: {stages: [{name: Run, id: run, trigger: child-slow}]}
    too-slow: {stages: [{name: Run, id: run, trigger: child-slow, timeout: 13s}]}
    missing: {stages: [{name: Run, id: run, trigger: child-that-is-not}]}
    paused: {stages: [{name: Run, id: run, trigger: child-paused}]}
    bad-param: {stages: [{name: Run, id: run, trigger: child, params: {number: many}}]}
    no-param: {stages: [{name: Run, id: run, trigger: child}]}
    unknown-param: {stages: [{name: Run, id: run, trigger: child, params: {number: 1, nmber: 1}}]}
    nested:
      stages:
        - name: Each
          id: each
          foreach: [1, 2]
          concurrent: 2
          stages: [{name: Run, id: run, trigger: child, params: {number: "${{ item }}"}}]
    computed: {strategy: {matrix: {which: ["", -fails]}}, stages: [{name: Run, id: run, trigger: "child${{ matrix.which }}", params: {number: 3}}]}
    python: {stages: [{name: Run, id: run, trigger: python_child, params: {word: hi}}]}
"""

PYTHON_CHILD = """
from airflow.sdk import DAG, task

with DAG("python_child", schedule=None, params={"word": "x"}):

    @task
    def hello(params=None):
        print("word", params["word"])

    hello()
"""


@pytest.fixture(scope="module")
def run(client: Client) -> Run:
    client.drop("python_child.py", PYTHON_CHILD)
    client.drop("trigger.yaml", DOCUMENT)
    for dag_id in ("child", "child-fails", "child-slow", "child-paused", "parent", "python_child"):
        client.wait_for_dag(dag_id)
    client.http.patch("/dags/child-paused", json={"is_paused": True}).raise_for_status()
    return client.run("parent", timeout=300)


def test_outputs_of_the_child(client: Client, run: Run) -> None:
    outputs = client.xcom(run, "plain.run")
    assert outputs["params"]["number"] == "21"
    work = outputs["jobs"]["work"]
    assert (work["result"], work["state"]) == ("success", "success")
    assert work["stages"]["double"] == {"state": "success", "outputs": {"double": 42, "year": 2024}}
    assert [leg["result"] for leg in outputs["jobs"]["legs"]["legs"]] == ["success", "success"]
    assert client.xcom(run, "plain.read") == {"double": 42, "short": 42}


STATES = {
    "plain.run": "success",
    "fails.run": "failed",
    "fails.after": "upstream_failed",
    "skipped.run": "skipped",
    "skipped.after": "success",
    "slow.run": "success",
    "too-slow.run": "failed",
    "missing.run": "failed",
    "paused.run": "failed",
    "bad-param.run": "failed",
    "no-param.run": "failed",
    "unknown-param.run": "failed",
    "nested.each": "success",
    "computed.run": ["success", "failed"],
    "python.run": "success",
}


@pytest.mark.parametrize("task_id", STATES)
def test_states(client: Client, run: Run, task_id: str) -> None:
    assert client.states(run)[task_id] == STATES[task_id], client.log(run, task_id)


FAULTS = {
    "fails.run": ["The triggered workflow failed"],
    "missing.run": ["child-that-is-not", "no DAG"],
    "paused.run": ["child-paused", "paused"],
    "bad-param.run": ["'number'", "whole number", "many"],
    "no-param.run": ["'number'", "required"],
    "unknown-param.run": ["'nmber'", "number"],
    "too-slow.run": ["timeout"],
}


@pytest.mark.parametrize("task_id", FAULTS)
def test_faults_are_explained(client: Client, run: Run, task_id: str) -> None:
    log = client.log(run, task_id)
    assert [part for part in FAULTS[task_id] if part not in log] == [], log


def test_a_slow_child_is_waited_for_in_the_triggerer(client: Client, run: Run) -> None:
    assert "DEFERRED" in client.log(run, "slow.run")
    assert client.xcom(run, "slow.run")["jobs"]["work"]["outputs"] == {"x": 1}


def test_outputs_of_a_failed_child_stay_visible(client: Client, run: Run) -> None:
    jobs = client.xcom(run, "fails.run")["jobs"]
    assert jobs["fine"]["outputs"] == {"x": 1}
    assert (jobs["bad"]["result"], jobs["bad"]["state"]) == ("failure", "failed")


def test_triggers_inside_another_stage(client: Client, run: Run) -> None:
    items = client.xcom(run, "nested.each")["foreach"]
    found = {
        item: value["stages"]["run"]["outputs"]["jobs"]["work"]["outputs"]["double"]
        for item, value in items.items()
    }
    assert found == {"1": 2, "2": 4}


def test_a_dag_that_is_no_document(client: Client, run: Run) -> None:
    outputs = client.xcom(run, "python.run")
    assert outputs == {"tasks": {"hello": {"state": "success"}}, "params": {"word": "hi"}}
