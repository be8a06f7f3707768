"""One try of a stage's task: its phases, its record, and what is told of a failure.

Nothing here changes how the task ends: what cannot be stored or sent is a
warning in its log.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from airflow.sdk.definitions.retry_policy import RetryDecision

from airflow_stagecoach import expressions
from airflow_stagecoach.operators import _fail_fast, _metrics
from airflow_stagecoach.operators._record import Place, failure_report, stage_record
from airflow_stagecoach.operators._run import BEGAN, ERROR, RECORD
from airflow_stagecoach.operators._secrets import Hider
from airflow_stagecoach.operators.retry import WORKER_STOPPED, Verdict, failure, judge

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow.sdk import Context

    from airflow_stagecoach.engine.contract import Error
    from airflow_stagecoach.operators._base import StageBaseOperator

#: Why a stage with a false ``if`` is skipped.
CONDITION = "Its `if` is false"

#: What Airflow says of a try that ran too long.
_AIRFLOWS_TIMEOUT = re.compile(r"(AirflowTaskTimeout: )?Timeout, PID: \d+$")

#: Phases of a try, in their order. Loading and checking the document come before.
PHASES = ("prepare", "execute", "complete", "cleanup")


class Attempt:
    """One try, from its start or from where it resumes.

    :param operator: runs the stage
    :param context: Airflow's
    """

    def __init__(self, operator: StageBaseOperator, context: Context) -> None:
        self._operator = operator
        self._context = context
        self._began = datetime.now(timezone.utc)
        self._phases: dict[str, tuple[str, float]] = {}

    # -- phases -----------------------------------------------------------------------------

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Around a phase: how long it took, and whether it went well."""
        start = time.monotonic()
        status = "failed"
        try:
            yield
            status = "success"
        finally:
            earlier = self._phases.get(name, ("", 0.0))[1]
            self._phases[name] = (status, earlier + time.monotonic() - start)

    def tell_phases(self, state: str) -> None:
        """One structured line per phase, folded away in the log.

        :param state: how the stage ended; that is the status of ``execute``
        """
        log, job, stage = self._operator.log, self._job_id(), self._stage_id()
        log.info("::group::Phases of this try")
        for name in PHASES:
            status, seconds = self._phases.get(name, ("none", 0.0))
            if name == "execute" and name in self._phases:
                status = state
            log.info(
                "phase=%s job=%s stage=%s status=%s duration_ms=%d", name, job, stage, status, seconds * 1000
            )
        log.info("::endgroup::")

    # -- ends -------------------------------------------------------------------------------

    def ended(self, state: str, error: Error | None = None, *, outcome: str | None = None) -> None:
        """Leave the record of a try that did not fail, or whose failure is tolerated.

        :param state: success or skipped
        :param error: classified; why it was skipped, or what was tolerated
        :param outcome: where it differs from the state
        """
        told = self._told(state, outcome or state, error)
        self._leave(told)

    def skipped(self, exception: BaseException) -> None:
        """Leave the record of a skipped stage: by its ``if``, its code, or by ``fail-fast``."""
        message = str(exception)
        if message == _fail_fast._REASON:
            if "execute" in self._phases:
                # Teardowns look for it: to Airflow this stage is skipped like one that never began.
                self._push(BEGAN, True)
            error: Error = {
                "type": "Cancelled",
                "message": message,
                "category": "cancelled",
                "reason": "fail-fast",
            }
            self.ended("skipped", error, outcome="cancelled")
        else:
            reason = "condition" if message == CONDITION else "skipped"
            self.ended("skipped", {"type": "Skipped", "message": message, "reason": reason})

    def failed(self, exception: BaseException) -> Verdict:
        """Judge a failed try and tell of it.

        :return: what happens next
        """
        operator = self._operator
        error = self._failure(exception)
        verdict = self._judged(exception, error)
        memory = operator.memory(self._context)
        report = failure_report(
            self._place(),
            error,
            retries=verdict.retries,
            delay=verdict.delay,
            external_id=operator.external_id,
            memory_limit=memory.limit,
            next_memory_limit=memory.next_limit(error) if verdict.retries else None,
        )
        report = self._hidden(report)
        operator.failure_report = report
        self._push(ERROR, report)
        outcome = "cancelled" if error.get("category") == "cancelled" else "failure"
        self._leave(self._told("failed", outcome, error), will_retry=verdict.retries)
        if _AIRFLOWS_TIMEOUT.match(str(exception)):
            # Airflow's own line says only that a process timed out.
            operator.log.error("%s", report["message"])
        # For programs. What a person wants to know stands in the line of the error itself.
        operator.log.info("Failure report: %s", json.dumps(report, ensure_ascii=False, default=str))
        if verdict.retries:
            memory.tell(error)
        return verdict

    def tolerated(self, exception: BaseException) -> None:
        """Leave the record of a failure that ``continue-on-error`` turns into success."""
        self.ended("success", self._failure(exception), outcome="failure")

    def is_last(self, exception: BaseException) -> bool:
        """Whether no other try follows a failed one; also where that cannot be told."""
        try:
            return not self._judged(exception, self._failure(exception)).retries
        except Exception as error:
            self._operator.log.warning("Whether this try is repeated cannot be told, it is not: %s", error)
            return True

    def _judged(self, exception: BaseException, error: Error) -> Verdict:
        """What follows from a failure. Asked once: a rule counts the retries that it gives."""
        operator = self._operator
        if operator.verdict is None or operator.verdict[0] is not exception:
            operator.verdict = (exception, self._in_time(judge(operator, exception, error, self._context)))
        return operator.verdict[1]

    def _in_time(self, verdict: Verdict) -> Verdict:
        """No other try where the job's time is over before it would begin."""
        deadline = self._operator.deadline
        left = deadline.left()
        if not verdict.retries or not deadline.of_job or left is None or left > (verdict.delay or 0.0):
            return verdict
        return Verdict(RetryDecision.fail("No other try: the job's time is over before it"), False, None)

    # -- what is told -----------------------------------------------------------------------

    def _failure(self, exception: BaseException) -> Error:
        error = failure(exception)
        # What an operator raises may hold what its hook told Airflow to mask.
        error = {**error, "message": self._hider.masked(error["message"])}
        if _AIRFLOWS_TIMEOUT.match(error["message"]):
            whose = "the job" if self._operator.deadline.of_job else "the stage"
            error = {**error, "message": f"The try was ended: the timeout of {whose} ran out"}
        if error.get("category") == "cancelled" and self._operator.killed and self._is_still_running():
            # Nobody wanted it to stop: its worker does, and Airflow goes on with the next try.
            error = {**error, "category": "system", "reason": WORKER_STOPPED}
        return error

    def _is_still_running(self) -> bool:
        """Whether Airflow believes that this task runs: then it was no person who stopped it."""
        ti = self._context["ti"]
        try:
            found = ti.get_task_states(
                dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id], map_index=ti.map_index
            )
        except Exception as error:
            self._operator.log.debug("The task's state cannot be read: %s", error)
            return False
        states = set((found.get(ti.run_id) or {}).values())
        return states == {"running"}

    def _told(self, state: str, outcome: str, error: Error | None) -> dict[str, Any]:
        """A stage result, from the engine where it ran the stage."""
        outcomes = {"success": "success", "skipped": "skipped", "failed": "failure"}
        result: Mapping[str, Any] | None = self._operator.result
        memory = self._operator.memory(self._context).limit
        if result is not None:
            return {
                **({} if memory is None else {"memory_limit": memory}),
                **result,
                "state": state,
                "outcome": result["outcome"] if error is None else outcomes.get(outcome, outcome),
                "error": error or result.get("error"),
                "external_id": self._operator.external_id,
            }
        start = self._context["ti"].start_date or self._began
        return {
            "state": state,
            "outcome": outcomes.get(outcome, outcome),
            "error": error,
            "start": start.isoformat(),
            "end": datetime.now(timezone.utc).isoformat(),
            "external_id": self._operator.external_id,
            "memory_limit": memory,
        }

    def _leave(self, result: Mapping[str, Any], *, will_retry: bool = False) -> None:
        try:
            record = self._hidden(stage_record(self._place(), result))
        except Exception as error:
            self._operator.log.warning("The record of this try cannot be made: %s", error)
            return
        self._operator.record = record
        self._push(RECORD, record)
        for each in (self._operator.stage_records or {"": record}).values():
            _metrics.emit(each, will_retry=will_retry)

    def _push(self, key: str, value: Any) -> None:
        try:
            self._context["ti"].xcom_push(key=key, value=value)
        except Exception as error:
            self._operator.log.warning("The %s of this try cannot be stored: %s", key, error)

    def _hidden(self, value: dict[str, Any]) -> dict[str, Any]:
        hidden: dict[str, Any] = self._hider.value(value)
        return hidden

    @property
    def _hider(self) -> Hider:
        return Hider(getattr(self._operator, "_collected", {}))

    # -- where ------------------------------------------------------------------------------

    def _place(self) -> Place:
        return place_of(self._operator, self._context)

    def _job_id(self) -> str:
        return self._operator.job["id"] if self._operator.job is not None else "-"

    def _stage_id(self) -> str:
        return stage_id(self._operator) or "-"


