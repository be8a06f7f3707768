"""``stagecoach status``: whether Airflow is up, with everything that documents need."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

#: Lines of each list in the text form; the JSON form has all.
_MOST = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``status``."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Show the state; 0 when all is well, 1 when something is degraded or down."""
    from airflow_stagecoach.cli.health import read_health

    health = read_health()
    if args.json:
        print(json.dumps(health, ensure_ascii=False, indent=2))
    else:
        print(_text(health), end="")
    return 0 if health["status"] == "ok" else 1


def _text(health: dict[str, Any]) -> str:
    from airflow_stagecoach.cli.tables import duration, table

    text = f"{health['status']}\n"
    text += "".join(f"- {problem}\n" for problem in health["problems"])
    text += f"\ndatabase: {health['database']['url']}\n"
    rows = [
        [name, one["status"], f"{duration(one['age'])} ago" if one["age"] is not None else "never"]
        for name, one in health["components"].items()
    ]
    if rows:
        text += "\n" + table(["COMPONENT", "STATE", "HEARTBEAT"], rows)
    if health["pools"]:
        keys = ("total", "open", "running", "queued", "deferred", "scheduled")
        rows = [
            [name, *("no limit" if pool[key] is None else pool[key] for key in keys)]
            for name, pool in health["pools"].items()
        ]
        text += "\n" + table(["POOL", *(key.upper() for key in keys)], rows)
    counts = health["documents"]
    text += f"\ndocuments: {counts['files']}, DAGs: {counts['dags']}, paused: {counts['paused']}\n"
    for title, key in (("runs", "runs"), ("tasks of these runs", "tasks")):
        told = ", ".join(f"{count} {state}" for state, count in health[key].items())
        text += f"{title}: {told or 'none'}\n"
    for one in health["concurrency"][:_MOST]:
        holder = ", ".join(f"{run['dag_id']} {run['run_id']}" for run in one["held"]) or "nobody"
        text += f"concurrency group {one['group']}: held by {holder}, {len(one['waiting'])} waiting\n"
    for name, backend in health["backends"].items():
        text += f"backend {name}: {'ok' if backend['ok'] else backend['message']}\n"
    for error in health["import_errors"][:_MOST]:
        text += f"\n{error['message'].rstrip()}\n"
    if len(health["import_errors"]) > _MOST:
        text += f"\n{len(health['import_errors']) - _MOST} more documents have errors\n"
    return text
