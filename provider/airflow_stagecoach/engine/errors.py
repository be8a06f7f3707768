"""Why a stage stops.

::

    Exception
    ├── StageError            the stage failed, and the text says why
    │   └── StorageError      a value that cannot be an output
    └── SkipStage             the stage ends skipped; Python code may raise it too
    BaseException
    └── Interrupted           not seen by ``except Exception`` of user code
        ├── Cancelled         Runner.cancel() was called
        └── TimedOut          a stage's own timeout ran out
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_stagecoach.engine.control import Scope


class StageError(Exception):
    """A stage failed.

    :param message: for the person who wrote the document; never holds values of env or secrets
    :param type: name of the fault in ``error["type"]``; ``retry: {on: [...]}`` matches it
    :param exit_code: of the process, where there was one
    :param details: further keys of the ``error`` map, JSON-able
    """

    def __init__(
        self,
        message: str,
        *,
        type: str = "StageError",  # noqa: A002 - it is the key of the error map
        exit_code: int | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.type = type
        self.exit_code = exit_code
        self.details = details or {}


class StorageError(StageError):
    """A value that cannot be stored as an output; the message is the reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, type="NotStorable")


class SkipStage(Exception):
    """Raised by Python code or a called function: the stage ends skipped."""


class Interrupted(BaseException):
    """Stops whatever runs; user code does not catch it by accident."""


class Cancelled(Interrupted):
    """The runner was cancelled."""


class TimedOut(Interrupted):
    """A timeout ran out.

    :param scope: whose timeout it was; only that stage turns it into its failure
    """

    def __init__(self, scope: Scope) -> None:
        super().__init__(f"it ran longer than its timeout of {scope.limit:g} s")
        self.scope = scope
