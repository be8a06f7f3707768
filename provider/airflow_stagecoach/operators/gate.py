"""The task before a job: its ``if``, and a matrix that is known only at run time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from airflow_stagecoach import expressions
from airflow_stagecoach.exceptions import StageConfigError
from airflow_stagecoach.operators._contexts import TaskRunData, environment
from airflow_stagecoach.operators._names import leg_name
from airflow_stagecoach.operators._results import FAILURE, SKIPPED, SUCCESS, UPSTREAM_FAILED
from airflow_stagecoach.operators._run import WorkflowRun

if TYPE_CHECKING:
    from collections.abc import Collection

    from airflow.sdk import Context

    from airflow_stagecoach.document.plan import JobPlan, StrategyPlan, WorkflowPlan

#: XCom key of a ``max-parallel`` that is an expression.
MAX_PARALLEL = "max_parallel"


class GateOperator(BaseOperator):
    """Decides whether a job runs, and gives the legs of its matrix.

    Carries the job's trigger rule. Skips when ``if`` is false, and a fallback when its job has not failed.

    :param workflow: the plan of the DAG
    :param job: the job behind this gate
    :param skip_after_skipped: skip when a direct need was skipped, as ``all_success`` does; the gate
        itself then has the rule ``none_failed``, so that it waits for all needs
    """

    template_fields: Collection[str] = ()
    custom_operator_name = "gate"
    ui_color = "#eeeeee"

    def __init__(
        self, *, workflow: WorkflowPlan, job: JobPlan, skip_after_skipped: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.workflow = workflow
        self.job = job
        self.skip_after_skipped = skip_after_skipped

    def execute(self, context: Context) -> list[dict[str, Any]] | None:
        """Evaluate ``if``, the matrix and ``max-parallel``.

        :return: the legs, for a matrix known only now
        :raises AirflowSkipException: ``if`` is false
        :raises StageConfigError: the matrix is no matrix, or has too many legs
        """
        run = WorkflowRun(self.workflow, TaskRunData(context, self.workflow))
        main = self.job.get("fallback_of")
        if main is not None and run.outcome(main) != FAILURE:
            raise self._skip(f"it stands in for job {main!r}, which has not failed: {run.outcome(main)}")
        if self.skip_after_skipped:
            skipped = [name for name in self.job.get("needs", ()) if run.result(name) == SKIPPED]
            if skipped:
                raise self._skip(f"skipped before this job: {', '.join(skipped)}")
        strategy: Any = self.job.get("strategy", {})
        dynamic = {key: strategy[key] for key in ("matrix", "include", "exclude") if key in strategy}
        limit = strategy.get("max_parallel")
        condition = self.job.get("condition")
        layers = [self.workflow.get("env") or {}, self.job.get("env") or {}]
        named = expressions.references([dynamic, limit, layers])
        if condition is not None:
            named |= expressions.references(condition, condition=True)
        contexts = run.contexts(named, self.job["id"], None, position=0)
        # An `env` over `matrix` has no value yet; what names it is told so.
        contexts["env"] = environment(contexts, layers, skip_unknown=True)
        if condition is not None:
            contexts["__status__"] = self._status(run)
            if not expressions.evaluate_condition(condition, contexts):
                raise self._skip(f"`if` of job {self.job['id']!r} is false")
            self.log.info("`if` of job %r is true", self.job["id"])
        if isinstance(limit, str):
            value = expressions.render(limit, contexts)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise StageConfigError(f"max-parallel must be a whole number of at least 1, it is {value!r}")
            context["ti"].xcom_push(key=MAX_PARALLEL, value=value)
        if "matrix" not in strategy:
            return None
        legs = dynamic_legs(strategy, contexts)
        self.log.info("::group::Legs: %d", len(legs))
        for leg in legs:
            self.log.info("%s", leg_name(leg))
        self.log.info("::endgroup::")
        return legs

    def _skip(self, reason: str) -> AirflowSkipException:
        # Airflow itself says only "Skipping task", in a folded part of the log.
        self.log.info("Skipped: %s", reason)
        return AirflowSkipException(reason)

    def _status(self, run: WorkflowRun) -> dict[str, bool]:
        """What ``success()`` and ``failure()`` say: direct needs for success, all ancestors for failure."""
        job_id = self.job["id"]
        if not expressions.status_functions(self.job.get("condition")):
            return {"success": True, "failure": False, "cancelled": False}
        failed = any(run.result(name) in (FAILURE, UPSTREAM_FAILED) for name in run.ancestors(job_id))
        succeeded = all(run.result(name) == SUCCESS for name in self.job.get("needs", ()))
        return {"success": succeeded and not failed, "failure": failed, "cancelled": False}


def dynamic_legs(strategy: StrategyPlan, contexts: dict[str, Any]) -> list[dict[str, Any]]:
    """Legs of a matrix whose values are known only at run time.

    :raises StageConfigError: not a map of lists, or more legs than Airflow maps
    """
    from airflow.sdk.configuration import conf

    from airflow_stagecoach.document.matrix import MatrixError, expand

    matrix = expressions.render(strategy["matrix"], contexts)
    if not isinstance(matrix, dict):
        raise StageConfigError(f"matrix must be a map of axis to list, it is {_kind(matrix)}")
    axes = dict(matrix)
    include = expressions.render(strategy.get("include") or axes.pop("include", None), contexts)
    exclude = expressions.render(strategy.get("exclude") or axes.pop("exclude", None), contexts)
    for name, values in axes.items():
        if isinstance(values, str):
            raise StageConfigError(
                f"matrix.{name} must be a list, it is a text; write ${{{{ fromJson(...) }}}} for a JSON text"
            )
    limit = conf.getint("core", "max_map_length", fallback=1024)
    try:
        return expand(axes, include, exclude, limit=limit)
    except MatrixError as error:
        place = ".".join(str(part) for part in error.path)
        raise StageConfigError(f"{place}: {error}" if place else str(error)) from None


def _kind(value: Any) -> str:
    names = {dict: "a map", list: "a list", str: "a text", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number" if isinstance(value, (int, float)) else type(value).__name__)
