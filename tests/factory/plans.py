"""Small plans for tests, without YAML."""

from __future__ import annotations

from typing import Any

from airflow_stagecoach.factory import build_dag


def stage(task_id: str, kind: str = "bash", **spec: Any) -> dict[str, Any]:
    """One stage plan; ``if_`` stands for the key ``if``."""
    if "if_" in spec:
        spec["if"] = spec.pop("if_")
    body = {"bash": {"bash": "true"}, "python": {"run": "x = 1"}}.get(kind, {})
    return {
        "task_id": task_id,
        "line": 1,
        "spec": {"kind": kind, "id": task_id, "name": task_id, **body, **spec},
    }


def teardown(task_id: str, **spec: Any) -> dict[str, Any]:
    """One stage plan that cleans up."""
    return {**stage(task_id, **spec), "teardown": True}


def job(job_id: str, *stages: dict[str, Any], **keys: Any) -> dict[str, Any]:
    """One job plan that runs locally."""
    return {
        "id": job_id,
        "line": 1,
        "runs_on": {"type": "local"},
        "stages": list(stages or [stage("s")]),
        **keys,
    }


def workflow(*jobs: dict[str, Any], **keys: Any) -> Any:
    """One workflow plan."""
    return {"format": 1, "dag_id": "wf", "line": 1, "jobs": list(jobs), **keys}


def graph(*jobs: dict[str, Any], **keys: Any) -> dict[str, tuple[str, set[str]]]:
    """The tasks of a workflow: task id -> (trigger rule, upstream task ids)."""
    dag = build_dag(workflow(*jobs, **keys))
    dag.validate()
    return {t.task_id: (str(t.trigger_rule.value), set(t.upstream_task_ids)) for t in dag.tasks}
