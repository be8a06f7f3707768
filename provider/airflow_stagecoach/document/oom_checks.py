"""Whether ``retry: {on-oom}`` can do what it says: the stage's memory has a limit, and room to grow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_stagecoach.document.inherit import stage_resources
from airflow_stagecoach.document.model import article
from airflow_stagecoach.document.resources import shown
from airflow_stagecoach.document.stages import WITH_RESOURCES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from airflow_stagecoach.document.jobs import Job
    from airflow_stagecoach.document.on_oom import OnOom
    from airflow_stagecoach.document.runs_on import BackendCheck
    from airflow_stagecoach.document.source import Path
    from airflow_stagecoach.document.stage import Stage
    from airflow_stagecoach.document.workflow import Workflow

#: What a backend must be able to do: limit the memory of its work, and of each stage where several share it.
MEMORY, MEMORY_OF_STAGES = "memory", "memory-of-stages"

_KEY = ("retry", "on-oom")


def check_on_oom(
    workflow: Workflow,
    damaged: frozenset[Any],
    backends: Mapping[str, BackendCheck] | None,
    add: Callable[..., None],
) -> None:
    """Note every ``on-oom`` that could not raise anything.

    :param workflow: a workflow whose models are right
    :param damaged: the parts that were left out because they could not be read
    :param backends: the installed ones; ``None``: what others than ``local`` can do, the run tells
    :param add: ``add(code, message, path, hint, on_key=...)``
    """
    _Check(workflow, damaged, backends, add).run()


class _Check:
    def __init__(
        self,
        workflow: Workflow,
        damaged: frozenset[Any],
        backends: Mapping[str, BackendCheck] | None,
        add: Callable[..., None],
    ) -> None:
        self.workflow = workflow
        self.damaged = damaged
        self.backends = backends
        self._add = add
        self._told: set[Path] = set()
        self._used: set[Path] = set()

    def add(self, code: str, message: str, path: Path, hint: str) -> None:
        """Note a fault; of one place only the first, whose stage the others are like."""
        if path not in self._told:
            self._told.add(path)
            self._add(code, message, path, hint, on_key=True)

    def run(self) -> None:
        """Look at every stage, then for what no stage has any use for."""
        defaults = self.workflow.defaults
        whole = not any(path[0] == "jobs" for path in self.damaged if path)
        for name, job in self.workflow.jobs.items():
            path: Path = ("jobs", name)
            for index, stage in enumerate(job.stages):
                self._stage(stage, job, (*path, "stages", index))
            if whole:
                self._is_used(job, path, "no stage of this job")
        if defaults is not None and whole:
            self._is_used(defaults, ("defaults",), "no stage")

    def _is_used(self, level: Any, path: Path, who: str) -> None:
        place = (*path, *_KEY)
        if level.retry is None or level.retry.on_oom is None or place in self._used | self._told:
            return
        message = f"'on-oom' raises the memory of stages, and {who} takes it from here"
        self.add("bad-combination", message, place, "write it on a stage with resources: {memory: ...}")

    def _stage(self, stage: Stage, job: Job, path: Path) -> None:
        for inner, place in _inner_stages(stage, path):
            if inner.retry is not None and inner.retry.on_oom is not None:
                message = "a stage inside another one has no memory of its own that could grow"
                self.add("not-nested", message, (*place, *_KEY), "move on-oom to the outermost stage")
        level, on_oom = self._of(stage, job, path)
        if on_oom is None:
            return
        place = (*level, *_KEY)
        if stage.kind not in WITH_RESOURCES:
            if level == path:
                message = f"{article(stage.noun)} has no memory of its own that could grow"
                hint = "on-oom is for bash, Python, call, image and nested stages; remove it"
                self.add("bad-combination", message, place, hint)
            return
        self._used.add(place)
        which = "the stage" if level == path else f"stage {path[-1] + 1} of job '{path[1]}'"  # type: ignore[operator]  # a position
        plan = stage_resources(stage, job, self.workflow.defaults)
        memory = plan.get("limits", {}).get("memory", plan.get("memory"))
        if memory is None:
            message = f"'on-oom' raises the memory of a stage, and {which} is given none"
            self.add(
                "missing-key",
                message,
                place,
                "write resources: {memory: 1Gi}, or whatever is enough at first",
            )
            return
        if on_oom.max is not None and on_oom.max <= memory:
            most, first = shown("memory", on_oom.max), shown("memory", memory)
            message = f"max {most} is not above the memory of {which}, {first}"
            self.add("out-of-range", message, (*place, "max"), "raise max")
        if not (stage.kind == "image" and self._type(job) == "local"):  # which is a container anyway
            self._place(job, place)

    def _of(self, stage: Stage, job: Job, path: Path) -> tuple[Path, OnOom | None]:
        """Where the retry of a stage stands, and what it says."""
        places: list[tuple[Any, Path]] = [
            (stage, path),
            (job, path[:2]),
            (self.workflow.defaults, ("defaults",)),
        ]
        for level, place in places:
            if level is not None and level.retry is not None:
                return place, level.retry.on_oom
        return path, None

    def _type(self, job: Job) -> str:
        return job.runs_on.type if job.runs_on is not None else "local"

    def _place(self, job: Job, place: Path) -> None:
        type_ = self._type(job)
        # What is emulated has no limit, and its log says so.
        if type_ == "local" or self.backends is None or (job.runs_on is not None and job.runs_on.emulate):
            return
        can = getattr(self.backends.get(type_), "capabilities", None)
        if can is None:
            return
        if MEMORY not in can:
            message = f"runs-on: {type_} does not say that it limits memory, so 'on-oom' would raise nothing"
            self.add("bad-combination", message, place, "remove on-oom, or write runs-on: docker or local")
        elif job.one_task and MEMORY_OF_STAGES not in can:
            message = (
                f"with {job.one_task} all stages run in one place, which {type_} gives its memory before the "
                "first, so 'on-oom' cannot raise it"
            )
            hint = "remove on-oom" if job.services else "write granularity: stage, or remove on-oom"
            self.add("bad-combination", message, place, hint)


def _inner_stages(stage: Stage, path: Path) -> Iterator[tuple[Stage, Path]]:
    """Every stage inside another one, at any depth."""
    for place, children in stage.children():
        for index, child in enumerate(children):
            own = (*path, *place, index)
            yield child, own
            yield from _inner_stages(child, own)
