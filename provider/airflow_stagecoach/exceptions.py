"""Exceptions that a stage's task raises.

::

    StagecoachError
      StageFailed          the stage did its work and failed
      StageConfigError     the stage could not be started as the document says
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowException, AirflowFailException

if TYPE_CHECKING:
    from airflow_stagecoach.engine.contract import Error


class StagecoachError(AirflowException):
    """Base of every exception that this package raises in a task."""


class StageFailed(StagecoachError):
    """A stage failed.

    :param message: what went wrong, for the person who reads the task log
    :param error: the engine's account of the failure: ``type``, ``message``, and where there was
        one ``exit_code``, ``signal``, ``classes``
    """

    def __init__(self, message: str, error: Error | None = None) -> None:
        super().__init__(message)
        self.error: Error = error or {"type": "StageFailed", "message": message}


class StageConfigError(AirflowFailException, StagecoachError):
    """A stage cannot run as the document describes it, e.g. a matrix that is not a list.

    Trying again would give the same, so Airflow does not.
    """
