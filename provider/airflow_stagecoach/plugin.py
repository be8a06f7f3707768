"""What Airflow's plugins manager has to know (entry point ``airflow.plugins``).

Loaded in every task too, so it imports next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk.plugins_manager import AirflowPlugin

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Timetables(list[Any]):
    """The timetable classes, imported when somebody looks: the scheduler does, a task does not."""

    def __iter__(self) -> Iterator[Any]:
        from airflow_stagecoach.timetables import DatesTimetable

        yield DatesTimetable


class StagecoachPlugin(AirflowPlugin):
    """Registers the timetable of ``on: {at: ...}``, so that the scheduler can read it back."""

    name = "stagecoach"
    timetables = _Timetables()
