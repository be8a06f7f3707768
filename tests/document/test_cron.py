from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_stagecoach.document.cron import PRESETS, CronError, check_cron, interval_cron


@pytest.mark.parametrize(
    "text",
    [
        "0 3 * * *",
        "*/30 */12 23 */3 *",
        "0 0 1,15 * *",
        "5-10/2 0 * * *",
        "0 0 * jan-mar mon,fri",
        "0 0 * * 7",
        "0 0 * * fri-sun",
        "0 0 29 2 *",
        "0 0 L * *",
        "0 0 * * mon#2",
        *PRESETS,
    ],
)
def test_good(text: str) -> None:
    assert check_cron(text) == text


def test_spaces_and_case_are_made_even() -> None:
    assert check_cron("  0   3 * *  * ") == "0 3 * * *"
    assert check_cron("@Daily") == "@daily"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 3 * *", "expected 5 fields, found 4"),
        ("0 0 3 * * *", "expected 5 fields, found 6"),
        ("", "expected 5 fields, found 0"),
        ("60 3 * * *", "60 is no minute, expected 0 to 59"),
        ("0 24 * * *", "24 is no hour, expected 0 to 23"),
        ("0 0 0 * *", "0 is no day of month, expected 1 to 31"),
        ("0 0 * 13 *", "13 is no month, expected 1 to 12"),
        ("0 0 * * 8", "8 is no day of week, expected 0 to 7"),
        ("0 0 * * monday", "'monday' is no day of week, expected 0 to 7"),
        ("a b c d e", "'a' is no minute, expected 0 to 59"),
        ("*/0 * * * *", "'*/0' in the field for the minute: a step is a number from 1"),
        ("5-1 * * * *", "'5-1' in the field for the minute goes backwards"),
        ("1,,2 * * * *", "the field for the minute has an empty part"),
        ("0 0 30 2 *", "day 30 does not exist in that month, so it would never run"),
        ("@dayly", "unknown schedule '@dayly'"),
        ("0 " * 500, "at most 200 characters"),
    ],
)
def test_bad(text: str, message: str) -> None:
    with pytest.raises(CronError) as error:
        check_cron(text)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("interval", "day", "time", "cron"),
    [
        ("hourly", None, "00:15", "15 * * * *"),
        ("daily", None, "18:05", "5 18 * * *"),
        ("daily", None, None, "0 0 * * *"),
        ("weekly", None, None, "0 0 * * 1"),
        ("weekly", "Sunday", "7:30", "30 7 * * 0"),
        ("monthly", 15, "00:00", "0 0 15 * *"),
        ("monthly", "15", None, "0 0 15 * *"),
        ("quarterly", None, None, "0 0 1 */3 *"),
        ("yearly", None, None, "0 0 1 1 *"),
    ],
)
def test_interval(interval: str, day: str | int | None, time: str | None, cron: str) -> None:
    assert interval_cron(interval, day, time) == cron
    assert check_cron(cron) == cron


@pytest.mark.parametrize(
    ("interval", "day", "time", "message"),
    [
        ("dayly", None, None, "unknown interval 'dayly'"),
        ("daily", "monday", None, "a daily schedule has no day"),
        ("hourly", None, "03:15", "takes only the minute"),
        ("weekly", "funday", None, "'funday' is no weekday"),
        ("weekly", 1, None, "takes the name of a weekday"),
        ("monthly", 32, None, "a day of the month from 1 to 31"),
        ("daily", None, "25:00", "expected a time such as 18:05"),
    ],
)
def test_bad_interval(interval: str, day: str | int | None, time: str | None, message: str) -> None:
    with pytest.raises(CronError) as error:
        interval_cron(interval, day, time)
    assert message in str(error.value)


@given(st.text(alphabet="0123456789*/-,#Llmonja @", max_size=30))
def test_nothing_but_cron_error_and_airflow_agrees(text: str) -> None:
    try:
        cron = check_cron(text)
    except CronError:
        return
    croniter = pytest.importorskip("croniter").croniter
    if not cron.startswith("@quarterly"):
        assert croniter.is_valid(cron)
