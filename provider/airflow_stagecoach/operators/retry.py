"""``retry:`` as an Airflow retry policy."""

from __future__ import annotations

import logging
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow.sdk.definitions.retry_policy import RetryAction, RetryDecision, RetryPolicy

from airflow_stagecoach.engine.classification import Classification, classified
from airflow_stagecoach.engine.memory import ran_out_of_memory
from airflow_stagecoach.engine.retry import decide, delay_before, jitter_source, rule_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow.sdk import Context

    from airflow_stagecoach.document.plan import RetryPlan
    from airflow_stagecoach.engine.contract import Error

log = logging.getLogger(__name__)

#: Entry points by which other packages classify failures.
CLASSIFIERS = "airflow_stagecoach.classifiers"

#: Reason of a try that ended because its worker was shut down: Airflow goes on with the next one.
WORKER_STOPPED = "worker-stopped"

#: Key in the task state store: how many retries each rule gave, since which try.
_COUNTS = "stagecoach_retry_rules"

#: The same: how many tries ran out of memory, since which try.
_RAN_OUT = "stagecoach_ran_out_of_memory"


class Verdict(NamedTuple):
    """What happens after a failed try."""

    decision: RetryDecision
    retries: bool  # whether there is another try
    delay: float | None  # seconds until then; None: Airflow's own delay, or no other try


