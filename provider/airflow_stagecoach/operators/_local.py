"""How stages behave in ``stagecoach run``, where there is no scheduler, no triggerer and no UI.

``dag.test()`` runs one task at a time in one process. It cannot run a deferred
trigger of another DAG and waits for ever on an approval, so operators ask the
:data:`session` instead, when there is one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


class LocalSession(Protocol):
    """What the command line offers to the tasks that it runs."""

    def run_workflow(self, dag_id: str, params: dict[str, Any]) -> dict[str, Any]:
        """Run another workflow to its end.

        :return: ``{"state", "params", "jobs"}``, see :mod:`airflow_stagecoach.operators._report`
        """

    def approve(self, job_id: str, stage_id: str, subject: str, body: str | None) -> bool:
        """Ask whether the job may go on."""

    def stage(self, job_id: str, leg: str, name: str) -> AbstractContextManager[None]:
        """Around a stage: shows that it starts and how it ends."""

    def write(self, text: str, level: str) -> None:
        """Show a line of a stage's output."""


#: The command line that runs the tasks of this process, ``None`` in Airflow.
session: LocalSession | None = None
