"""A notifier for the examples. Airflow's providers have many: mail, Slack, PagerDuty, Teams ..."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseNotifier

if TYPE_CHECKING:
    from airflow.sdk import Context


class WriteLine(BaseNotifier):
    """Write a line into a file.

    :param path: the file
    :param text: what happened (templated)
    """

    template_fields = ("text",)

    def __init__(self, path: str, text: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.path = path
        self.text = text

    def notify(self, context: Context) -> None:
        """Add the line. ``stagecoach`` in the context is the event: see docs/how-to/notifications.md."""
        event: dict[str, Any] = context["stagecoach"]  # type: ignore[typeddict-item]  # added to Airflow's context
        place = event.get("task_id") or event["run_id"]
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(f"{event['time']} {event['dag_id']} {place} {self.text}\n")
