"""The operator of a ``trigger`` stage: another workflow, waited for without a worker slot."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk.exceptions import AirflowSkipException, AirflowTaskTimeout

from airflow_stagecoach import expressions
from airflow_stagecoach.exceptions import StageFailed
from airflow_stagecoach.operators import _local, _trigger_run
from airflow_stagecoach.operators._base import StageBaseOperator
from airflow_stagecoach.operators._outputs import declared_outputs

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_stagecoach.engine.contract import Error

#: Seconds that a short child is waited for in the worker before the task defers
#: (a task that resumes too soon after deferring can be failed by the scheduler).
_WAIT_IN_WORKER = 10.0


_CANCELLED: Error = {"type": "Cancelled", "message": "The stage was cancelled"}


class TriggerStageOperator(StageBaseOperator):
    """Run another workflow or DAG, wait for its end, and give its outputs.

    Outputs: ``jobs`` and ``params`` of a workflow, ``tasks`` and ``params`` of
    any other DAG. A child that failed fails the stage, one that was skipped
    skips it.
    """

    ui_color = "#ffefeb"
    kinds: ClassVar[tuple[str, ...] | None] = ("trigger",)

    _cancelled: threading.Event | None = None

    def _start(self, context: Context) -> dict[str, Any]:
        with self.attempt.phase("prepare"):
            contexts = self._collect(context)
            self._condition_holds(context, contexts)
            spec = self._rendered_spec(context)
            values = self._with_env(contexts)
            dag_id = str(expressions.render(spec["trigger"], values))
            params = expressions.render(spec.get("params", {}), values)
        if _local.session is not None:
            level = _local.session.level
            with self.attempt.phase("execute"):
                child = _trigger_run.run_workflow(context, dag_id, params, "", level)
            return self._finish(context, child)
        fail_fast = self._fail_fast(context)
        cancelled = self._cancelled = threading.Event()
        # Only the wait is stopped: the child goes on.
        with fail_fast.guard(cancelled.set), self.attempt.phase("execute"):
            run_id = self.external_id = _trigger_run.start(context, dag_id, params)
            self.log.info("Run %s of %s started", run_id, dag_id)
            until = time.monotonic() + _WAIT_IN_WORKER
            while time.monotonic() < until:
                state = _trigger_run._run_state(dag_id, run_id)
                if state in _trigger_run.ENDED:
                    return self._finish(context, _trigger_run.collect(context, dag_id, run_id, params, state))
                if cancelled.wait(1):
                    raise StageFailed(_CANCELLED["message"], _CANCELLED)
        from airflow_stagecoach.triggers.dag_run import DagRunTrigger

        wait = DagRunTrigger(dag_id=dag_id, run_id=run_id, deadline=self.deadline.moment)
        self.defer(
            trigger=fail_fast.watched(wait),
            method_name="resume",
            kwargs={"dag_id": dag_id, "run_id": run_id, "params": params},
        )
        raise AssertionError("defer() does not return")

    def on_kill(self) -> None:
        """Stop waiting: the task was cleared or marked, or its worker shuts down. The child goes on."""
        self.killed = True
        if self._cancelled is not None:
            self._cancelled.set()

    def resume(
        self, context: Context, event: dict[str, Any], dag_id: str, run_id: str, params: dict[str, Any]
    ) -> dict[str, Any]:
        """Go on when the child has ended or the time is up."""
        self.external_id = run_id

        def finish(context: Context) -> dict[str, Any]:
            if event.get("timeout"):
                raise AirflowTaskTimeout(f"{dag_id!r} did not end within the stage's timeout; it still runs")
            with self.attempt.phase("execute"):
                child = _trigger_run.collect(context, dag_id, run_id, params, event["state"])
            return self._finish(context, child)

        return self._settle(context, finish)

    def _finish(self, context: Context, child: dict[str, Any]) -> dict[str, Any]:
        outputs = child["outputs"]
        if child["state"] == "success":
            return declared_outputs(self._spec, outputs, self._with_env(self._collect(context)))
        context["ti"].xcom_push(key="return_value", value=outputs)
        if child["state"] == "skipped":
            raise AirflowSkipException("Every job of the triggered workflow was skipped")
        raise StageFailed("The triggered workflow failed")
