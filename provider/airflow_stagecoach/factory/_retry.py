"""``retry:`` as an Airflow retry policy: exact delays, and a series that a clear restarts."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_stagecoach.document.plan import RetryPlan


def retry_arguments(plan: RetryPlan | None) -> dict[str, Any]:
    """Arguments of an operator for a stage's ``retry``.

    ``retry_delay`` is the first delay, because Airflow uses it, not the policy,
    after a worker was killed.
    """
    if plan is None or plan["max"] == 0:
        return {"retries": 0}
    from airflow_stagecoach.engine.retry import delay_before

    first = timedelta(seconds=delay_before(plan, 1))
    arguments: dict[str, Any] = {"retries": plan["max"], "retry_delay": first}
    if plan.keys() - {"max", "delay"}:
        from airflow_stagecoach.operators.retry import StageRetryPolicy

        arguments["retry_policy"] = StageRetryPolicy(plan)
    return arguments
