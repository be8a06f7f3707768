"""What a runner asks of its surroundings: where log lines go, how workflows are triggered."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from airflow_stagecoach.engine.errors import StageError

if TYPE_CHECKING:
    from typing import Callable, Iterable

    from airflow_stagecoach.engine.classification import Rule


class Hooks:
    """What a runner asks. All of it may come from several threads at once.

    Give functions, or override the methods in a subclass.

    :param log: ``log(text, level)``; one line without its newline; level is
        ``debug``, ``info``, ``warning`` or ``error``. By default lines go to standard output.
    :param trigger: ``trigger(dag_id, params, path)`` runs another workflow to its end and gives
        ``{"state": "success" | "failed" | "skipped", "outputs": {...}}``. ``path`` names the place inside the
        stage, the same for every run of the same document, so that a new try finds the run of the last one.
    :param rules: ``rules()`` gives further rules by which failures are classified; asked when a stage
        that is retried inside has failed
    """

    def __init__(
        self,
        log: Callable[[str, str], None] | None = None,
        trigger: Callable[[str, dict[str, Any], str], dict[str, Any]] | None = None,
        rules: Callable[[], Iterable[Rule]] | None = None,
    ) -> None:
        self._log = log
        self._trigger = trigger
        self._rules = rules

    def log(self, text: str, level: str = "info") -> None:
        """Write one line."""
        if self._log is not None:
            self._log(text, level)
            return
        prefix = "" if level == "info" else level.upper() + " "
        try:
            sys.stdout.write(f"{prefix}{text}\n")
        except UnicodeEncodeError:  # A container without a UTF-8 locale.
            sys.stdout.write(ascii(f"{prefix}{text}")[1:-1] + "\n")
        sys.stdout.flush()

    def rules(self) -> Iterable[Rule]:
        """Further rules of :func:`~airflow_stagecoach.engine.classification.classify`."""
        return () if self._rules is None else self._rules()

    def trigger(self, dag_id: str, params: dict[str, Any], path: str) -> dict[str, Any]:
        """Run another workflow and wait for it.

        :raises StageError: nothing here can trigger workflows (inside a container)
        """
        if self._trigger is None:
            raise StageError(
                f"{path}: a trigger stage cannot run in this place; move it out of the nested stage, "
                "or let the job run on the worker",
                type="TriggerUnavailable",
            )
        return self._trigger(dag_id, params, path)
