"""The contract between a stage's operator and the place where its work runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from airflow_stagecoach.engine import Hooks
    from airflow_stagecoach.engine.contract import Result, Unit


class Backend(ABC):
    """Runs one unit of work somewhere.

    An operator makes one backend object per try, calls :meth:`run` once and may
    call :meth:`cancel` at any time from a signal handler or another thread.

    :param config: what the document says under ``runs-on: {with: ...}``
    """

    type: ClassVar[str]

    def __init__(self, config: dict[str, Any] | None = None) -> None:
        self.config = config or {}

    @abstractmethod
    def run(self, unit: Unit, hooks: Hooks) -> Result:
        """Run a unit to its end.

        :param unit: see ``docs/architecture.md``, "The unit and its result"
        :param hooks: where log lines go and how nested stages trigger workflows
        :return: the unit's result
        """

    @abstractmethod
    def cancel(self) -> None:
        """Stop the work; :meth:`run` then ends. Safe to call more than once."""
