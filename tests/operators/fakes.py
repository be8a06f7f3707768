"""A task instance and its surroundings, without an Airflow: what operators ask for is played here."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any

from airflow.sdk import DAG

from airflow_stagecoach.operators.job import JobStagesOperator, job_spec
from airflow_stagecoach.operators.retry import retry_arguments
from airflow_stagecoach.operators.stage import StageOperator


@dataclass
class FakeTask:
    """A running task instance: XComs go into a dict, states come from one."""

    task_id: str
    map_index: int = -1
    try_number: int = 1
    max_tries: int = 0
    states: dict[str, str | None] = field(default_factory=dict)
    xcoms: dict[str, Any] = field(default_factory=dict)  # pushed by this task
    others: dict[tuple[str, str], Any] = field(default_factory=dict)  # (task id, key) -> value
    fails: set[str] = field(default_factory=set)  # keys that cannot be stored
    start_date: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    dag_id: str = "wf"
    run_id: str = "run 1"
    hostname: str = "worker"
    log_url: str = "http://airflow/log"

    def xcom_push(self, key: str, value: Any) -> None:
        if key in self.fails:
            raise ConnectionError("the server is gone")
        self.xcoms[key] = value

    def xcom_pull(self, *, task_ids: Any, key: str, **_: Any) -> Any:
        return self.others.get((task_ids, key))

    def get_task_states(self, **_: Any) -> dict[str, dict[str, str | None]]:
        return {self.run_id: self.states}

    def get_ti_count(self, **_: Any) -> int:
        return 0


class Store(dict[str, Any]):
    """The task state store."""

    def set(self, key: str, value: Any) -> None:
        self[key] = value


@dataclass
class Tried:
    """How a try ended."""

    operator: Any
    ti: FakeTask
    context: dict[str, Any]
    outputs: Any = None
    error: BaseException | None = None

    @property
    def record(self) -> dict[str, Any]:
        found: dict[str, Any] = self.ti.xcoms["record"]
        return found

    @property
    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = self.ti.xcoms["error"]
        return found


def make_operator(plan: Any, job_id: str, position: int = 0, **kwargs: Any) -> Any:
    """The operator of a stage of a plan, in a DAG, as the factory makes it."""
    job = next(job for job in plan["jobs"] if job["id"] == job_id)
    if job.get("granularity") == "job":
        class_: Any = JobStagesOperator
        stage: Any = {"task_id": "__stages__", "spec": job_spec(job)}
    else:
        class_, stage = StageOperator, job["stages"][position]
    with DAG("wf", schedule=None) as dag:
        operator: Any = class_(
            task_id=f"{job_id}.{stage['task_id']}".replace("__stages__", "stages"),
            stage=stage["spec"],
            env=[layer for layer in (plan.get("env"), job.get("env")) if layer],
            workflow=plan,
            job=job,
            position=position,
            **{"retries": 0, **retry_arguments(stage.get("retry")), **kwargs},
        )
    dag.fileloc = __file__
    return operator


def attempt(
    plan: Any,
    job_id: str = "a",
    position: int = 0,
    *,
    ti: FakeTask | None = None,
    store: Store | None = None,
    operator: Any = None,
    **kwargs: Any,
) -> Tried:
    """Run one try as Airflow's task runner does: render, execute."""
    operator = operator or make_operator(plan, job_id, position, **kwargs)
    task = ti or FakeTask(operator.task_id, max_tries=operator.retries)
    task.task = operator  # type: ignore[attr-defined]  # as the real one has it
    context: dict[str, Any] = {
        "ti": task,
        "task": operator,
        "dag": operator.dag,
        "run_id": task.run_id,
        "params": {},
        "dag_run": SimpleNamespace(
            run_type="manual", run_after=None, start_date=None, dag_id=task.dag_id, run_id=task.run_id
        ),
        "task_state_store": store if store is not None else Store(),
    }
    tried = Tried(operator, task, context)
    operator.render_template_fields(context, operator.dag.get_template_env())
    from airflow.sdk.bases.operator import ExecutorSafeguard

    ExecutorSafeguard.tracker.set(operator)
    try:
        tried.outputs = operator.execute(context)
    except BaseException as error:
        tried.error = error
    logging.getLogger(__name__).debug("%s", tried.ti.xcoms)
    return tried
