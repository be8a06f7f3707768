"""What a runner tells Prometheus, in its text format."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_stagecoach.runner.jobs import Jobs

_PREFIX = "stagecoach_runner_"


def metrics(jobs: Jobs) -> str:
    """Gauges of what is there, counters of what happened since the runner was started."""
    return "".join(f"{line}\n" for line in _lines(jobs))


def _lines(jobs: Jobs) -> Iterator[str]:
    states = Counter(job.state for job in jobs.all())
    yield from _head("jobs", "gauge", "Jobs that the runner has, by state.")
    for state in ("queued", "running", "ended", "lost"):
        yield f'{_PREFIX}jobs{{state="{state}"}} {states[state]}'
    for name, value, text in (
        ("slots", jobs.settings.jobs, "Jobs that may run at the same time."),
        ("queue_size", jobs.settings.queue, "Jobs that may wait."),
        ("draining", int(jobs.draining), "Whether the runner takes no new jobs."),
    ):
        yield from _head(name, "gauge", text)
        yield f"{_PREFIX}{name} {value}"
    yield from _head("jobs_total", "counter", "What became of jobs since the runner was started.")
    for event, count in jobs.counts.items():
        yield f'{_PREFIX}jobs_total{{event="{event}"}} {count}'


def _head(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP {_PREFIX}{name} {text}"
    yield f"# TYPE {_PREFIX}{name} {kind}"
