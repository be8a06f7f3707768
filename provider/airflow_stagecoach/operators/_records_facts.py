"""What the database tells of one run: plain data, filled by who reads the database."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_stagecoach.operators._run import RETURN_VALUE, WorkflowRun

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from airflow_stagecoach.document.plan import WorkflowPlan
    from airflow_stagecoach.operators._references import Path


@dataclass(frozen=True)
class Try:
    """One try of a task, from the task instance or from its history."""

    number: int
    state: str | None
    queued: datetime | None = None
    start: datetime | None = None
    end: datetime | None = None
    hostname: str | None = None


@dataclass(frozen=True)
class TaskFacts:
    """A task instance."""

    task_id: str
    map_index: int  # -1 for a task that is not mapped, or not yet
    state: str | None
    tries: tuple[Try, ...] = ()  # in order
    max_tries: int = 0  # Airflow's count: tries after the first
    end: datetime | None = None
    next_try: datetime | None = None
    operator: str | None = None

    @property
    def last(self) -> Try | None:
        """The try that the state is of; a task that was cleared has none."""
        return self.tries[-1] if self.tries and self.state is not None else None


@dataclass(frozen=True)
class Event:
    """An entry of Airflow's audit log about a run."""

    name: str
    at: datetime
    task_id: str | None = None
    map_index: int | None = None
    by: str | None = None


@dataclass
class RunFacts:
    """One run, as the database has it."""

    dag_id: str
    run_id: str
    state: str
    run_type: str = "manual"
    logical_date: datetime | None = None
    queued: datetime | None = None
    start: datetime | None = None
    end: datetime | None = None
    triggered_by: str | None = None
    document: str | None = None
    version: int | None = None
    tasks: dict[str, dict[int, TaskFacts]] = field(default_factory=dict)  # by task id and map index
    xcoms: dict[tuple[str, int, str], Any] = field(default_factory=dict)  # by task id, map index and key
    events: list[Event] = field(default_factory=list)  # in order

    def task(self, task_id: str, index: int | None) -> TaskFacts | None:
        """A task instance; before a mapped task is expanded it has a single row."""
        rows = self.tasks.get(task_id, {})
        return rows.get(-1 if index is None else index, rows.get(-1))

    def xcom(self, task_id: str, index: int | None, key: str) -> Any:
        """One XCom, ``None`` when there is none."""
        return self.xcoms.get((task_id, -1 if index is None else index, key))


class FactsRunData:
    """A run's states for :class:`~airflow_stagecoach.operators._run.WorkflowRun`."""

    def __init__(self, facts: RunFacts) -> None:
        self._facts = facts

    def states(self, task_ids: list[str]) -> dict[str, str | None]:
        """States by ``task_id`` or ``task_id_INDEX``."""
        return {
            task_id if index < 0 else f"{task_id}_{index}": task.state
            for task_id in task_ids
            for index, task in self._facts.tasks.get(task_id, {}).items()
        }

    def output(self, task_id: str, index: int | None, key: str = RETURN_VALUE) -> Any:
        """One XCom."""
        return self._facts.xcom(task_id, index, key)

    def outputs(self, task_id: str) -> list[Any]:
        """Outputs are not read here."""
        return []

    def ambient(self, paths: Iterable[Path]) -> dict[str, Any]:
        """No expression is evaluated here."""
        return {}


class FactsRun(WorkflowRun):
    """Results of jobs and legs, each judged once: here all legs of all jobs are asked for."""

    def __init__(self, workflow: WorkflowPlan, facts: RunFacts) -> None:
        super().__init__(workflow, FactsRunData(facts))
        self._results: dict[tuple[str, int | None], str | None] = {}

    def leg_result(self, job_id: str, index: int | None) -> str | None:
        """Result of one leg; ``index`` is ``None`` for a job without a matrix."""
        if (job_id, index) not in self._results:
            self._results[job_id, index] = super().leg_result(job_id, index)
        return self._results[job_id, index]
