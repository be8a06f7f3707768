"""The page docs/benchmarks.md."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks import deferring, places

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.deferring import Deferred
    from benchmarks.engine_start import EngineStart
    from benchmarks.legs import Legs
    from benchmarks.loading import Table
    from benchmarks.places import Overhead
    from benchmarks.running import Runs
    from benchmarks.series import Series

_INTRODUCTION = """\
# Benchmarks

This page is written by `tox run -e bench`, which makes what it measures: the same workflow of ten stages,
written for Stagecoach, by hand in Python, for dag-factory and in Airflow's own YAML (`benchmarks/corpus.py`).
A check (`benchmarks/correspondence.py`) proves first that stages, order, mapping, trigger rules, params and
schedule agree.

Every figure is from a fresh process; repeats are interleaved, so that what else the machine did fell on all
alike. **×** is the ratio to hand-written Python, the median over the repeats, by the clock and by processor
time. Times are medians, with the smallest and the largest beside them. Only ratios travel between machines.
"""

_MODES = {
    "bag": (
        "All files in one process",
        "As `airflow dags list` loads a folder. Memory is what the process grew by.",
        "loaded in",
    ),
    "processor": (
        "One forked child per file, as the DAG processor parses",
        "By Airflow's own manager: each file is parsed and serialized in a child of its own, one after the "
        "other; time per document. The manager has imported what it imports in a real DAG processor. Memory "
        "is the peak of a child, most of which it shares with the manager.",
        "per document",
    ),
    "worker": (
        "One document at the start of a task",
        "The first task that a new worker runs from this file: what happens before the fork, the fork, and "
        "the DAG in the child. *Next* is each task after it. Memory is what the child grew by. A folder with "
        "one loader pays for the whole folder each time.",
        "first task",
    ),
}

_BACKENDS = """\
### Documents that name backends

The same documents, and the same with a `runs-on` in every job, every backend by turns: **×** is the ratio to
the documents without. Loading imports no module of a backend's SDK, or the run ends with an error; a
document that is new has its settings checked, and for that the backend's own module is imported.
"""

_PLACES = """\
A stage that does nothing, against the operator of Airflow's own provider whose container does nothing: the
same image, the same engine, the container removed at its end. *From start to end* is as Airflow tells it of
the task, *processor time* that of its worker and the task; one task at a time, the first of each kind in a
worker not counted. Below, the processor time of the scheduler's own process and of everything on the machine
(containers and their engine too) in a run of COUNT tasks.
"""

_DEFERRING = """\
A stage that lasts is left to the triggerer after ten seconds. Here every stage is a container that waits,
until all have been deferred and for a while more.
"""

_ENGINE = """\
What travels into a container is one zip file of SIZE KB, run by the container's Python (here VERSION). Beside
it lies what the worker's Python has compiled, for a container with the same version. Every command was run
by turns in one container. *More* is the median of the differences to the Python that does nothing.
"""

_STARTS = """\
### From the start of a task to the user's command

From the moment the worker takes a bash task from the executor's queue to the first line of its command:
supervisor, fork, DAG, connection to the API, shell. One task at a time, in a worker that has run the same
DAG before.
"""

_COSTS = """\
### What a task costs

