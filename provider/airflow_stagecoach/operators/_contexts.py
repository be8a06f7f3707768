"""The run as a task sees it: read over the task's own connection to Airflow."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from airflow_stagecoach import expressions
from airflow_stagecoach.operators import _airflow_values as airflow_values
from airflow_stagecoach.operators._run import RETURN_VALUE, second_parts

if TYPE_CHECKING:
    from airflow_stagecoach.document.plan import WorkflowPlan
    from airflow_stagecoach.operators._references import Path


class TaskRunData:
    """Reads this run (or another one) through the running task.

    :param context: the task's Airflow context
    :param workflow: the plan of the run that is read; it types the params
    :param dag_id: another DAG's id, with ``run_id`` and ``params``, to read a run that was triggered
    """

    def __init__(
        self,
        context: Mapping[str, Any],
        workflow: WorkflowPlan | None = None,
        *,
        dag_id: str | None = None,
        run_id: str | None = None,
        params: dict[str, Any] | None = None,
    ) -> None:
        self._context = context
        self._workflow = workflow
        self._ti = context["ti"]
        self._dag_id = dag_id or self._ti.dag_id
        self._run_id = run_id or self._ti.run_id
        self._params = params

    def states(self, task_ids: list[str] | None) -> dict[str, str | None]:
        """See :class:`~airflow_stagecoach.operators._run.RunData`; ``None`` asks for all tasks."""
        found = self._ti.get_task_states(dag_id=self._dag_id, task_ids=task_ids, run_ids=[self._run_id])
        states: dict[str, str | None] = found.get(self._run_id, {})
        return states

    def output(self, task_id: str, index: int | None, key: str = RETURN_VALUE) -> Any:
        """See :class:`~airflow_stagecoach.operators._run.RunData`."""
        return self._ti.xcom_pull(
            task_ids=task_id,
            dag_id=self._dag_id,
            run_id=self._run_id,
            map_indexes=-1 if index is None else index,
            key=key,
        )

    def outputs(self, task_id: str) -> list[Any]:
        """See :class:`~airflow_stagecoach.operators._run.RunData`."""
        values = self._ti.xcom_pull(
            task_ids=[task_id], dag_id=self._dag_id, run_id=self._run_id, key=RETURN_VALUE
        )
        return list(values or ())

    def ambient(self, paths: Iterable[Path]) -> dict[str, Any]:
        """See :class:`~airflow_stagecoach.operators._run.RunData`."""
        paths = list(paths)
        context = self._context if self._params is None else {**self._context, "params": self._params}
        return {
            "params": airflow_values.params(context, self._workflow),
            "run": airflow_values.run_fields(self._context),
            "env": WorkerEnvironment(),
            "vars": airflow_values.variables(second_parts(paths, "vars")),
            "secrets": airflow_values.secrets(second_parts(paths, "secrets")),
            "conn": airflow_values.connections(second_parts(paths, "conn")),
        }

    def neighbours(self, paths: Iterable[Path]) -> dict[str, Any]:
        """``stages`` in a handwritten DAG: tasks of the same group, or of the DAG."""
        task = self._ti.task
        known = task.dag.task_dict
        group = getattr(task.task_group, "group_id", None)
        names = {name for name in second_parts(paths, "stages") if name is not None}
        stages: dict[str, Any] = {}
        for name in names:
            candidates = [f"{group}.{name}", name] if group else [name]
            task_id = next((candidate for candidate in candidates if candidate in known), None)
            if task_id is None:
                continue
            index = self._ti.map_index
            value = self.output(task_id, index if index is not None and index >= 0 else None)
            stages[name] = {"outputs": value if isinstance(value, dict) else {"return_value": value}}
        return stages


def environment(
    contexts: Mapping[str, Any], layers: Iterable[Mapping[str, Any]], *, skip_unknown: bool = False
) -> dict[str, Any]:
    """The ``env`` context: the worker's, then each layer, which may use the ones before.

    :param skip_unknown: leave out what cannot be evaluated here
    :raises ExpressionError: a value cannot be evaluated
    """
    env: dict[str, Any] = dict(WorkerEnvironment())
    for layer in layers:
        for name, template in layer.items():
            try:
                env[name] = expressions.render(template, {**contexts, "env": env})
            except expressions.ExpressionError:
                if not skip_unknown:
                    raise
    return env


class WorkerEnvironment(Mapping[str, str]):
    """The worker's environment without Airflow's own settings, read when it is asked for."""

    def __getitem__(self, key: str) -> str:
        if key.startswith("AIRFLOW__"):
            raise KeyError(key)
        return os.environ[key]

    def __iter__(self) -> Iterator[str]:
        return (key for key in os.environ if not key.startswith("AIRFLOW__"))

    def __len__(self) -> int:
        return sum(1 for _ in self)
