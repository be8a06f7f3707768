"""``stagecoach pools``: the pools that documents use, beside those that Airflow has."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

#: A stage is named for each pool, and how many more there are.
_ADVICE = {
    "missing": "its stages never start: make it with `stagecoach pools --create`",
    "too-small": "a stage takes more slots than it has, and never starts",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``pools``."""
    parser.add_argument(
        "files",
        nargs="*",
        metavar="FILE",
        help="documents or folders; without any, the documents that Airflow has loaded",
    )
    parser.add_argument("--create", action="store_true", help="make the pools that are missing")
    parser.add_argument(
        "--slots",
        type=int,
        metavar="N",
        help="slots of a pool that is made; else what its largest stage takes, so that one runs at a time",
    )
    parser.add_argument("--json", action="store_true", help="print a JSON object")


def run(args: argparse.Namespace) -> int:
    """List pools; 0 when every stage finds a pool that is large enough, 1 when not, 2 wrongly called."""
    if args.slots is not None and (args.slots < 1 or not args.create):
        print("--slots: write a number from 1 on, beside --create", file=sys.stderr)
        return 2
    from airflow_stagecoach.cli import pool_use
    from airflow_stagecoach.cli.metadata import NotFound, open_database

    made = set()
    try:
        uses = pool_use.pools_of_files(args.files) if args.files else None
        with open_database() as session:
            if uses is None:
                uses = pool_use.pools_of_dags(session)
            pools = pool_use.read_pools(session)
            if args.create:
                made = uses.keys() - pools.keys()
                for name in made:
                    pool_use.create_pool(session, name, args.slots or uses[name].slots)
                session.commit()
                pools = pool_use.read_pools(session)
    except (NotFound, pool_use.UnreadableDocument) as error:
        print(error, file=sys.stderr)
        return 1
    found: dict[str, dict[str, Any]] = {
        name: {
            "state": pool_use.state_of(use, pools.get(name)),
            "made": name in made,
            "slots": pools[name]["total"] if name in pools else None,
            "needed": use.slots,
            "stages": use.stages,
        }
        for name, use in uses.items()
    }
    if args.json:
        print(json.dumps(found, ensure_ascii=False, indent=2))
    else:
        _print(found)
    return 0 if all(one["state"] == "there" for one in found.values()) else 1


def _print(found: dict[str, dict[str, Any]]) -> None:
    from airflow_stagecoach.cli.tables import table

    if not found:
        print("no document names a pool")
        return
    rows = []
    for name, one in found.items():
        first, *others = one["stages"]
        slots = "no limit" if one["state"] == "there" and one["slots"] is None else one["slots"]
        state = "made" if one["made"] else one["state"]
        rows.append([name, state, slots, first + (f" and {len(others)} more" if others else "")])
    print(table(["POOL", "STATE", "SLOTS", "USED BY"], rows), end="")
    for name, one in found.items():
        if one["state"] in _ADVICE:
            print(f"pool {name!r}: {_ADVICE[one['state']]}", file=sys.stderr)
