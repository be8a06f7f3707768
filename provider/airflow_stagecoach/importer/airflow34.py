"""The importer of Airflow 3.4 (``[dag_processor] dag_importer_configs`` may name it too).

Airflow gives a suffix to one importer, and has one of its own for YAML, for
documents that name Airflow's schema. Such documents are handed on to it.
"""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.sdk.importers.base import (
    AbstractDagImporter,
    DagImportError,
    DagImportResult,
    DagSourceCode,
    find_file_dag_definitions,
    get_file_suffix,
)

from airflow_stagecoach.importer.discovery import MAX_SIZE, SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflow.sdk.importers.base import DagDefinition, FileDagDefinition

#: What Airflow's own documents name as their ``$schema``.
AIRFLOW_SCHEMA = b"https://airflow.apache.org/schemas/dag/"


class StagecoachDagImporter(AbstractDagImporter):  # type: ignore[misc]  # unknown to Airflow 3.3's types
    """Imports documents, and Airflow's own YAML documents by Airflow's importer; other YAML is left alone.

    :param extensions: the suffixes to take, else ``.yaml`` and ``.yml``
    """

    def __init__(self, extensions: list[str] | None = None) -> None:
        self.supported_extensions = list(extensions or SUFFIXES)

    def can_handle(self, definition: DagDefinition | str | Path) -> bool:
        """Whether the definition has one of our suffixes."""
        return get_file_suffix(definition) in self.supported_extensions

    def list_dag_definitions(
        self, bundle: Any, *, safe_mode: bool = True
    ) -> Iterator[FileDagDefinition | DagImportError]:
        """List the documents of a bundle. ``safe_mode`` is about Python: the look inside is always on."""
        for definition in find_file_dag_definitions(bundle.path, self.supported_extensions):
            if self.might_contain_dag(definition, safe_mode):
                yield definition

    def might_contain_dag(self, definition: DagDefinition, safe_mode: bool) -> bool:
        """Whether the file is a document of ours or of Airflow's."""
        try:
            if definition.path.stat().st_size > MAX_SIZE:
                return False
        except (AttributeError, OSError):
            pass  # not a file: a member of an archive, say
        try:
            data = definition.read_bytes()
        except OSError:
            return False
        if is_airflows(data):
            return bool(self._airflows.might_contain_dag(definition, True))
        return _is_ours(data)

    def import_definition(self, definition: FileDagDefinition, bundle: Any) -> DagImportResult:
        """Import the workflows of a document. All that is wrong with it is one error: Airflow keeps one."""
        try:
            data = definition.read_bytes()
        except OSError as error:
            failure = DagImportError(
                source_reference=repr(definition), message=str(error), error_type="document"
            )
            return DagImportResult(definition=definition, errors=[failure])
        if is_airflows(data):
            return self._airflows.import_definition(definition, bundle)
        result = DagImportResult(definition=definition)
        if not _is_ours(data):
            return result
        from airflow_stagecoach.importer.build import build_document

        # A bag of a single file stands in for a bundle; its path is that file then.
        root = bundle.path if os.path.isdir(bundle.path) else None
        with definition.import_context():
            built = build_document(repr(definition), bundle_path=root, bundle_name=bundle.name, data=data)
        if not built.ours:
            return result
        result.dags.extend(built.dags)
        if built.report:
            result.errors.append(
                DagImportError(
                    source_reference=repr(definition),
                    message=built.report,
                    error_type="document",
                    line_number=built.line,
                    column_number=built.column,
                )
            )
        return result

    def get_source_code(self, definition: DagDefinition, dag_id: str | None = None) -> DagSourceCode:
        """Give the document's text for the Code tab."""
        text = definition.read_bytes().decode("utf-8-sig", errors="replace")
        return DagSourceCode(source_code=text, language="yaml")

    @cached_property
    def _airflows(self) -> Any:
        # Half a second of imports, paid where a document of Airflow's exists.
        from airflow.sdk.importers.yaml_importer import YamlDagImporter

        return YamlDagImporter(extensions=self.supported_extensions)


def is_airflows(data: bytes) -> bool:
    """Whether a file is a document in Airflow's own YAML format."""
    return b"$schema" in data and AIRFLOW_SCHEMA in data


def _is_ours(data: bytes) -> bool:
    from airflow_stagecoach.document import is_ours

    return is_ours(data)
