# Documents and messages stay on one line:

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_stagecoach.document import load
from airflow_stagecoach.document.naming import slug
from airflow_stagecoach.document.plan import PLAN_FORMAT


def plan(text: str) -> Any:
    loaded = load(text, "f.yml", explicit=True)
    assert loaded.diagnostics == []
    (found,) = loaded.plans
    assert json.loads(json.dumps(found)) == found
    return found


def job(body: str) -> Any:
    return plan(f"name: w\njobs:\n  j: {body}\n")["jobs"][0]


def stage(body: str) -> Any:
    return job(f"{{stages: [{body}]}}")["stages"][0]


def test_the_smallest_document() -> None:
    assert plan("name: w\ntype: Workflow\njobs:\n  j:\n    stages:\n      - bash: echo hi\n") == {
        "format": PLAN_FORMAT,
        "dag_id": "w",
        "line": 1,
        "jobs": [
            {
                "id": "j",
                "line": 4 + 1,
                "stages": [
                    {
                        "task_id": "stage-1",
                        "spec": {"kind": "bash", "id": "stage-1", "bash": "echo hi"},
                        "line": 6,
                    }
                ],
                "runs_on": {"type": "local"},
            }
        ],
    }


def test_all_keys_of_a_workflow() -> None:
    text = """
name: My report!
type: Workflow
desc: words
on: {every: 1h}
params: {a: int, b: {type: str, desc: d, default: x, required: true}}
env: {A: 1}
tags: [x, y, x]
start-date: 2024-01-01
end_date: 2025-01-01T00:00:00+01:00
catchup: true
max-active-runs: 2
timeout: 1h
max-active-tasks: 4
deadline: 30m
concurrency: {group: "g-${{ params.a }}", on-conflict: skip}
notify:
  success: https://x.y
  failure: [{webhook: "${{ vars.url }}", secret: "${{ secrets.k }}", headers: {A: 1}}, {conn: pager}]
  deadline: {notifier: a.b.C, with: {text: "${{ run.id }}"}}
jobs: {}
"""
    found = plan(text)
    assert found == {
        "format": PLAN_FORMAT,
        "dag_id": "My-report",
        "name": "My report!",
        "line": 2,
        "jobs": [],
        "desc": "words",
        "tags": ["x", "y"],
        "schedule": {"every": 3600},
        "start_date": "2024-01-01T00:00:00+00:00",
        "end_date": "2024-12-31T23:00:00+00:00",
        "catchup": True,
        "max_active_runs": 2,
        "timeout": 3600,
        "max_active_tasks": 4,
        "deadline": 1800,
        "concurrency": {"group": "g-${{ params.a }}", "on_conflict": "skip"},
        "notify": [
            {"event": "success", "webhook": "https://x.y"},
            {
                "event": "failure",
                "webhook": "${{ vars.url }}",
                "secret": "${{ secrets.k }}",
                "headers": {"A": 1},
            },
            {"event": "failure", "conn": "pager"},
            {"event": "deadline", "notifier": "a.b.C", "with_": {"text": "${{ run.id }}"}},
        ],
        "params": {"a": {"type": "int"}, "b": {"type": "str", "desc": "d", "required": True, "default": "x"}},
        "env": {"A": 1},
    }


def test_all_keys_of_a_job() -> None:
    text = """
name: w
jobs:
  a: {stages: [{bash: x}]}
  j:
    id: j
    name: Name
    desc:
    needs: [a, a]
    if: always()
    runs_on: {type: LOCAL}
    env: {A: b}
    timeout: 2m
    continue-on-error: true
    granularity: job
    cleanup: never
    outputs: {o: "${{ stages.s.outputs.x }}"}
    stages: [{id: s, bash: x}]
"""
    found = plan(text)["jobs"][1]
    del found["stages"]
    assert found == {
        "id": "j",
        "line": 6,
        "runs_on": {"type": "local"},
        "name": "Name",
        "needs": ["a"],
        "condition": "always()",
        "status_functions": True,
        "env": {"A": "b"},
        "outputs": {"o": "${{ stages.s.outputs.x }}"},
        "continue_on_error": True,
        "granularity": "job",
        "timeout": 120,
        "cleanup": "never",
    }


