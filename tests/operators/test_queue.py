"""Tests of airflow_stagecoach.operators._queue: which executor serves a queue."""

from __future__ import annotations

import pytest

from airflow_stagecoach.operators._queue import ignores_queues, queue_executor

CELERY = "airflow.providers.celery.executors.celery_executor.CeleryExecutor"
LOCAL = "airflow.executors.local_executor.LocalExecutor"


@pytest.mark.parametrize(
    ("configured", "expected", "ignored"),
    [
        ("LocalExecutor", None, True),
        (LOCAL, None, True),
        ("KubernetesExecutor", None, True),
        ("CeleryExecutor", None, False),
        ("EdgeExecutor,LocalExecutor", None, False),
        ("LocalExecutor,CeleryExecutor", "CeleryExecutor", False),
        ("LocalExecutor, EdgeExecutor ,CeleryExecutor", "EdgeExecutor", False),
        (f"{LOCAL},{CELERY}", CELERY, False),
        (f"LocalExecutor,far:{CELERY}", "far", False),
        ("LocalExecutor,KubernetesExecutor", None, True),
        ("LocalExecutor,my.company.OwnExecutor", None, False),
        ("my.company.OwnExecutor,CeleryExecutor", None, False),
        ("LocalExecutor;team=CeleryExecutor", None, True),
        ("", None, False),
    ],
)
def test_executors(configured: str, expected: str | None, ignored: bool) -> None:
    assert (queue_executor(configured), ignores_queues(configured)) == (expected, ignored)
