"""``stagecoach validate``: check documents without Airflow and without a database."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

    from airflow_stagecoach.document.diagnostics import Diagnostic

_SUFFIXES = (".yaml", ".yml")


@dataclass
class Checked:
    """What the check of one document found: its good workflows' DAG ids with their lines, and its errors."""

    file: str
    workflows: dict[str, int] = field(default_factory=dict)
    diagnostics: list[Diagnostic] = field(default_factory=list)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``validate``."""
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="a document, a folder (every document below it; other YAML is left alone), or - for stdin",
    )
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON")


def run(args: argparse.Namespace) -> int:
    """Check the documents; 0 when all are good, 1 when one is bad or nothing was there to check."""
    checked = [_check(file, explicit=explicit) for file, explicit in expand(args.files)]
    _find_duplicates(checked)
    errors = sum(len(one.diagnostics) for one in checked)
    workflows = sum(len(one.workflows) for one in checked)
    good = bool(checked) and not errors
    if args.json:
        outcome = [
            {
                "file": one.file,
                "workflows": list(one.workflows),
                "diagnostics": [diagnostic.to_json() for diagnostic in one.diagnostics],
            }
            for one in checked
        ]
        print(json.dumps({"ok": good, "documents": outcome}, indent=2, ensure_ascii=False))
        return 0 if good else 1
    for one in checked:
        for diagnostic in one.diagnostics:
            print(diagnostic.render(), end="\n\n")
    if not checked:
        print(f"no document found in {', '.join(args.files)}")
        return 1
    summary = f"{_count(len(checked), 'document')}, {_count(workflows, 'good workflow')}"
    print(f"{summary}, {_count(errors, 'error') if errors else 'no errors'}")
    return 0 if good else 1


def expand(files: Iterable[str]) -> Iterator[tuple[str, bool]]:
    """Replace folders by the documents below them, and tell for each file whether it was named itself.

    Each file comes once, however often and under whatever names it was given.
    """
    files = list(files)
    named = {_real(file) for file in files}
    seen: set[str] = set()
    for file in files:
        for path in _find(file) if file != "-" and os.path.isdir(file) else (file,):
            real = _real(path)
            if real not in seen:
                seen.add(real)
                yield path, real in named


def _real(file: str) -> str:
    return file if file == "-" else os.path.realpath(file)


def _find(folder: str) -> Iterator[str]:
    """Find the documents below a folder, in the order of their names; hidden folders are left alone."""
    from airflow_stagecoach.document import is_ours

    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = os.path.join(parent, name)
            if not name.lower().endswith(_SUFFIXES) or not os.path.isfile(path):
                continue
            try:
                data = Path(path).read_bytes()
            except OSError:
                yield path  # its check says why
                continue
            if is_ours(data):
                yield path


def _check(file: str, *, explicit: bool) -> Checked:
    """Check a document. ``explicit``: a person named it, so it must be one."""
    from airflow_stagecoach.cli.documents import load_document
    from airflow_stagecoach.document import Diagnostic

    name = "<stdin>" if file == "-" else file
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        problem = Diagnostic("unreadable", f"cannot be read: {error.strerror or error}", name)
        return Checked(name, diagnostics=[problem])
    loaded = load_document(data, name, explicit=explicit)
    workflows = {plan["dag_id"]: plan["line"] for plan in loaded.plans}
    return Checked(name, workflows, list(loaded.diagnostics))


def _find_duplicates(checked: list[Checked]) -> None:
    """Add an error for each DAG id that an earlier document has; Airflow knows a DAG by its id alone."""
    from airflow_stagecoach.document import Diagnostic

    owners: dict[str, Checked] = {}
    for one in checked:
        for dag_id, line in one.workflows.items():
            owner = owners.setdefault(dag_id, one)
            if owner is not one:
                message = (
                    f"workflow '{dag_id}' is also defined in {owner.file}, line {owner.workflows[dag_id]}"
                )
                one.diagnostics.append(
                    Diagnostic(
                        "duplicate-dag-id", message, one.file, line, 1, 1, "give one of the two another name"
                    )
                )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