@pytest.mark.parametrize(
    ("body", "spec"),
    [
        ("{name: n}", {"kind": "empty", "id": "n", "name": "n"}),
        ("{echo: 5, sleep: 1m}", {"kind": "empty", "id": "stage-1", "echo": 5, "sleep": 60}),
        ("{sleep: '${{ params.x }}'}", {"kind": "empty", "id": "stage-1", "sleep": "${{ params.x }}"}),
        ("{run: x = 1}", {"kind": "python", "id": "stage-1", "run": "x = 1"}),
        ("{run: x = 1, version: '3.12'}", {"kind": "virtual_python", "id": "stage-1", "run": "x = 1", "deps": [], "version": "3.12"}),
        ("{bash: x, if: false, retry: 2, timeout: 5}", {"kind": "bash", "id": "stage-1", "if": False, "timeout": 5, "retry": {"max": 2, "delay": 10}, "bash": "x"}),
        ("{approval: Sure?}", {"kind": "approval", "id": "stage-1", "approval": {"subject": "Sure?"}}),
        ("{foreach: '[1, 2]', stages: [{name: A b}]}", {"kind": "foreach", "id": "stage-1", "foreach": [1, 2], "stages": [{"kind": "empty", "id": "a-b", "name": "A b"}]}),
        ("{case: x, match: [{else: [{raise: no}]}]}", {"kind": "case", "id": "stage-1", "case": "x", "match": [{"else": [{"kind": "raise", "id": "stage-1", "raise": "no"}]}]}),
        ("{parallel: {1: [{bash: x}]}}", {"kind": "parallel", "id": "stage-1", "parallel": {"1": [{"kind": "bash", "id": "stage-1", "bash": "x"}]}}),
    ],
)  # fmt: skip
def test_specs(body: str, spec: dict[str, Any]) -> None:
    assert stage(body)["spec"] == spec


@pytest.mark.parametrize(
    ("text", "retry"),
    [
        ("3", {"max": 3, "delay": 10}),
        ("{max: 1, delay: 1m, jitter: none, backoff: fixed}", {"max": 1, "delay": 60}),
        ("{max: 5, backoff: exponential, factor: 3, max-delay: 5m, jitter: full}", {"max": 5, "delay": 10, "backoff": "exponential", "factor": 3, "max_delay": 300, "jitter": "full"}),
        ("{max: 5, backoff: linear, increment: 5}", {"max": 5, "delay": 10, "backoff": "linear", "increment": 5}),
        ("{max: 3, backoff: custom, delays: [1, 2m]}", {"max": 3, "delay": 1, "backoff": "custom", "delays": [1, 120]}),
        ("{max: 3, on: [], never: []}", {"max": 3, "delay": 10}),
        ("{max: 2, never: [timeout, 'exit:1-5', 'http: 404'], on: network}", {"max": 2, "delay": 10, "on": ["network"], "never": ["timeout", "exit:1-5", "http:404"]}),
        ("{max: 5, rules: [{match: 'http:429', delay: 1m, max: 2}, {match: [component, 'message:/x/i'], action: fail}, {match: system, action: retry}]}", {"max": 5, "delay": 10, "rules": [{"match": ["http:429"], "delay": 60, "max": 2}, {"match": ["component", "message:(?i)x"], "action": "fail"}, {"match": ["system"]}]}),
        ("{max: 3, backoff: custom, policy: 'a.b:C'}", {"max": 3, "delay": 10, "backoff": "custom", "policy": "a.b:C"}),
        ("{max: 3, backoff: custom, policy: 'a:C', with: {x-y: [1]}, delay: 1, never: system}", {"max": 3, "delay": 1, "backoff": "custom", "never": ["system"], "policy": "a:C", "with_": {"x-y": [1]}}),
        ("{max: 3, on: [ValueError, 75], never: my.Error}", {"max": 3, "delay": 10, "on": ["ValueError", "exit:75"], "never": ["my.Error"]}),
    ],
)  # fmt: skip
def test_retry(text: str, retry: dict[str, Any]) -> None:
    found = stage(f"{{bash: x, retry: {text}}}")
    assert found["retry"] == retry
    assert found["spec"]["retry"] == retry


