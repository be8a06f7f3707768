"""Any Airflow operator or sensor as a stage.

The inner operator belongs to no DAG. It is imported and built when the task
runs, so a document that names it loads without it.
"""

from __future__ import annotations

import contextvars
from datetime import datetime, timedelta, timezone
from getpass import getuser
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator
from airflow.sdk.bases.operator import ExecutorSafeguard
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowRescheduleException,
    AirflowTaskTimeout,
    TaskDeferralTimeout,
    TaskDeferred,
)

from airflow_stagecoach import expressions
from airflow_stagecoach.exceptions import StageConfigError, StageFailed
from airflow_stagecoach.operators import _local
from airflow_stagecoach.operators._base import StageBaseOperator
from airflow_stagecoach.operators._log import logger_of
from airflow_stagecoach.operators._outputs import declared_outputs
from airflow_stagecoach.operators._secrets import Hider

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.sdk import Context

#: Arguments that the stage decides itself, with the key of the stage that does.
_OURS = {
    "task_id": "id",
    "retries": "retry",
    "retry_delay": "retry",
    "execution_timeout": "timeout",
    "trigger_rule": "if",
    "dag": "the document",
    "task_group": "the job",
}


class OperatorStageOperator(StageBaseOperator):
    """Run an operator given by its dotted path.

    Outputs: ``return_value``, and its entries where the return value is a map.
    Deferring, rescheduling, skipping and waiting for a person are the inner
    operator's own.
    """

    ui_color = "#f3efe0"
    kinds: ClassVar[tuple[str, ...] | None] = ("operator",)

    _inner: BaseOperator | None = None

    def _start(self, context: Context) -> dict[str, Any]:
        with self.attempt.phase("prepare"):
            self._condition_holds(context, self._collect(context))
            inner = self._build(context)
        return self._call(context, lambda: inner.execute(context))

    def resume_execution(
        self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context
    ) -> dict[str, Any]:
        """Go on after deferring or after a person's answer: build the inner operator again, and resume it."""

        def resume(context: Context) -> dict[str, Any]:
            with self.attempt.phase("prepare"):
                inner = self._build(context)
            try:
                return self._call(context, lambda: inner.resume_execution(next_method, next_kwargs, context))
            except TaskDeferralTimeout:
                # Airflow stops the trigger and nothing else.
                inner.on_kill()
                raise

        return self._settle(context, resume)

    def on_kill(self) -> None:
        """Hand the stop on to the inner operator."""
        self.killed = True
        if self._inner is not None:
            self._inner.on_kill()

    # -- the inner operator -----------------------------------------------------------------

    def _class_and_arguments(self, context: Context) -> tuple[type[BaseOperator], dict[str, Any], set[str]]:
        """Class, evaluated arguments, and the names of those whose text is final already."""
        path = str(self._spec["operator"])
        given = self._spec.get("with") or {}
        contexts = self._with_env(self._collect(context))
        arguments: dict[str, Any] = {}
        final: set[str] = set()
        for name, value in given.items():
            if name in _OURS:
                raise StageConfigError(f"with.{name}: write {_OURS[name]!r} at the stage instead")
            if _has_expression(value):
                arguments[name] = expressions.render(self._render_jinja(value, context), contexts)
                final.add(name)
            else:
                # Jinja is left to the operator itself, which also knows template files.
                arguments[name] = value
        return _import_operator(path), arguments, final

    def _build(self, context: Context) -> BaseOperator:
        class_, arguments, final = self._class_and_arguments(context)
        try:
            inner = class_(task_id=self.task_id, do_xcom_push=self.do_xcom_push, **arguments)
        except TypeError as error:
            raise StageConfigError(f"{self._spec['operator']}: {error}") from error
        inner = inner.prepare_for_execution()
        # Only for lookups (template environment, dag id). Set past the attribute, which would add the
        # operator to the DAG.
        vars(inner)["_dag"] = self.dag
        inner.template_fields = tuple(name for name in inner.template_fields if name not in final)
        inner.render_template_fields(context, self._jinja_env)
        if "level" in self.logging_plan:
            inner._log = logger_of(inner, self.logging_plan)
        self._inner = inner
        return inner

    def _call(self, context: Context, action: Callable[[], Any]) -> dict[str, Any]:
        """Run a method of the inner operator as if it were the task."""
        ti: Any = context["ti"]
        inner: Any = self._inner
        outer = ti.task
        fail_fast = self._fail_fast(context)
        context["task"] = ti.task = inner
        try:
            copied = contextvars.copy_context()
            # The safeguard lets a task run only its own execute().
            copied.run(ExecutorSafeguard.tracker.set, inner)
            with fail_fast.guard(self.on_kill, interrupt=True), self.attempt.phase("execute"):
                value = copied.run(action)
        except TaskDeferred as deferral:
            deferral.trigger = fail_fast.watched(deferral.trigger)
            deferral.timeout = self._shorter(deferral.timeout)
            raise
        except AirflowRescheduleException as again:
            wait = again.reschedule_date - datetime.now(timezone.utc)
            again.reschedule_date += self._shorter(wait) - wait
            raise
        finally:
            context["task"] = ti.task = outer
        contexts = self._collect(context)
        outputs = declared_outputs(self._spec, self._raw_outputs(value), self._with_env(contexts))
        hidden: dict[str, Any] = Hider(contexts).value(outputs)
        return hidden

    def _shorter(self, wait: timedelta | None) -> Any:
        """How long the try may wait without its worker: Airflow does not count that time.

        :param wait: what the inner operator asks for, ``None`` for any time
        :raises AirflowTaskTimeout: the time is over
        """
        seconds = self.deadline.left()
        if seconds is None:
            return wait
        if seconds <= 0:
            raise AirflowTaskTimeout("The try took longer than its timeout, or the job's")
        left = timedelta(seconds=seconds)
        return left if wait is None else min(wait, left)

    def _raw_outputs(self, value: Any) -> dict[str, Any]:
        """Outputs from what the inner operator returned."""
        outputs = {"return_value": value}
        if isinstance(value, dict):
            outputs |= {str(name): item for name, item in value.items()}
        return outputs


