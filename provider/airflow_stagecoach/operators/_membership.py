"""What a running stage has to do with its run's concurrency group.

This is imported with every stage; what talks with the group only where there is one.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowRescheduleException, AirflowSkipException

from airflow_stagecoach import expressions
from airflow_stagecoach.exceptions import StageConfigError, StageFailed
from airflow_stagecoach.operators import _airflow_values as airflow_values
from airflow_stagecoach.operators import _local
from airflow_stagecoach.operators._run import second_parts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_stagecoach.document.plan import WorkflowPlan

#: Seconds until a stage that waits for its group looks again. Airflow reports the end of a process up to
#: five seconds late and fails a task that is queued again before that.
_LOOK_AGAIN = 10.0


class Membership:
    """What one stage has to do with its run's group.

    :param workflow: the plan; without ``concurrency`` nothing here does anything
    :param context: the task's
    """

    def __init__(self, workflow: WorkflowPlan | None, context: Mapping[str, Any]) -> None:
        self._workflow = workflow
        self._context = context
        self._ti = context["ti"]
        self._concurrency = workflow.get("concurrency") if workflow is not None else None
        self.on = self._concurrency is not None and _local.session is None

    def check(self) -> None:
        """Let a stage start only while its run holds the group.

        A run that has ended gave the group back. When a stage of it is cleared alone, so that
        ``__concurrency__`` is not, the stage takes part for its run.

        :raises AirflowRescheduleException: another run holds the group; look again later, without a worker
        :raises AirflowSkipException: the same, with ``on-conflict: skip``
        :raises StageFailed: the same, with ``reject``; or the run was cancelled
        :raises StageConfigError: the group's name cannot be told
        """
        if not self.on:
            return
        from airflow_stagecoach.triggers import _group_store

        keys = _group_store.run_keys(self._ti.dag_id, self._ti.run_id)
        by = _group_store.cancelled_by(keys)
        if by is not None:
            raise _stopped(cancellation(by))
        if not _group_store.holds(keys):
            self._take_part()

    def cancelled(self) -> StageFailed | None:
        """Why the stage shall stop; ``None`` while it may go on."""
        if not self.on:
            return None
        from airflow_stagecoach.triggers import _group_store

        by = _group_store.cancelled_by(_group_store.run_keys(self._ti.dag_id, self._ti.run_id))
        return None if by is None else _stopped(cancellation(by))

    def _take_part(self) -> None:
        from airflow_stagecoach.triggers._group_store import GroupStore
        from airflow_stagecoach.triggers._tickets import SKIP, Participant
        from airflow_stagecoach.triggers.concurrency import run_ticket, why_not

        concurrency: Any = self._concurrency
        workflow: Any = self._workflow
        group = group_name(concurrency["group"], workflow.get("params"), self._context)
        store = GroupStore(group, self._ti.dag_id, self._ti.run_id)
        start = self._context["dag_run"].start_date
        ticket = run_ticket(self._ti.dag_id, self._ti.run_id, start, concurrency["on_conflict"])
        participant = Participant(store, ticket)
        verdict = participant.step()
        if verdict is None:
            raise AirflowRescheduleException(datetime.now(timezone.utc) + timedelta(seconds=_LOOK_AGAIN))
        if verdict.kind == "held":
            return
        reason, message = why_not(verdict, store)
        if verdict.kind == "busy" and concurrency["on_conflict"] == SKIP:
            raise AirflowSkipException(message)
        raise _stopped(message, reason)


def _stopped(message: str, reason: str = "cancelled") -> StageFailed:
    # Nothing of this category is tried again.
    return StageFailed(
        message,
        {"type": "ConcurrencyConflict", "message": message, "category": "cancelled", "reason": reason},
    )


def group_name(template: str, params: dict[str, Any] | None, context: Mapping[str, Any]) -> str:
    """Evaluate the name of a run's group.

    :param template: over params, run and vars
    :param params: declared params; ``None`` for none
    :param context: of any task of the run
    :raises StageConfigError: it cannot be evaluated, or is empty
    """
    paths = expressions.references(template)
    declared: Any = None if params is None else {"params": params}
    try:
        values = {
            "params": airflow_values.params(context, declared),
            "run": airflow_values.run_fields(context),
            "vars": airflow_values.variables(second_parts(paths, "vars")),
        }
        name = expressions.render(template, values)
    except (expressions.ExpressionError, StageConfigError, LookupError, ValueError) as error:
        raise StageConfigError(f"The concurrency group {template!r} cannot be told: {error}") from error
    text = "" if name is None else expressions.to_text(name).strip()
    if not text:
        raise StageConfigError(f"The concurrency group {template!r} is empty; it must have a name")
    return text


def cancellation(by: Mapping[str, str]) -> str:
    """Say that a run was cancelled, and by whom."""
    return (
        f"cancelled: run {by['run_id']!r} of {by['dag_id']!r} takes the place of this run "
        f"in concurrency group {by['group']!r}"
    )
