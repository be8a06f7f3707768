"""Who waits for whom: the needs of jobs, among them those that a ``fallback`` adds."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_stagecoach.document.jobs import Job


def fallbacks(jobs: Mapping[str, Job]) -> dict[str, str]:
    """Fallback -> the job that it stands in for; of jobs that share one, the first."""
    found: dict[str, str] = {}
    for name, job in jobs.items():
        if job.fallback is not None and job.fallback in jobs:
            found.setdefault(job.fallback, name)
    return found


def needs_of(job: Job, main: str | None) -> list[str]:
    """The direct needs of a job, in document order, without duplicates.

    :param main: of a fallback, the job that it stands in for: the first of its needs
    """
    return list(dict.fromkeys([*([] if main is None else [main]), *(job.needs or ())]))
