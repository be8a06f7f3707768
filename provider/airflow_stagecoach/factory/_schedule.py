"""``on:`` as Airflow's own timetables."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_stagecoach.document.plan import CronPlan, SchedulePlan


def schedule(plan: SchedulePlan | None) -> Any:
    """What ``DAG(schedule=...)`` takes.

    Crons fire at their times (trigger timetables, no data interval); the parts
    that a document may combine are crons and assets.
    """
    if not plan:
        return None
    crons = plan.get("crons")
    assets = plan.get("assets")
    if assets is not None:
        expression = _assets(assets)
        if not crons:
            return expression
        from airflow.sdk import AssetOrTimeSchedule

        return AssetOrTimeSchedule(timetable=_crons(crons), assets=expression)
    if crons:
        return _crons(crons)
    if "every" in plan:
        from airflow.sdk import DeltaTriggerTimetable

        return DeltaTriggerTimetable(timedelta(seconds=plan["every"]))
    if "at" in plan:
        import pendulum

        from airflow_stagecoach.timetables import DatesTimetable

        return DatesTimetable(event_dates=[pendulum.instance(moment(text)) for text in plan["at"]])
    if plan.get("continuous"):
        return "@continuous"
    return None


def _crons(crons: list[CronPlan]) -> Any:
    from airflow.sdk import CronTriggerTimetable, MultipleCronTriggerTimetable

    if len(crons) == 1:
        return CronTriggerTimetable(crons[0]["cron"], timezone=crons[0]["timezone"])
    # One time zone for all: the document room refuses a mixture.
    return MultipleCronTriggerTimetable(*(cron["cron"] for cron in crons), timezone=crons[0]["timezone"])


def _assets(value: Any) -> Any:
    """A name, ``{name, uri}``, ``{all: [...]}``, ``{any: [...]}`` or a list (all) as an asset expression."""
    from airflow.sdk import Asset, AssetAll, AssetAny

    if isinstance(value, str):
        return Asset(value)
    if isinstance(value, list):
        return _assets(value[0]) if len(value) == 1 else AssetAll(*map(_assets, value))
    if "all" in value:
        return AssetAll(*map(_assets, value["all"]))
    if "any" in value:
        return AssetAny(*map(_assets, value["any"]))
    return Asset(**value)


def moment(text: str) -> datetime:
    """ISO 8601 text as an aware datetime; without an offset it is UTC."""
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)
