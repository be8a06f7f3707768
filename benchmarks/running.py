"""What is measured in runs under a real Airflow: starts and costs of tasks, a matrix, and the backends."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING

from benchmarks import costs, deferring, engine_start, legs, places, starts
from benchmarks.engines import cluster, docker_engine
from benchmarks.live import running_airflow

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from tests.backends.docker_engine import DockerEngine

    from benchmarks.live import Live
    from benchmarks.loading import Setting
    from benchmarks.series import Series

#: In the order in which they run.
PARTS = ("legs", "starts", "costs", "engine", "docker", "kubernetes", "deferring")


@dataclass
class Runs:
    """What runs gave; a part that was not measured is empty."""

    airflow: str
    database: str
    legs: legs.Legs | None = None
    starts: list[Series] = field(default_factory=list)
    costs: list[Series] = field(default_factory=list)
    engine: engine_start.EngineStart | None = None
    places: list[places.Overhead] = field(default_factory=list)
    deferring: deferring.Deferred | None = None


def measure(setting: Setting, parts: Collection[str], *, count: int, quick: bool) -> Runs:
    """Start what the parts need, measure, and stop it; one Airflow for each sort of place.

    :param parts: some of ``PARTS``
    :param count: legs of the matrix
    """
    found = Runs(version("apache-airflow"), "")
    if {"legs", "starts", "costs"} & set(parts):
        _measure_on_workers(found, setting, parts, count=count, quick=quick)
    if {"engine", "docker", "deferring"} & set(parts):
        with docker_engine(setting.say) as engine:
            if engine is not None:
                _measure_in_containers(found, setting, parts, engine, quick=quick)
    if "kubernetes" in parts:
        with cluster(setting.say) as pods:
            if pods is not None:
                from tests.backends import images

                namespace = pods.make_namespace("benchmarks")
                place = places.kubernetes(pods.kubeconfig, namespace, images.PYTHON)
                with _airflow(found, setting, "pods", places.documents(place), place.dag_ids()) as live:
                    found.places.append(places.measure(live, place, 1 if quick else 3, setting.say))
    return found


def _measure_on_workers(
    found: Runs, setting: Setting, parts: Collection[str], *, count: int, quick: bool
) -> None:
    documents = {**legs.documents(count), **starts.documents(), **costs.documents()}
    dag_ids = [*legs.DAGS.values(), *starts.DAGS.values(), *costs.dag_ids()]
    with _airflow(found, setting, "running", documents, dag_ids) as live:
        if "legs" in parts:
            found.legs = legs.measure(live, count, 1 if quick else 2, setting.say)
        if "starts" in parts:
            found.starts = starts.measure(live, 1 if quick else 3, setting.say)
        if "costs" in parts:
            found.costs = costs.measure(live, 1 if quick else 3, setting.say)


def _measure_in_containers(
    found: Runs, setting: Setting, parts: Collection[str], engine: DockerEngine, *, quick: bool
) -> None:
    from tests.backends import images

    if "engine" in parts:
        found.engine = engine_start.measure(engine.client, images.PYTHON, 5 if quick else 40, setting.say)
    if not {"docker", "deferring"} & set(parts):
        return
    place = places.docker(engine.url, images.PYTHON)
    gate = setting.folder / "gate"
    gate.mkdir()
    stages, together = (6, 10.0) if quick else (deferring.STAGES, deferring.TOGETHER)
    documents = {
        **places.documents(place),
        **deferring.documents(engine.url, images.BUSYBOX, gate, stages),
    }
    with _airflow(found, setting, "containers", documents, [*place.dag_ids(), deferring.DAG_ID]) as live:
        if "docker" in parts:
            found.places.append(places.measure(live, place, 1 if quick else 4, setting.say))
        if "deferring" in parts:
            found.deferring = deferring.measure(live, gate, stages, together, setting.say)


@contextlib.contextmanager
def _airflow(
    found: Runs, setting: Setting, name: str, documents: Mapping[str, str], dag_ids: Sequence[str]
) -> Iterator[Live]:
    """Start an Airflow that has found all its DAGs.

    :param name: of the folder that it keeps
    """
    with running_airflow(setting.folder / name, documents, setting.say) as live:
        found.database = live.database
        live.client.wait_for_dags(list(dag_ids))
        time.sleep(3)  # until the DAG processor has settled
        yield live
