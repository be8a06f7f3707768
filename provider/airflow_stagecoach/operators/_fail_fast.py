"""``fail-fast``: after the first leg has failed for good, no other leg goes on.

Four parts, because each alone leaves something running: the failing task asks
the server to skip what has not started or waits; a task that starts all the
same (its sibling was killed and could ask nothing) looks before it works; a
task that runs looks every few seconds and stops its work; what is deferred is
watched over in the triggerer (:mod:`airflow_stagecoach.triggers.fail_fast`).
Whoever finds a failed leg asks the server again, so one is enough.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from airflow_stagecoach.operators._interrupt import Interruption, interruptible
from airflow_stagecoach.operators._run import SLOT, task_ids

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from airflow.triggers.base import BaseTrigger

    from airflow_stagecoach.document.plan import JobPlan
    from airflow_stagecoach.operators._membership import Membership

log = logging.getLogger(__name__)

#: Seconds between two looks of a running stage.
_POLL = 2.0

#: Seconds that work has to end by itself after it was told to, before its Python code is interrupted.
_PATIENCE = 1.0

_REASON = "Cancelled: another leg failed, and the job says fail-fast"

#: States of a task that has not done anything yet.
_NOT_STARTED = frozenset({None, "scheduled", "queued"})

#: States in which a task waits without a worker.
_WAITING = frozenset({"deferred", "up_for_retry", "up_for_reschedule", "awaiting_input", "restarting"})


class FailFast:
    """The part of one task in its job's ``fail-fast``.

    :param job: the job; without ``fail-fast`` no leg stops another
    :param ti: the running task instance
    :param membership: the run's part in its concurrency group: the same looks show that it was cancelled
    """

    def __init__(self, job: JobPlan | None, ti: Any, membership: Membership | None = None) -> None:
        self._ti = ti
        self._membership = membership if membership is not None and membership.on else None
        strategy = job.get("strategy") if job is not None else None
        self._stages: list[str] = []
        self._teardowns: frozenset[str] = frozenset()
        self._slot: str | None = None
        self.on = False
        if job is not None and strategy is not None and strategy.get("fail_fast"):
            self._stages = [f"{job['id']}.{name}" for name in task_ids(job)]
            self._slot = f"{job['id']}.{SLOT}" if "max_parallel" in strategy else None
            self._teardowns = frozenset(
                f"{job['id']}.{stage['task_id']}" for stage in job["stages"] if stage.get("teardown")
            )
            self.on = ti.map_index is not None and ti.map_index >= 0 and ti.task_id not in self._teardowns
        # A clean-up that failed is no failure of its leg.
        self._work = [name for name in self._stages if name not in self._teardowns]

    def _another_failed(self) -> bool:
        """Whether a leg failed that is not this one: a stage after a failure in its own leg goes on."""

        def count(map_index: int | None = None) -> int:
            found: int = self._ti.get_ti_count(
                dag_id=self._ti.dag_id,
                run_ids=[self._ti.run_id],
                task_ids=self._work,
                map_index=map_index,
                states=["failed"],
            )
            return found

        failed = count()
        return bool(failed) and failed > count(self._ti.map_index)

    def _reason_to_stop(self) -> Exception | None:
        """What a running stage shall end with now; ``None`` while it may go on."""
        if self.on and self._another_failed():
            return AirflowSkipException(_REASON)
        return self._membership.cancelled() if self._membership is not None else None

    @contextlib.contextmanager
    def guard(self, cancel: Callable[[], None], *, interrupt: bool = False) -> Iterator[None]:
        """Around the work of a stage.

        :param cancel: stops the work; what it raises then is replaced by the reason
        :param interrupt: also break off the Python code inside, for work that may not heed ``cancel``
        :raises AirflowSkipException: another leg has failed, before or during the work
        :raises StageFailed: another run of the concurrency group has cancelled this one, during the work
        """
        if not self.on and self._membership is None:
            yield
            return
        if self.on and self._another_failed():
            self._skip_others(own_leg_started=False)
            raise AirflowSkipException(_REASON)
        ended = threading.Event()
        stopped: Exception | None = None

        def watch(break_off: Callable[[], None]) -> None:
            nonlocal stopped
            while not ended.wait(_POLL):
                try:
                    stopped = self._reason_to_stop()
                except Exception as error:  # a look that fails is repeated; it must not end the work
                    log.warning("cannot look whether this stage shall stop: %s", error)
                    continue
                if stopped is not None:
                    _stop(cancel)
                    if isinstance(stopped, AirflowSkipException):
                        self._skip_others(own_leg_started=True)
                    while interrupt and not ended.wait(_PATIENCE):
                        break_off()
                    return

        try:
            with interruptible() if interrupt else contextlib.nullcontext(_nothing) as break_off:
                watcher = threading.Thread(
                    target=watch, args=(break_off,), name="stagecoach-fail-fast", daemon=True
                )
                watcher.start()
                try:
                    yield
                finally:
                    ended.set()
                    watcher.join(_POLL)
        except (Exception, Interruption):
            if stopped is not None:
                raise stopped from None
            raise

    def announce(self, error: BaseException, will_retry: Callable[[], bool]) -> None:
        """Tell the server to skip the other legs, when this failure is final.

        :param error: why this stage fails
        :param will_retry: whether the stage's ``retry`` repeats this failure
        """
        if not self.on:
            return
        last = self._ti.try_number > self._ti.max_tries
        if not last and not isinstance(error, AirflowFailException) and will_retry():
            return
        self._skip_others(own_leg_started=None)

    def _skip_others(self, *, own_leg_started: bool | None) -> None:
        """Ask the server to skip what has not started or waits. It never touches what runs or has ended.

        :param own_leg_started: whether this task works already; ``None``: it is its leg that failed
        """
        from airflow.sdk.execution_time.comms import SkipDownstreamTasks
        from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

        try:
            names = self._stages if self._slot is None else [self._slot, *self._stages]
            found = self._ti.get_task_states(
                dag_id=self._ti.dag_id, run_ids=[self._ti.run_id], task_ids=names
            )
            states = leg_states(found.get(self._ti.run_id, {}), names)
            own: dict[str, str | None] = states.get(self._ti.map_index, {})
            if own_leg_started is None:
                own[self._ti.task_id] = "failed"
            elif not own_leg_started:
                own[self._ti.task_id] = None
            # This task may be a second try, so its leg's teardowns ask themselves whether to run.
            alone = {(name, self._ti.map_index) for name in (self._ti.task_id, *self._teardowns)}
            tasks = [task for task in to_skip(states, self._slot, self._teardowns) if task not in alone]
            if tasks:
                SUPERVISOR_COMMS.send(SkipDownstreamTasks(tasks=list(tasks)))
        except Exception as failure:  # the looks of the other legs still stop them
            log.warning("fail-fast cannot skip the other legs at once: %s", failure)

    def watched(self, trigger: BaseTrigger) -> BaseTrigger:
        """Give the trigger to defer with: one that also ends when another leg fails."""
        if not self.on:
            return trigger
        from airflow_stagecoach.triggers.fail_fast import FailFastTrigger

        class_path, arguments = trigger.serialize()
        watched = FailFastTrigger(trigger_class=class_path, arguments=arguments, task_ids=self._work)
        watched.supports_triggerer_queue = getattr(trigger, "supports_triggerer_queue", True)
        return watched


def _stop(cancel: Callable[[], None]) -> None:
    try:
        cancel()
    except Exception as error:  # an operator's on_kill is not ours
        log.warning("fail-fast: stopping the stage failed: %s", error)


def _nothing() -> None:
    """In place of what breaks off: the work heeds ``cancel``."""


def leg_states(states: Mapping[str, Any], names: list[str]) -> dict[int, dict[str, str | None]]:
    """Task states by leg, from Airflow's map of ``task_id_INDEX`` to a state.

    :param names: the task ids of interest
    :return: index of the leg -> task id -> state
    """
    legs: dict[int, dict[str, str | None]] = {}
    for key, state in states.items():
        name, _, index = key.rpartition("_")
        if name in names and index.isdigit():
            legs.setdefault(int(index), {})[name] = None if state is None else str(state)
    return legs


def to_skip(
    legs: Mapping[int, Mapping[str, str | None]], slot: str | None, teardowns: frozenset[str]
) -> list[tuple[str, int]]:
    """What ``fail-fast`` skips: every task that has not started or waits, in every leg that did not fail.

    The failed leg is left alone: its later stages are upstream_failed, or run after a failure. So are
    the teardown stages of a leg that has begun.

    :param legs: index -> task id -> state
    :param slot: task id of the slots, where ``max-parallel`` is set
    :return: task id and map index
    """
    found: list[tuple[str, int]] = []
    for index, states in legs.items():
        if "failed" in states.values():
            continue
        # A stage that is skipped already may have been stopped in its work: the teardown asks itself.
        begun = any(
            state not in _NOT_STARTED
            for name, state in states.items()
            if name != slot and name not in teardowns
        )
        found += [
            (name, index)
            for name, state in states.items()
            if (state in _NOT_STARTED or state in _WAITING) and not (begun and name in teardowns)
        ]
    return found
