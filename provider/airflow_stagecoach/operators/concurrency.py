"""``concurrency``: runs of one group, of this or any other workflow, do not work at the same time.

Four tasks stand around the jobs of a workflow with a concurrency group:

* ``__concurrency__`` (:class:`ConcurrencyOperator`), a **setup** task before every task that has none before
  it. Airflow lets no task run, whatever its trigger rule, while a setup before it has not succeeded; all are
  skipped when it was skipped, and upstream_failed when it failed. Clearing a task with its followers clears
  it too, so the run takes part again.
* ``__lease__`` (:class:`LeaseOperator`), after ``__concurrency__`` only, ``all_success``: a leaf of the DAG
  that waits beside the jobs and fails the run when another run cancels it.
* ``__release__`` (:class:`ReleaseOperator`), a **teardown** of ``__concurrency__`` after every task that has
  none after it, but not after ``__lease__``, which waits for it.
* ``__entered__``, an empty **teardown** of ``__concurrency__`` that fails the run when it was not let in. It
  is cleared with ``__concurrency__``, as the lease is not.

The others go from the scheduler straight to the triggerer. Only the lease needs a worker, for a moment, when
the run is cancelled. How the group is kept: :mod:`airflow_stagecoach.triggers._tickets`.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException
from airflow.triggers.base import StartTriggerArgs

from airflow_stagecoach.operators._membership import cancellation, group_name
from airflow_stagecoach.triggers.concurrency import CANCELLED, ConcurrencyTrigger, report

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import Context

    from airflow_stagecoach.document.plan import ConcurrencyPlan

#: Task ids.
CONCURRENCY, ENTERED, LEASE, RELEASE = "__concurrency__", "__entered__", "__lease__", "__release__"

#: Nothing else of a run is as urgent as stopping it.
_URGENT = 1_000_000

#: States of a task that neither works nor has ended.
_NOT_WORKING = frozenset(
    {
        None,
        "scheduled",
        "queued",
        "deferred",
        "up_for_retry",
        "up_for_reschedule",
        "awaiting_input",
        "restarting",
    }
)


class ConcurrencyOperator(BaseOperator):
    """Waits in the triggerer until the run may work, or ends as ``on_conflict`` says.

    :param concurrency: group (a template over params, run and vars) and what a run does when it is held
    :param declared: the params that the workflow declares; ``None`` when it declares none
    """

    custom_operator_name = "concurrency"
    ui_color = "#eeeeee"
    start_from_trigger = True

    def __init__(
        self, *, concurrency: ConcurrencyPlan, declared: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.start_trigger_args = StartTriggerArgs(
            trigger_cls=f"{GroupTrigger.__module__}.{GroupTrigger.__qualname__}",
            trigger_kwargs={
                "group": concurrency["group"],
                "on_conflict": concurrency["on_conflict"],
                # As text: Airflow would give nested maps back in the form in which it stores them.
                "declared": None if declared is None else json.dumps(declared),
            },
            next_method="resume",
        )

    def execute(self, context: Context) -> None:
        """Pass at once: only ``dag.test()`` comes here, where no other run is."""

    def resume(self, context: Context, event: dict[str, Any] | None = None) -> None:
        """Nothing is left to do: the trigger ends the task itself."""


class LeaseOperator(BaseOperator):
    """Lies beside the jobs while the run holds its group, and ends the run when another one cancels it."""

    custom_operator_name = "lease"
    ui_color = "#eeeeee"
    start_from_trigger = True

    def __init__(self, **kwargs: Any) -> None:
        # Tried again when its worker was killed: else what is deferred would not be told.
        again = {"retries": 2, "retry_delay": timedelta(seconds=5)}
        kwargs = {"priority_weight": _URGENT, "weight_rule": "absolute", **again, **kwargs}
        super().__init__(**kwargs)
        self.start_trigger_args = StartTriggerArgs(
            trigger_cls="airflow_stagecoach.triggers.concurrency.LeaseTrigger",
            trigger_kwargs={"release": RELEASE},
            next_method="resume",
        )

    def execute(self, context: Context) -> None:
        """Pass at once: only ``dag.test()`` comes here, where nobody cancels."""

    def resume(self, context: Context, event: dict[str, Any]) -> None:
        """Stop what has not started or waits without a worker. What runs looks for itself.

        :raises AirflowFailException: always, with the reason ``cancelled``
        """
        by = event["cancelled_by"]
        message = cancellation(by)
        context["ti"].xcom_push(key="error", value=report(message, CANCELLED))
        skipped = self._skip_others(context)
        if skipped:
            self.log.info("Skipped %d %s that waited", skipped, "task" if skipped == 1 else "tasks")
        raise AirflowFailException(message)

    def _skip_others(self, context: Context) -> int:
        from airflow.sdk.execution_time.comms import SkipDownstreamTasks
        from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

        ti: Any = context["ti"]
        states = ti.get_task_states(dag_id=ti.dag_id, run_ids=[ti.run_id]).get(ti.run_id, {})
        # Teardowns look themselves whether there is something to clean up.
        names = {
            task.task_id
            for task in self.dag.tasks
            if not task.is_teardown and task.task_id not in (CONCURRENCY, LEASE)
        }
        tasks = to_skip(states, names)
        if tasks:
            SUPERVISOR_COMMS.send(SkipDownstreamTasks(tasks=list(tasks)))
        return len(tasks)


class ReleaseOperator(BaseOperator):
    """Gives the group back, after all work of the run and its teardowns. In the triggerer."""

    custom_operator_name = "release"
    ui_color = "#eeeeee"
    start_from_trigger = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.start_trigger_args = StartTriggerArgs(
            trigger_cls="airflow_stagecoach.triggers.concurrency.ReleaseTrigger",
            trigger_kwargs={},
            next_method="resume",
        )

    def execute(self, context: Context) -> None:
        """Pass at once: only ``dag.test()`` comes here, where nothing is held."""

    def resume(self, context: Context, event: dict[str, Any] | None = None) -> None:
        """Nothing is left to do: the trigger ends the task itself."""


class GroupTrigger(ConcurrencyTrigger):
    """The trigger of :class:`ConcurrencyOperator`: it tells the name of the group from the run."""

    def group_name(self) -> str:
        """Evaluate the group's name. See :meth:`ConcurrencyTrigger.group_name`."""
        ti: Any = self.task_instance
        declared = None if self.declared is None else json.loads(self.declared)
        return group_name(self.group, declared, ti.get_template_context())


def to_skip(states: Mapping[str, Any], names: set[str]) -> list[tuple[str, int]]:
    """Which task instances of a cancelled run are skipped: all that neither work nor have ended.

    :param states: task states of the run, by ``task_id`` or, for a mapped task, ``task_id_INDEX``
    :param names: ids of the tasks that may be skipped
    :return: task id and map index, -1 for a task that is not mapped (yet)
    """
    found: list[tuple[str, int]] = []
    for key, state in states.items():
        if (None if state is None else str(state)) not in _NOT_WORKING:
            continue
        name, _, index = key.rpartition("_")
        if key in names:
            found.append((key, -1))
        elif name in names and index.isdigit():
            found.append((name, int(index)))
    return found
