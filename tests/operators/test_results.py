"""Tests of airflow_stagecoach.operators._results."""

from __future__ import annotations

import pytest

from airflow_stagecoach.operators._results import job_result, stages_result


@pytest.mark.parametrize(
    ("states", "result"),
    [
        (["success"], "success"),
        (["success", "skipped"], "success"),
        (["skipped", "success"], "success"),
        (["skipped", "skipped"], "skipped"),
        (["success", "failed", "upstream_failed"], "failure"),
        (["failed", "success"], "failure"),
        (["upstream_failed", "upstream_failed"], "upstream_failed"),
        (["success", "running"], None),
        (["success", None], None),
        (["failed", "running"], "failure"),
        ([], "skipped"),
    ],
)
def test_result_of_stages(states: list[str | None], result: str | None) -> None:
    assert stages_result(states) == result


@pytest.mark.parametrize(
    ("legs", "anchor", "result"),
    [
        (["success", "success"], "success", "success"),
        (["success", "failure"], "success", "failure"),
        (["failure", None], "success", "failure"),
        (["success", None], "success", None),
        (["success", "skipped"], "success", "success"),
        (["skipped", "skipped"], "success", "skipped"),
        ([], "success", "skipped"),
        ([], "failed", "failure"),
        (["skipped"], "skipped", "skipped"),
        (["upstream_failed"], "upstream_failed", "upstream_failed"),
        (["upstream_failed"], "failed", "failure"),
    ],
)
def test_result_of_a_job(legs: list[str | None], anchor: str, result: str | None) -> None:
    assert job_result(legs, anchor) == result
