"""What every stage's operator shares: its arguments, its contexts, its outcome."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException, AirflowTaskTimeout

from airflow_stagecoach import expressions
from airflow_stagecoach.operators import _local
from airflow_stagecoach.operators._contexts import TaskRunData, environment
from airflow_stagecoach.operators._fail_fast import FailFast
from airflow_stagecoach.operators._references import spec_references
from airflow_stagecoach.operators._run import ERROR, STARTED, WorkflowRun, is_one_task, work_stages
from airflow_stagecoach.operators._secrets import Hider
from airflow_stagecoach.operators._teardown import is_teardown, require_begun
from airflow_stagecoach.operators.retry import StageRetryPolicy, retry_arguments

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context

    from airflow_stagecoach.document.plan import JobPlan, RunsOnPlan, StageSpec, WorkflowPlan
    from airflow_stagecoach.document.stage import Stage

#: Keys of a spec that are not shown as a rendered field, or are no templates.
_NOT_RENDERED = frozenset(
    {"kind", "id", "if", "run", "until", "outputs", "stages", "parallel", "match", "retry"}
)


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
    :param runs_on: backend type and configuration, by default the worker itself
    """

    template_fields: Collection[str] = ("matrix", "stage")
    template_fields_renderers: ClassVar[dict[str, str]] = {"matrix": "json", "stage": "json"}
    ui_color = "#e8f1fb"

    #: Kinds of stages that this operator runs; ``None``: all that no other operator runs.
    kinds: ClassVar[tuple[str, ...] | None] = None

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
        self._jinja_env = jinja_env
        if self.matrix is not None and not isinstance(self.matrix, Mapping):
            self.matrix = self.matrix.resolve(context)  # Airflow's stand-in inside a mapped group
        self._apply_job_timeout(context)
        self.stage = self._shown(context)

    def _apply_job_timeout(self, context: Context) -> None:
        """Shorten this try to what is left of the job's ``timeout``, counted from the leg's first stage.

        A teardown has a job's full time for itself: it also cleans up what ran out of time.
        """
        limit = self.job.get("timeout") if self.job is not None else None
        run = self._workflow_run(context)
        if limit is None or run is None or self.job is None or is_teardown(self.job, self.position):
            return
        started = run.started(self.job["id"], self._index(context))
        first = is_one_task(self.job) or self.job["stages"][self.position] is work_stages(self.job)[0]
        if started is None and first:  # a task that resumes has told it already
            started = time.time()
            context["ti"].xcom_push(key=STARTED, value=started)
        left = timedelta(seconds=limit if started is None else started + limit - time.time())
        own = self.execution_timeout
        self.execution_timeout = left if own is None else min(own, left)

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
            paths = spec_references(self._spec) | expressions.references(list(self.env))
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

    # -- outcome ----------------------------------------------------------------------------

    def execute(self, context: Context) -> Any:
        """Run the stage.

        :return: its outputs, a map
        :raises AirflowSkipException: its ``if`` is false
        :raises StageFailed: it failed, and has no ``continue-on-error``
        """
        run = self._workflow_run(context)
        if run is not None and self.job is not None and is_teardown(self.job, self.position):
            require_begun(run, self.job["id"], self._index(context))
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

    def _settle(self, context: Context, action: Any) -> dict[str, Any]:
        """Run ``action`` and turn a failure of a ``continue-on-error`` stage into success."""
        try:
            outputs: dict[str, Any] = action(context)
            return outputs
        except AirflowSkipException:
            raise
        except (Exception, AirflowTaskTimeout) as error:  # the timeout is no Exception
            if not self._spec.get("continue_on_error"):
                message = Hider(getattr(self, "_collected", {})).text(str(error) or type(error).__name__)
                context["ti"].xcom_push(key=ERROR, value=message)
                self._announce_failure(context, error)
                raise
            self.log.warning("The stage failed and continues as its continue-on-error says: %s", error)
            return {"outcome": "failure"}

    def _fail_fast(self, context: Context) -> FailFast:
        return FailFast(self.job, context["ti"])

    def _announce_failure(self, context: Context, error: BaseException) -> None:
        run = self._workflow_run(context)
        strategy = self.job.get("strategy") if self.job is not None else None
        if run is None or self.job is None or strategy is None or not strategy.get("fail_fast"):
            return
        policy = self.retry_policy

        def will_retry() -> bool:
            return not isinstance(policy, StageRetryPolicy) or policy.repeats(error)

        self._fail_fast(context).announce(error, will_retry)

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
            raise AirflowSkipException("Its `if` is false")

    def _with_env(self, contexts: dict[str, Any]) -> dict[str, Any]:
        """Contexts with ``env``: the worker's, then each layer of the document, then the stage's own."""
        return {**contexts, "env": environment(contexts, [*self.env, self._spec.get("env") or {}])}

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
