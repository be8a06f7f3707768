"""``runs-on: local``: the unit runs in the task's own process on the Airflow worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow_stagecoach.backends.base import Backend
from airflow_stagecoach.engine import Runner

if TYPE_CHECKING:
    from airflow_stagecoach.engine import Hooks
    from airflow_stagecoach.engine.contract import Result, Unit


class LocalBackend(Backend):
    """Runs a unit right here: Python in this process, bash in a process group of its own.

    A stage with ``resources`` runs in a limited process of its own.
    """

    type: ClassVar[str] = "local"

    def __init__(self, config: dict[str, Any] | None = None) -> None:
        super().__init__(config)
        self._runner: Runner | None = None

    def run(self, unit: Unit, hooks: Hooks) -> Result:
        self._runner = Runner({**unit, "enforce_resources": True}, hooks)
        return self._runner.run()

    def cancel(self) -> None:
        if self._runner is not None:
            self._runner.cancel()
