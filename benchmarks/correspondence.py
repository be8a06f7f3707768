"""Whether the corpora say the same: same DAGs, same stages, same order, as far as the formats allow.

Tasks that Stagecoach adds (``__result__`` and the like) are taken out, and the edges that lead through
them joined, before anything is compared. ``python -m benchmarks.correspondence FOLDER DAG_ID OUT``
describes one DAG, in a process of its own.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import corpus
from benchmarks.child import BUNDLE, environment

if TYPE_CHECKING:
    from benchmarks.loading import Setting


def describe(folder: Path, dag_id: str) -> dict[str, Any]:
    """Describe a DAG of a folder in words that all formats share."""
    from airflow.dag_processing.dagbag import BundleDagBag
    from airflow.sdk.definitions.mappedoperator import MappedOperator

    bag = BundleDagBag(folder, bundle_path=folder, bundle_name=BUNDLE)
    if bag.import_errors:
        raise AssertionError(bag.import_errors)
    dag: Any = bag.dags[dag_id]
    followers = {task.task_id: set(task.downstream_task_ids) for task in dag.tasks}
    edges = _reduce(_without_own_tasks(followers))
    mapped = {}
    for task in dag.tasks:
        group = next(iter(task.iter_mapped_task_groups()), None)
        if group is not None:
            mapped[task.task_id] = _legs(group._expand_input)
        elif isinstance(task, MappedOperator):
            mapped[task.task_id] = _legs(task._get_specified_expand_input())
    stages = [task for task in dag.tasks if not _is_own(task.task_id)]
    return {
        "tasks": len(followers),
        "edges": sorted(edges),
        "mapped": {task: legs for task, legs in mapped.items() if not _is_own(task)},
        "groups": sorted({task.task_id.rpartition(".")[0] for task in stages if task.task_group.group_id}),
        "rules": {task_id: _rule_of_job(dag, task_id) for task_id in ("report.render", "clean.remove")},
        "retries": sorted({task.retries for task in stages}),
        "timeouts": sorted({str(task.execution_timeout) for task in stages}),
        "schedule": _schedule(dag),
        "tags": sorted(set(dag.tags) - {"dagfactory"}),
        "params": {name: dag.params[name] for name in sorted(dag.params)},
        "param types": {name: dag.params.get_param(name).schema.get("type") for name in sorted(dag.params)},
    }


def _schedule(dag: Any) -> str:
    """The cron expression. Zones are compared by offset only: two formats know no names of zones."""
    import pendulum
    from airflow.serialization.serialized_objects import DagSerialization

    timetable = DagSerialization.to_dict(dag)["dag"]["timetable"]["__var"]
    zone = pendulum.timezone(timetable["timezone"])
    return f"{timetable['expression']} {pendulum.datetime(2026, 6, 1, tz=zone).utcoffset()}"


def _legs(expand_input: Any) -> int:
    value = expand_input.value
    return math.prod(len(one) for one in value.values()) if isinstance(value, dict) else len(value)


def _is_own(task_id: str) -> bool:
    return task_id.rpartition(".")[2].startswith("__")


def _rule_of_job(dag: Any, task_id: str) -> str:
    """The rule of the job's first task: an added start task carries it where there is one."""
    start = f"{task_id.partition('.')[0]}.__start__"
    return str(dag.task_dict.get(start, dag.task_dict[task_id]).trigger_rule.value)


def _without_own_tasks(followers: dict[str, set[str]]) -> dict[str, set[str]]:
    def reach(task: str) -> set[str]:
        found: set[str] = set()
        for follower in followers[task]:
            found |= reach(follower) if _is_own(follower) else {follower}
        return found

    return {task: reach(task) for task in followers if not _is_own(task)}


def _reduce(followers: dict[str, set[str]]) -> set[tuple[str, str]]:
    """Drop the edges that a longer way makes superfluous."""

    def reach(task: str) -> set[str]:
        found = set(followers[task])
        for follower in followers[task]:
            found |= reach(follower)
        return found

    return {
        (task, follower)
        for task, direct in followers.items()
        for follower in direct
        if not any(follower in reach(other) for other in direct - {follower})
    }


def check_correspondence(setting: Setting, python: str, airflow: str) -> list[str]:
    """Compare every format with hand-written Python.

    :return: lines for the report: what a format cannot say, and how many tasks it makes
    :raises AssertionError: a format disagrees where it need not
    """
    formats = {"stagecoach": "Stagecoach"}
    if airflow.startswith("3.4"):
        formats["airflow-yaml"] = "Airflow's own YAML"
    elif setting.dag_factory:
        formats["dag-factory"] = "dag-factory"
    wanted = _ask(setting, python, "python")
    lines = []
    for format_, label in formats.items():
        found = _ask(setting, python, format_)
        different = {name for name, value in wanted.items() if found[name] != value} - {"tasks"}
        allowed = {"mapped", "groups", "param types"} if format_ == "airflow-yaml" else set()
        if different - allowed:
            details = {name: (found[name], wanted[name]) for name in different - allowed}
            raise AssertionError(f"{label} does not say what hand-written Python says: {details}")
        without = f", without {' and '.join(sorted(different))}" if different else ""
        lines.append(f"{label}: {found['tasks']} tasks, hand-written Python {wanted['tasks']}{without}")
    return lines


def _ask(setting: Setting, python: str, format_: str) -> dict[str, Any]:
    folder = corpus.write(format_, setting.folder, 1)
    with tempfile.TemporaryDirectory(dir=setting.folder) as scratch:
        out = Path(scratch, "dag.json")
        factory = setting.dag_factory if format_.startswith("dag-factory") else None
        done = subprocess.run(
            [python, "-m", "benchmarks.correspondence", str(folder), corpus.dag_id_of(0), str(out)],
            env=environment(setting.folder / "home", folder, None, factory),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{format_}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        found: dict[str, Any] = json.loads(out.read_text())
        return found


if __name__ == "__main__":
    Path(sys.argv[3]).write_text(json.dumps(describe(Path(sys.argv[1]), sys.argv[2])))
