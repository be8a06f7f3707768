"""From the states of tasks to the result of a leg and of a job.

Pure functions. The rules stand in DESIGN ("What each thing means"): a job
succeeded when no stage failed, even if its last stage was skipped; it is
skipped when its ``if`` is false or all its stages were skipped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: Results, in GitHub Actions' words; ``upstream_failed`` is Airflow's.
SUCCESS, FAILURE, SKIPPED, UPSTREAM_FAILED = "success", "failure", "skipped", "upstream_failed"

#: A leg that ``fail-fast`` stopped; Airflow shows its stages as skipped.
CANCELLED = "cancelled"

#: Task states that never change by themselves.
FINISHED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})


def stages_result(states: Iterable[str | None]) -> str | None:
    """Result of stages that ran in one place: a leg, or a job without a matrix.

    :param states: Airflow's task states, one per stage; ``None`` is "not scheduled yet"
    :return: a result, or ``None`` while it cannot be told
    """
    seen = set(states)
    if "failed" in seen:
        return FAILURE
    if "upstream_failed" in seen:
        return UPSTREAM_FAILED
    if not seen <= FINISHED:
        return None
    return SUCCESS if "success" in seen else SKIPPED


def job_result(legs: Sequence[str | None], anchor: str | None = SUCCESS) -> str | None:
    """Result of a job from the results of its legs.

    :param legs: one result per leg; a job without a matrix has one leg
    :param anchor: task state of the gate or start task that carries the job's rule, if it has one
    :return: a result, or ``None`` while legs are unfinished and none failed
    """
    if anchor == "failed" or FAILURE in legs:
        return FAILURE
    if anchor == UPSTREAM_FAILED or UPSTREAM_FAILED in legs:
        return UPSTREAM_FAILED
    if anchor == SKIPPED:
        return SKIPPED
    if None in legs:
        return None
    return SUCCESS if SUCCESS in legs else SKIPPED
