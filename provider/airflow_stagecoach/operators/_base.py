"""What every stage's operator shares: its arguments, its contexts, its outcome."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import (
    AirflowRescheduleException,
    AirflowSkipException,
    AirflowTaskTerminated,
    AirflowTaskTimeout,
    DagRunTriggerException,
    DownstreamTasksSkipped,
    TaskAwaitingInput,
    TaskDeferred,
)

from airflow_stagecoach import expressions
from airflow_stagecoach.operators import _local
from airflow_stagecoach.operators._attempt import CONDITION, Attempt
from airflow_stagecoach.operators._contexts import TaskRunData, environment
from airflow_stagecoach.operators._deadline import Deadline, deadline, is_resumed
from airflow_stagecoach.operators._fail_fast import FailFast
from airflow_stagecoach.operators._image_stage import stage_place
from airflow_stagecoach.operators._lifeline import held
from airflow_stagecoach.operators._log import environment as log_environment
from airflow_stagecoach.operators._log import merged
from airflow_stagecoach.operators._membership import Membership
from airflow_stagecoach.operators._memory import Memory
from airflow_stagecoach.operators._references import spec_references
from airflow_stagecoach.operators._run import WorkflowRun, is_one_task
from airflow_stagecoach.operators._teardown import is_teardown, mark_begun, require_begun
from airflow_stagecoach.operators._workdir import run_key
from airflow_stagecoach.operators.retry import Verdict, retry_arguments

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context

    from airflow_stagecoach.document.plan import JobPlan, LoggingPlan, RunsOnPlan, StageSpec, WorkflowPlan
    from airflow_stagecoach.document.stage import Stage
    from airflow_stagecoach.engine.contract import StageResult

#: Keys of a spec that are not shown as a rendered field, or are no templates.
_NOT_RENDERED = frozenset(
    {"kind", "id", "if", "run", "until", "outputs", "stages", "parallel", "match", "retry"}
)


#: Exceptions by which a try does not end: it goes on later, or Airflow goes on with it.
_UNFINISHED = (TaskDeferred, TaskAwaitingInput, AirflowRescheduleException, DagRunTriggerException)

#: Failures; some are no ``Exception``. What else is raised is none of a stage's business.
_FAILURES = (Exception, AirflowTaskTimeout, AirflowTaskTerminated, SystemExit)

#: Kinds that the engine does not run -> the operator that does.
OTHER_KINDS = {
    "operator": "OperatorStageOperator",
    "trigger": "TriggerStageOperator",
    "approval": "ApprovalStageOperator",
}


class StageBaseOperator(BaseOperator):
    """One stage as a task.

    :param stage: a stage as a document has it (a map, or a model such as ``BashStage``), or a stage spec
        (see ``docs/architecture.md``). (templated)
    :param matrix: this leg's combination, axis -> value. (templated)
    :param env: environment layers below the stage's own, evaluated in order
    :param workflow: the plan that the DAG is built from; ``None`` in a handwritten DAG
    :param job: the job of that plan
    :param position: how many stages of the job come before this one
    :param runs_on: backend type and configuration, by default the worker itself; of an ``image`` stage, its
        Docker daemon
    """

    template_fields: Collection[str] = ("matrix", "stage")
    template_fields_renderers: ClassVar[dict[str, str]] = {"matrix": "json", "stage": "json"}
    ui_color = "#e8f1fb"

    #: Kinds of stages that this operator runs; ``None``: all that no other operator runs.
    kinds: ClassVar[tuple[str, ...] | None] = None

    # What a try leaves for callbacks and for Airflow's question about a retry:
    #: The stage's record, once the try has ended.
    record: dict[str, Any] | None = None
    #: After a failure, its report.
    failure_report: dict[str, Any] | None = None
    #: Of a task that runs several stages: their records by evaluated id.
    stage_records: dict[str, dict[str, Any]] | None = None
    #: The failure, and what follows from it.
    verdict: tuple[BaseException, Verdict] | None = None
    #: How the engine says that the stage ended.
    result: StageResult | None = None
    #: What the place where the work runs calls it.
    external_id: str | None = None
    #: Somebody stopped this task from outside.
    killed = False
    #: Until when this try may run.
    deadline = Deadline()

    def __init__(
        self,
        *,
        stage: StageSpec | Stage | Mapping[str, Any],
        matrix: Any = None,
        env: Sequence[dict[str, Any]] = (),
        workflow: WorkflowPlan | None = None,
        job: JobPlan | None = None,
        position: int = 0,
        runs_on: RunsOnPlan | None = None,
        **kwargs: Any,
    ) -> None:
        if isinstance(stage, dict) and "kind" in stage:
            spec = stage
        else:
            spec = self._from_document_form(stage, kwargs)
        super().__init__(**kwargs)
        self.stage = spec
        # Shown as the operator in the UI. On the instance: Airflow reads the class of a mapped operator.
        self.custom_operator_name = str(spec.get("operator", spec["kind"])).rpartition(".")[2]
        self.matrix = matrix
        self.env = env
        self.workflow = workflow
        self.job = job
        self.position = position
        self.runs_on = runs_on
        if spec["kind"] == "image":
            self.runs_on = stage_place(spec, runs_on or {"type": "local"})

    def _from_document_form(self, stage: Stage | Mapping[str, Any], kwargs: dict[str, Any]) -> StageSpec:
        """Check a stage as a document has it; its timeout and retry become the task's.

        :raises DocumentError: the stage is wrong, or of a kind that another operator runs
        """
        from airflow_stagecoach.document.single import plan_single_stage

        plan = plan_single_stage(stage, kwargs["task_id"])
        kind = plan["spec"]["kind"]
        if (kind in OTHER_KINDS or self.kinds is not None) and kind not in (self.kinds or ()):
            raise ValueError(f"a stage of kind {kind!r} is run by {OTHER_KINDS.get(kind, 'StageOperator')}")
        if "timeout" in plan:
            kwargs.setdefault("execution_timeout", timedelta(seconds=plan["timeout"]))
        if "retry" in plan:
            for name, value in retry_arguments(plan["retry"]).items():
                kwargs.setdefault(name, value)
        return plan["spec"]

    @property
    def leg_name(self) -> str:
        """Name of the leg for ``map_index_template``: the combination's values, ``a / fast``."""
        from airflow_stagecoach.operators._names import leg_name

        return leg_name(self.matrix if isinstance(self.matrix, Mapping) else {})

    # -- rendering --------------------------------------------------------------------------

    def _do_render_template_fields(
        self,
        parent: Any,
        template_fields: Iterable[str],
        context: Context,
        jinja_env: jinja2.Environment,
        seen_oids: set[int],
    ) -> None:
        """Resolve the leg, then show the stage with its values filled in.

        The shown copy is for the *Rendered Templates* page only, secrets are left
        out of it; what runs is rendered once, in :meth:`execute`. A value that
        cannot be told yet stays as written: its error belongs to the stage.

        Airflow comes here for plain and for mapped tasks alike.
        """
        self._spec: StageSpec = self.stage
        self._ti = context["ti"]
        self._jinja_env = jinja_env
        if self.matrix is not None and not isinstance(self.matrix, Mapping):
            self.matrix = self.matrix.resolve(context)  # Airflow's stand-in inside a mapped group
        self._limit(context)
        self.stage = self._shown(context)

    def _limit(self, context: Context) -> None:
        """Shorten this try to what is left of the job's ``timeout``."""
        run = self._workflow_run(context)
        self.deadline = deadline(context, self.execution_timeout, self.job, self.position, run)
        self.execution_timeout = self.deadline.for_worker(resumed=is_resumed(context["ti"]))

    def _shown(self, context: Context) -> StageSpec:
        try:
            contexts = self._collect(context)
        except Exception:
            self.log.debug("Values of the stage cannot be shown yet", exc_info=True)
            return self._spec
        contexts |= {name: _Hidden(name) for name in ("secrets", "conn")}
        try:
            contexts = self._with_env(contexts)
        except Exception:
            self.log.debug("The stage's environment cannot be told yet", exc_info=True)
        shown = dict(self._spec)
        for key in shown.keys() - _NOT_RENDERED:
            try:
                value = self._render_jinja(shown[key], context)
                shown[key] = expressions.render(value, contexts)
            except Exception:
                self.log.debug("Value of %s cannot be shown yet", key, exc_info=True)
        return shown

    def _render_jinja(self, value: Any, context: Context) -> Any:
        """Replace ``{{ }}`` by its text; what stands in ``${{ }}`` is left for the engine."""

        def render(source: str) -> str:
            return str(self._jinja_env.from_string("{{" + source + "}}").render(context))

        return expressions.render_jinja(value, render)

    def _rendered_spec(self, context: Context) -> StageSpec:
        """The spec with Jinja replaced; Python sources are never touched."""
        return _map_spec(self._spec, lambda value: self._render_jinja(value, context))

    # -- contexts ---------------------------------------------------------------------------

    def _index(self, context: Context) -> int | None:
        index = context["ti"].map_index
        return None if index is None or index < 0 else index

    def _workflow_run(self, context: Context) -> WorkflowRun | None:
        if self.workflow is None:
            return None
        if not hasattr(self, "_run"):
            self._run = WorkflowRun(self.workflow, TaskRunData(context, self.workflow))
        return self._run

    def _collect(self, context: Context) -> dict[str, Any]:
        """Values of every context that the stage names; fetched once per try."""
        if not hasattr(self, "_collected"):
            settings = self.runs_on.get("with_") if self.runs_on is not None else None
            services = self.job.get("services") if self.job is not None else None
            paths = spec_references(self._spec) | expressions.references([*self.env, settings, services])
            run = self._workflow_run(context)
            if run is not None and self.job is not None:
                self._collected = run.contexts(
                    paths,
                    self.job["id"],
                    self._index(context),
                    position=self.position,
                    matrix=self.matrix or {},
                )
            else:
                data = TaskRunData(context)
                self._collected = {
                    **data.ambient(paths),
                    "matrix": self.matrix or {},
                    "stages": data.neighbours(paths),
                }
        return dict(self._collected)

    @property
    def document_dir(self) -> str | None:
        """Folder of the document (or of the DAG file)."""
        return os.path.dirname(self.dag.fileloc) if self.dag.fileloc else None

    def memory(self, context: Context) -> Memory:
        """The memory of this try."""
        if not hasattr(self, "_memory"):
            self._memory = Memory(self, context)
        return self._memory

    # -- outcome ----------------------------------------------------------------------------

    def execute(self, context: Context) -> Any:
        """Run the stage.

        :return: its outputs, a map
        :raises AirflowSkipException: its ``if`` is false
        :raises StageFailed: it failed, and has no ``continue-on-error``
        """
        if _local.session is None:
            return self._settle(context, self._start)
        leg = self.leg_name if self.matrix else ""
        with _local.session.stage(self.job["id"] if self.job else "", leg, self._local_name()):
            return self._settle(context, self._start)

    def _local_name(self) -> str:
        """The stage's name in this leg, for ``stagecoach run``."""
        try:
            name: str = expressions.render(self._spec.get("name", ""), {"matrix": self.matrix or {}})
            return str(name)
        except expressions.ExpressionError:
            return str(self.task_display_name)

    def _start(self, context: Context) -> dict[str, Any]:
        """What the kind does. Gives outputs or raises."""
        raise NotImplementedError

    def _settle(self, context: Context, action: Callable[[Context], Any]) -> dict[str, Any]:
        """Run ``action``, and leave a record of how the try ended.

        The failure of the last try of a ``continue-on-error`` stage becomes success.
        """
        self.attempt = attempt = Attempt(self, context)
        began = False
        try:
            self._begin(context)
            began = True
            with held():
                outputs: dict[str, Any] = action(context)
        except _UNFINISHED:
            if began:
                mark_begun(self.job, context["ti"])
            raise
        except AirflowSkipException as exception:
            skip = exception
            self._end(context, "skipped", lambda: attempt.skipped(skip))
            raise
        except DownstreamTasksSkipped:  # a branch or a short circuit, which has succeeded
            self._end(context, "success", lambda: attempt.ended("success"))
            raise
        except _FAILURES as failure:
            error: BaseException = failure
            if self._tolerates(error) and attempt.is_last(error):
                self.log.warning("The stage failed and continues as its continue-on-error says: %s", error)
                self._end(context, "success", lambda: attempt.tolerated(error))
                outputs = self.result["outputs"] if self.result is not None else {}
                return {**outputs, "outcome": "failure"}
            self._end(context, "failed", lambda: self._fail(context, attempt, error))
            raise
        self._end(context, "success", lambda: attempt.ended("success"))
        return outputs

    def _tolerates(self, error: BaseException) -> bool:
        """Whether ``continue-on-error`` makes a failure a success; never one that somebody wanted."""
        if not self._spec.get("continue_on_error") or self.killed:
            return False
        return isinstance(error, (Exception, AirflowTaskTimeout))

    def _begin(self, context: Context) -> None:
        """Look whether the stage may begin at all: a run works only while it holds its concurrency group.

        :raises AirflowSkipException: a teardown of a leg in which nothing began
        :raises AirflowTaskTimeout: the job's time is over
        """
        run = self._workflow_run(context)
        if run is not None and self.job is not None and is_teardown(self.job, self.position):
            require_begun(run, self.job["id"], self._index(context))
        else:
            Membership(self.workflow, context).check()
        left = self.deadline.left()
        if left is not None and left <= 0 and not is_resumed(context["ti"]):
            limit = self.job.get("timeout", 0) if self.job is not None else 0
            raise AirflowTaskTimeout(f"The job's timeout of {limit:g} s was over before this stage began")

    def _fail(self, context: Context, attempt: Attempt, error: BaseException) -> None:
        verdict = attempt.failed(error)
        self._fail_fast(context).announce(error, lambda: verdict.retries)

    def _end(self, context: Context, state: str, tell: Callable[[], None]) -> None:
        """Complete the try and clean up; neither changes how it ended."""
        attempt = self.attempt
        for phase, work in (("complete", tell), ("cleanup", lambda: self._clean(context, state))):
            try:
                with attempt.phase(phase):
                    work()
            except Exception as error:
                self.log.warning("%s of this try failed: %s", phase.capitalize(), error, exc_info=True)
        attempt.tell_phases(state)

    def _clean(self, context: Context, state: str) -> None:
        """Remove what the try leaves behind.

        :param state: success failed skipped
        """

    def _fail_fast(self, context: Context) -> FailFast:
        if is_teardown(self.job, self.position):
            return FailFast(self.job, context["ti"])
        return FailFast(self.job, context["ti"], Membership(self.workflow, context))

    def _condition_holds(self, context: Context, contexts: dict[str, Any]) -> None:
        """Check ``if`` for kinds that the engine does not run.

        :raises AirflowSkipException: it is false
        """
        condition = self._spec.get("if")
        if condition is None:
            return
        values = {**self._with_env(contexts), "__status__": self._status(context)}
        if not expressions.evaluate_condition(condition, values):
            self.log.info("Skipped: its `if` is false")
            raise AirflowSkipException(CONDITION)

    def _with_env(self, contexts: dict[str, Any]) -> dict[str, Any]:
        """Contexts with ``env``: the worker's, then each layer of the document, then the stage's own."""
        layers = [self._own_env(), *self.env, self._spec.get("env") or {}]
        return {**contexts, "env": environment(contexts, layers)}

    def _own_env(self) -> dict[str, str]:
        """The lowest layer of the environment: what we tell a stage of itself."""
        key = run_key(self._ti, self.job).replace("${{", "$${{")
        return {"JOB_RUN_KEY": key, **log_environment(self.logging_plan)}

    @property
    def logging_plan(self) -> LoggingPlan:
        """The stage's ``logging``; of stages that share a task, what suits them all."""
        if self.job is None:
            return {}
        stages = self.job["stages"] if is_one_task(self.job) else [self.job["stages"][self.position]]
        return merged(stage.get("logging", {}) for stage in stages)

    @property
    def spec(self) -> StageSpec:
        """The stage's spec as the plan has it; what ``stage`` shows is filled in while it runs."""
        return getattr(self, "_spec", self.stage)

    def _status(self, context: Context) -> dict[str, bool]:
        """What ``success()`` and ``failure()`` say: how the earlier stages of this leg ended."""
        run = self._workflow_run(context)
        if run is None or self.job is None or not expressions.status_functions(self._spec.get("if")):
            return {"success": True, "failure": False, "cancelled": False}
        job_id = self.job["id"]
        if run.anchor_state(job_id) in ("skipped", "upstream_failed"):
            raise AirflowSkipException("The job does not run")
        index = self._index(context)
        earlier = [stage for stage in self.job["stages"][: self.position] if not stage.get("teardown")]
        states = {run.stage_state(job_id, stage, index) for stage in earlier}
        failed = bool(states & {"failed", "upstream_failed"})
        return {"success": not failed, "failure": failed, "cancelled": False}


class _Hidden(Mapping[str, Any]):
    """Stands for a secret context on the Rendered Templates page: every value is stars."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getitem__(self, key: str) -> Any:
        return "***" if self._name == "secrets" else _Hidden("secrets")

    def __iter__(self) -> Any:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __str__(self) -> str:
        return "***"


def _map_spec(spec: StageSpec, render: Any) -> StageSpec:
    """Apply ``render`` to every value of a spec and of its nested stages, but to no Python source."""
    return {key: _map_value(key, value, render) for key, value in spec.items()}


def _map_value(key: str, value: Any, render: Any) -> Any:
    if key in ("run", "kind"):
        return value
    if key == "stages":
        return [_map_spec(child, render) for child in value]
    if key == "parallel":
        return {branch: [_map_spec(child, render) for child in stages] for branch, stages in value.items()}
    if key == "match":
        return [
            {
                k: _map_value("stages", v, render) if k in ("stages", "else") else render(v)
                for k, v in entry.items()
            }
            for entry in value
        ]
    return render(value)
