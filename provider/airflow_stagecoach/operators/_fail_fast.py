"""``fail-fast``: after the first leg has failed for good, no other leg goes on.

Three parts, because each alone leaves something running: the failing task asks
the server to skip what has not started or is deferred; a task that starts all
the same (its sibling was killed and could ask nothing) looks before it works;
a task that runs looks every few seconds and stops its work.
"""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from airflow_stagecoach.operators._run import SLOT, task_ids

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_stagecoach.document.plan import JobPlan

log = logging.getLogger(__name__)

#: Seconds between two looks of a running stage.
_POLL = 2.0

_REASON = "Cancelled: another leg failed, and the job says fail-fast"


class FailFast:
    """The part of one task in its job's ``fail-fast``.

    :param job: the job; without ``fail-fast`` nothing here does anything
    :param ti: the running task instance
    """

    def __init__(self, job: JobPlan | None, ti: Any) -> None:
        self._ti = ti
        strategy = job.get("strategy") if job is not None else None
        self._task_ids: list[str] = []
        self._slot: list[str] = []
        self._on = False
        if job is not None and strategy is not None and strategy.get("fail_fast"):
            self._on = ti.map_index is not None and ti.map_index >= 0
            self._task_ids = [f"{job['id']}.{name}" for name in task_ids(job)]
            self._slot = [f"{job['id']}.{SLOT}"] if "max_parallel" in strategy else []

    def _failed(self) -> bool:
        count = self._ti.get_ti_count(
            dag_id=self._ti.dag_id, run_ids=[self._ti.run_id], task_ids=self._task_ids, states=["failed"]
        )
        return bool(count)

    @contextmanager
    def guard(self, cancel: Callable[[], None]) -> Iterator[None]:
        """Around the work of a stage.

        :param cancel: stops the work; what it raises then is replaced by the skip
        :raises AirflowSkipException: another leg has failed, before or during the work
        """
        if not self._on:
            yield
            return
        if self._failed():
            raise AirflowSkipException(_REASON)
        ended, hit = threading.Event(), threading.Event()

        def watch() -> None:
            while not ended.wait(_POLL):
                try:
                    failed = self._failed()
                except Exception as error:  # a look that fails is repeated; it must not end the work
                    log.warning("fail-fast cannot look at the other legs: %s", error)
                    continue
                if failed:
                    hit.set()
                    cancel()
                    return

        watcher = threading.Thread(target=watch, name="stagecoach-fail-fast", daemon=True)
        watcher.start()
        try:
            yield
        except Exception:
            if hit.is_set():
                raise AirflowSkipException(_REASON) from None
            raise
        finally:
            ended.set()
            watcher.join(_POLL)

    def announce(self, error: BaseException, legs: int, will_retry: Callable[[], bool]) -> None:
        """Tell the server to skip the other legs, when this failure is final.

        :param error: why this stage fails
        :param legs: how many legs the job has
        :param will_retry: whether the stage's ``retry`` repeats this failure
        """
        if not self._on:
            return
        last = self._ti.try_number > self._ti.max_tries
        if not last and not isinstance(error, AirflowFailException) and will_retry():
            return
        from airflow.sdk.execution_time.comms import SkipDownstreamTasks
        from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

        # Never the own leg: its later stages are upstream_failed, which this would overwrite.
        tasks: list[str | tuple[str, int]] = [
            (name, index)
            for name in (*self._slot, *self._task_ids)
            for index in range(legs)
            if index != self._ti.map_index
        ]
        try:
            SUPERVISOR_COMMS.send(SkipDownstreamTasks(tasks=tasks))
        except Exception as failure:  # the looks of the other legs still stop them
            log.warning("fail-fast cannot skip the other legs at once: %s", failure)
