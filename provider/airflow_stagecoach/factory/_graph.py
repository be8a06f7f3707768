"""The tasks of a workflow: its jobs one after another, and an end that tells the run's state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.providers.standard.operators.empty import EmptyOperator

from airflow_stagecoach.factory._edges import connect
from airflow_stagecoach.factory._job import PASS_FAILURE_ON, JobGroup, judges, likely_skips
from airflow_stagecoach.factory._stage import default_timeout
from airflow_stagecoach.operators._run import work_stages

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow.sdk import BaseOperator

    from airflow_stagecoach.document.plan import JobPlan, WorkflowPlan

#: Rules by which a job can start while legs of a failed need still run.
_START_ON_FAILURE = frozenset(
    {
        "all_failed",
        "all_done",
        "all_done_min_one_success",
        "all_done_setup_success",
        "one_failed",
        "one_done",
        "none_skipped",
    }
)


class Graph:
    """The tasks of one DAG while it is built."""

    def __init__(self, workflow: WorkflowPlan) -> None:
        self.workflow = workflow
        self.jobs = {job["id"]: job for job in workflow["jobs"]}
        self.results: dict[str, BaseOperator] = {}
        self.default_timeout = default_timeout()
        self.late = self._late_jobs()
        self._skippable: dict[str, bool] = {}

    def build(self) -> None:
        """Make all tasks, needs before their followers. Runs inside the DAG's context."""
        groups: list[JobGroup] = []
        for job in in_order(self.workflow["jobs"]):
            groups.append(JobGroup(self, job))
            self.results[job["id"]] = groups[-1].build()
        cleans_up = any(group.cleans_up for group in groups)
        if self._hides_failures() or cleans_up:
            end = EmptyOperator(task_id="__run__", task_display_name="run result", trigger_rule="none_failed")
            connect(self.results.values(), end)
            if cleans_up:
                self._survive_marking(end, groups)

    def _survive_marking(self, end: BaseOperator, groups: list[JobGroup]) -> None:
        """Let the end tell the state of a run that a person marked as failed.

        Airflow then skips all that has not started, also results, but no teardowns, and lets the last tasks
        of the DAG decide the state. So the end is a teardown that counts, over the stages themselves.
        """
        end.is_teardown = True
        end.on_failure_fail_dagrun = True
        for group in groups:
            # A job whose failure is made good does not fail the run; what stands in for it may.
            if not (group.job.get("continue_on_error") or "fallback" in group.job):
                connect(group.stages, end)

    def _hides_failures(self) -> bool:
        """Whether a failed job could end in a successful run: some job may run after a failure."""
        return any(
            job.get("status_functions")
            or "fallback" in job
            or job.get("trigger_rule", "all_success") not in PASS_FAILURE_ON
            for job in self.workflow["jobs"]
        )

    def can_be_skipped(self, job_id: str) -> bool:
        """Whether a job may end skipped: by its ``if``, rule, empty matrix, stages or needs."""
        if job_id not in self._skippable:
            job = self.jobs[job_id]
            strategy = job.get("strategy")
            self._skippable[job_id] = (
                "condition" in job
                or "fallback_of" in job
                or job.get("trigger_rule", "all_success") not in PASS_FAILURE_ON
                or (strategy is not None and not strategy.get("legs"))
                or all(likely_skips(stage) for stage in work_stages(job))
                or any(self.can_be_skipped(name) for name in job.get("needs", ()))
            )
        return self._skippable[job_id]

    def _late_jobs(self) -> set[str]:
        """Jobs whose result must wait until all of them has ended: a job after them may start on a failure.

        Such are jobs with a matrix; of a job and its fallback also those with a stage that runs after a
        failure.
        """
        late: set[str] = set()
        for job in self.workflow["jobs"]:
            if "fallback" in job:
                waiting = [job["id"]]
            elif job.get("status_functions") or job.get("trigger_rule") in _START_ON_FAILURE:
                waiting = list(job.get("needs", ()))
            else:
                continue
            while waiting:
                name = waiting.pop()
                if name not in late:
                    late.add(name)
                    waiting += _before(self.jobs[name])
        return {name for name in late if self._ends_in_parts(self.jobs[name])}

    def _ends_in_parts(self, job: JobPlan) -> bool:
        """Whether something of a job may still run when it is known that it has failed."""
        if "fallback" in job or "fallback_of" in job:
            return "strategy" in job or any(judges(stage) for stage in work_stages(job))
        return "strategy" in job


def _before(job: JobPlan) -> list[str]:
    """What ends before a job's result is known: its needs, and its fallback."""
    return [*job.get("needs", ()), *([job["fallback"]] if "fallback" in job else ())]


def in_order(jobs: Iterable[JobPlan]) -> list[JobPlan]:
    """Jobs with every job after its needs and their fallbacks; otherwise in document order."""
    by_id = {job["id"]: job for job in jobs}
    ordered: dict[str, JobPlan] = {}

    def visit(job: JobPlan) -> None:
        if job["id"] in ordered:
            return
        for name in job.get("needs", ()):
            visit(by_id[name])
            fallback = by_id[name].get("fallback")
            if fallback is not None and fallback != job["id"]:
                visit(by_id[fallback])
        ordered[job["id"]] = job

    for job in by_id.values():
        visit(job)
    return list(ordered.values())
