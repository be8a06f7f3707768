"""``stagecoach sweep``: remove what dead tasks have left at the places where jobs run.

What ``emulate: true`` has left lies on the machine where its worker was, so there the command must be called.
"""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

    from sqlalchemy.orm import Session

    from airflow_stagecoach.backends.base import Backend
    from airflow_stagecoach.backends.ownership import Leftover
    from airflow_stagecoach.document.plan import RunsOnPlan, WorkflowPlan


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``sweep``."""
    parser.add_argument("--dry-run", action="store_true", help="only tell what would be removed")
    parser.add_argument(
        "--unknown",
        action="store_true",
        help="also what belongs to runs that this Airflow does not know: deleted ones, `stagecoach run`, "
        "another Airflow at the same place",
    )
    parser.add_argument("--json", action="store_true", help="print a JSON list")


def run(args: argparse.Namespace) -> int:
    """Sweep every place that a loaded document names, and this machine; 0 when all were reached, else 1."""
    from airflow_stagecoach.cli.metadata import NotFound, open_database, our_documents, plans_of

    found: list[dict[str, Any]] = []
    errors: dict[str, None] = {}
    try:
        # What SDKs log would stand in between, or in the JSON.
        with redirect_stdout(sys.stderr), open_database() as session:
            documents = our_documents(session)
            plans = [plan for file, text in documents.items() for plan in plans_of(text, file)]
            for runs_on in [*places(plans), EMULATED]:
                removed, error = _sweep(session, runs_on, args)
                found += removed
                if error is not None:
                    errors[f"{runs_on['type']}: {error}"] = None
    except NotFound as error:
        print(error, file=sys.stderr)
        return 1
    # Several documents may name one place.
    for text in errors:
        print(text, file=sys.stderr)
    found = list({(one["backend"], one["kind"], one["name"]): one for one in found}.values())
    if args.json:
        print(json.dumps(found, ensure_ascii=False, indent=2))
    else:
        _print(found, dry=args.dry_run, everywhere=not errors)
    return 1 if errors else 0


#: Whatever is emulated lies at one place, also of documents that are gone.
EMULATED: RunsOnPlan = {"type": "emulated"}


def places(plans: Iterable[WorkflowPlan]) -> Iterator[RunsOnPlan]:
    """Each place that documents name, once; without :data:`EMULATED`.

    One whose settings hold expressions is known only to a run.
    """
    from airflow_stagecoach.operators._image_stage import stage_place

    seen = set()
    for plan in plans:
        for job in plan["jobs"]:
            for stage in job["stages"]:
                runs_on = stage_place(stage["spec"], job["runs_on"])
                key = json.dumps(runs_on, sort_keys=True)
                if key not in seen and runs_on["type"] != "local" and not runs_on.get("emulate"):
                    seen.add(key)
                    if "${{" not in key and "{{" not in key:
                        yield runs_on


def is_needed(session: Session, leftover: Leftover, *, unknown: bool) -> bool:
    """Whether somebody may still need what a task has made.

    :param unknown: whether what belongs to no run in this database is needed by nobody
    """
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.state import State
    from sqlalchemy import select

    of = leftover.identity
    if leftover.shared:
        states = session.scalars(
            select(DagRun.state).where(DagRun.dag_id == of["dag_id"], DagRun.run_id == of["run_id"])
        ).all()
    else:
        states = session.scalars(
            select(TaskInstance.state).where(
                TaskInstance.dag_id == of["dag_id"],
                TaskInstance.run_id == of["run_id"],
                TaskInstance.task_id == of["task_id"],
                TaskInstance.map_index == of["map_index"],
            )
        ).all()
    if not states:
        return not unknown
    return any(state not in State.finished for state in states)


def _sweep(
    session: Session, runs_on: RunsOnPlan, args: argparse.Namespace
) -> tuple[list[dict[str, Any]], str | None]:
    """What was removed at one place, and why it could not be looked at."""
    from airflow_stagecoach.backends import get_backend
    from airflow_stagecoach.backends.emulated import EmulatedBackend
    from airflow_stagecoach.backends.remote import RemoteBackend

    try:
        if runs_on is EMULATED:
            backend: Backend = EmulatedBackend()
        else:
            backend = get_backend(runs_on["type"], runs_on.get("with_"))
    except (LookupError, ValueError) as error:
        return [], str(error)
    if not isinstance(backend, RemoteBackend):
        return [], None

    def needed(leftover: Leftover) -> bool:
        return is_needed(session, leftover, unknown=args.unknown)

    try:
        if args.dry_run:
            gone = [leftover for leftover in backend.leftovers() if not needed(leftover)]
        else:
            gone = backend.sweep(needed)
    except Exception as error:
        return [], backend.explain(error)["message"]
    return [
        {"backend": runs_on["type"], "kind": one.kind, "name": one.name, "of": dict(one.identity)}
        for one in gone
    ], None


def _print(found: list[dict[str, Any]], *, dry: bool, everywhere: bool) -> None:
    from airflow_stagecoach.cli.tables import table

    if not found:
        print("nothing is left" if everywhere else "nothing is left at the other places")
        return
    heads = ["BACKEND", "WOULD REMOVE" if dry else "REMOVED", "NAME", "DAG", "RUN", "TASK"]
    rows = [
        [
            one["backend"],
            one["kind"],
            one["name"],
            *(one["of"][key] for key in ("dag_id", "run_id", "task_id")),
        ]
        for one in found
    ]
    print(table(heads, rows), end="")
