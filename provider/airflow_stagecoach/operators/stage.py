"""The operator that runs a stage through a backend."""

from __future__ import annotations

import shutil
from contextlib import closing
from typing import TYPE_CHECKING, Any

from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, TaskDeferred

from airflow_stagecoach import expressions
from airflow_stagecoach.backends import get_backend
from airflow_stagecoach.backends.work import StillRunning
from airflow_stagecoach.exceptions import StageFailed
from airflow_stagecoach.operators import _local
from airflow_stagecoach.operators._attempt import CONDITION, place_of
from airflow_stagecoach.operators._base import StageBaseOperator
from airflow_stagecoach.operators._image_stage import copies_files
from airflow_stagecoach.operators._log import LEVELS, StageLog, default_folder, logger_of
from airflow_stagecoach.operators._queue import ignores_queues
from airflow_stagecoach.operators._run import NESTED, OMITTED, is_one_task
from airflow_stagecoach.operators._secrets import Hider
from airflow_stagecoach.operators._workdir import removes, runs_after_failure, workdir

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.sdk import Context

    from airflow_stagecoach.backends.base import Backend
    from airflow_stagecoach.backends.work import Handle
    from airflow_stagecoach.document.plan import RunsOnPlan
    from airflow_stagecoach.engine import Hooks
    from airflow_stagecoach.engine.contract import Modules, Result, StageResult, Unit


class StageOperator(StageBaseOperator):
    """Run one stage: bash, Python, a call, or nested stages.

    Its outputs are the task's return value: a map.
    """

    _backend: Backend | None = None

    #: What a trigger said of the work that it followed, and the work's handle.
    _deferred: tuple[dict[str, Any], Handle] | None = None

    def _start(self, context: Context) -> dict[str, Any]:
        with self._fail_fast(context).guard(self._cancel):
            result = self._run_unit(context)
            (self.result,) = result["stages"].values()
            return _outputs(context["ti"], self.result, nested=self.spec["kind"] in NESTED)

    def _run_unit(self, context: Context) -> Result:
        """Run the unit on the backend; secret values are hidden in what comes back."""
        with self.attempt.phase("prepare"):
            unit = self._unit(context)
            hider = Hider(unit["contexts"])
            runs_on = self.runs_on or {"type": "local"}
            backend = self._backend = self._make_backend(context, runs_on, unit)
        with self.attempt.phase("execute"), closing(self._log_of(context, hider)) as log:
            hooks = make_hooks(context, hider, log.line)
            if runs_on["type"] == "local":
                self._tell_of_queue(hooks)
                self._tell_session(unit["workdir"])
                result: Result = hider.value(backend.run(unit, hooks))
            else:
                if "files" in unit:
                    self._tell_session(unit["files"])
                result = hider.value(self._run_remotely(context, unit, hooks, runs_on))
        return result

    def _tell_of_queue(self, hooks: Hooks) -> None:
        """Say so when the job names a queue that no executor here looks at."""
        queue = (self.job["runs_on"].get("with_") or {}).get("queue") if self.job is not None else None
        if queue is not None and ignores_queues(executors := conf.get("core", "executor", fallback="")):
            hooks.log(f"queue {queue!r} is not looked at by {executors}: the stage runs here", "warning")

    def _tell_session(self, folder: str | None) -> None:
        """Leave the scratch folder to `stagecoach run`, if that runs this and the folder shall stay."""
        stays = self.job is not None and self.job.get("cleanup") == "never"
        if _local.session is not None and stays and folder is not None:
            _local.session.keeps(folder)

    def _make_backend(self, context: Context, runs_on: RunsOnPlan, unit: Unit) -> Backend:
        """The backend with its settings evaluated; its ``env`` stands between the job's and the stage's."""
        services = self.job.get("services") if self.job is not None else None
        if runs_on["type"] == "local" and not services:
            return get_backend("local", runs_on.get("with_"))
        from airflow_stagecoach.operators._remote import evaluate_services, make_backend

        contexts = self._with_env(unit["contexts"])
        settings = expressions.render(self._render_jinja(runs_on.get("with_") or {}, context), contexts)
        if isinstance(settings.get("env"), dict):
            unit["env"].append(settings["env"])
        backend = make_backend(runs_on, settings)
        if services and self._deferred is None:  # else they run already
            written = self._render_jinja(services, context)
            unit["services"] = evaluate_services(written, contexts, backend)
        return backend

    def _run_remotely(self, context: Context, unit: Unit, hooks: Hooks, runs_on: RunsOnPlan) -> Result:
        from airflow_stagecoach.operators import _remote

        backend: Any = self._backend
        try:
            if self._deferred is not None:
                event, handle = self._deferred
                return _remote.resume(backend, unit, hooks, event=event, handle=handle)
            return _remote.run(backend, unit, hooks, context["ti"])
        except StillRunning as still:
            trigger = _remote.trigger(runs_on, backend, still, self.deadline.moment)
            raise TaskDeferred(
                trigger=self._fail_fast(context).watched(trigger),
                method_name="resume_work",
                kwargs={"handle": dict(still.handle)},
            ) from None
        finally:
            self.external_id = (backend.handle or {}).get("id")

    def resume_work(self, context: Context, event: dict[str, Any], handle: Handle) -> dict[str, Any]:
        """Go on when the work has ended, or its time is over."""
        self._deferred = (event, handle)
        return self._settle(context, self._start)

    def _cancel(self) -> None:
        if self._backend is not None:
            self._backend.cancel()

    def _unit(self, context: Context) -> Unit:
        spec = self.memory(context).given(self._rendered_spec(context))
        if context["ti"].try_number <= context["ti"].max_tries:
            # Another try may follow, which the engine cannot know: a failure is tolerated when none does.
            spec.pop("continue_on_error", None)
        unit: Unit = {
            "stages": [spec],
            "env": [self._own_env(), *(self._render_jinja(layer, context) for layer in self.env)],
            "contexts": self._collect(context),
            "status": self._status(context),
            "attempt": context["ti"].try_number,
            "document_dir": self.document_dir,
            "workdir": workdir(context["ti"], self.job),
            "modules": self._modules(),
        }
        if copies_files(spec, self.job):
            unit["files"] = workdir(context["ti"], self.job)
        return unit

    def _modules(self) -> Modules:
        """Where ``uses:`` looks for functions: beside the document, the dags folder, configured packages."""
        dags_folder = conf.get("core", "dags_folder", fallback="")
        packages = conf.get("stagecoach", "packages", fallback="")
        return {
            "paths": [path for path in (self.document_dir, dags_folder) if path],
            "packages": [name.strip() for name in packages.split(",") if name.strip()],
        }

    def _log_of(self, context: Context, hider: Hider) -> StageLog:
        """The log of this try, as the stage's ``logging`` wants it."""
        plan = self.logging_plan
        logger = logger_of(self, plan)

        def write(text: str, level: str) -> None:
            if _local.session is not None:
                _local.session.write(text, level)
            else:
                logger.log(LEVELS.get(level, LEVELS["info"]), "%s", text)

        folder = default_folder() if "file" in plan else ""
        return StageLog(plan, place_of(self, context), write, folder, hider.masked)

    def _clean(self, context: Context, state: str) -> None:
        """Remove the leg's scratch folder, if this is its last stage and the job's ``cleanup`` wants it."""
        retries = self.verdict is not None and self.verdict[1].retries
        failed = state == "failed" or (self.record or {}).get("outcome") == "cancelled"
        failed = failed or self._failed_before(context)
        if removes(self.job, self.position, leg_failed=failed, final=not (state == "failed" and retries)):
            shutil.rmtree(workdir(context["ti"], self.job), ignore_errors=True)
            if self.runs_on is not None and self.runs_on["type"] != "local":
                from airflow_stagecoach.operators import _remote

                _remote.clean_leg(self._backend, context["ti"], self.job)

    def _failed_before(self, context: Context) -> bool:
        """Whether a stage of the leg failed before this one, which ran all the same."""
        job, run = self.job, self._workflow_run(context)
        if job is None or run is None or is_one_task(job):
            return False
        if not runs_after_failure(job["stages"][self.position]):
            return False
        index = self._index(context)
        others = [stage for place, stage in enumerate(job["stages"]) if place != self.position]
        return any(
            run.stage_state(job["id"], stage, index) in ("failed", "upstream_failed") for stage in others
        )

    def on_kill(self) -> None:
        """Stop what runs: the task was cleared, marked, timed out or its worker shuts down."""
        self.killed = True
        self._cancel()