The process of a task is a fork of its worker. *Own* is the memory that it shares with no other process, at
its peak: what one more task at the same time takes. *Proportional* (PSS) adds its part of what it shares,
*resident* (the peak of RSS) all of that in full. The two, and the worker, share their pages, so only *own*
adds up over tasks. One task at a time; the first of each kind in a worker is not counted. *Processor time*
is that of the worker, the task and its command together, *requests* are those to the API server.
"""

_LEGS = """\
From the queueing of the run to its end, eight tasks at a time, and the processor time meanwhile: of the
scheduler's own process (its children, the workers, are not in it), of the API server of the tasks, and of
everything on the machine, workers and database included.
"""


@dataclass
class Report:
    """What was found."""

    date: str
    machine: dict[str, str]
    versions: dict[str, dict[str, str]]
    load_before: float
    load_after: float = 0.0
    seconds: float = 0.0
    correspondence: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    backend_tables: list[Table] = field(default_factory=list)
    runs: Runs | None = None


def render(report: Report) -> str:
    """Give the page as Markdown."""
    parts = [_INTRODUCTION, _conditions(report)]
    if report.tables:
        parts.append("## Loading documents\n")
        parts.append("*First time* is without what a loading keeps: Stagecoach's plans, Python's bytecode.\n")
        for mode, (title, explanation, column) in _MODES.items():
            tables = [table for table in report.tables if table.mode == mode]
            if tables:
                parts.append(f"### {title}\n\n{explanation}\n")
                parts += [_table(table, column) for table in tables]
        parts.append(_imports(report.tables))
        agreement = "\n".join(f"- {line}" for line in report.correspondence)
        parts.append(f"### Tasks in a DAG\n\nThe tasks that Stagecoach adds need no worker.\n\n{agreement}\n")
    if report.backend_tables:
        if not report.tables:
            parts.append("## Loading documents\n")
        parts += [_BACKENDS, *(_backends(table) for table in report.backend_tables)]
    if report.runs:
        parts.append(_runs(report.runs))
    return "\n".join(parts)


def _conditions(report: Report) -> str:
    lines = [f"- {report.date}, in {report.seconds / 60:.0f} minutes"]
    lines += [f"- {text}" for text in report.machine.values()]
    lines += [
        "- " + ", ".join(f"{name} {version}" for name, version in versions.items())
        for versions in report.versions.values()
    ]
    lines.append(
        f"- load of the machine before: {report.load_before:.1f}, at the end: {report.load_after:.1f}"
    )
    return "\n".join(lines) + "\n"


def _table(table: Table, column: str) -> str:
    documents = "1 document" if table.count == 1 else f"{table.count:,} documents"
    header = ["", column, "×", "× processor time"]
    if table.mode == "worker":
        header += ["next", "×"]
    header.append("memory, MiB")
    memory = "peak" if table.mode == "processor" else "grown"
    rows = []
    for series in table.series:
        row = [series.label, spread(series, "seconds"), times(series, "seconds"), times(series, "cpu")]
        if table.mode == "worker":
            row += [spread(series, "next"), times(series, "next")]
        rows.append([*row, f"{series.median(memory) / 1024:.1f}"])
    return f"**{documents}, Airflow {table.airflow}**\n\n{markdown(header, rows)}"


def _backends(table: Table) -> str:
    title, _, column = _MODES[table.mode]
    memory = "peak" if table.mode == "processor" else "grown"
    rows = []
    for series in table.series:
        row = [series.label]
        for name in ("seconds", "next") if table.mode == "worker" else ("seconds",):
            row += [spread(series, name), times(series, name)]
        row += [times(series, "cpu"), f"{series.median(memory) / 1024:.1f}", times(series, memory)]
        rows.append(row)
    header = ["", column, "×", *(["next", "×"] if table.mode == "worker" else [])]
    header += ["× processor time", "memory, MiB", "×"]
    return f"**{title}: {table.count:,} documents, Airflow {table.airflow}**\n\n{markdown(header, rows)}"


def _imports(tables: Sequence[Table]) -> str:
    rows = []
    for table in tables:
        if table.mode == "worker" and table.count == max(t.count for t in tables if t.mode == "worker"):
            rows += [
                [f"{series.label}, Airflow {table.airflow}", f"{series.median('modules'):.0f}"]
                for series in table.series
                if "first time" not in series.label
            ]
    if not rows:
        return ""
    return (
        "### Modules that a task process has beyond Airflow's own\n\n"
        "None of docker, kubernetes, boto3, azure and google is imported by loading a document; the run "
        "ends with an error if one is.\n\n" + markdown(["", "modules"], rows)
    )


def _runs(runs: Runs) -> str:
    parts = ["## Running\n"]
    if runs.database:
        parts.append(
            f"A real scheduler with LocalExecutor and {runs.database}, Airflow {runs.airflow}. Both kinds of "
            "DAG in one Airflow, run by turns, with new workers for each run: what a worker imports for one "
            "kind must not be the other's gain.\n"
        )
    if runs.starts:
        parts += [_STARTS, _starts(runs.starts)]
    if runs.costs:
        parts += [_COSTS, _costs(runs.costs)]
    if runs.legs:
        parts += [f"### A matrix of {runs.legs.count:,} legs with two stages each\n", _LEGS, _legs(runs.legs)]
    if runs.engine:
        parts += ["### Start of the engine in a container\n", _engine(runs.engine)]
    for overhead in runs.places:
        parts += [f"### A stage on {overhead.place}\n", _place(overhead)]
    if runs.deferring:
        title = f"### {runs.deferring.stages} containers at a time, with {deferring.SLOTS} slots\n"
        parts += [title, _DEFERRING, _deferring(runs.deferring)]
    return "\n".join(parts)


def _starts(starts: Sequence[Series]) -> str:
    rows = [
        [one.label, spread(one, "seconds"), times(one, "median"), f"{len(one.figures)}"] for one in starts
    ]
    return markdown(["", "median", "×", "tasks"], rows)


def _costs(costs: Sequence[Series]) -> str:
    rows = []
    for one in costs:
        row = [one.label]
        for name in ("own", "proportional", "resident"):
            row += [f"{one.median(name) / 1024:.1f}", times(one, name)]
        row += [spread(one, "cpu"), times(one, "cpu"), f"{one.median('requests'):.0f}"]
        rows.append(row)
    header = ["", "own, MiB", "×", "proportional", "×", "resident", "×", "processor time", "×", "requests"]
    return markdown(header, rows)


def _legs(legs: Legs) -> str:
    rows = []
    for one in legs.series:
        row = [one.label]
        for name in ("seconds", "scheduler", "api", "machine"):
            row += [spread(one, name), times(one, name)]
        rows.append(row)
    header = ["", "run", "×", "scheduler", "×", "API server", "×", "all processes", "×"]
    return markdown(header, rows)


def _engine(engine: EngineStart) -> str:
    text = _ENGINE.replace("SIZE", f"{engine.size / 1000:.0f}").replace("VERSION", engine.python)
    rows = []
    for one in engine.series:
        row = [one.label]
        for name, more in (("seconds", "over"), ("cpu", "over_cpu")):
            row += [spread(one, name), f"**{one.median(more) * 1000:.0f} ms**" if one.baseline else ""]
        rows.append(row)
    header = ["", "start to end", "more", "processor time", "more"]
    return f"{text}\n{markdown(header, rows)}"


def _place(overhead: Overhead) -> str:
    kinds = [
        [one.label, spread(one, "seconds"), times(one, "seconds"), spread(one, "cpu"), times(one, "cpu")]
        for one in overhead.kinds
    ]
    runs = [
        [
            one.label,
            *(cell for name in ("scheduler", "machine") for cell in (spread(one, name), times(one, name))),
        ]
        for one in overhead.runs
    ]
    text = _PLACES.replace("COUNT", str(len(places.KINDS) * places.TASKS))
    header = ["", "from start to end", "×", "processor time", "×"]
    of_runs = ["", "scheduler", "×", "all processes", "×"]
    return f"{text}\n{markdown(header, kinds)}\n{markdown(of_runs, runs)}"


def _deferring(found: Deferred) -> str:
    rows = [
        ["until all were deferred", f"{found.until_deferred:.0f} s"],
        [f"slots taken while all ran, for {found.together:.0f} s", f"**{found.slots}**"],
        ["processes of tasks meanwhile", f"**{found.processes}**"],
        ["processor time of the triggerer, per second", f"{found.triggerer * 1000:.0f} ms"],
        ["processor time of everything on the machine, per second", f"{found.machine * 1000:.0f} ms"],
        ["from the end of the containers to the end of the run", f"{found.until_finished:.0f} s"],
        ["the whole run", f"{found.seconds:.0f} s"],
        [
            f"{found.stages} DockerOperators, whose containers each hold a slot for as long, at the least",
            f"{found.by_hand:.0f} s",
        ],
    ]
    return markdown(["", ""], rows)


def spread(series: Series, name: str) -> str:
    """Give ``median (smallest-largest)`` in a unit that fits."""
    values = series.values(name)
    median = series.median(name)
    factor, unit, digits = (1, "s", 2) if median >= 1 else (1000, "ms", 1 if median < 0.1 else 0)
    low, high = min(values) * factor, max(values) * factor
    return f"{median * factor:.{digits}f} {unit} ({low:.{digits}f}–{high:.{digits}f})"


def times(series: Series, name: str) -> str:
    """Give the ratio to the baseline, ``1`` for a baseline itself."""
    ratio = series.ratio(name)
    return "1" if ratio is None else f"**{ratio:.2f}**"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Give a table, its first column to the left and the others to the right."""
    lines = ["| " + " | ".join(header) + " |", "|---|" + "---:|" * (len(header) - 1)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"
