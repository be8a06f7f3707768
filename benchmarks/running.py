"""What is measured in runs under a real Airflow: starts and costs of tasks, a matrix, and the backends."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING

from benchmarks import costs, deferring, engine_start, legs, places, starts
from benchmarks.engines import docker_engine
from benchmarks.live import running_airflow

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from tests.backends.docker_engine import DockerEngine

    from benchmarks.live import Live
    from benchmarks.loading import Setting
    from benchmarks.series import Series

#: In the order in which they run. Those of ``IN_CONTAINERS`` need a Docker engine.
PARTS = ("legs", "starts", "costs", "engine", "docker", "deferring")
IN_CONTAINERS = ("engine", "docker", "deferring")


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
    """Start what the parts need, measure, and stop it.

    :param parts: some of ``PARTS``
    :param count: legs of the matrix
    """
    found = Runs(version("apache-airflow"), "")
    with contextlib.ExitStack() as stack:
        engine = None
        if set(parts) & set(IN_CONTAINERS):
            engine = stack.enter_context(docker_engine(setting.say))
        if "engine" in parts and engine is not None:
            from tests.backends import images

            found.engine = engine_start.measure(engine.client, images.PYTHON, 5 if quick else 40, setting.say)
        if set(parts) - {"engine"}:
            _measure_in_airflow(found, setting, parts, engine, count=count, quick=quick)
    return found


def _measure_in_airflow(
    found: Runs,
    setting: Setting,
    parts: Collection[str],
    engine: DockerEngine | None,
    *,
    count: int,
    quick: bool,
) -> None:
    folder = setting.folder / "running"
    say = setting.say
    documents: dict[str, str] = {}
    dag_ids: list[str] = []
    measurements: list[Callable[[Live], None]] = []

    def add(files: dict[str, str], ids: Collection[str], measurement: Callable[[Live], None]) -> None:
        documents.update(files)
        dag_ids.extend(ids)
        measurements.append(measurement)

    def measure_legs(live: Live) -> None:
        found.legs = legs.measure(live, count, 1 if quick else 2, say)

    def measure_starts(live: Live) -> None:
        found.starts = starts.measure(live, 1 if quick else 3, say)

    def measure_costs(live: Live) -> None:
        found.costs = costs.measure(live, 1 if quick else 3, say)

    # A run of `legs` begins with one of `starts`.
    documents.update(starts.documents())
    dag_ids.extend(starts.DAGS.values())
    if "legs" in parts:
        add(legs.documents(count), legs.DAGS.values(), measure_legs)
    if "starts" in parts:
        add({}, (), measure_starts)
    if "costs" in parts:
        add(costs.documents(), costs.dag_ids(), measure_costs)
    if engine is not None:
        from tests.backends import images

        docker = places.docker(engine.url, images.PYTHON)
        gate = folder / "gate"
        stages, together = (6, 10.0) if quick else (50, deferring.TOGETHER)

        def measure_docker(live: Live) -> None:
            found.places.append(places.measure(live, docker, 1 if quick else 4, say))

        def measure_deferring(live: Live) -> None:
            gate.mkdir()
            found.deferring = deferring.measure(live, gate, stages, together, say)

        if "docker" in parts:
            add(places.documents(docker), docker.dag_ids(), measure_docker)
        if "deferring" in parts:
            files = deferring.documents(engine.url, images.BUSYBOX, gate, stages)
            add(files, [deferring.DAG_ID], measure_deferring)
    if not measurements:
        return
    with running_airflow(folder, documents, say) as live:
        found.database = live.database
        live.client.wait_for_dags(dag_ids)
        time.sleep(3)  # until the DAG processor has settled
        for measurement in measurements:
            measurement(live)