def make_hooks(context: Context, hider: Hider, line: Callable[[str, str], None]) -> Hooks:
    """What a unit asks of its surroundings: the task's log, and workflows to trigger.

    :param line: writes one line of the stage's log
    """
    from airflow_stagecoach.engine import Hooks
    from airflow_stagecoach.operators._trigger_run import run_workflow
    from airflow_stagecoach.operators.retry import classifiers

    # Taken now: a branch may ask while a workflow of another branch runs.
    level = _local.session.level if _local.session is not None else 0

    def log(text: str, level: str = "info") -> None:
        line(hider.text(text), level)

    def trigger(dag_id: str, params: dict[str, Any], path: str) -> dict[str, Any]:
        return run_workflow(context, dag_id, params, path, level)

    return Hooks(log=log, trigger=trigger, rules=classifiers)


def _outputs(ti: Any, stage: StageResult, *, nested: bool) -> dict[str, Any]:
    """A stage result as Airflow sees it: outputs, or the exception that gives the right state."""
    if stage.get("omitted"):
        ti.xcom_push(key=OMITTED, value=stage["omitted"])
    if stage["state"] == "success":
        outputs: dict[str, Any] = stage["outputs"]
        return outputs
    if stage["state"] == "skipped":
        if stage["error"]:
            raise AirflowSkipException(stage["error"]["message"])
        # The only other reasons are those of nested stages: nothing to do, or all of it was skipped.
        raise AirflowSkipException("Everything inside was skipped" if nested else CONDITION)
    error = stage["error"] or {"type": "StageFailed", "message": "The stage failed"}
    if stage["outputs"]:
        # Partial results of a nested stage stay visible: a failed task returns nothing.
        ti.xcom_push(key="return_value", value=stage["outputs"])
    if error["type"] == "AirflowFailException":
        raise AirflowFailException(error["message"])
    raise StageFailed(error["message"], error)
