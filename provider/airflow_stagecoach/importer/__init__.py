"""How Airflow finds and loads documents.

The rooms' doors are opened lazily, because the policy module comes through
here in every Airflow process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_stagecoach.importer.dags import DocumentLoadError, load_workflows
    from airflow_stagecoach.importer.documents import Document, load_document

__all__ = ["Document", "DocumentLoadError", "load_document", "load_workflows"]

_HOMES = {
    "Document": "documents",
    "DocumentLoadError": "dags",
    "load_document": "documents",
    "load_workflows": "dags",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
