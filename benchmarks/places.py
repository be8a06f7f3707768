"""A stage that does nothing, where ``runs-on`` says, against the bare operator of that place's provider.

Every stage is a job of its own, as every operator is a task: neither shares a folder with another.
"""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.live import machine_cpu
from benchmarks.series import Series, interleave

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.live import Live

#: Tasks of each kind in a run. The first of a kind is not counted: its worker is new.
TASKS = 5

#: What each kind of stage does, and the command that the bare operator is given.
KINDS = {"bash": ('bash: "true"', ["sh", "-c", "true"]), "python": ("run: pass", ["python3", "-c", "pass"])}

_JOB = """\
    KIND_N:
      NEEDS
      runs-on: {type: TYPE, with: SETTINGS}
      stages:
        - {name: Nothing, id: nothing, STAGE}
"""

_PYTHON = '''\
"""Containers one after the other."""

from MODULE import OPERATOR
from airflow.sdk import DAG, chain

with DAG("DAG_ID"):
    chain(
OPERATORS    )
'''


class Place(NamedTuple):
    """Where a stage can run, and the operator by which one would use the same place by hand."""

    type: str  # of the backend
    settings: Mapping[str, Any]  # what stands under `with`
    operator: str  # the class's path
    arguments: Mapping[str, Any]  # of the operator, beside id and command
    command: str = "command"  # the argument that takes the command

    def dag_ids(self) -> tuple[str, str]:
        """Give the DAG by hand, and ours."""
        return f"cost_{self.type}_python", f"cost_{self.type}_stagecoach"


@dataclass
class Overhead:
    """What was found for one place. The first of two series is the bare operator's.

    :ivar kinds: a pair of series for each of ``KINDS``: a task's ``seconds`` from its start to its end as
        Airflow has them, and ``cpu``, the processor time of worker and task
    :ivar runs: of whole runs: processor time of the ``scheduler``, and of the whole ``machine``
    """

    place: str
    kinds: list[Series] = field(default_factory=list)
    runs: list[Series] = field(default_factory=list)


def docker(url: str, image: str) -> Place:
    """Give the place of ``runs-on: docker``."""
    return Place(
        "docker",
        {"image": image, "host": url},
        "airflow.providers.docker.operators.docker.DockerOperator",
        # As of ours, the container goes when it has ended, and nothing of the worker's is mounted.
        {"image": image, "docker_url": url, "auto_remove": "force", "mount_tmp_dir": False},
    )


def kubernetes(kubeconfig: str, namespace: str, image: str) -> Place:
    """Give the place of ``runs-on: kubernetes``."""
    return Place(
        "kubernetes",
        {"image": image, "namespace": namespace, "config-file": kubeconfig},
        "airflow.providers.cncf.kubernetes.operators.pod.KubernetesPodOperator",
        {"image": image, "namespace": namespace, "config_file": kubeconfig, "in_cluster": False},
        command="cmds",
    )


def documents(place: Place) -> dict[str, str]:
    """Give the files of both DAGs."""
    by_hand, ours = place.dag_ids()
    jobs, operators, previous = "", "", ""
    for number in range(TASKS):
        for kind, (stage, command) in KINDS.items():
            needs = f"needs: {previous}" if previous else "desc: the first"
            previous = f"{kind}_{number}"
            job = _JOB.replace("KIND_N", previous).replace("NEEDS", needs).replace("TYPE", place.type)
            jobs += job.replace("STAGE", stage).replace("SETTINGS", json.dumps(dict(place.settings)))
            arguments = {"task_id": previous, **place.arguments, place.command: command}
            name = place.operator.rpartition(".")[2]
            told = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
            operators += f"        {name}({told}),\n"
    module, _, name = place.operator.rpartition(".")
    python = _PYTHON.replace("MODULE", module).replace("OPERATORS", operators).replace("OPERATOR", name)
    return {
        f"cost_{place.type}.yaml": f"{ours}:\n  type: Workflow\n  jobs:\n{jobs}",
        f"cost_{place.type}_by_hand.py": python.replace("DAG_ID", by_hand),
    }


def measure(live: Live, place: Place, repeats: int, say: Callable[[str], None]) -> Overhead:
    """Run both, each with a new worker of its own, alternating."""
    say(f"stages that do nothing on {place.type}")
    by_hand, ours = place.dag_ids()
    operator = place.operator.rpartition(".")[2]
    baseline = Series(f"{operator}, hand-written Python")
    runs = [baseline, Series(f"runs-on: {place.type}, Stagecoach", baseline)]
    dag_ids = dict(zip((one.label for one in runs), (by_hand, ours), strict=True))
    interleave(runs, repeats, lambda series: _run(live, dag_ids[series.label]), say)
    found = Overhead(place.type, runs=runs)
    for kind, (_, command) in KINDS.items():
        pair = Series(f"{operator}, `{' '.join(command)}`")
        found.kinds += [pair, Series(f"{kind} stage on {place.type}, Stagecoach", pair)]
        for series, run in zip(found.kinds[-2:], runs, strict=True):
            series.figures = [one[kind] for one in run.figures]
    return found


def _run(live: Live, dag_id: str) -> dict[str, Any]:
    """Give the figures of a run, and for each kind the medians over its tasks."""
    live.new_workers(1)
    live.forget_tasks()
    scheduler, machine = live.cpu("scheduler"), machine_cpu()
    run = live.client.run(dag_id)
    figures: dict[str, Any] = {
        "scheduler": live.cpu("scheduler") - scheduler,
        "machine": machine_cpu() - machine,
    }
    tasks = {
        task["task_id"].partition(".")[0]: {"seconds": task["duration"]} for task in live.client.tasks(run)
    }
    for task_id, cost in live.cost_of_tasks(len(KINDS) * TASKS).items():
        tasks[task_id.partition(".")[0]]["cpu"] = cost["cpu"]
    for kind in KINDS:
        counted = [tasks[f"{kind}_{number}"] for number in range(1, TASKS)]
        figures[kind] = {name: statistics.median(one[name] for one in counted) for name in ("seconds", "cpu")}
    return figures
