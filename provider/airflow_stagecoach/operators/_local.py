"""How stages behave in ``stagecoach run``, where there is no scheduler, no triggerer and no UI.

``dag.test()`` runs one task at a time in one process. It cannot run a deferred
trigger of another DAG and waits for ever on an approval, so operators ask the
:data:`session` instead, when there is one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager


#: Workflows that may run one in another. Recursion that only a run can show ends here.
DEEPEST = 16

TOO_DEEP = f"workflows triggered each other {DEEPEST} times, one in another; do they trigger themselves?"


class LocalSession(Protocol):
    """What the command line offers to the tasks that it runs."""

    @property
    def level(self) -> int:
        """How many workflows are running, one in another."""

    def run_workflow(self, dag_id: str, params: dict[str, Any], level: int) -> dict[str, Any]:
        """Run another workflow to its end.

        :param level: of the workflow that asks
        :return: ``{"state", "params", "jobs"}``, see :mod:`airflow_stagecoach.operators._report`
        """

    def approve(self, job_id: str, stage_id: str, subject: str, body: str | None) -> bool:
        """Ask whether the job may go on."""

    def stage(self, job_id: str, leg: str, name: str) -> AbstractContextManager[None]:
        """Around a stage: shows that it starts and how it ends."""

    def write(self, text: str, level: str) -> None:
        """Show a line of a stage's output."""

    def keeps(self, folder: str) -> None:
        """Note the scratch folder of a leg on this machine that the document wants to stay."""

    def leaves(self, name: str, remove: Callable[[], object] | None) -> None:
        """Note what the stages of a leg share, which does not outlive the run.

        :param name: for people
        :param remove: may be called for what is gone already; ``None`` where the document wants it to stay
        """


#: The command line that runs the tasks of this process, ``None`` in Airflow.
session: LocalSession | None = None