def place_of(operator: StageBaseOperator, context: Mapping[str, Any]) -> Place:
    """Where a try takes place."""
    ti = context["ti"]
    job, spec = operator.job, operator.spec
    matrix = operator.matrix if isinstance(operator.matrix, dict) else {}
    retries = int(operator.retries or 0)
    return Place(
        dag_id=ti.dag_id,
        run_id=ti.run_id,
        task_id=ti.task_id,
        try_number=ti.try_number,
        map_index=ti.map_index if ti.map_index is not None and ti.map_index >= 0 else None,
        job=job["id"] if job is not None else None,
        stage=None if spec["kind"] == "job" else stage_id(operator),
        name=_text(spec.get("name"), matrix),
        kind=spec["kind"],
        backend=(operator.runs_on or {"type": "local"})["type"],
        matrix=matrix,
        tries=max(1, ti.try_number - (ti.max_tries - retries)),
        max_tries=retries + 1,
        log_url=getattr(ti, "log_url", None),
        hostname=getattr(ti, "hostname", None),
    )


def stage_id(operator: StageBaseOperator) -> str | None:
    """The stage's id as it is in this leg."""
    matrix = operator.matrix if isinstance(operator.matrix, dict) else {}
    return _text(operator.spec.get("id"), matrix)


def _text(template: Any, matrix: Mapping[str, Any]) -> str | None:
    """A name or an id, which may hold expressions over ``matrix``; as written where it holds others."""
    if template is None:
        return None
    try:
        return str(expressions.render(template, {"matrix": matrix}))
    except expressions.ExpressionError:
        return str(template)