def test_defaults_go_down() -> None:
    text = """
name: w
defaults: {retry: 1, timeout: 5}
jobs:
  a: {stages: [{bash: x}, {bash: y, retry: 0, timeout: 1}]}
  b: {retry: 2, stages: [{bash: x}, {bash: y, retry: 3}]}
"""
    stages = [stage for job in plan(text)["jobs"] for stage in job["stages"]]
    assert [stage["retry"]["max"] for stage in stages] == [1, 0, 2, 3]
    assert [stage["timeout"] for stage in stages] == [5, 1, 5, 5]
    assert ["retry" in stage["spec"] for stage in stages] == [False, True, False, True]


@pytest.mark.parametrize(
    ("strategy", "result"),
    [
        ("{}", None),
        ("{matrix: {}}", None),
        ("{max-parallel: 2}", None),
        ("{matrix: {a: [1, x, [2]]}}", {"legs": [{"a": 1}, {"a": "x"}, {"a": [2]}], "axes": ["a"]}),
        ("{matrix: {a: []}}", {"legs": [], "axes": ["a"]}),
        ("{matrix: {a: [1]}, exclude: [{a: 1}]}", {"legs": [], "axes": ["a"]}),
        ("{matrix: {a: [1], include: [{b: 2}]}, fail-fast: true}", {"legs": [{"a": 1, "b": 2}], "axes": ["a", "b"], "fail_fast": True}),
        ("{include: [{b: 2}], max_parallel: 1}", {"legs": [{"b": 2}], "axes": ["b"], "max_parallel": 1}),
        ("{matrix: {a: ['$${{ x }}']}}", {"legs": [{"a": "${{ x }}"}], "axes": ["a"]}),
        ("{matrix: '${{ fromJson(params.m) }}', max-parallel: '${{ params.n }}'}", {"matrix": "${{ fromJson(params.m) }}", "axes": [], "max_parallel": "${{ params.n }}"}),
        ("{matrix: {a: '${{ params.m }}', b: [1]}, exclude: [{b: 1}]}", {"matrix": {"a": "${{ params.m }}", "b": [1]}, "axes": ["a", "b"], "exclude": [{"b": 1}]}),
        ("{matrix: {a: [1, '${{ params.m }}'], include: [{c: 1}]}}", {"matrix": {"a": [1, "${{ params.m }}"]}, "axes": ["a", "c"], "include": [{"c": 1}]}),
    ],
)  # fmt: skip
def test_strategy(strategy: str, result: dict[str, Any] | None) -> None:
    assert job(f"{{strategy: {strategy}, stages: [{{bash: x}}]}}").get("strategy") == result


def test_ids_of_stages_and_tasks() -> None:
    stages = (
        "[{id: 's-${{ matrix.a }}', name: 'Do ${{ matrix.a }} it', bash: x}, {id: 't-${{ matrix.a }}', bash: x},"
        " {id: do-it, bash: x}, {name: Été à 5, bash: x}, {name: '5 x', bash: x}, {bash: x}]"
    )
    found = job(f"{{strategy: {{matrix: {{a: [1]}}}}, stages: {stages}}}")["stages"]
    assert [(stage["task_id"], stage["spec"]["id"]) for stage in found] == [
        ("do-it-2", "s-${{ matrix.a }}"),
        ("t", "t-${{ matrix.a }}"),
        ("do-it", "do-it"),
        ("ete-a-5", "ete-a-5"),
        ("_5-x", "_5-x"),
        ("stage-6", "stage-6"),
    ]


@given(st.text())
def test_a_slug_is_an_id_or_empty(name: str) -> None:
    import re

    found = slug(name)
    assert found == "" or (re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", found) and not found.startswith("__"))
    assert slug(found) == found
