"""Keys of run control that do not fit where they stand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_stagecoach.document.inherit import stage_resources
from airflow_stagecoach.document.model import article
from airflow_stagecoach.document.resources import above_the_limit, too_large
from airflow_stagecoach.document.retry_policy import PolicyError
from airflow_stagecoach.document.stages import WITH_RESOURCES
from airflow_stagecoach.document.task_fields import NO_TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_stagecoach.document.jobs import Job
    from airflow_stagecoach.document.plan import ResourcesPlan
    from airflow_stagecoach.document.retry import Retry
    from airflow_stagecoach.document.retry_policy import PolicyCheck
    from airflow_stagecoach.document.source import Path
    from airflow_stagecoach.document.stage import Stage
    from airflow_stagecoach.document.workflow import Workflow

    #: Takes code, message, path and hint of a fault, and whether it is the key that is wrong.
    Add = Callable[..., None]

#: Keys that belong to a task, so to the outermost stage or, with granularity: job, to the job.
_OF_A_TASK = {"pool": "pool", "pool_slots": "pool-slots", "priority": "priority", "resources": "resources"}
_OF_A_STAGE_OF_A_JOB = {**_OF_A_TASK, "notify": "notify", "teardown": "teardown"}

#: Kinds that Airflow's own operators run, which write to the task log themselves.
_OWN_LOG = ("operator", "trigger", "approval")

#: Backends that run on the worker's own machine.
_ON_THE_WORKER = ("local",)


def check_control(workflow: Workflow, damaged: frozenset[Any], add: Add) -> None:
    """Note every fault of these keys.

    :param workflow: a workflow whose models are right
    :param damaged: the parts that were left out because they could not be read
    :param add: ``add(code, message, path, hint, on_key=...)``
    """
    defaults = workflow.defaults
    if workflow.logging is not None and defaults is not None and defaults.logging is not None:
        message = "'logging' stands in defaults and on the workflow"
        add("bad-combination", message, ("defaults", "logging"), "keep one of them", on_key=True)
    late = workflow.notify.deadline if workflow.notify is not None else None
    if late and workflow.deadline is None and ("deadline",) not in damaged:
        message = "there is no deadline to tell about"
        add(
            "missing-key", message, ("notify", "deadline"), "write deadline: 30m on the workflow", on_key=True
        )
    _Jobs(workflow, damaged, add).run()


class _Jobs:
    """The checks of the jobs of one workflow."""

    def __init__(self, workflow: Workflow, damaged: frozenset[Any], add: Add) -> None:
        self.workflow = workflow
        self.damaged = damaged
        self._add = add
        self._told: set[tuple[str, Path]] = set()

    def add(self, code: str, message: str, path: Path, hint: str, *, on_key: bool = False) -> None:
        """Note a fault, once: what a job says may be wrong for each of its stages."""
        if (message, path) not in self._told:
            self._told.add((message, path))
            self._add(code, message, path, hint, on_key=on_key)

    def run(self) -> None:
        for name, job in self.workflow.jobs.items():
            path: Path = ("jobs", name)
            if ("jobs", name, "stages") not in self.damaged:
                self._teardowns(job, (*path, "stages"))
            if job.one_task:
                self._one_task(job, path, job.one_task)
            if job.resources is not None and not any(stage.kind in WITH_RESOURCES for stage in job.stages):
                message = "no stage of this job can be given resources"
                hint = "they are of bash, Python, call, image and nested stages; remove `resources`"
                self.add("bad-combination", message, (*path, "resources"), hint, on_key=True)
            for index, stage in enumerate(job.stages):
                own = (*path, "stages", index)
                self._resources(stage, job, own)
                self._own_log(stage, own)
                for inner, place in _inner_stages(stage, own):
                    self._nested(inner, place)

    def _teardowns(self, job: Job, path: Path) -> None:
        last = max((index for index, stage in enumerate(job.stages) if not stage.teardown), default=None)
        if last is None:
            message = "a job has at least one stage that is no teardown"
            hint = "remove teardown: true, or write the stages that it cleans up after"
            self.add("bad-teardown", message, (*path, 0, "teardown"), hint, on_key=True)
            return
        for index, stage in enumerate(job.stages[:last]):
            if stage.teardown:
                message = f"a teardown stands after the other stages, but stage {last + 1} follows it"
                hint = "move it to the end of the job"
                self.add("bad-teardown", message, (*path, index, "teardown"), hint, on_key=True)

    def _one_task(self, job: Job, path: Path, why: str) -> None:
        """With ``granularity: job`` or ``services``, the keys of a task belong to the job."""
        self._retry_is_not_told(job, path, why)
        for index, stage in enumerate(job.stages):
            own = (*path, "stages", index)
            self._retry_is_not_told(stage, own, why)
            for field, key in _OF_A_TASK.items():
                if getattr(stage, field) is not None:
                    message = f"with {why} one task runs all stages, so '{key}' belongs to the job"
                    self.add("bad-combination", message, (*own, key), f"write {key} on the job", on_key=True)
            self._only_a_level(stage, own, f"with {why} all stages have one log", "job")
            self._no_policy(stage, own, f"with {why} stages are retried inside the task")
        inherited = job.retry or (self.workflow.defaults.retry if self.workflow.defaults else None)
        if inherited is not None and inherited.policy and any(stage.retry is None for stage in job.stages):
            message = f"with {why} stages are retried inside the task, where no policy is asked"
            hint = "write a retry without policy on the job"
            if not job.services:
                hint += ", or granularity: stage"
            cause = ("services",) if job.services else ("granularity",)
            place = (*path, *(("retry", "policy") if job.retry is not None else cause))
            self.add("bad-combination", message, place, hint, on_key=True)

    def _only_a_level(self, stage: Stage, path: Path, why: str, owner: str) -> None:
        """Stages that share a log may have levels of their own."""
        for key in ("format", "file"):
            if stage.logging is not None and getattr(stage.logging, key) is not None:
                hint = f"write logging: {{{key}: ...}} on the {owner}"
                message = f"{why}, so '{key}' belongs to the {owner}"
                self.add("bad-combination", message, (*path, "logging", key), hint, on_key=True)

    def _own_log(self, stage: Stage, path: Path) -> None:
        """What an operator writes is neither turned into JSON nor copied to a file."""
        for key in ("format", "file"):
            if stage.kind in _OWN_LOG and stage.logging is not None and getattr(stage.logging, key):
                message = f"{article(stage.noun)} writes its own log, which has no '{key}'"
                hint = f"remove '{key}'; `level` holds for the operator's logger"
                self.add("bad-combination", message, (*path, "logging", key), hint, on_key=True)

    def _retry_is_not_told(self, place: Job | Stage, path: Path, why: str) -> None:
        if place.notify is not None and place.notify.retry:
            message = f"with {why} stages are retried inside the task, which nobody is told about"
            hint = "remove it" if why == "services" else "remove it, or write granularity: stage"
            self.add("bad-combination", message, (*path, "notify", "retry"), hint, on_key=True)

    def _resources(self, stage: Stage, job: Job, path: Path) -> None:
        if stage.kind not in WITH_RESOURCES:
            if stage.resources is not None:
                message = f"{article(stage.noun)} cannot be given resources"
                hint = "they are of bash, Python, call, image and nested stages; remove `resources`"
                if stage.kind == "operator":
                    hint = "give them to the operator, in its `with`"
                if stage.kind == "trigger":
                    hint = "write them in the workflow that it triggers"
                self.add("bad-combination", message, (*path, "resources"), hint, on_key=True)
            return
        plan = stage_resources(stage, job, self.workflow.defaults)
        for key, request, limit in too_large(plan):
            place = next(
                (*where, "resources", key)
                for level, where in self._levels(stage, job, path)
                if level.resources is not None and getattr(level.resources, key.replace("-", "_")) is not None
            )
            context = above_the_limit(key, request, limit).context
            self.add(context["code"], context["message"], place, context["hint"])
        on_worker = job.runs_on is None or job.runs_on.type in _ON_THE_WORKER
        if plan and on_worker and stage.kind != "image":
            self._on_the_worker(plan, stage, job, path)

    def _on_the_worker(self, plan: ResourcesPlan, stage: Stage, job: Job, path: Path) -> None:
        """What a worker can neither give nor limit, and what needs the task itself."""
        if plan.get("enforce") != "best-effort":
            hint = "run the job on a backend that {}, or write enforce: best-effort beside it"
            if plan.get("gpu"):
                place = self._where("gpu", stage, job, path)
                message = "the local backend cannot give GPUs"
                self.add("bad-combination", message, place, hint.format("has them"), on_key=True)
            if "ephemeral_storage" in {**plan, **plan.get("limits", {})}:
                place = self._where("ephemeral-storage", stage, job, path)
                message = "the local backend cannot limit what a stage writes to the disk"
                self.add("bad-combination", message, place, hint.format("can"), on_key=True)
        for inner, place in _inner_stages(stage, path):
            if inner.kind == "trigger":
                message = "a trigger cannot run inside a stage with resources, which has a process of its own"
                hint = "make it a stage of the job, or give resources to the stages beside it only"
                self.add("not-nested", message, (*place, "trigger"), hint, on_key=True)

    def _where(self, key: str, stage: Stage, job: Job, path: Path) -> Path:
        """The path of the innermost place that says something of an amount."""
        field = key.replace("-", "_")
        for level, where in self._levels(stage, job, path):
            own = level.resources
            if own is not None and getattr(own, field) is not None:
                return (*where, "resources", key)
            if own is not None and own.limits is not None and getattr(own.limits, field, None) is not None:
                return (*where, "resources", "limits", key)
        return path

    def _levels(self, stage: Stage, job: Job, path: Path) -> list[tuple[Any, Path]]:
        """Where resources may stand, the innermost first, each with the path that leads to it."""
        levels: list[tuple[Any, Path]] = [(stage, path), (job, path[:2])]
        if self.workflow.defaults is not None:
            levels.append((self.workflow.defaults, ("defaults",)))
        return levels

    def _nested(self, stage: Stage, path: Path) -> None:
        """An inner stage is no task of its own."""
        for field, key in _OF_A_STAGE_OF_A_JOB.items():
            if getattr(stage, field) is not None:
                message = f"'{key}' belongs to the stage around this one, which is one task"
                if key == "teardown":
                    message = "a teardown is a stage of the job, it cannot stand inside another stage"
                self.add(
                    "not-nested", message, (*path, key), f"move '{key}' to the outermost stage", on_key=True
                )
        self._only_a_level(stage, path, "a stage inside another one writes to its log", "outermost stage")
        if stage.timeout == NO_TIMEOUT:
            message = "a stage inside another one has no timeout of its own by default"
            self.add("bad-combination", message, (*path, "timeout"), "remove it", on_key=True)
        self._no_policy(stage, path, "a stage inside another one is retried inside its task")

    def _no_policy(self, stage: Stage, path: Path, why: str) -> None:
        if stage.retry is not None and stage.retry.policy:
            message = f"{why}, where no policy is asked"
            self.add("bad-combination", message, (*path, "retry", "policy"), "write delays", on_key=True)


def check_policies(workflow: Workflow, check: PolicyCheck, add: Add) -> None:
    """Note every retry policy that cannot be used (:mod:`retry_policy`)."""
    for retry, path in _retries(workflow):
        if retry is None or retry.policy is None:
            continue
        try:
            check(retry.policy, retry.with_ or {})
        except PolicyError as error:
            on_key = len(error.path) > 1
            add("bad-policy", str(error), (*path, "retry", *error.path), error.hint, on_key=on_key)


def _retries(workflow: Workflow) -> Iterator[tuple[Retry | None, Path]]:
    """Every retry that a task may have, with the path to what holds it."""
    if workflow.defaults is not None:
        yield workflow.defaults.retry, ("defaults",)
    for name, job in workflow.jobs.items():
        yield job.retry, ("jobs", name)
        for index, stage in enumerate(job.stages):
            yield stage.retry, ("jobs", name, "stages", index)


def _inner_stages(stage: Stage, path: Path) -> Iterator[tuple[Stage, Path]]:
    """Every stage inside another one, at any depth."""
    for place, children in stage.children():
        for index, child in enumerate(children):
            own = (*path, *place, index)
            yield child, own
            yield from _inner_stages(child, own)
