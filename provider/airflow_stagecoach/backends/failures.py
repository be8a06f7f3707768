"""What a place raises when it refuses work or cannot be reached."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_stagecoach.engine.contract import Error


class BackendFailure(Exception):
    """The place refuses the work, or cannot be reached.

    :param message: for the author of the document: what is wrong and what to do, without secret values
    :param category: of failures, see ``engine/classification.py``; it decides about another try
    :param reason: one word, such as ``ErrImagePull``
    """

    def __init__(self, message: str, *, category: str, reason: str) -> None:
        super().__init__(message)
        self.error: Error = {"type": reason, "message": message, "category": category, "reason": reason}
