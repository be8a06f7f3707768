"""Tests of airflow_stagecoach.factory._params: params as Airflow's trigger form and API see them."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk.exceptions import ParamValidationError

from airflow_stagecoach.factory._params import airflow_params


def schema(plan: Any) -> dict[str, Any]:
    made: dict[str, Any] = airflow_params({"p": plan})["p"].schema
    return made


def test_no_params() -> None:
    assert airflow_params(None) == {}


@pytest.mark.parametrize("value", ["19.90", "-1", 19.9, 3])
def test_a_decimal_is_a_text_or_a_number(value: Any) -> None:
    param = airflow_params({"p": {"type": "decimal", "default": "1.50"}})["p"]
    assert param.resolve(value) == value


@pytest.mark.parametrize("value", ["much", None, True, []])
def test_a_decimal_is_nothing_else(value: Any) -> None:
    param = airflow_params({"p": {"type": "decimal", "default": "1.50"}})["p"]
    with pytest.raises(ParamValidationError):
        param.resolve(value)


def test_a_decimal_without_default_may_be_null() -> None:
    assert airflow_params({"p": {"type": "decimal"}})["p"].resolve() is None


def test_a_decimal_is_one_line_in_the_form() -> None:
    assert "type" not in schema({"type": "decimal", "default": "1.50"})


@pytest.mark.parametrize("plan", [{}, {"default": []}, {"default": ["a", "b"]}])
def test_a_list_is_one_text_per_line_in_the_form(plan: dict[str, Any]) -> None:
    assert "items" not in schema({"type": "array", **plan})


@pytest.mark.parametrize("default", [[1, 2], ["a", None], [{"a": 1}], [True], [["a"]], [1.5]])
def test_a_list_of_anything_else_is_json_in_the_form(default: list[Any]) -> None:
    param = airflow_params({"p": {"type": "array", "default": default}})["p"]
    assert param.schema["items"]["type"] != "string"
    assert param.resolve() == default


@pytest.mark.parametrize(
    "value",
    [
        "2024-02-29T12:00:00Z",
        "2024-02-29T12:00:00.123+07:00",
        "2024-02-29 12:00",
        "2024-02-29",
        "2024-02-29T12:00+0700",
    ],
)
def test_a_datetime(value: str) -> None:
    param = airflow_params({"p": {"type": "datetime", "required": True}})["p"]
    assert param.resolve(value) == value


@pytest.mark.parametrize(
    "value", ["noon", "2024-13-01T00:00:00Z", "2024-02-29T25:00:00Z", "20240229", "2024-02-29T", 5]
)
def test_what_is_no_datetime(value: Any) -> None:
    param = airflow_params({"p": {"type": "datetime", "required": True}})["p"]
    with pytest.raises(ParamValidationError):
        param.resolve(value)
