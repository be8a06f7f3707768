"""The tasks around a workflow with a concurrency group: see ``operators/concurrency.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.sdk import DAG

    from airflow_stagecoach.document.plan import ConcurrencyPlan, WorkflowPlan


def surround(dag: DAG, workflow: WorkflowPlan, concurrency: ConcurrencyPlan) -> None:
    """Put a setup before all tasks of a DAG, a teardown after them, and the lease beside them.

    Call it when all other tasks are there.
    """
    from airflow.providers.standard.operators.empty import EmptyOperator
    from airflow.sdk import TriggerRule

    from airflow_stagecoach.operators.concurrency import (
        CONCURRENCY,
        ENTERED,
        LEASE,
        RELEASE,
        ConcurrencyOperator,
        LeaseOperator,
        ReleaseOperator,
    )

    first = [task for task in dag.tasks if not task.upstream_task_ids]
    last = [task for task in dag.tasks if not task.downstream_task_ids]
    # Those of a job with a start of its own are settled by that.
    teardowns = [
        task
        for task in dag.tasks
        if task.is_teardown
        and task.trigger_rule == TriggerRule.ALL_DONE_SETUP_SUCCESS
        and not any(before.is_setup for before in task.upstream_list)
    ]
    enter = ConcurrencyOperator(
        task_id=CONCURRENCY,
        task_display_name="concurrency",
        concurrency=concurrency,
        declared=workflow.get("params"),
        retries=0,
    )
    for task in first:
        # Until now it had nothing to judge. After a setup Airflow allows this rule only.
        task.trigger_rule = TriggerRule.ALL_SUCCESS
    enter >> first
    # So that Airflow itself settles them where the run was not let in.
    enter >> teardowns
    lease = LeaseOperator(task_id=LEASE, task_display_name="lease")
    release = ReleaseOperator(task_id=RELEASE, task_display_name="release", retries=0)
    enter >> lease
    # When a run is cleared in part, the lease is not: a failed entry must fail the run all the same.
    entered = EmptyOperator(task_id=ENTERED, task_display_name="entered")
    entered.as_teardown(setups=enter, on_failure_fail_dagrun=True)
    last >> release.as_teardown(setups=enter)
