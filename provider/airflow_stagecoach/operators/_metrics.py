"""Metrics of stages through Airflow's own: StatsD, Datadog or OpenTelemetry, as Airflow is configured.

What Airflow measures itself (``task.duration``, ``task.queued_duration``, the
states of pools) is not measured again.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

log = logging.getLogger(__name__)

_PREFIX = "stagecoach"


def emit(record: Mapping[str, Any], *, will_retry: bool = False) -> None:
    """Send the numbers of one record. Whatever goes wrong is one warning.

    :param record: of a stage (:func:`airflow_stagecoach.operators._record.stage_record`)
    :param will_retry: whether another try follows
    """
    try:
        _emit(record, will_retry)
    except Exception as error:
        log.warning("Metrics cannot be sent: %s: %s", type(error).__name__, error)


def _emit(record: Mapping[str, Any], will_retry: bool) -> None:
    from airflow.sdk.observability import stats

    tags = {
        key: str(record[name])
        for key, name in (("dag_id", "dag_id"), ("job", "job"), ("stage", "stage"), ("backend", "backend"))
        if record.get(name)
    }
    if record["duration"] is not None:
        # Airflow's timings are milliseconds.
        stats.timing(f"{_PREFIX}.stage.duration", record["duration"] * 1000.0, tags=tags)
    if record["outcome"] in ("failure", "cancelled") and record["category"] is not None:
        stats.incr(f"{_PREFIX}.stage.failures", tags={**tags, "category": record["category"]})
    if will_retry:
        stats.incr(f"{_PREFIX}.stage.retries", tags=tags)
    for name in ("cpu_seconds", "peak_memory"):
        if record[name] is not None:
            stats.gauge(f"{_PREFIX}.stage.{name}", record[name], tags=tags)
    for name, value in record["metrics"].items():
        stats.gauge(f"{_PREFIX}.metric.{metric_name(name)}", value, tags=tags)


def metric_name(name: str) -> str:
    """A user's name with the characters that every metrics system takes."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", name)[:150]
