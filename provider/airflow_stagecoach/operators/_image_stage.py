"""``image:`` stages as tasks: where they run, whose files they have, when the triggerer may follow them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_stagecoach.engine.secrets import Hider

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_stagecoach.document.plan import JobPlan, RunsOnPlan
    from airflow_stagecoach.engine.contract import Unit

#: The Docker daemon of the worker: without settings, so DOCKER_HOST or the local socket says where it is.
WORKERS_DAEMON: RunsOnPlan = {"type": "docker"}


def stage_place(spec: Mapping[str, Any], runs_on: RunsOnPlan) -> RunsOnPlan:
    """Where a stage runs. An ``image:`` stage of a job that runs on the worker is a container beside it.

    :param runs_on: of its job
    """
    return WORKERS_DAEMON if spec["kind"] == "image" and is_worker(runs_on) else runs_on


def is_worker(runs_on: RunsOnPlan) -> bool:
    """Whether a job runs on an Airflow worker: on any, or on those of a queue."""
    queue = (runs_on.get("with_") or {}).get("queue")
    return runs_on["type"] == "local" or (runs_on["type"] == "self-hosted" and queue is not None)


def copies_files(spec: Mapping[str, Any], job: JobPlan | None) -> bool:
    """Whether a container gets a copy of the files of its leg, whose other stages run on the worker."""
    if job is None or len(job["stages"]) < 2:
        return False
    return spec["kind"] == "image" and is_worker(job["runs_on"])


def needs_worker(unit: Unit) -> bool:
    """Whether the worker has to follow a stage to its end: lines of it may hold secret values.

    Elsewhere the engine hides them before they leave the place. Here it is nowhere, and the triggerer, which
    would pass the lines on as they are, may not be told the values: what it is told is stored.
    """
    kinds = [spec["kind"] for spec in unit["stages"]]
    return kinds == ["image"] and not Hider(unit.get("contexts") or {}).is_idle