class StageRetryPolicy(RetryPolicy):
    """Exact delays, and only the failures that the document wants repeated.

    It counts tries since the last clear, so that a manual clear restarts the
    series. Jitter is drawn from the run, the leg and the try: the same for the
    same try, different between legs.

    :param plan: the stage's ``retry``
    """

    def __init__(self, plan: RetryPlan) -> None:
        self.plan = plan

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        """Decide after a failed try. See :class:`airflow.sdk.RetryPolicy`.

        The operator has asked already, for the failure report: it is told the same.
        """
        told = getattr((context or {}).get("task"), "verdict", None)
        if told is not None and told[0] is exception:
            decision: RetryDecision = told[1].decision
            return decision
        return self.decide(exception, failure(exception), try_number, max_tries, context)

    def decide(
        self,
        exception: BaseException,
        error: Error,
        try_number: int,
        max_tries: int,
        context: Mapping[str, Any] | None = None,
    ) -> RetryDecision:
        """Decide; the retries that a rule of the document gave are counted, and tries without enough memory.

        :param exception: handed on to the document's own policy, if it names one
        :param error: why the try failed, classified
        :param try_number: of the try that failed
        :param max_tries: Airflow's, which grows with every clear
        """
        decision = self._decide(exception, error, try_number, max_tries, context)
        if decision.action is not RetryAction.FAIL and ran_out_of_memory(error, classifiers()):
            self._count_memory(try_number, max_tries, context)
        return decision

    def _decide(
        self,
        exception: BaseException,
        error: Error,
        try_number: int,
        max_tries: int,
        context: Mapping[str, Any] | None,
    ) -> RetryDecision:
        plan: Mapping[str, Any] = self.plan
        number = self._number(try_number, max_tries)
        own = plan.get("policy")
        used = self._used(try_number - number, error, context)
        place: tuple[object, ...] = ()
        if context is not None:
            ti = context["ti"]
            place = (ti.dag_id, context["run_id"], ti.task_id, ti.map_index)
        decision = decide(
            plan,
            error,
            number,
            rng=jitter_source(*place, try_number),
            used=used,
            classifiers=[_leave_to_policy] if own is not None else (),
        )
        if not decision.repeat:
            return RetryDecision.fail(f"No other try: {decision.why}")
        if decision.rule is not None:
            self._count(decision.rule, used, try_number - number, context)
        elif own is not None:
            return self._ask(own, exception, try_number, max_tries, context)
        return RetryDecision.retry(timedelta(seconds=decision.delay), f"Another try: {decision.why}")

    def _number(self, try_number: int, max_tries: int) -> int:
        """Which try of its series a try is, from 1."""
        return max(1, try_number - (max_tries - self.plan["max"]))

    def ran_out_before(self, try_number: int, max_tries: int, context: Mapping[str, Any] | None) -> int:
        """How many earlier tries of the series ran out of memory; 0 where nothing grows by that.

        :param try_number: of the try that is to begin, or runs
        :param max_tries: Airflow's, which grows with every clear
        """
        store = None if context is None else context.get("task_state_store")
        if store is None or "on_oom" not in self.plan:
            return 0
        number = self._number(try_number, max_tries)
        if number == 1:
            return 0
        try:
            kept = store.get(_RAN_OUT)
        except Exception as reason:
            log.warning(
                "Which tries ran out of memory cannot be read, the memory is that of the first: %s", reason
            )
            return 0
        if not isinstance(kept, dict) or kept.get("before") != try_number - number:
            return 0
        return int(kept.get("count") or 0)

    def _count_memory(self, try_number: int, max_tries: int, context: Mapping[str, Any] | None) -> None:
        store = None if context is None else context.get("task_state_store")
        if store is None or "on_oom" not in self.plan:
            return
        count = self.ran_out_before(try_number, max_tries, context) + 1
        try:
            store.set(_RAN_OUT, {"before": try_number - self._number(try_number, max_tries), "count": count})
        except Exception as reason:
            log.warning(
                "That the try ran out of memory cannot be kept, the next one gets no more: %s", reason
            )

    def _ask(
        self,
        path: str,
        exception: BaseException,
        try_number: int,
        max_tries: int,
        context: Mapping[str, Any] | None,
    ) -> RetryDecision:
        """Leave it to the policy that the document names; one that fails leaves it to Airflow."""
        try:
            policy = _import(path)(**self.plan.get("with_", {}))
            answer = policy.evaluate(exception, try_number, max_tries, context)
        except Exception:
            log.exception("The retry policy %s failed; Airflow's own rule decides", path)
            return RetryDecision.default()
        if not isinstance(answer, RetryDecision):
            log.error("The retry policy %s gave no RetryDecision; Airflow's own rule decides", path)
            return RetryDecision.default()
        return answer

    def _used(self, before: int, error: Error, context: Mapping[str, Any] | None) -> dict[int, int]:
        """Retries that the matching rule has given in this series; read only when it has a ``max``.

        :param before: tries before this series; tells an old count from one of this series
        """
        position = rule_for(self.plan, error)
        store = None if context is None else context.get("task_state_store")
        if position is None or store is None or "max" not in self.plan["rules"][position]:
            return {}
        try:
            kept = store.get(_COUNTS)
        except Exception as reason:
            log.warning("The retries of a rule cannot be read, it counts from none: %s", reason)
            return {}
        if not isinstance(kept, dict) or kept.get("before") != before:
            return {}
        return {int(rule): int(count) for rule, count in dict(kept.get("counts") or {}).items()}

    def _count(self, rule: int, used: dict[int, int], before: int, context: Mapping[str, Any] | None) -> None:
        store = None if context is None else context.get("task_state_store")
        if store is None or "max" not in self.plan["rules"][rule]:
            return
        counts = {**used, rule: used.get(rule, 0) + 1}
        try:
            store.set(_COUNTS, {"before": before, "counts": {str(name): n for name, n in counts.items()}})
        except Exception as reason:
            log.warning("The retries of a rule cannot be counted: %s", reason)

    def serialize(self) -> dict[str, Any]:
        """The document's ``retry``."""
        return {"plan": dict(self.plan)}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> StageRetryPolicy:
        """Made again from :meth:`serialize`."""
        return cls(data["plan"])


class LostWorkerPolicy(StageRetryPolicy):
    """Of a task whose stages are tried again inside it.

    Another try only where its worker goes, or the place where it shall run fails before any stage ran.
    """

    def decide(
        self,
        exception: BaseException,
        error: Error,
        try_number: int,
        max_tries: int,
        context: Mapping[str, Any] | None = None,
    ) -> RetryDecision:
        """Decide. See :meth:`StageRetryPolicy.decide`."""
        if error.get("reason") != WORKER_STOPPED and error.get("began", True):
            return RetryDecision.fail("No other try: stages that share a task are tried again inside it")
        return super().decide(exception, error, try_number, max_tries, context)


