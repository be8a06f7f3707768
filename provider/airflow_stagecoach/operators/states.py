"""Where a task stands, in seven words that do not depend on Airflow's version. Pure functions.

Airflow has fourteen states of a task and none that says "cancelled": what was stopped is failed or skipped
there, and only the reason in its record tells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_stagecoach.engine.classification import normal
from airflow_stagecoach.operators._records_reasons import BY_HAND, CONCURRENCY, FAIL_FAST, RUN_TIMEOUT
from airflow_stagecoach.operators._results import CANCELLED

if TYPE_CHECKING:
    from collections.abc import Iterable

#: The seven words, the worst first: of several, the first that one of them is in counts.
NORMAL_STATES = ("failed", "cancelled", "retrying", "running", "pending", "completed", "skipped")

#: Every member of Airflow's ``TaskInstanceState``, and ``None``: Airflow has not looked at the task yet.
_OF_AIRFLOW: dict[str | None, str] = {
    None: "pending",
    "scheduled": "pending",
    "queued": "pending",
    "running": "running",
    "restarting": "running",
    "deferred": "running",
    "up_for_reschedule": "running",
    "awaiting_input": "running",
    "up_for_retry": "retrying",
    "success": "completed",
    "failed": "failed",
    "upstream_failed": "failed",
    "skipped": "skipped",
    "removed": "skipped",
}

#: Reasons by which somebody, or something, wanted a task to end.
_STOPPED = frozenset(map(normal, (CANCELLED, FAIL_FAST, CONCURRENCY, BY_HAND, RUN_TIMEOUT)))


def normalise_state(ti_state: str | None, reason: str | None = None) -> str:
    """Where a task stands.

    :param ti_state: Airflow's state, a member of ``TaskInstanceState`` or its text; ``None``: none yet
    :param reason: of the record, such as ``fail-fast``; one that says that the task was stopped makes
        ``cancelled`` of what failed or was skipped
    :return: ``pending running completed failed cancelled retrying skipped``
    :raises ValueError: this Airflow has a state that is not known here
    """
    if ti_state not in _OF_AIRFLOW:
        raise ValueError(f"Airflow's task state {str(ti_state)!r} is not known to this version")
    found = _OF_AIRFLOW[ti_state]
    stopped = reason is not None and normal(reason) in _STOPPED
    return "cancelled" if stopped and found in ("failed", "skipped") else found


def worst_state(states: Iterable[str]) -> str:
    """The state of a job from those of its legs, by :data:`NORMAL_STATES`; without legs ``skipped``."""
    return min(states, key=NORMAL_STATES.index, default="skipped")


def stages_state(states: Iterable[str]) -> str:
    """The state of stages that run one after the other: the worst, but ``running`` between two of them."""
    seen = set(states)
    worst = worst_state(seen)
    return "running" if worst == "pending" and seen & {"completed", "skipped"} else worst
