"""Workflows that are made in Python, in any DAG file."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from airflow_stagecoach import factory
from airflow_stagecoach.importer.backends import InstalledBackends
from airflow_stagecoach.importer.documents import allowed_legs

if TYPE_CHECKING:
    from airflow.sdk import DAG

    from airflow_stagecoach.document import Workflow
    from airflow_stagecoach.document.plan import WorkflowPlan


def build_dag(workflow: Workflow | WorkflowPlan, *, fileloc: str | None = None) -> DAG:
    """Build the DAG of a workflow, checked as a document is: also for where its jobs run.

    :param workflow: a :class:`~airflow_stagecoach.Workflow` made in Python, or a plan from
        :func:`airflow_stagecoach.document.load`
    :param fileloc: path of the document, shown by the Code tab; by default the file that calls
    :raises DocumentError: the workflow is wrong
    :raises airflow.exceptions.AirflowException: what Airflow itself refuses
    """
    if not isinstance(workflow, dict):
        workflow = workflow.plan(backends=InstalledBackends(), max_legs=allowed_legs())
    return factory.build_dag(workflow, fileloc=fileloc or sys._getframe(1).f_code.co_filename)
