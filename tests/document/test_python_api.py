# Documents and messages stay on one line:

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

import airflow_stagecoach.document as document
from airflow_stagecoach.document import (
    ApprovalStage,
    BashStage,
    CallStage,
    CaseStage,
    Concurrency,
    Defaults,
    DocumentError,
    EmptyStage,
    ForEachStage,
    ImageStage,
    Job,
    Limits,
    LogFile,
    Logging,
    Match,
    Notify,
    OnLocal,
    OperatorStage,
    ParallelStage,
    Param,
    PyStage,
    RaiseStage,
    Resources,
    Retry,
    RetryRule,
    Rule,
    StageNotify,
    Strategy,
    Target,
    TriggerStage,
    UntilStage,
    VirtualPyStage,
    Workflow,
    load,
)


def test_exported_names() -> None:
    assert document.__all__ == sorted(document.__all__)
    assert set(document.__all__) <= set(dir(document))
    for name in document.__all__:
        assert getattr(document, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = document.nothing


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    code = (
        "import sys, airflow_stagecoach.document, airflow_stagecoach.document.plan\n"
        "from airflow_stagecoach.document import is_ours, coerce, expand, json_schema\n"
        "heavy = {'pydantic', 'yaml', 'airflow', 'zoneinfo', 'difflib'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def stages() -> list[Any]:
    inner = [EmptyStage(name="Inner", echo="x")]
    return [
        BashStage(
            name="Bash", bash="echo", env={"A": "b"}, working_directory="/tmp", shell="sh", timeout="10m"
        ),
        PyStage(
            name="Py", run="\n    x = 1\n    if x:\n        y = 2\n", vars={"n": 1}, continue_on_error=True
        ),
        VirtualPyStage(name="Virtual", run="x = 1", deps=["a"], version="3.12", retry=Retry(max=2, delay=5)),
        CallStage(
            name="Call",
            uses="a/b@c",
            with_={"x": 1},
            condition="params.x == 1",
            outputs={"y": "${{ outputs.x }}"},
        ),
        OperatorStage(name="Op", operator="a.b.C", with_={"x": 1}, retry=3),
        ImageStage(
            name="Image",
            image="tool:1",
            entrypoint="sh -c",
            command=["echo", 5],
            working_directory="/app",
            resources={"memory": "1Gi"},
        ),
        TriggerStage(name="Trigger", trigger="other", params={"a": 1}),
        ParallelStage(name="Parallel", parallel={"a": inner}, max_workers=3),
        ForEachStage(name="Each", foreach=range(3), stages=inner, concurrent=2, use_index_as_key=True),
        UntilStage(name="Until", until="loop > 2", item=1, stages=inner, max_loop=5),
        CaseStage(
            name="Case", case=1, match=[Match(case=1, stages=inner), Match(else_=inner)], skip_not_match=True
        ),
        ApprovalStage(name="Ask", approval={"subject": "ok?", "default": "reject", "fail_on_reject": False}),
        RaiseStage(name="Raise", raise_="no"),
    ]


DOCUMENT = """
name: My report
on: '@daily'
params: {x: {type: int, default: 1}, enable_processing: bool}
jobs:
  setup:
    stages:
      - {name: Bash, bash: echo, env: {A: b}, working-directory: /tmp, shell: sh, timeout: 10m}
      - {name: Py, run: "\\nx = 1\\nif x:\\n    y = 2\\n", vars: {n: 1}, continue-on-error: true}
      - {name: Virtual, run: x = 1, deps: a, version: '3.12', retry: {max: 2, delay: 5}}
      - {name: Call, uses: a/b@c, with: {x: 1}, if: params.x == 1, outputs: {y: '${{ outputs.x }}'}}
      - {name: Op, operator: a.b.C, with: {x: 1}, retry: 3}
      - {name: Image, image: 'tool:1', entrypoint: [sh, -c], command: echo 5, working-directory: /app, resources: {memory: 1Gi}}
      - {name: Trigger, trigger: other, params: {a: 1}}
      - {name: Parallel, parallel: {a: [{name: Inner, echo: x}]}, max_workers: 3}
      - {name: Each, foreach: [0, 1, 2], stages: [{name: Inner, echo: x}], concurrent: 2, use_index_as_key: true}
      - {name: Until, until: loop > 2, item: 1, stages: [{name: Inner, echo: x}], max_loop: 5}
      - {name: Case, case: 1, match: [{case: 1, stages: [{name: Inner, echo: x}]}, {else: [{name: Inner, echo: x}]}], skip-not-match: true}
      - {name: Ask, approval: {subject: ok?, default: reject, fail-on-reject: false}}
      - {name: Raise, raise: 'no'}
  process:
    needs: setup
    trigger-rule: all_done
    condition: ${{ params.enable_processing == true }}
    runs-on: local
    strategy: {matrix: {n: [0, 1, 2], e: [dev, prod]}, max-parallel: 3, fail-fast: true, exclude: [{e: dev, n: 1}]}
    stages: [{name: 'Process ${{ matrix.n }}', bash: x}]
"""


def without_lines(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_lines(item) for key, item in value.items() if key != "line"}
    return [without_lines(item) for item in value] if isinstance(value, list) else value


def test_python_and_yaml_give_one_plan() -> None:
    process = Job(
        id="process",
        runs_on=OnLocal(),
        condition="${{ params.enable_processing == true }}",
        trigger_rule=Rule.ALL_DONE,
        needs=["setup"],
        strategy=Strategy(
            matrix={"n": range(3), "e": ("dev", "prod")},
            max_parallel=3,
            fail_fast=True,
            exclude=[{"e": "dev", "n": 1}],
        ),
        stages=[BashStage(name="Process ${{ matrix.n }}", bash="x")],
    )
    params = {"x": Param(type="int", default=1), "enable_processing": "bool"}
    workflow = Workflow(
        name="My report", on="@daily", params=params, jobs=[Job(id="setup", stages=stages()), process]
    )
    loaded = load(DOCUMENT, "f.yml")
    assert loaded.diagnostics == []
    assert without_lines(workflow.plan()) == without_lines(loaded.plans[0])


def test_run_control() -> None:
    stage = BashStage(
        bash="x",
        resources=Resources(cpu="500m", limits=Limits(memory="1Gi")),
        logging=Logging(level="debug", file=LogFile(path="/logs")),
        notify=Notify(failure=[Target(conn="pager"), "https://x.y"]),
        retry=Retry(max=2, rules=[RetryRule(match=["network", 75], delay="1m")]),
        timeout="none",
        pool="p",
        pool_slots=2,
        priority=3,
    )
    last = BashStage(bash="y", teardown=True)
    workflow = Workflow(
        name="w",
        concurrency=Concurrency(group="g", on_conflict="reject"),
        max_active_tasks=3,
        deadline="1h",
        notify=Notify(deadline="https://x.y"),
        defaults=Defaults(cleanup="never"),
        jobs=[Job(id="j", stages=[stage, last])],
    )
    text = """
name: w
concurrency: {group: g, on-conflict: reject}
max-active-tasks: 3
deadline: 1h
notify: {deadline: https://x.y}
defaults: {cleanup: never}
jobs:
  j:
    stages:
      - bash: x
        resources: {cpu: 0.5, limits: {memory: 1Gi}}
        logging: {level: debug, file: {path: /logs}}
        notify: {failure: [{conn: pager}, https://x.y]}
        retry: {max: 2, rules: [{match: [network, 75], delay: 60}]}
        timeout: none
        pool: p
        pool-slots: 2
        priority: 3
      - {bash: y, teardown: true}
"""
    (plan,) = load(text, "f.yml").plans
    assert without_lines(workflow.plan()) == without_lines(plan)


def test_a_deadline_is_not_of_a_stage() -> None:
    assert BashStage(bash="x", notify=Notify(failure="https://x.y")).notify is not None
    assert BashStage(bash="x", notify=StageNotify(failure="https://x.y")).notify is not None
    with pytest.raises(DocumentError, match="a deadline is that of a run"):
        BashStage(bash="x", notify=Notify(deadline="https://x.y"))


def test_jobs_as_a_map() -> None:
    jobs = {"a": Job(stages=[EmptyStage(name="x")]), "b": {"needs": ["a"], "stages": [{"bash": "x"}]}}
    plan = Workflow(name="w", jobs=jobs).plan()
    assert [job["id"] for job in plan["jobs"]] == ["a", "b"]


def test_every_fault_at_once_without_pydantic() -> None:
    with pytest.raises(DocumentError) as error:
        BashStage(name="x", bash=3, retry={"max": -1}, timeout="abc", bach="y")
    assert [found.message for found in error.value.diagnostics] == [
        "unknown key 'bach' in a bash stage",
        "expected a whole number from 0 to 100, found -1",
        "expected a number of seconds or a duration such as 10m, found 'abc'",
        "expected text, found the number 3",
    ]
    assert "pydantic" not in str(error.value)
    assert "at: retry.max" in str(error.value)
    assert error.value.__cause__ is None


def test_what_only_the_plan_can_see() -> None:
    workflow = Workflow(name="x", jobs=[Job(id="a", needs=["b"], stages=[BashStage(bash="${{ nix }}")])])
    with pytest.raises(DocumentError) as error:
        workflow.plan()
    assert [found.code for found in error.value.diagnostics] == ["unknown-need", "bad-expression"]


@pytest.mark.parametrize(
    ("jobs", "message"),
    [
        ([Job(stages=[EmptyStage(name="x")])], "a job in a list needs an id"),
        ([Job(id="a", stages=[EmptyStage(name="x")])] * 2, "job 'a' stands twice"),
        ([5], "expected a Job, found the number 5"),
        ("x", "expected a map of jobs, found 'x'"),
    ],
)
def test_bad_lists_of_jobs(jobs: Any, message: str) -> None:
    with pytest.raises(DocumentError, match=message):
        Workflow(name="w", jobs=jobs)


def test_none_is_absent_in_python() -> None:
    job = Job(id="a", needs=None, condition=None, stages=[BashStage(bash="x", env=None)])
    assert "needs" not in Workflow(name="w", jobs=[job]).plan()["jobs"][0]
