from __future__ import annotations

from typing import Any

import pytest

from airflow_stagecoach.document import DocumentError, Workflow


def schedule(on: Any) -> Any:
    return Workflow(name="w", on=on, jobs={}).plan().get("schedule")


def cron(text: str, zone: str = "UTC") -> dict[str, str]:
    return {"cron": text, "timezone": zone}


@pytest.mark.parametrize("on", [None, "manual", [None]])
def test_by_hand(on: Any) -> None:
    assert schedule(on) is None


@pytest.mark.parametrize(
    ("on", "plan"),
    [
        ("@daily", {"crons": [cron("@daily")]}),
        ("0 3 * * *", {"crons": [cron("0 3 * * *")]}),
        (["0 3 * * *", "0 5 * * *"], {"crons": [cron("0 3 * * *"), cron("0 5 * * *")]}),
        ({"cronjob": "0 3 * * *", "tz": "Asia/Bangkok"}, {"crons": [cron("0 3 * * *", "Asia/Bangkok")]}),
        ([{"cron": "0 3 * * *", "timezone": "UTC"}], {"crons": [cron("0 3 * * *")]}),
        ({"schedule": [{"cronjob": "2 * * * *"}]}, {"crons": [cron("2 * * * *")]}),
        ({"interval": "daily", "time": "18:05"}, {"crons": [cron("5 18 * * *")]}),
        (
            {"interval": "Weekly", "day": "friday", "timezone": "Europe/Paris"},
            {"crons": [cron("0 0 * * 5", "Europe/Paris")]},
        ),
        ({"every": "15m"}, {"every": 900}),
        ({"at": "2026-01-31"}, {"at": ["2026-01-31T00:00:00+00:00"]}),
        (
            {"at": ["2026-02-01T07:00+07:00", "2026-01-01"]},
            {"at": ["2026-01-01T00:00:00+00:00", "2026-02-01T00:00:00+00:00"]},
        ),
        ({"assets": "a"}, {"assets": {"name": "a"}}),
        ({"assets": ["a", "b"]}, {"assets": {"all": [{"name": "a"}, {"name": "b"}]}}),
        (
            {"assets": {"any": ["a", {"name": "b", "uri": "s3://x"}]}},
            {"assets": {"any": [{"name": "a"}, {"name": "b", "uri": "s3://x"}]}},
        ),
        ({"cron": "@daily", "assets": ["a"]}, {"crons": [cron("@daily")], "assets": {"name": "a"}}),
        ({"continuous": True}, {"continuous": True}),
        ("@continuous", {"continuous": True}),
    ],
)
def test_spellings(on: Any, plan: dict[str, Any]) -> None:
    assert schedule(on) == plan


@pytest.mark.parametrize(
    ("on", "code", "message"),
    [
        ("@dayly", "bad-cron", "bad cron '@dayly': unknown schedule '@dayly'"),
        ("daily", "bad-schedule", "expected a schedule, found 'daily'"),
        ("0 3 * *", "bad-cron", "bad cron '0 3 * *': expected 5 fields, found 4"),
        ("@once", "bad-schedule", "'@once' has no moment of its own"),
        (5, "bad-schedule", "expected a schedule, found the number 5"),
        ([], "empty-value", "this schedule is empty"),
        ({}, "empty-value", "this schedule is empty"),
        ({"push": {}}, "unknown-key", "unknown key 'push' in `on`"),
        ({"cron": "@daily", "timezone": "Asia/Bankok"}, "bad-timezone", "unknown time zone 'Asia/Bankok'"),
        (
            {"cron": "@daily", "timezone": "../../etc/passwd"},
            "bad-timezone",
            "unknown time zone '../../etc/passwd'",
        ),
        (
            [{"cron": "1 * * * *"}, {"cron": "2 * * * *", "tz": "Asia/Bangkok"}],
            "mixed-timezones",
            "all crons of a workflow have one time zone, found UTC and Asia/Bangkok",
        ),
        (["@daily", "@daily"], "duplicate-schedule", "schedule '@daily' stands twice"),
        ({"time": "18:05"}, "bad-combination", "'time' belongs to an interval"),
        (
            {"every": "15m", "timezone": "UTC"},
            "bad-combination",
            "a time zone belongs to a cron or an interval",
        ),
        ({"every": "15m", "cron": "@daily"}, "bad-combination", "a cron and `every` cannot stand together"),
        ({"every": 0}, "out-of-range", "the shortest interval is one second"),
        ({"at": "tomorrow"}, "bad-date", "expected a date or a time such as"),
        ({"assets": []}, "bad-asset", "expected a list of assets below 'all', found a list"),
        ({"assets": {"some": ["a"]}}, "bad-asset", "expected one of the keys all, any or name"),
        ({"continuous": False}, "wrong-type", "expected true"),
        ("${{ params.x }}", "bad-schedule", "a schedule cannot hold an expression"),
    ],
)
def test_refused(on: Any, code: str, message: str) -> None:
    with pytest.raises(DocumentError) as error:
        Workflow(name="w", on=on, jobs={})
    first = error.value.diagnostics[0]
    assert (first.code, first.message[: len(message)]) == (code, message)


def test_at_most_twenty_crons() -> None:
    with pytest.raises(DocumentError, match=r"at most 20|more than 20"):
        Workflow(name="w", on=[f"{minute} * * * *" for minute in range(25)], jobs={})
