"""Tests of airflow_stagecoach.importer.pools: who waits for a pool that is not there."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.bases.operator import BaseOperator
from airflow.serialization.serialized_objects import DagSerialization

from airflow_stagecoach.importer.pools import complaint, pool_warnings, pools_of


def serialized(**tasks: dict[str, Any]) -> dict[str, Any]:
    with DAG("d") as dag:
        for task_id, arguments in tasks.items():
            BaseOperator(task_id=task_id, **arguments)
    data: dict[str, Any] = DagSerialization.to_dict(dag)
    return data


def test_pools_of_a_dag() -> None:
    data = serialized(a={}, b={"pool": "gpu"}, c={"pool": "gpu", "pool_slots": 4}, d={"pool": "net"})
    assert pools_of(data) == {"gpu": {"b": 1, "c": 4}, "net": {"d": 1}}


@pytest.mark.parametrize(
    ("slots", "expected"),
    [
        ({"gpu": 4}, ""),
        ({"gpu": -1}, ""),
        ({}, "b, c will wait for ever: there is no pool 'gpu'. Set it with `airflow pools set gpu 4 ''`, "),
        ({"gpu": 3}, "c will wait for ever: pool 'gpu' has 3 slots, and not the 4 that one task takes. "),
        ({"gpu": 0}, "b, c will wait for ever: pool 'gpu' has 0 slots, "),
    ],
)
def test_what_is_wrong(slots: dict[str, int], expected: str) -> None:
    text = complaint({"gpu": {"b": 1, "c": 4}}, slots)
    assert text.startswith(expected)
    assert bool(text) is bool(expected)


def test_many_tasks_are_counted() -> None:
    text = complaint({"gpu": {f"t{n}": 1 for n in range(9)}}, {})
    assert text.startswith("t0, t1, t2 and 6 more will wait")


class Session:
    """A database with one pool."""

    def execute(self, statement: Any) -> Any:
        return SimpleNamespace(tuples=lambda: [("default_pool", 128)])


def dag(fileloc: str, **tasks: dict[str, Any]) -> Any:
    return SimpleNamespace(dag_id="d", fileloc=fileloc, data=serialized(**tasks))


def test_a_document_that_names_a_missing_pool() -> None:
    (warning,) = pool_warnings([dag("/dags/x.yml", a={"pool": "gpu"})], Session())  # type: ignore[arg-type]  # played
    assert (warning.dag_id, warning.warning_type) == ("d", "non-existent pool")
    assert "'gpu'" in warning.message


@pytest.mark.parametrize("file", ["/dags/x.yaml", "/dags/x.py"])
def test_nobody_is_asked_without_need(file: str) -> None:
    tasks: dict[str, Any] = {"a": {}} if file.endswith("yaml") else {"a": {"pool": "gpu"}}
    assert pool_warnings([dag(file, **tasks)], None) == []  # type: ignore[arg-type]  # not asked
