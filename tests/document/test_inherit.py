"""What a stage has after workflow defaults and its job."""

# Documents stay on one line:

from __future__ import annotations

from typing import Any

import pytest

from airflow_stagecoach.document import load


def stages(text: str) -> list[Any]:
    loaded = load(f"name: w\n{text}", "f.yml", explicit=True)
    assert loaded.diagnostics == []
    return [stage for job in loaded.plans[0]["jobs"] for stage in job["stages"]]


def stage(defaults: str, job: str, own: str) -> Any:
    (found,) = stages(
        f"defaults: {{{defaults}}}\njobs:\n  j:\n    stages: [{{bash: x, {own}}}]\n    name: n\n"
        + (f"    {job}\n" if job else "")
    )
    del found["task_id"], found["line"]
    assert found["spec"].get("resources") == found.get("resources")
    del found["spec"]
    return found


@pytest.mark.parametrize(
    ("defaults", "job", "own", "result"),
    [
        ("", "", "name: a", {}),
        ("timeout: 5", "", "name: a", {"timeout": 5}),
        ("timeout: 5", "", "timeout: none", {"no_timeout": True}),
        ("timeout: none", "", "name: a", {"no_timeout": True}),
        ("timeout: none", "", "timeout: 5", {"timeout": 5}),
        ("timeout: 5", "timeout: none", "name: a", {"no_timeout": True}),
        ("timeout: 5", "timeout: 1m", "name: a", {"timeout": 5}),
        ("", "timeout: none", "timeout: 5", {"timeout": 5}),
        ("pool: a, pool-slots: 3", "", "name: a", {"pool": "a", "pool_slots": 3}),
        ("pool: a, pool-slots: 3", "pool: b", "name: a", {"pool": "b"}),
        ("pool: a, pool-slots: 3", "pool-slots: 2", "name: a", {"pool": "a", "pool_slots": 2}),
        ("pool: a", "pool-slots: 2", "pool: c, pool-slots: 1", {"pool": "c", "pool_slots": 1}),
        ("pool-slots: 4", "", "name: a", {"pool_slots": 4}),
        ("priority: 1", "priority: -5", "name: a", {"priority": -5}),
        ("priority: 1", "priority: 2", "priority: 0", {"priority": 0}),
        ("resources: {cpu: 1}", "resources: {memory: 1Gi}", "resources: {cpu: 500m}", {"resources": {"cpu": 0.5, "memory": 1 << 30}}),
        ("resources: {limits: {cpu: 2}}", "resources: {limits: {memory: 1G}}", "resources: {limits: {cpu: 1}}", {"resources": {"limits": {"cpu": 1, "memory": 10**9}}}),
        ("resources: {enforce: best-effort}", "resources: {gpu: 2}", "name: a", {"resources": {"enforce": "best-effort", "gpu": 2}}),
        ("resources: {enforce: best-effort, cpu: 1}", "", "resources: {enforce: strict}", {"resources": {"cpu": 1}}),
        ("resources: {enforce: best-effort}", "", "name: a", {}),
        ("resources: {ephemeral-storage: 1Gi, enforce: best-effort}", "", "resources: {}", {"resources": {"ephemeral_storage": 1 << 30, "enforce": "best-effort"}}),
        ("", "notify: {failure: 'https://j.x'}", "notify: {failure: ['https://s.x', 'https://j.x'], retry: 'https://r.x'}", {"notify": [{"event": "failure", "webhook": "https://s.x"}, {"event": "failure", "webhook": "https://j.x"}, {"event": "retry", "webhook": "https://r.x"}]}),
        ("retry: {max: 1, on: network}", "", "retry: 2", {"retry": {"max": 2, "delay": 10}}),
    ],
)  # fmt: skip
def test_innermost(defaults: str, job: str, own: str, result: dict[str, Any]) -> None:
    assert stage(defaults, job, own) == result


@pytest.mark.parametrize(
    ("defaults", "job", "own", "result"),
    [
        ("level: info", "", "", {"level": "info"}),
        ("level: info, format: json", "format: text", "level: DEBUG", {"level": "debug"}),
        ("file: true", "", "", {"file": {}}),
        ("file: true", "file: false", "", {}),
        ("file: {path: /a, max-bytes: 1M}", "file: true", "file: {max-bytes: 2M, backups: 5}", {"file": {"path": "/a", "max_bytes": 2000000, "backups": 5}}),
        ("file: {path: /a}", "file: false", "file: true", {"file": {}}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("outer", ["logging: {{{}}}\n", "defaults: {{logging: {{{}}}}}\n"])
def test_logging(outer: str, defaults: str, job: str, own: str, result: dict[str, Any]) -> None:
    text = (
        outer.format(defaults)
        + f"jobs: {{j: {{logging: {{{job}}}, stages: [{{bash: x, logging: {{{own}}}}}]}}}}"
    )
    (found,) = stages(text)
    assert found.get("logging", {}) == result
    level = {"level": result["level"]} if "level" in result else None
    assert found["spec"].get("logging") == level


def test_a_nested_stage_has_its_own_level_in_its_spec() -> None:
    (found,) = stages(
        "jobs: {j: {stages: [{parallel: {a: [{bash: x, logging: {level: debug}}, {bash: y}]}}]}}"
    )
    inner = found["spec"]["parallel"]["a"]
    assert [one.get("logging") for one in inner] == [{"level": "debug"}, None]
    assert "logging" not in found


def test_kinds_that_run_nothing_of_yours_have_no_resources() -> None:
    kinds = ["bash: x", "echo: x", "trigger: a", "operator: a.B", "approval: a", "raise: x", "run: x = 1", "uses: a/b@c", "run: x = 1, deps: a", "foreach: [1], stages: [{bash: x}]"]  # fmt: skip
    text = f"defaults: {{resources: {{cpu: 1}}}}\njobs: {{j: {{stages: [{', '.join(f'{{{kind}}}' for kind in kinds)}]}}}}"
    found = stages(text)
    assert [one["spec"]["kind"] for one in found if "resources" in one] == [
        "bash",
        "python",
        "call",
        "virtual_python",
        "foreach",
    ]


def test_teardown() -> None:
    first, last = stages("jobs: {j: {stages: [{bash: x, teardown: false}, {bash: x, teardown: true}]}}")
    assert "teardown" not in first
    assert "teardown" not in first["spec"]
    assert last["teardown"] is last["spec"]["teardown"] is True


def test_cleanup_of_defaults() -> None:
    text = "name: w\ndefaults: {cleanup: always}\njobs: {a: {stages: [{bash: x}]}, b: {cleanup: on-success, stages: [{bash: x}]}}"
    (plan,) = load(text, "f.yml").plans
    assert [job.get("cleanup") for job in plan["jobs"]] == ["always", None]


@pytest.mark.parametrize("timeout", ["none", "5"])
def test_a_job_without_timeout(timeout: str) -> None:
    (plan,) = load(f"name: w\njobs: {{a: {{timeout: {timeout}, stages: [{{bash: x}}]}}}}", "f.yml").plans
    assert plan["jobs"][0].get("timeout") == (None if timeout == "none" else 5)
