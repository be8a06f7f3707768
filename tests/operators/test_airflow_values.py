"""Tests of airflow_stagecoach.operators._airflow_values."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from airflow_stagecoach.exceptions import StageConfigError
from airflow_stagecoach.operators._airflow_values import params
from tests.factory.plans import job, workflow

DECLARED: Any = {"day": {"type": "date"}, "count": {"type": "int", "default": 1}}


def test_params_are_typed_as_declared() -> None:
    given = {"params": {"day": "2026-01-31", "count": 2}}
    assert params(given, workflow(job("j"), params=DECLARED)) == {
        "day": datetime.date(2026, 1, 31),
        "count": 2,
    }


def test_a_param_that_the_workflow_does_not_have_is_an_error() -> None:
    with pytest.raises(
        StageConfigError, match="'cuont', which the workflow does not have; did you mean 'count'"
    ):
        params({"params": {"cuont": 1}}, workflow(job("j"), params=DECLARED))
    with pytest.raises(StageConfigError, match="it has: none"):
        params({"params": {"x": 1}}, workflow(job("j"), params={}))


def test_without_declared_params_any_name_may_be_passed() -> None:
    assert params({"params": {"x": 1}}, workflow(job("j"))) == {"x": 1}
    assert params({"params": {"x": 1}}, None) == {"x": 1}
