"""A stage on a remote backend: followed from the worker for a while, then from the triggerer."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast

from airflow.sdk.exceptions import AirflowTaskTimeout

from airflow_stagecoach.backends.ownership import leg_key
from airflow_stagecoach.backends.remote import RemoteBackend
from airflow_stagecoach.backends.work import StillRunning
from airflow_stagecoach.exceptions import StageConfigError
from airflow_stagecoach.operators import _local
from airflow_stagecoach.operators._image_stage import is_worker, needs_worker
from airflow_stagecoach.operators._run import is_one_task

if TYPE_CHECKING:
    from airflow_stagecoach.backends._services import Service
    from airflow_stagecoach.backends.base import Backend
    from airflow_stagecoach.backends.work import Handle
    from airflow_stagecoach.document.plan import JobPlan, RunsOnPlan, ServicePlan
    from airflow_stagecoach.engine import Hooks
    from airflow_stagecoach.engine.contract import Identity, Leg, Result, Unit
    from airflow_stagecoach.triggers.work import WorkTrigger

#: Seconds that a worker follows work before it leaves that to the triggerer. Not less: a task that comes back
#: within some seconds can be failed by the scheduler, which still waits to hear of the first worker's end.
BEFORE_DEFERRING = 10.0


#: Type of what stands for another backend on the worker.
EMULATED = "emulated"


def identity(ti: Any) -> Identity:
    """Which task this is."""
    index = ti.map_index
    return {
        "dag_id": ti.dag_id,
        "run_id": ti.run_id,
        "task_id": ti.task_id,
        "map_index": -1 if index is None else index,
        "try_number": ti.try_number,
    }


def make_backend(runs_on: RunsOnPlan, settings: dict[str, Any]) -> Backend:
    """The backend of a job.

    :param settings: what stands under ``with``, evaluated
    :raises StageConfigError: there is no such backend, or its settings do not fit
    """
    from airflow_stagecoach.backends import get_backend

    try:
        return get_backend(runs_on["type"], settings, emulate=runs_on.get("emulate", False))
    except (LookupError, ValueError) as error:
        raise StageConfigError(str(error)) from error


def evaluate_services(
    services: dict[str, ServicePlan], contexts: dict[str, Any], backend: Backend
) -> list[Service]:
    """The services of a leg, for its unit.

    :raises StageConfigError: a value cannot be used, or the backend has no services
    """
    from airflow_stagecoach import expressions
    from airflow_stagecoach.backends._services import ServiceError, evaluate
    from airflow_stagecoach.document.durations import parse_duration

    if "services" not in getattr(backend, "capabilities", ()):
        raise StageConfigError(f"a job that runs on {backend.type} can have no services")
    try:
        return evaluate(services, lambda value: expressions.render(value, contexts), parse_duration)
    except ServiceError as error:
        raise StageConfigError(str(error)) from error


def run(backend: Backend, unit: Unit, hooks: Hooks, ti: Any) -> Result:
    """Run a unit to its end, or until the worker is needed elsewhere.

    :raises StillRunning: the triggerer may go on
    """
    if not isinstance(backend, RemoteBackend):
        return backend.run(unit, hooks)
    # Without a triggerer the wait is for this process alone.
    wait = None if _local.session is not None or needs_worker(unit) else BEFORE_DEFERRING
    whole = _complete(unit, ti)
    shares = type(backend).clean_leg is not RemoteBackend.clean_leg
    if _local.session is not None and shares and (leg := whole.get("leg")) is not None:
        clean = None if leg["keep"] else partial(backend.clean_leg, leg["key"])
        _local.session.leaves(backend.leg_name(leg["key"]), clean)
    if "resources" in whole and backend.type == EMULATED:
        hooks.log("The place is emulated: `resources` are neither given nor limited", "warning")
    try:
        return backend.run(whole, hooks, wait=wait)
    except StillRunning as still:
        if _is_wanted(ti):
            raise
        # Airflow would refuse to defer it, and tell nobody to stop the work.
        backend.cancel()
        return backend.follow(still.handle, whole, hooks, position=still.position)


def _is_wanted(ti: Any) -> bool:
    """Whether the task still runs as Airflow sees it: nobody has marked or cleared it just now."""
    try:
        found = ti.get_task_states(
            dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id], map_index=ti.map_index
        )
    except Exception:
        return True
    return set((found.get(ti.run_id) or {}).values()) <= {"running"}


def trigger(
    runs_on: RunsOnPlan, backend: RemoteBackend, still: StillRunning, deadline: float | None
) -> WorkTrigger:
    """What follows the work from here.

    :param deadline: of this try, in seconds since the epoch
    """
    from airflow_stagecoach.triggers.work import WorkTrigger

    return WorkTrigger({**runs_on, "with_": backend.reach()}, still.handle, still.position, deadline)


def resume(backend: Backend, unit: Unit, hooks: Hooks, *, event: dict[str, Any], handle: Handle) -> Result:
    """Take the result of work that a trigger followed; stop it when its time is over.

    :raises AirflowTaskTimeout: it was
    """
    remote = cast("RemoteBackend", backend)
    if event.get("timeout"):
        remote.cancel()
    result = remote.follow(handle, unit, hooks, position=event.get("position"))
    if event.get("timeout"):
        raise AirflowTaskTimeout("The work did not end within its timeout; it was stopped")
    return result


def _complete(unit: Unit, ti: Any) -> Unit:
    """The unit for a place where nobody else looks at the clock."""
    whole = {**unit, "identity": identity(ti), "enforce_timeouts": True}
    # Stages that share a task have those of their job, but for kinds that are given none.
    resources = next((spec["resources"] for spec in unit["stages"] if spec.get("resources")), None)
    if resources is not None:
        whole["resources"] = resources
    job = getattr(ti.task, "job", None)
    if job is not None and _shares(job):
        leg: Leg = {"key": leg_key(identity(ti)), "keep": job.get("cleanup") == "never"}
        whole["leg"] = leg
    return cast("Unit", whole)


def _shares(job: JobPlan) -> bool:
    """Whether a leg of the job consists of several tasks, at a place that is not the worker."""
    return not is_one_task(job) and len(job["stages"]) > 1 and not is_worker(job["runs_on"])


def clean_leg(backend: Backend | None, ti: Any, job: JobPlan | None) -> None:
    """Remove what the tasks of a leg shared, after its last one."""
    if isinstance(backend, RemoteBackend) and job is not None and _shares(job):
        backend.clean_leg(leg_key(identity(ti)))
