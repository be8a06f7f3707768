"""How long it takes, and how much memory, to load documents: three ways, several formats."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import corpus
from benchmarks.child import environment
from benchmarks.series import Figures, Series, interleave

if TYPE_CHECKING:
    from collections.abc import Callable

#: Files of which the processor mode parses an even choice, when there are more.
PARSED = 50

_AIRFLOWS_IMPORTER = json.dumps(
    [{"classpath": "airflow.sdk.importers.yaml_importer.YamlDagImporter", "extensions": [".yaml"]}]
)


@dataclass(frozen=True)
class Contestant:
    """A format under one Airflow. ``cold``: without what an earlier loading kept (plans, bytecode)."""

    label: str
    format: str
    python: str
    cold: bool = False


@dataclass
class Setting:
    """What is the same for all measurements of loading."""

    folder: Path  # for corpora, caches and logs
    dag_factory: Path | None  # a folder that has dag-factory; kept apart, its plugin would load everywhere
    say: Callable[[str], None]
    warmed: set[tuple[str, int, str]] = field(
        default_factory=set
    )  # corpora that an Airflow has loaded before


@dataclass
class Table:
    """One way to load, one number of documents, one Airflow."""

    mode: str
    count: int
    airflow: str
    series: list[Series]


def contestants(python: str, setting: Setting, *, airflow_yaml: bool) -> list[Contestant]:
    """List who is compared under one interpreter. Python comes first: the others are compared with it."""
    found = [
        Contestant("hand-written Python", "python", python),
        Contestant("Stagecoach", "stagecoach", python),
        Contestant("hand-written Python, first time", "python", python, cold=True),
        Contestant("Stagecoach, first time", "stagecoach", python, cold=True),
    ]
    if airflow_yaml:
        found.append(Contestant("Airflow's own YAML", "airflow-yaml", python))
    elif setting.dag_factory:
        found.append(Contestant("dag-factory, a loader per file", "dag-factory", python))
        found.append(Contestant("dag-factory, one loader for the folder", "dag-factory-folder", python))
    return found


def backend_contestants(python: str) -> list[Contestant]:
    """List a document of Stagecoach, and the same with a ``runs-on`` of every backend."""
    formats = {"without `runs-on`": "stagecoach", "with every backend": "stagecoach-backends"}
    return [
        Contestant(f"{label}{', first time' if cold else ''}", format_, python, cold)
        for cold in (False, True)
        for label, format_ in formats.items()
    ]


def measure(setting: Setting, contestant: Contestant, mode: str, count: int) -> Figures:
    """Measure once, in a fresh process."""
    folder = corpus.write(contestant.format, setting.folder, count)
    home = setting.folder / "home"
    cache = setting.folder / "cache"
    with tempfile.TemporaryDirectory(dir=setting.folder) as scratch:
        if contestant.cold:
            cache = Path(scratch, "cache")
            for compiled in folder.rglob("__pycache__"):
                shutil.rmtree(compiled)
        out = Path(scratch, "figures.json")
        factory = setting.dag_factory if contestant.format.startswith("dag-factory") else None
        variables = environment(home, folder, cache, factory)
        if contestant.format == "airflow-yaml":
            variables["AIRFLOW__DAG_PROCESSOR__DAG_IMPORTER_CONFIGS"] = _AIRFLOWS_IMPORTER
        arguments = {
            "bag": [],
            "processor": [str(max(1, count // PARSED))],
            "worker": [corpus.file_of(contestant.format, count // 2), corpus.dag_id_of(count // 2)],
        }[mode]
        done = subprocess.run(
            [contestant.python, "-m", "benchmarks.child", mode, str(folder), str(out), *arguments],
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
            check=False,
        )
        if done.returncode or not out.exists():
            raise RuntimeError(f"{contestant.label}, {mode} of {count}:\n{done.stdout[-3000:]}")
        figures: Figures = json.loads(out.read_text())
    if figures.get("sdks"):
        raise AssertionError(f"{contestant.label}: loading a document imported {figures['sdks']}")
    return figures


def compare(setting: Setting, python: str, airflow: str, mode: str, count: int, repeats: int) -> Table:
    """Measure the formats under one interpreter, interleaved."""
    setting.say(f"{mode}, {count} documents, Airflow {airflow}")
    found = contestants(python, setting, airflow_yaml=airflow.startswith("3.4"))
    return _compare(setting, found, Table(mode, count, airflow, []), repeats)


def compare_backends(
    setting: Setting, python: str, airflow: str, mode: str, count: int, repeats: int
) -> Table:
    """Measure what ``runs-on`` costs when a document is loaded, interleaved."""
    setting.say(f"{mode}, {count} documents with every backend, Airflow {airflow}")
    return _compare(setting, backend_contestants(python), Table(mode, count, airflow, []), repeats)


def _compare(setting: Setting, found: list[Contestant], table: Table, repeats: int) -> Table:
    """Fill a table. The first contestant, and the first cold one, is what the others are compared with."""
    mode, count = table.mode, table.count
    by_label = {one.label: one for one in found}
    series = {label: Series(label) for label in by_label}
    for label, one in series.items():
        base = next(name for name in series if by_label[name].cold == by_label[label].cold)
        one.baseline = None if base == label else series[base]
    for contestant in by_label.values():
        corpus_and_python = (contestant.format, count, contestant.python)
        if not contestant.cold and corpus_and_python not in setting.warmed:
            # Not counted: it compiles Python to bytecode and fills the cache of plans.
            measure(setting, contestant, "bag", count)
            setting.warmed.add(corpus_and_python)
    interleave(
        list(series.values()),
        repeats,
        lambda one: measure(setting, by_label[one.label], mode, count),
        setting.say,
    )
    table.series = list(series.values())
    return table
