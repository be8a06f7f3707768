"""The timetable of ``on: {at: ...}``.

Not imported by tasks: what it is built on belongs to Airflow's scheduler.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pendulum
from airflow.timetables.base import DagRunInfo
from airflow.timetables.events import EventsTimetable

if TYPE_CHECKING:
    from airflow.timetables.base import DataInterval, TimeRestriction

#: How late a date still counts.
GRACE = timedelta(hours=1)


class DatesTimetable(EventsTimetable):
    """Runs at given dates, and up to an hour late.

    Airflow's own timetable forgets a date that passes before the scheduler has made its run: while the
    document is parsed, or while Airflow restarts. Here a date counts for :data:`GRACE` more, unless its
    run exists. With ``catchup: true`` every date counts, as Airflow has it.
    """

    def next_dagrun_info(
        self, *, last_automated_data_interval: DataInterval | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        """The first date that is wanted and has no run; see :class:`airflow.timetables.base.Timetable`."""
        earliest = restriction.earliest
        if not restriction.catchup:
            recent = pendulum.now("UTC") - GRACE
            earliest = recent if earliest is None else max(earliest, recent)
        last = None if last_automated_data_interval is None else last_automated_data_interval.end
        for date in self.event_dates:
            if (earliest is None or date >= earliest) and (last is None or date > last):
                return None if restriction.latest and date > restriction.latest else DagRunInfo.exact(date)
        return None
