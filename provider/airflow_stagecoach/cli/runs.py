"""``stagecoach runs``: runs as Airflow's database has them."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

#: How many runs ``runs list`` shows.
_LIMIT = 20

#: Airflow's states of a run.
_STATES = ("queued", "running", "success", "failed")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the commands of ``runs`` and their arguments."""
    commands = parser.add_subparsers(dest="runs_command", metavar="COMMAND", required=True)
    show = commands.add_parser(
        "show", help="one run: jobs, legs, stages, tries, failures", description="Show one run."
    )
    show.add_argument("dag_id", metavar="DAG_ID")
    show.add_argument("run_id", metavar="RUN_ID", help="the run, or `latest` for the newest one")
    form = show.add_mutually_exclusive_group()
    form.add_argument(
        "--format",
        choices=("text", "json", "markdown"),
        default="text",
        help="json has everything; text and markdown are summaries (default: %(default)s)",
    )
    form.add_argument(
        "--json", dest="format", action="store_const", const="json", help="short for --format json"
    )
    listing = commands.add_parser("list", help="the newest runs", description="List the newest runs.")
    listing.add_argument("dag_id", metavar="DAG_ID", nargs="?", help="of this DAG; else of all documents")
    listing.add_argument("--state", choices=_STATES, help="only runs in this state")
    listing.add_argument(
        "--limit", type=int, default=_LIMIT, metavar="N", help="how many (default: %(default)s)"
    )
    listing.add_argument("--json", action="store_true", help="print a JSON list")


def run(args: argparse.Namespace) -> int:
    """Show runs; 0, or 1 when there is no such DAG, run or database."""
    from airflow_stagecoach.cli.metadata import NotFound

    try:
        return _show(args) if args.runs_command == "show" else _list(args)
    except NotFound as error:
        print(error, file=sys.stderr)
        return 1


def _show(args: argparse.Namespace) -> int:
    from datetime import datetime, timezone

    from airflow_stagecoach.cli.metadata import open_database, read_run

    with open_database() as session:
        plan, facts = read_run(session, args.dag_id, args.run_id)
    from airflow_stagecoach.operators._records import run_record

    record = run_record(plan, facts, datetime.now(timezone.utc))
    if args.format == "json":
        print(json.dumps(record, ensure_ascii=False, indent=2, default=str))
    elif args.format == "markdown":
        from airflow_stagecoach.cli.runs_markdown import render_markdown

        print(render_markdown(record), end="")
    else:
        from airflow_stagecoach.cli.runs_text import render_text

        print(render_text(record), end="")
    return 0


def _list(args: argparse.Namespace) -> int:
    from airflow_stagecoach.cli.metadata import list_runs, open_database

    with open_database() as session:
        runs = list_runs(session, args.dag_id, limit=args.limit, state=args.state)
    if args.json:
        print(json.dumps(runs, ensure_ascii=False, indent=2))
        return 0
    if not runs:
        print("no runs")
        return 0
    from airflow_stagecoach.cli.tables import duration, moment, table

    rows: list[list[Any]] = [
        [one["dag_id"], one["run_id"], one["state"], moment(one["start"]), duration(one["duration"])]
        for one in runs
    ]
    print(table(["DAG", "RUN", "STATE", "START", "TOOK"], rows), end="")
    return 0
