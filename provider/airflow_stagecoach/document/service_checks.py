"""Whether a job may have ``services``: where it runs, and what its stages are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_stagecoach.document.diagnostics import one_of
from airflow_stagecoach.document.model import article
from airflow_stagecoach.document.runs_on import LOCAL_ONLY, capabilities

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from airflow_stagecoach.document.jobs import Job
    from airflow_stagecoach.document.runs_on import BackendCheck
    from airflow_stagecoach.document.source import Path
    from airflow_stagecoach.document.stage import Stage
    from airflow_stagecoach.document.workflow import Workflow

#: What a backend must be able to do.
SERVICES = "services"


def check_services(
    workflow: Workflow,
    damaged: frozenset[Any],
    backends: Mapping[str, BackendCheck] | None,
    add: Callable[..., None],
) -> None:
    """Note every job whose services have no place.

    :param workflow: a workflow whose models are right
    :param damaged: the parts that were left out because they could not be read
    :param backends: the installed ones; ``None``: only ``local`` is known, of others the run tells
    :param add: ``add(code, message, path, hint, on_key=...)``
    """
    for name, job in workflow.jobs.items():
        if not job.services:
            continue
        path: Path = ("jobs", name)
        if ("jobs", name, "runs_on") not in damaged:
            _check_place(job, path, LOCAL_ONLY if backends is None else backends, add)
        if job.granularity == "stage":
            message = "services live as long as the container of the stages, so with them one task runs all"
            add("bad-combination", message, (*path, "granularity"), "remove granularity", on_key=True)
        for index, stage in enumerate(job.stages):
            for trigger, place in _triggers(stage, (*path, "stages", index)):
                message = f"{article(trigger.noun)} cannot run in a job with services: it needs the worker"
                add("bad-combination", message, place, "make a job of its own of it", on_key=True)


def _check_place(
    job: Job, path: Path, backends: Mapping[str, BackendCheck], add: Callable[..., None]
) -> None:
    type_ = job.runs_on.type if job.runs_on is not None else "local"
    if job.runs_on is not None and job.runs_on.emulate:
        message = f"an emulated {type_} starts no container, so the job can have no services"
        add("bad-combination", message, (*path, "services"), "remove emulate, or the services", on_key=True)
        return
    check = backends.get(type_)
    # A worker is no container, whatever else is known of backends. Of one that does not say, the run tells.
    can = frozenset() if type_ == "local" else None if check is None else capabilities(check)
    if can is None or SERVICES in can:
        return
    able = [name for name, other in backends.items() if SERVICES in (capabilities(other) or ())]
    message = f"a job that runs on {type_} can have no services: it has no container beside which they stand"
    hint = "write runs-on: {type: docker, with: {image: ...}}"
    if able:
        hint += f"; services stand on {one_of(able)}"
    add("bad-combination", message, (*path, "services"), hint, on_key=True)


def _triggers(stage: Stage, path: Path) -> Iterator[tuple[Stage, Path]]:
    """The trigger stages at and below a stage: the one kind that the engine asks the worker to run."""
    if stage.kind == "trigger":
        yield stage, (*path, "trigger")
    for place, children in stage.children():
        for index, child in enumerate(children):
            yield from _triggers(child, (*path, *place, index))
