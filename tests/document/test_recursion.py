"""Tests of airflow_stagecoach.document.recursion."""

from __future__ import annotations

import pytest

from airflow_stagecoach.document import load


def document(first: str, second: str) -> str:
    return f"""
a:
  type: Workflow
  jobs: {{j: {first}}}
b:
  type: Workflow
  jobs: {{j: {second}}}
"""


@pytest.mark.parametrize(
    "second",
    [
        "{stages: [{name: x, trigger: a}]}",
        "{stages: [{name: x, parallel: {p: [{name: y, trigger: a}]}}]}",
        "{stages: [{name: x, until: 'item > 3', stages: [{name: y, trigger: a}]}]}",
    ],
)
def test_workflows_that_trigger_each_other_for_ever_are_refused(second: str) -> None:
    loaded = load(document("{stages: [{name: x, trigger: b}]}", second), "f.yaml")
    (diagnostic,) = loaded.diagnostics
    assert diagnostic.code == "triggers-itself"
    assert diagnostic.message == "these workflows trigger each other without end: a -> b -> a"
    assert diagnostic.line == 4
    assert loaded.plans == []


@pytest.mark.parametrize(
    "second",
    [
        "{if: '${{ vars.more == 1 }}', stages: [{name: x, trigger: a}]}",
        "{stages: [{name: x, if: '${{ vars.more == 1 }}', trigger: a}]}",
        "{stages: [{name: x, trigger: c}]}",
        "{stages: [{name: x, foreach: '${{ fromJson(vars.list) }}', stages: [{name: y, trigger: a}]}]}",
    ],
)
def test_a_trigger_that_a_condition_stands_before_may_lead_back(second: str) -> None:
    loaded = load(document("{stages: [{name: x, trigger: b}]}", second), "f.yaml")
    assert loaded.diagnostics == []
    assert len(loaded.plans) == 2