def _has_expression(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_expression, value.values()))
    if isinstance(value, list):
        return any(map(_has_expression, value))
    return isinstance(value, str) and "${{" in value


def _import_operator(path: str) -> type[BaseOperator]:
    from airflow.sdk._shared.module_loading import import_string

    try:
        class_ = import_string(path)
    except (ImportError, AttributeError) as error:
        raise AirflowFailException(f"operator: cannot import {path!r}: {error}") from error
    if not (isinstance(class_, type) and issubclass(class_, BaseOperator)):
        raise AirflowFailException(f"operator: {path!r} is no Airflow operator")
    return class_


class ApprovalStageOperator(OperatorStageOperator):
    """Ask a person, in the Airflow UI, whether the job may go on.

    Outputs: ``approved``, ``by`` and ``at``. A rejection fails the stage, unless
    ``fail-on-reject`` is false. When the stage's timeout passes without an answer
    its ``default`` counts, and without a default the stage fails.
    """

    ui_color = "#fff4d6"
    kinds: ClassVar[tuple[str, ...] | None] = ("approval",)

    def _class_and_arguments(self, context: Context) -> tuple[type[BaseOperator], dict[str, Any], set[str]]:
        from airflow.providers.standard.operators.hitl import ApprovalOperator

        contexts = self._with_env(self._collect(context))
        given = expressions.render(self._render_jinja(self._spec["approval"], context), contexts)
        arguments: dict[str, Any] = {
            "subject": given["subject"],
            "body": given.get("body"),
            "response_timeout": self._shorter(self.response_timeout),
        }
        if "default" in given:
            arguments["defaults"] = (
                ApprovalOperator.APPROVE if given["default"] == "approve" else ApprovalOperator.REJECT
            )
        if given.get("assigned_users"):
            arguments["assigned_users"] = [{"id": user, "name": user} for user in given["assigned_users"]]
        return ApprovalOperator, arguments, {"subject", "body"}

    def __init__(self, *, response_timeout: timedelta | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.response_timeout = response_timeout

    def _start(self, context: Context) -> dict[str, Any]:
        if _local.session is None:
            return super()._start(context)
        self._condition_holds(context, self._collect(context))
        inner: Any = self._build(context)
        approved = _local.session.approve(
            self.job["id"] if self.job else "", str(self._spec["id"]), inner.subject, inner.body
        )
        answer = {
            "chosen_options": [inner.APPROVE if approved else inner.REJECT],
            "responded_at": datetime.now(timezone.utc),
            "responded_by_user": {"id": "local", "name": getuser()},
        }
        return self._call(context, lambda: answer)

    def _call(self, context: Context, action: Callable[[], Any]) -> dict[str, Any]:
        from airflow.providers.standard.exceptions import HITLTimeoutError

        try:
            return super()._call(context, action)
        except HITLTimeoutError as error:
            limit = self.response_timeout
            within = "in time" if limit is None else f"within {limit.total_seconds():g} s"
            message = f"Nobody answered {within}"
            raise StageFailed(message, {"type": "TimedOut", "message": message}) from error

    def _raw_outputs(self, value: Any) -> dict[str, Any]:
        approved = value["chosen_options"] == ["Approve"]
        user = value.get("responded_by_user") or {}
        by = user.get("name") if isinstance(user, dict) else str(user)
        if not approved and self._spec["approval"].get("fail_on_reject", True):
            raise StageFailed(f"Rejected by {by or 'the default'}")
        return {"approved": approved, "by": by, "at": value["responded_at"].isoformat()}
