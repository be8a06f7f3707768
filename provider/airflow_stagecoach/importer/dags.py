"""The Python loader, for sites where a provider may not adapt Airflow.

A file of two lines in the dags folder does what the importer does::

    from airflow_stagecoach.importer.dags import load_workflows

    load_workflows(globals())

(Airflow skips Python files that hold the words "airflow" and "dag" nowhere; the
name of this module sees to it that the file is found.)
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, get_parsing_context

from airflow_stagecoach.importer.build import build_document, relative_path
from airflow_stagecoach.importer.cache import default_cache
from airflow_stagecoach.importer.discovery import find_documents
from airflow_stagecoach.importer.documents import load_document

if TYPE_CHECKING:
    import os
    from collections.abc import MutableMapping


class DocumentLoadError(ValueError):
    """Documents of a folder are wrong. The text holds every error, a blank line between two."""


class _BadDocuments(DAG):
    """Carries the errors of bad documents to Airflow, which validates every DAG of a file by itself.

    Raising them in the loader would lose the DAGs of the good documents.
    """

    report: str = ""

    def validate(self) -> None:
        raise DocumentLoadError(f"\n\n{self.report}")


def load_workflows(
    namespace: MutableMapping[str, Any], folder: str | os.PathLike[str] | None = None
) -> dict[str, DAG]:
    """Make a DAG of every workflow in a folder, and put the DAGs where Airflow looks for them.

    ``.airflowignore`` holds. The DAGs of good documents are there even when other documents are bad;
    all errors together become the import error of the loader file. When a task starts, only the
    document of its DAG is read.

    :param namespace: ``globals()`` of the loader file
    :param folder: a folder or one document; else the folder of the loader file. A relative path
        starts there.
    :return: the DAGs by DAG id, as they were put into ``namespace``
    :raises DocumentLoadError: documents are bad and none is good
    :raises FileNotFoundError: there is no such folder
    """
    here = Path(namespace.get("__file__", Path.cwd() / "loader.py")).parent
    root = here / folder if folder is not None else here
    if not root.exists():
        raise FileNotFoundError(f"load_workflows: there is no folder {root}")
    wanted = get_parsing_context().dag_id
    if wanted is not None:
        dags = _load_one(root, wanted)
        namespace.update(dags)
        return dags
    dags = {}
    files: dict[str, str] = {}
    problems = []
    base = root if root.is_dir() else root.parent
    for path in _documents(root):
        built = build_document(path, bundle_path=base, taken=files)
        if built.report:
            problems.append(built.report)
        for dag in built.dags:
            dags[dag.dag_id] = dag
            files[dag.dag_id] = path
    _write_index(root, files)
    report = "\n\n".join(problems)
    if report and not dags:
        raise DocumentLoadError(f"\n\n{report}")
    namespace.update(dags)
    if report:
        bearer = _BadDocuments("stagecoach__bad_documents", schedule=None)
        bearer.report = report
        namespace[bearer.dag_id] = bearer
    return dags


def _load_one(root: Path, dag_id: str) -> dict[str, DAG]:
    """Build one DAG, reading no document but its own where the index knows it."""
    known = _read_index(root).get(dag_id)
    if known is not None and (dag := _build_one(known, dag_id, root)) is not None:
        return {dag_id: dag}
    # First those that name the id: a flat document's id differs from its name only in a few characters.
    name = dag_id.encode()
    contents = {path: Path(path).read_bytes() for path in _documents(root)}
    for path in sorted(contents, key=lambda path: name not in contents[path]):
        if (dag := _build_one(path, dag_id, root)) is not None:
            return {dag_id: dag}
    return {}


def _build_one(path: str, dag_id: str, root: Path) -> DAG | None:
    try:
        document = load_document(path, file=relative_path(path, root))
    except OSError:
        return None
    if all(plan["dag_id"] != dag_id for plan in document.plans):
        return None
    built = build_document(path, bundle_path=root if root.is_dir() else root.parent)
    if not built.dags:
        raise DocumentLoadError(f"\n\n{built.report}")
    return built.dags[0]


def _documents(root: Path) -> list[str]:
    return [str(root)] if root.is_file() else sorted(find_documents(root))


def _index(root: Path) -> str:
    return f"folders/{hashlib.sha256(str(root.resolve()).encode()).hexdigest()}.json"


def _read_index(root: Path) -> dict[str, str]:
    data = default_cache().read(_index(root))
    try:
        index = json.loads(data) if data else {}
    except ValueError:
        index = {}
    return index if isinstance(index, dict) else {}


def _write_index(root: Path, files: dict[str, str]) -> None:
    if files and _read_index(root) != files:
        default_cache().write(_index(root), json.dumps(files).encode())
