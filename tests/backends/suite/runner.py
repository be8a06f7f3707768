"""Runs workflows on one backend, one after the other, with Airflow imported once.

Reads one JSON object per line from standard input, ``{"file", "workflow", "params", "runs_on"}``, and writes
the outcome of ``stagecoach run --json`` per line to standard output, with ``log``: each line
that the stages wrote and its level.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_stagecoach.cli import run, run_home, run_local

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_stagecoach.document.plan import RunsOnPlan, WorkflowPlan


def serve() -> None:
    """Serve until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    with run_home.private_home() as home:

        @contextmanager
        def same_home() -> Iterator[Path]:
            yield home

        # Airflow is configured once per process, so all runs share this home.
        setattr(run_local, "private_home", same_home)  # noqa: B010  # it is no public name there
        lines: list[tuple[str, str]] = []
        show = run_local.Session.write

        def write(self: run_local.Session, text: str, level: str = "info") -> None:
            lines.append((text, level))
            show(self, text, level)

        run_local.Session.write = write  # type: ignore[method-assign]  # to see what is shown
        for request in map(json.loads, sys.stdin):
            lines.clear()
            try:
                outcome = _run(**request)
            except Exception:
                outcome = {"state": "error", "errors": [traceback.format_exc()]}
            answers.write(json.dumps({**outcome, "log": lines}, default=str) + "\n")
            answers.flush()


def _run(file: str, workflow: str, params: dict[str, Any], runs_on: RunsOnPlan) -> dict[str, Any]:
    plans = [_moved(plan, runs_on) for plan in run._load(file)]
    (plan,) = (one for one in plans if one["dag_id"] == workflow)
    outcome = run_local.run_plan(plan, plans, Path(file), params, {})
    run._place_records(outcome)
    return outcome


def _moved(plan: WorkflowPlan, runs_on: RunsOnPlan) -> WorkflowPlan:
    """The plan with all jobs on another backend: nothing else of a document changes."""
    for job in plan["jobs"]:
        job["runs_on"] = runs_on
    return plan


if __name__ == "__main__":
    serve()
