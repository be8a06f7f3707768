"""``stagecoach backends``: where jobs may run from here."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from airflow_stagecoach.backends.listing import Listed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``backends``."""
    parser.add_argument("types", nargs="*", metavar="TYPE", help="only these, with their settings")
    parser.add_argument("--check", action="store_true", help="reach out to each of them")
    parser.add_argument(
        "--with",
        action="append",
        default=[],
        dest="settings",
        metavar="KEY=VALUE",
        help="a setting for the check, as under `with`; may be repeated",
    )
    parser.add_argument("--json", action="store_true", help="print a JSON list")


def run(args: argparse.Namespace) -> int:
    """Show the backends; 0 when all can be used (and reached), 1 when not, 2 when wrongly called."""
    from airflow_stagecoach.backends.listing import check_backends, list_backends
    from airflow_stagecoach.backends.registry import types

    names = [_canonical(name) for name in args.types]
    listed = list_backends(names)
    settings, wrong = _settings(args.settings, {one["name"] for entry in listed for one in entry["settings"]})
    known = types()
    wrong += [
        f"there is no backend {name!r}; there is: {', '.join(known)}" for name in names if name not in known
    ]
    if args.settings and not args.check:
        wrong.append("--with is for --check")
    if wrong:
        for text in wrong:
            print(text, file=sys.stderr)
        return 2
    if args.check:
        # What SDKs log would stand in between, or in the JSON.
        with redirect_stdout(sys.stderr):
            check_backends(listed, settings)
    if args.json:
        print(json.dumps(listed, ensure_ascii=False, indent=2, default=str))
    else:
        print(_text(listed, details=bool(names)), end="")
    return 1 if any(map(_is_bad, listed)) or (args.check and names and _unchecked(listed)) else 0


def _is_bad(listed: Listed) -> bool:
    return listed["error"] is not None or listed["reachable"] is False


def _unchecked(listed: Sequence[Listed]) -> bool:
    """Whether one could not be asked for want of settings: bad for whoever named it."""
    return any(one["reachable"] is None for one in listed)


def _canonical(name: str) -> str:
    from airflow_stagecoach.backends.registry import canonical
    from airflow_stagecoach.document.runs_on import BACKEND_ALIASES

    name = canonical(name)
    return BACKEND_ALIASES.get(name, name)


def _settings(pairs: Sequence[str], names: set[str]) -> tuple[dict[str, Any], list[str]]:
    """Settings from ``KEY=VALUE``, and what is wrong with them. A map or a list is written as in YAML."""
    from difflib import get_close_matches

    import yaml

    found: dict[str, Any] = {}
    wrong = []
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            wrong.append(f"--with {name}: write KEY=VALUE")
        elif name not in names:
            near = get_close_matches(name, names, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there is: {', '.join(sorted(names)) or 'none'}"
            wrong.append(f"--with {name}: no backend here has such a setting; {hint}")
        else:
            try:
                found[name] = yaml.safe_load(text) if text.startswith(("{", "[")) else text
            except yaml.YAMLError:
                wrong.append(f"--with {name}: neither text nor a map or list in YAML")
    return found, wrong


def _text(listed: Sequence[Listed], *, details: bool) -> str:
    from airflow_stagecoach.cli.tables import table

    good = [one for one in listed if one["error"] is None]
    heads = ["TYPE", "PACKAGE", "VERSION", "CAN"]
    rows: list[list[str]] = [
        [one["type"], one["distribution"], one["version"], " ".join(one["capabilities"])] for one in good
    ]
    if any(one["message"] is not None for one in good):
        heads.append("CHECK")
        words = {True: "", False: "not reachable: ", None: "not checked: "}
        for row, one in zip(rows, good, strict=True):
            row.append(words[one["reachable"]] + _one_line(one["message"]))
    elif not details:
        heads.append("SETTINGS")
        for row, one in zip(rows, good, strict=True):
            row.append(", ".join(_short(one)))
    text = table(heads, rows) if good else ""
    for one in good if details else ():
        if one["settings"]:
            cells = [[key["name"], key["type"], _default(key), key["description"]] for key in one["settings"]]
            text += f"\n{one['type']}\n" + table(["SETTING", "VALUE", "DEFAULT", ""], cells, "  ")
    return text + "".join(f"{_one_line(one['error'])}\n" for one in listed if one["error"] is not None)


def _short(listed: Listed) -> list[str]:
    """Names of the settings that must be there, and how many more there are."""
    names = [one["name"] for one in listed["settings"] if one["required"]]
    more = len(listed["settings"]) - len(names)
    return [*names, f"{more} more"] if names and more else names or ([f"{more} to choose"] if more else [])


def _default(setting: Any) -> str:
    if setting["required"]:
        return "required"
    default = setting["default"]
    return "" if default in (None, [], {}) else json.dumps(default, default=str).strip('"')


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())
