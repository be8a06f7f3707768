"""The task before a leg's first stage when ``max-parallel`` is set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.triggers.base import StartTriggerArgs

if TYPE_CHECKING:
    from collections.abc import Collection

    from airflow.sdk import Context


class SlotOperator(BaseOperator):
    """Waits in the triggerer, from the scheduler straight on, until its leg may start.

    :param task_ids: task ids of the leg's stages
    :param limit: how many legs may run at once; ``None`` when the gate gives it
    :param gate: task id of the gate, where ``limit`` is ``None``
    :param matrix: this leg's combination; it makes the slot a part of the leg. (templated)
    """

    template_fields: Collection[str] = ("matrix",)
    custom_operator_name = "slot"
    ui_color = "#eeeeee"
    start_from_trigger = True

    def __init__(
        self, *, task_ids: list[str], limit: int | None, gate: str | None, matrix: Any, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.matrix = matrix
        self.start_trigger_args = StartTriggerArgs(
            trigger_cls="airflow_stagecoach.triggers.slot.LegSlotTrigger",
            trigger_kwargs={"task_ids": task_ids, "limit": limit, "gate": gate},
            next_method="resume",
        )

    @property
    def leg_name(self) -> str:
        """Name of the leg, for ``map_index_template``."""
        from airflow_stagecoach.operators._names import leg_name

        return leg_name(self.matrix) if isinstance(self.matrix, dict) else ""

    def execute(self, context: Context) -> None:
        """Pass at once: only ``dag.test()`` comes here, and it runs one task at a time."""

    def resume(self, context: Context, event: dict[str, Any] | None = None) -> None:
        """Nothing is left to do: the trigger ends the task itself."""
