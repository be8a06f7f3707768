"""One run as text for the terminal."""

from __future__ import annotations

from textwrap import indent
from typing import TYPE_CHECKING, Any

from airflow_stagecoach.cli.runs_summary import failures, head, lines, resources, waiting
from airflow_stagecoach.cli.tables import table

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Characters of an error's message.
_LONGEST = 600


def render_text(run: Mapping[str, Any]) -> str:
    """A run of :func:`~airflow_stagecoach.operators._records.run_record` for people; ends with a newline."""
    text = f"{run['dag_id']}  {run['run_id']}\n{head(run)}\n"
    for name, value in resources(run):
        text += f"{name}: {value}\n"
    rows = [
        ["  " * line.depth + line.name, line.result, line.stages, line.tries, line.took, line.reason]
        for line in lines(run)
    ]
    text += "\n" + table(["JOB", "RESULT", "STAGES", "TRIES", "TOOK", ""], rows)
    failed, more = failures(run)
    for where, sort, message in failed:
        text += f"\n{where}: {sort}\n"
        if message:
            cut = message if len(message) <= _LONGEST else message[: _LONGEST - 3] + "..."
            text += indent(cut, "  ") + "\n"
    if more:
        text += f"\n{more} more failures: --json has all\n"
    waits, more = waiting(run)
    if waits:
        text += "\n" + "".join(f"{where}: {what}\n" for where, what in waits)
    if more:
        text += f"{more} more stages wait\n"
    return text
