"""The importer of Airflow 3.3, for its registry ``airflow.dag_processing.importers``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.dag_processing.importers.base import AbstractDagImporter, DagImportError, DagImportResult

from airflow_stagecoach.importer.discovery import SUFFIXES, find_documents, is_document

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator
    from pathlib import Path


class StagecoachDagImporter(AbstractDagImporter):
    """Imports documents; other YAML is left alone."""

    @classmethod
    def supported_extensions(cls) -> list[str]:
        """Give the suffixes that this importer takes."""
        return list(SUFFIXES)

    def list_dag_files(self, directory: str | os.PathLike[str], safe_mode: bool = True) -> Iterator[str]:
        """List the documents below a folder. ``safe_mode`` is about Python: the look inside is always on."""
        yield from find_documents(directory)

    def import_file(
        self,
        file_path: str | Path,
        *,
        bundle_path: Path | None = None,
        bundle_name: str | None = None,
        safe_mode: bool = True,
    ) -> DagImportResult:
        """Import the workflows of a document. All that is wrong with it is one error: Airflow keeps one."""
        name = self.get_relative_path(file_path, bundle_path)
        result = DagImportResult(file_path=name)
        if not is_document(file_path):
            result.skipped_files.append(str(file_path))
            return result
        from airflow_stagecoach.importer.build import build_document

        built = build_document(file_path, bundle_path=bundle_path, bundle_name=bundle_name)
        if not built.ours:
            result.skipped_files.append(str(file_path))
            return result
        result.dags.extend(built.dags)
        if built.report:
            result.errors.append(
                DagImportError(
                    file_path=name,
                    message=built.report,
                    error_type="document",
                    line_number=built.line,
                    column_number=built.column,
                )
            )
        return result
