"""What happens when a run misses the workflow's ``deadline`` and nobody is to be told."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

log = logging.getLogger(__name__)


async def log_missed(seconds: float, context: Mapping[str, Any] | None = None, **_: Any) -> str:
    """Write a warning into the triggerer's log. The missed deadline itself shows at the run in the UI.

    :param seconds: the workflow's ``deadline``
    :param context: ``{"dag_run": {...}, "deadline": {...}}``, from Airflow
    :return: the warning, which Airflow keeps with the callback
    """
    run = (context or {}).get("dag_run") or {}
    text = (
        f"Run {run.get('dag_run_id')} of {run.get('dag_id')} "
        f"did not succeed within its deadline of {seconds:g} s"
    )
    log.warning("%s", text)
    return text
