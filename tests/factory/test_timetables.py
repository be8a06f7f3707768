"""Tests of airflow_stagecoach.timetables: no date is forgotten because it passes at a bad moment."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from typing import Any

import pendulum
import pytest
from airflow.timetables.base import DataInterval, TimeRestriction

from airflow_stagecoach.timetables import GRACE, DatesTimetable

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("dates", "last", "earliest", "latest", "catchup", "expected"),
    [
        ([MINUTE], None, None, None, False, MINUTE),
        ([-SECOND], None, None, None, False, -SECOND),
        ([-GRACE + MINUTE], None, None, None, False, -GRACE + MINUTE),
        ([-GRACE - MINUTE], None, None, None, False, None),
        ([-GRACE - MINUTE, MINUTE], None, None, None, False, MINUTE),
        ([-GRACE - MINUTE], None, -2 * GRACE, None, True, -GRACE - MINUTE),
        ([-GRACE - MINUTE], None, None, None, True, -GRACE - MINUTE),
        ([-SECOND], -SECOND, None, None, False, None),
        ([-MINUTE, -SECOND], -MINUTE, None, None, False, -SECOND),
        ([-MINUTE, -SECOND], None, None, None, False, -MINUTE),
        ([-SECOND], None, SECOND, None, False, None),
        ([2 * MINUTE], None, None, MINUTE, False, None),
        ([], None, None, None, False, None),
    ],
)
def test_next_run(
    dates: list[Any], last: Any, earliest: Any, latest: Any, catchup: Any, expected: Any
) -> None:
    now = pendulum.now("UTC").replace(microsecond=0)
    timetable = DatesTimetable([now + date for date in dates])
    found = timetable.next_dagrun_info(
        last_automated_data_interval=None if last is None else DataInterval.exact(now + last),
        restriction=TimeRestriction(
            None if earliest is None else now + earliest, None if latest is None else now + latest, catchup
        ),
    )
    assert (found and found.run_after) == (None if expected is None else now + expected)


def test_a_task_that_loads_plugins_does_not_load_the_timetable() -> None:
    code = (
        "import sys; from airflow_stagecoach.plugin import StagecoachPlugin;"
        "assert 'airflow_stagecoach.timetables' not in sys.modules;"
        "assert [c.__name__ for c in StagecoachPlugin.timetables] == ['DatesTimetable']"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
