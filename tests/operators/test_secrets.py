"""Tests of airflow_stagecoach.operators._secrets."""

from __future__ import annotations

from airflow_stagecoach.operators._secrets import Hider

CONTEXTS = {
    "secrets": {"key": "hunter22", "short": "abc", "lines": "first-line\nsecond-line"},
    "conn": {
        "db": {
            "host": "db.example",
            "password": "p4ssw0rd",
            "extra": {"token": "t0k3n-x", "deep": ["deeper-y"]},
        }
    },
}


def test_values_are_replaced_wherever_they_stand() -> None:
    value = {"stdout": "key hunter22!", "list": ["p4ssw0rd", 5, None], "hunter22": {"x": "t0k3n-x deeper-y"}}
    hidden = {"stdout": "key ***!", "list": ["***", 5, None], "***": {"x": "*** ***"}}
    assert Hider(CONTEXTS).value(value) == hidden


def test_a_value_of_several_lines_is_hidden_line_by_line() -> None:
    assert Hider(CONTEXTS).text("got second-line") == "got ***"


def test_what_is_no_secret_stays() -> None:
    assert Hider(CONTEXTS).text("abc on db.example") == "abc on db.example"
    assert Hider({"secrets": {}, "conn": {}}).value({"a": [1]}) == {"a": [1]}
