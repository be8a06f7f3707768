"""Whether ``image:`` stages have a place where they can run, and other stages the image that they need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_stagecoach.document.diagnostics import one_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_stagecoach.document.jobs import Job
    from airflow_stagecoach.document.runs_on import BackendCheck, RunsOn
    from airflow_stagecoach.document.source import Path
    from airflow_stagecoach.document.workflow import Workflow

#: What a backend must be able to do.
IMAGE = "image"


def check_images(
    workflow: Workflow,
    damaged: frozenset[Any],
    backends: Mapping[str, BackendCheck] | None,
    add: Callable[..., None],
) -> None:
    """Note every ``image:`` stage that cannot run where its job runs, and every job that lacks an image.

    :param workflow: a workflow whose models are right
    :param damaged: the parts that were left out because they could not be read
    :param backends: the installed ones; of those that do not say what they can, the run tells
    :param add: ``add(code, message, path, hint, on_key=...)``
    """
    for name, job in workflow.jobs.items():
        if job.runs_on is None or job.runs_on.type == "local" or ("jobs", name, "runs_on") in damaged:
            continue  # On a worker its own Docker daemon runs them.
        check = (backends or {}).get(job.runs_on.type)
        _check_places(job, job.runs_on, ("jobs", name, "stages"), check, backends or {}, add)
        if ("jobs", name, "stages") not in damaged:
            _check_needed(job, job.runs_on, ("jobs", name, "runs-on"), check, add)


def _check_places(
    job: Job,
    runs_on: RunsOn,
    path: Path,
    check: BackendCheck | None,
    backends: Mapping[str, BackendCheck],
    add: Callable[..., None],
) -> None:
    can = getattr(check, "capabilities", None)
    on_queue = runs_on.type == "self-hosted" and "queue" in (runs_on.with_ or {})
    for index, stage in enumerate(job.stages):
        if stage.kind != IMAGE:
            continue
        place = (*path, index, "image")
        if runs_on.emulate:
            message = f"an emulated {runs_on.type} starts no container, so it runs no image stages"
            add("bad-combination", message, place, "remove emulate, or write bash", on_key=True)
        elif can is not None and IMAGE not in can and not on_queue:
            able = [type_ for type_, other in backends.items() if IMAGE in getattr(other, "capabilities", ())]
            message = f"a job that runs on {runs_on.type} can have no image stages"
            hint = f"make a job of its own of it, which runs on {one_of(['local', *able])}"
            add("bad-combination", message, place, hint, on_key=True)


def _check_needed(
    job: Job, runs_on: RunsOn, path: Path, check: BackendCheck | None, add: Callable[..., None]
) -> None:
    """Settings that only ``image:`` stages can do without."""
    if all(stage.kind == IMAGE for stage in job.stages):
        return
    for setting, *others in getattr(check, "needed_without_image", ()):
        if not {setting, *others} & (runs_on.with_ or {}).keys():
            place = path if runs_on.with_ is None else (*path, "with")
            hint = f"write runs-on: {{type: {runs_on.type}, with: {{{setting}: ...}}}}"
            add("missing-key", f"runs-on: {runs_on.type} needs '{setting}'", place, hint)
