"""From a document to DAGs, the same on every version of Airflow.

A process that parses for one task (a worker, ``airflow tasks test``) says which
DAG it needs in Airflow's parsing context; only that workflow is built then.
"""

from __future__ import annotations

import os
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from airflow.sdk import get_parsing_context

from airflow_stagecoach.factory import build_dag
from airflow_stagecoach.importer.cache import default_cache
from airflow_stagecoach.importer.documents import load_document
from airflow_stagecoach.importer.owners import Owner, find_other_owner

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import DAG

    from airflow_stagecoach.document.plan import WorkflowPlan


@dataclass
class Built:
    """The DAGs of a document, and one text with all that is wrong with its other workflows.

    ``line`` and ``column`` (from 1) point at the first error that has a place.
    """

    dags: list[DAG] = field(default_factory=list)
    report: str = ""
    line: int | None = None
    column: int | None = None
    ours: bool = True


def build_document(
    path: str | os.PathLike[str],
    *,
    bundle_path: str | os.PathLike[str] | None = None,
    bundle_name: str | None = None,
    data: bytes | None = None,
    taken: Mapping[str, str] | None = None,
) -> Built:
    """Build the DAGs of a document.

    :param path: the document; it becomes ``fileloc``
    :param bundle_path: the folder of the bundle; messages name the document relative to it
    :param bundle_name: the name of the bundle. With both, and in the DAG processor, a DAG id that another
        document already has is an error that names both documents.
    :param data: the content, where it was read already
    :param taken: DAG id -> document, of the documents that were built before
    :return: DAGs and errors; nothing about a document is ever raised
    """
    name = relative_path(path, bundle_path)
    try:
        document = load_document(path, file=name, data=data)
    except OSError as error:
        return Built(report=f"{name}: cannot be read: {error.strerror or error}")
    built = Built(ours=document.ours)
    wanted = get_parsing_context().dag_id
    problems = [document.report] if document.report else []
    for plan in document.plans:
        if wanted is not None and plan["dag_id"] != wanted:
            continue
        try:
            other = (taken or {}).get(plan["dag_id"])
            if bundle_path is not None and bundle_name is not None and _parses_for_the_installation():
                owner = Owner(bundle_name, str(bundle_path), str(document.path))
                other = find_other_owner(plan["dag_id"], owner, default_cache())
            if other is not None:
                raise DuplicateDagIdError(plan, name, relative_path(other, bundle_path))
            dag = build_dag(plan, fileloc=str(path))
        except DuplicateDagIdError as error:
            problems.append(str(error))
        except Exception as error:
            problems.append(describe_build_failure(name, plan, error))
        else:
            dag.fileloc = str(path)
            dag.relative_fileloc = name
            built.dags.append(dag)
            continue
        built.line = built.line or plan["line"]
    if document.diagnostics and document.diagnostics[0].line:
        built.line, built.column = document.diagnostics[0].line, document.diagnostics[0].column
    built.report = "\n\n".join(problems)
    return built


def _parses_for_the_installation() -> bool:
    """Whether this is a child of the DAG processor: only its documents own DAG ids.

    A bag that somebody makes for a test, of a copy of the folder, must not take ids away; and there
    Airflow itself notices duplicates. The variable is set for the children of the DAG processor and
    for workers, and a worker names a DAG.
    """
    return os.environ.get("_AIRFLOW_PROCESS_CONTEXT") == "client" and get_parsing_context().dag_id is None


def relative_path(path: str | os.PathLike[str], root: str | os.PathLike[str] | None) -> str:
    """Give ``path`` relative to ``root``, or as it is when it does not lie below."""
    if root is None:
        return os.fspath(path)
    try:
        return str(Path(path).relative_to(root))
    except ValueError:
        return os.fspath(path)


def describe_build_failure(name: str, plan: WorkflowPlan, error: Exception) -> str:
    """Say that Airflow refused a workflow that passed our checks: where, what, and Python's own words."""
    detail = "".join(traceback.format_exception(error)).rstrip()
    return (
        f"{name}:{plan['line']}:1: workflow '{plan['dag_id']}' cannot become a DAG: "
        f"{type(error).__name__}: {error} [build]\n\n{detail}"
    )


class DuplicateDagIdError(ValueError):
    """Another document has the DAG id."""

    def __init__(self, plan: WorkflowPlan, name: str, other: str) -> None:
        super().__init__(
            f"{name}:{plan['line']}:1: workflow '{plan['dag_id']}' is also defined in {other} "
            "[duplicate-dag-id]\n"
            "hint: give one of the two another name; until then only the other document's DAG runs"
        )
