"""Names that people bring from GitHub Actions and from Airflow's templates, and what they are called here."""

from __future__ import annotations

import re
from typing import Iterable

#: A path as far as it is made of fields: ``github.event.inputs.name``.
_PATH = re.compile(r"[A-Za-z_][\w-]*(?:\.[A-Za-z_][\w-]*)*")

#: Maps whose fields are params here.
_PARAMS = ("github.event.inputs", "inputs", "dag_run.conf")

#: Paths that have another name here.
_RENAMED = {
    "github.run_id": "run.id",
    "github.run_number": "run.id",
    "github.run_attempt": "run.try_number",
    "github.workflow": "run.dag_id",
    "github.job": "run.task_id",
    "github.event_name": "run.type",
    "github.workspace": "env.WORKFLOW_DIR",
    "github.token": "secrets.NAME",
    "dag_run.run_id": "run.id",
    "dag_run.logical_date": "run.logical_date",
    "dag_run.run_type": "run.type",
    "run_id": "run.id",
    "ds": "run.ds",
    "ds_nodash": "run.ds_nodash",
    "ts": "run.ts",
    "ts_nodash": "run.ts_nodash",
    "logical_date": "run.logical_date",
    "execution_date": "run.logical_date",
    "data_interval_start": "run.data_interval_start",
    "data_interval_end": "run.data_interval_end",
}

#: Contexts of others of which nothing else is left.
_ABSENT = frozenset({"github", "runner", "dag_run", "dag", "ti", "task_instance", "inputs"})

#: Date filters and functions elsewhere; here it is ``fmt``.
_DATE_FILTERS = frozenset({"format", "strftime", "date", "format_date", "date_format"})


def explain_foreign_name(source: str, known: Iterable[str]) -> str | None:
    """Give the hint for a name of another tool, or None when it is no such name.

    :param source: the text of the document from the name on
    :param known: the contexts there are
    """
    found = _PATH.match(source)
    path = found.group() if found else ""
    for prefix in _PARAMS:
        if path == prefix:
            return "write params"
        if path.startswith(prefix + "."):
            return "write params.{}".format(path[len(prefix) + 1 :].split(".")[0])
    parts = path.split(".")
    for length in range(len(parts), 0, -1):
        renamed = _RENAMED.get(".".join(parts[:length]))
        if renamed is not None:
            return "write {}".format(renamed)
    if parts[0] in _ABSENT:
        names = sorted(name for name in known if not name.startswith("__"))
        return "there is no such context; the contexts are {}".format(", ".join(names))
    return None


def explain_date_filter(name: str, argument: str) -> str | None:
    """Give the hint for a filter that formats dates elsewhere; ``argument`` is its first, as written."""
    if name in _DATE_FILTERS and "%" in argument:
        return "write | fmt({})".format(argument)
    return None