def retry_arguments(
    plan: RetryPlan | None, policy: type[StageRetryPolicy] = StageRetryPolicy
) -> dict[str, Any]:
    """Arguments of an operator for a stage's ``retry``.

    ``retry_delay`` is the first delay, because Airflow uses it, not the policy,
    after a worker was killed. It has no jitter: the DAG must be the same each
    time that it is built.
    """
    if plan is None or plan["max"] == 0:
        return {"retries": 0}
    return {
        "retries": plan["max"],
        "retry_delay": timedelta(seconds=delay_before({**plan, "jitter": "none"}, 1)),
        "retry_policy": policy(plan),
    }


def judge(task: Any, exception: BaseException, error: Error, context: Mapping[str, Any]) -> Verdict:
    """What happens after a failed try of a task, by the rules that Airflow then applies.

    :param error: the exception, classified (:func:`failure`)
    """
    from airflow.sdk.exceptions import AirflowFailException, AirflowSensorTimeout, AirflowTaskTerminated

    ti = context["ti"]
    final = (AirflowFailException, AirflowSensorTimeout, AirflowTaskTerminated)
    policy = task.retry_policy
    if ti.try_number > ti.max_tries or isinstance(exception, final):
        # Not "fail": Airflow counts a failure in its own metrics only where it decides itself.
        return Verdict(RetryDecision.default(), False, None)
    if isinstance(policy, StageRetryPolicy):
        decision = policy.decide(exception, error, ti.try_number, ti.max_tries, context)
    elif policy is None:
        decision = RetryDecision.default()
    else:
        # Somebody else's policy, in a handwritten DAG: asking it twice could count twice.
        return Verdict(RetryDecision.default(), True, None)
    if decision.action is RetryAction.FAIL:
        return Verdict(decision, False, None)
    delay = decision.retry_delay
    if delay is None and not task.retry_exponential_backoff:
        delay = task.retry_delay
    return Verdict(decision, True, None if delay is None else delay.total_seconds())


def failure(exception: BaseException) -> Error:
    """An exception as a classified error of the engine."""
    from airflow.sdk.exceptions import AirflowException, AirflowTaskTimeout, TaskDeferralTimeout

    from airflow_stagecoach.engine.failures import error_of

    error: Error | None = getattr(exception, "error", None)
    if not isinstance(error, dict) or "type" not in error:
        error = error_of(exception)
        if isinstance(exception, (AirflowTaskTimeout, TaskDeferralTimeout)):
            error = {"type": "TimedOut", "message": str(exception) or "The try took longer than its timeout"}
        elif isinstance(exception, AirflowException):
            # Every Airflow exception has a `status_code`, by which its server answers; that is no fact.
            error = {
                "type": error["type"],
                "message": error["message"],
                "classes": error.get("classes", []),
            }
    return classified(error, classifiers())


@lru_cache(maxsize=1)
def classifiers() -> tuple[Callable[[Error], Any], ...]:
    """Rules that installed packages add to the classification of failures; imported at the first failure."""
    from importlib.metadata import entry_points

    rules = []
    for point in entry_points(group=CLASSIFIERS):
        try:
            rules.append(point.load())
        except Exception as reason:
            log.warning("The classifier %s cannot be loaded: %s", point.value, reason)
    return tuple(rules)


def _leave_to_policy(error: Error) -> Classification | None:
    """For a document with a policy of its own, which then judges every category."""
    category = error.get("category")
    if category is None or category == "cancelled":
        return None
    return Classification(category, error.get("reason", ""), "default")


def _import(path: str) -> Any:
    """The class of ``package.module:Class``."""
    from importlib import import_module

    module, _, name = path.partition(":")
    class_ = getattr(import_module(module), name)
    if not (isinstance(class_, type) and issubclass(class_, RetryPolicy)):
        raise TypeError(f"{path} is no airflow.sdk.RetryPolicy")
    return class_
