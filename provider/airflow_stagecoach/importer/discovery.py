"""Which files are documents of ours: by suffix, by ``.airflowignore``, and by a look inside."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SUFFIXES = (".yaml", ".yml")

#: A larger file is data, not a workflow: it is not read on every listing.
MAX_SIZE = 4 * 1024 * 1024


def is_document(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a document of ours. A file that cannot be read is not."""
    from airflow_stagecoach.document import is_ours

    if not os.fspath(path).lower().endswith(SUFFIXES):
        return False
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size > MAX_SIZE:
                return False
            return is_ours(file.read())
    except OSError:
        return False


def find_documents(folder: str | os.PathLike[str]) -> Iterator[str]:
    """Find the documents below a folder, as Airflow finds DAG files.

    ``.airflowignore`` holds, in the syntax that ``[core] dag_ignore_file_syntax`` names.
    The paths start with ``folder`` as given.
    """
    from airflow.configuration import conf

    syntax = conf.get("core", "DAG_IGNORE_FILE_SYNTAX", fallback="glob")
    for path in _find_path_from_directory(folder, syntax or "glob"):
        if path.lower().endswith(SUFFIXES) and os.path.isfile(path) and is_document(path):
            yield path


def _find_path_from_directory(folder: str | os.PathLike[str], syntax: str) -> Iterator[str]:
    from airflow._shared.module_loading.file_discovery import find_path_from_directory

    yield from find_path_from_directory(folder, ".airflowignore", syntax)
