"""Airflow's LocalExecutor, whose workers write down what the tasks of some DAGs cost.

The figures go to the file ``tasks`` of the folder ``$BENCHMARK_OUT``: JSON lines, one from the task's process
and one from the worker that started it.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import time
from typing import TYPE_CHECKING, Any

from airflow.executors.base_executor import BaseExecutor
from airflow.executors.local_executor import LocalExecutor

if TYPE_CHECKING:
    from collections.abc import Callable
    from socket import socket

#: How the ids of DAGs begin whose tasks are weighed. Reading the figures takes some milliseconds.
WEIGHED = "cost_"

_PR_SET_DUMPABLE = 4

_run_workload = BaseExecutor.run_workload


def _run_measured(workload: Any, **kwargs: Any) -> int:
    # The task is a forked child, so it and its shell inherit this. In nanoseconds since the epoch.
    os.environ["BENCHMARK_TAKEN"] = str(time.time_ns())
    if not workload.ti.dag_id.startswith(WEIGHED):
        return _run_workload(workload, **kwargs)
    return _run_weighed(workload, **kwargs)


def _run_weighed(workload: Any, **kwargs: Any) -> int:
    from airflow.sdk.api.client import Client
    from airflow.sdk.execution_time import supervisor

    task = {"dag": workload.ti.dag_id, "task": workload.ti.task_id}
    requests: list[str] = []
    # mypy lets nobody replace functions.
    client_class: Any = Client
    module: Any = supervisor
    request, fork_main = client_class.request, module._fork_main

    def count(client: Any, method: str, url: Any, *args: Any, **kwargs: Any) -> Any:
        requests.append(f"{method} {url}")
        return request(client, method, url, *args, **kwargs)

    def weigh(
        requests: socket, stdout: socket, stderr: socket, log_fd: int, target: Callable[[], None]
    ) -> None:
        fork_main(requests, stdout, stderr, log_fd, _weighing(target, task))

    client_class.request, module._fork_main = count, weigh
    before = cpu()
    try:
        return _run_workload(workload, **kwargs)
    finally:
        used = cpu() - before
        client_class.request, module._fork_main = request, fork_main
        _write({**task, "requests": requests, "cpu": used})


def _weighing(target: Callable[[], None], task: dict[str, str]) -> Callable[[], None]:
    def run() -> None:
        try:
            target()
        finally:
            _write({**task, **memory()})

    return run


def cpu() -> float:
    """Seconds of processor time of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def memory() -> dict[str, int]:
    """Weigh this process, in KiB.

    ``resident`` is its peak; ``own`` what no other process shares, also at its peak (at the most: what it
    gave back since then counts as its own); ``proportional`` the same with its part of what is shared, now.
    """
    # A worker hides its memory and its children's from other processes of the user, and so from this reading.
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)
    figures: dict[str, int] = {}
    for name in ("status", "smaps_rollup"):
        with open(f"/proc/self/{name}") as file:
            for line in file:
                key, _, value = line.partition(":")
                if value.endswith("kB\n"):
                    figures[key] = int(value.split()[0])
    given_back = figures["VmHWM"] - figures["Rss"]
    return {
        "resident": figures["VmHWM"],
        "own": figures["Private_Clean"] + figures["Private_Dirty"] + max(given_back, 0),
        "proportional": figures["Pss"],
    }


def _write(figures: dict[str, Any]) -> None:
    line = json.dumps(figures).encode() + b"\n"
    # One write to the end of the file: lines of several processes do not mix.
    file = os.open(os.path.join(os.environ["BENCHMARK_OUT"], "tasks"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, line)
    finally:
        os.close(file)


class MeasuringExecutor(LocalExecutor):
    """LocalExecutor; ``$BENCHMARK_TAKEN`` is the time when a worker took the task."""

    def start(self) -> None:
        """Start the workers, which are forks of this process."""
        BaseExecutor.run_workload = staticmethod(_run_measured)  # type: ignore[method-assign]  # in forks only
        super().start()
