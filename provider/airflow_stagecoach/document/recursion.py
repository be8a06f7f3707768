"""Workflows of one file that would trigger each other without end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_stagecoach.document.cycles import cycles

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from airflow_stagecoach.document.plan import WorkflowPlan


def endless(plans: Iterable[WorkflowPlan]) -> Iterator[tuple[list[str], int]]:
    """Circles of workflows that trigger each other whatever happens.

    Only triggers that no condition stands before are counted: a workflow may well
    trigger itself again under an ``if``.

    :return: the DAG ids of each circle, and the line of the stage in its first workflow that leads on
    """
    triggers = {plan["dag_id"]: _certain_triggers(plan) for plan in plans}
    graph = {name: [target for target in found if target in triggers] for name, found in triggers.items()}
    for circle in cycles(graph):
        yield circle, triggers[circle[0]][circle[1 % len(circle)]]


def _certain_triggers(plan: WorkflowPlan) -> dict[str, int]:
    """DAG id -> line of the stage, for triggers that every run reaches."""
    found: dict[str, int] = {}
    for job in plan["jobs"]:
        if "condition" in job or "trigger_rule" in job:
            continue
        for stage in job["stages"]:
            for target in _targets(stage["spec"]):
                found.setdefault(target, stage["line"])
    return found


def _targets(spec: dict[str, Any]) -> Iterator[str]:
    if "if" in spec:
        return
    if spec["kind"] == "trigger":
        yield spec["trigger"]
    for child in spec.get("stages", ()) if spec["kind"] == "until" else ():
        yield from _targets(child)
    for branch in spec.get("parallel", {}).values():
        for child in branch:
            yield from _targets(child)
