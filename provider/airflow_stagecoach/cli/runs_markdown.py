"""The summary of a run in Markdown, for a ticket, a chat or a pipeline's page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_stagecoach.cli.runs_summary import failures, head, lines, resources, waiting

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Characters of an error's message.
_LONGEST = 600


def render_markdown(run: Mapping[str, Any]) -> str:
    """A run of :func:`~airflow_stagecoach.operators._records.run_record` as Markdown; ends with a newline."""
    text = f"# {_escaped(run['dag_id'])}\n\nRun `{run['run_id']}`: {head(run)}.\n"
    rows = [
        [
            ("&nbsp;&nbsp;" * 2 * line.depth) + _escaped(line.name),
            line.result,
            line.stages,
            line.tries,
            line.took,
            line.reason,
        ]
        for line in lines(run)
    ]
    text += "\n" + _table(["job", "result", "stages", "tries", "took", "reason"], rows)
    found = resources(run)
    if found:
        text += "\n" + _table(["metric", "value"], [[_escaped(name), value] for name, value in found])
    failed, more = failures(run)
    if failed:
        text += "\n## Failures\n"
    for where, sort, message in failed:
        text += f"\n**{_escaped(where)}**: {_escaped(sort)}\n"
        if message:
            cut = message if len(message) <= _LONGEST else message[: _LONGEST - 3] + "..."
            fence = "`" * max(3, _longest_fence(cut) + 1)
            text += f"\n{fence}text\n{cut}\n{fence}\n"
    if more:
        text += f"\n{more} more failures.\n"
    waits, more = waiting(run)
    if waits:
        text += "\n## Waiting\n\n" + "".join(f"- {_escaped(where)}: {what}\n" for where, what in waits)
    if more:
        text += f"- {more} more stages\n"
    return text


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "".join("| " + " | ".join(row) + " |\n" for row in (heads, ["---"] * len(heads), *rows))


def _escaped(text: str) -> str:
    """A name as text: no cell, emphasis or tag begins in it."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace("\n", " ")
    for character in ("\\", "|", "*", "_", "`", "["):
        text = text.replace(character, "\\" + character)
    return text


def _longest_fence(text: str) -> int:
    longest = count = 0
    for character in text:
        count = count + 1 if character == "`" else 0
        longest = max(longest, count)
    return longest
