"""Airflow's LocalExecutor, whose workers tell each task when they took it from the queue."""

from __future__ import annotations

import os
import time
from typing import Any

from airflow.executors.base_executor import BaseExecutor
from airflow.executors.local_executor import LocalExecutor

_run_workload = BaseExecutor.run_workload


def _run_stamped(*args: Any, **kwargs: Any) -> int:
    # The task is a forked child, so it and its shell inherit this. In nanoseconds since the epoch.
    os.environ["BENCHMARK_TAKEN"] = str(time.time_ns())
    return _run_workload(*args, **kwargs)


class StampingExecutor(LocalExecutor):
    """LocalExecutor; ``$BENCHMARK_TAKEN`` is the time when a worker took the task."""

    def start(self) -> None:
        """Start the workers, which are forks of this process."""
        BaseExecutor.run_workload = staticmethod(_run_stamped)  # type: ignore[method-assign]  # in forks only
        super().start()
