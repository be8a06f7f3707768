"""``retry:`` as an Airflow retry policy."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy

from airflow_stagecoach.engine.retry import delay_before, may_retry

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_stagecoach.document.plan import RetryPlan
    from airflow_stagecoach.engine.contract import Error


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
        """Decide after a failed try. See :class:`airflow.sdk.RetryPolicy`."""
        if not self.repeats(exception):
            return RetryDecision.fail("retry: this failure is not to be repeated")
        number = max(1, try_number - (max_tries - self.plan["max"]))
        place = (
            ""
            if context is None
            else f"{context['run_id']}/{context['ti'].task_id}/{context['ti'].map_index}"
        )
        rng = random.Random(f"{place}/{try_number}")  # noqa: S311  # spreads load, guards nothing
        return RetryDecision.retry(timedelta(seconds=delay_before(self.plan, number, rng)))

    def repeats(self, exception: BaseException) -> bool:
        """Whether ``on`` and ``never`` let a failure be repeated at all."""
        return may_retry(self.plan, failure(exception))

    def serialize(self) -> dict[str, Any]:
        """The document's ``retry``."""
        return {"plan": dict(self.plan)}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> StageRetryPolicy:
        """Made again from :meth:`serialize`."""
        return cls(data["plan"])


def retry_arguments(plan: RetryPlan | None) -> dict[str, Any]:
    """Arguments of an operator for a stage's ``retry``.

    ``retry_delay`` is the first delay, because Airflow uses it, not the policy,
    after a worker was killed.
    """
    if plan is None or plan["max"] == 0:
        return {"retries": 0}
    return {
        "retries": plan["max"],
        "retry_delay": timedelta(seconds=delay_before(plan, 1)),
        "retry_policy": StageRetryPolicy(plan),
    }


def failure(exception: BaseException) -> Error:
    """An exception in the shape of an engine's error."""
    error = getattr(exception, "error", None)
    if error is not None:
        return cast("Error", error)
    classes = [f"{kind.__module__}.{kind.__qualname__}" for kind in type(exception).__mro__[:-1]]
    kind = type(exception).__name__
    if kind in ("AirflowTaskTimeout", "TaskDeferralTimeout"):
        kind = "TimedOut"
    return {"type": kind, "message": str(exception), "classes": classes}
