"""How each module of Airflow is adapted, right after Airflow imported it (see ``policy``).

Every function takes the imported module, changes it at most once, and imports
what it needs when it is called, not when Airflow starts. What was there before
is always called first, and its outcome kept when ours fails.
"""

from __future__ import annotations

import functools
import logging
import os
from typing import TYPE_CHECKING, Any

from airflow_stagecoach.importer.discovery import SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

log = logging.getLogger(__name__)

_MARK = "__adapted_by_stagecoach__"


def adapt_file_listing(module: ModuleType) -> None:
    """``airflow.utils.file`` (3.3): the DAG processor lists documents beside Python files.

    3.4 has the module as well, but lists through importers.
    """
    if not hasattr(module, "find_dag_file_paths"):
        return

    def wrap(original: Callable[..., list[str]]) -> Callable[..., list[str]]:
        @functools.wraps(original)
        def find_dag_file_paths(directory: str | os.PathLike[str], safe_mode: bool) -> list[str]:
            paths = list(original(directory, safe_mode))
            try:
                from airflow_stagecoach.importer.discovery import find_documents

                seen = set(paths)
                documents = [path for path in find_documents(directory) if path not in seen]
            except Exception:
                log.exception("Stagecoach cannot list the documents in %s", directory)
                return paths
            if documents:
                preload(serializing=True)
            return paths + documents

        return find_dag_file_paths

    _replace(module, "find_dag_file_paths", wrap)


def adapt_importer_registry_33(module: ModuleType) -> None:
    """``airflow.dag_processing.importers.base`` (3.3): our importer is one of the defaults."""

    def register(registry: Any) -> None:
        from airflow_stagecoach.importer.airflow33 import StagecoachDagImporter

        registry.register(StagecoachDagImporter())

    _register_by_default(module, register)


def adapt_importer_registry_34(module: ModuleType) -> None:
    """``airflow.sdk.importers.base`` (3.4): our importer is one of the defaults.

    Configured importers are registered after the defaults, so a line of the user wins.
    """

    def register(registry: Any) -> None:
        from airflow_stagecoach.importer.airflow34 import StagecoachDagImporter

        registry.register(StagecoachDagImporter())

    _register_by_default(module, register)

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def list_dag_definitions(registry: Any, bundle: Any, *, safe_mode: bool = True) -> Any:
            from airflow_stagecoach.importer.airflow34 import StagecoachDagImporter

            for importer, item in original(registry, bundle, safe_mode=safe_mode):
                if isinstance(importer, StagecoachDagImporter):
                    # A worker lists the one file of its task, to find the importer for it.
                    preload(serializing=os.path.isdir(bundle.path))
                yield importer, item

        return list_dag_definitions

    _replace(module.DagImporterRegistry, "list_dag_definitions", wrap)


def adapt_parsing_results(module: ModuleType) -> None:
    """``airflow.dag_processing.collection``: a bad workflow does not hide a good one in its file.

    Airflow keeps import errors by file, and marks every DAG of a file with an error as stale, also
    those that the same parse delivered. For documents (and their Python loader), those stay alive.

    And a pool that does not exist is told of at the DAG (see ``pools``).
    """

    def wrap(original: Callable[..., None]) -> Callable[..., None]:
        import inspect

        signature = inspect.signature(original)

        @functools.wraps(original)
        def update_dag_parsing_results_in_db(*args: Any, **kwargs: Any) -> None:
            given = signature.bind(*args, **kwargs).arguments
            # Airflow adds to this map the errors that it meets itself: such a file is not ours to save.
            errors = dict(given["import_errors"])
            try:
                from airflow_stagecoach.importer.pools import pool_warnings

                given["warnings"].update(pool_warnings(given["dags"], given["session"]))
            except Exception:
                log.exception("Stagecoach cannot check the pools of %s", given["bundle_name"])
            original(*args, **kwargs)
            partly_good = {
                file
                for (_, file), text in errors.items()
                if given["import_errors"].get((given["bundle_name"], file)) == text and _is_ours(file, text)
            }
            if partly_good and given["dags"]:
                try:
                    _keep_alive(given["bundle_name"], partly_good, given["dags"], given["session"])
                except Exception:
                    log.exception("Stagecoach cannot keep the good workflows of %s", sorted(partly_good))

        return update_dag_parsing_results_in_db

    _replace(module, "update_dag_parsing_results_in_db", wrap)


def adapt_supervisor(module: ModuleType) -> None:
    """``airflow.sdk.execution_time.supervisor``: the process that forks tasks imports for them.

    Every executor starts tasks here. The worker of a LocalExecutor or Celery lives on, so all its
    tasks after the first one find everything imported. Tasks of Python files cause nothing.
    """

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def supervise_task(*args: Any, **kwargs: Any) -> Any:
            if os.fspath(kwargs.get("dag_rel_path") or "").lower().endswith(SUFFIXES):
                preload()
            return original(*args, **kwargs)

        return supervise_task

    _replace(module, "supervise_task", wrap)


@functools.cache
def preload(*, serializing: bool = False) -> None:
    """Import what children will need, once. A failure is theirs to report, in the file's import error."""
    try:
        from airflow_stagecoach.importer.preload import preload as import_all

        import_all(serializing=serializing)
    except Exception as error:
        log.warning("Stagecoach cannot preload: %s: %s", type(error).__name__, error)


def _register_by_default(module: ModuleType, register: Callable[[Any], None]) -> None:
    def wrap(original: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(original)
        def _register_default_importers(registry: Any) -> None:
            original(registry)
            try:
                register(registry)
            except Exception as error:
                log.error("Stagecoach cannot import documents: %s: %s", type(error).__name__, error)

        return _register_default_importers

    _replace(module.DagImporterRegistry, "_register_default_importers", wrap)


def _replace(owner: Any, name: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    original = getattr(owner, name)
    if not hasattr(original, _MARK):
        replacement = wrap(original)
        setattr(replacement, _MARK, True)
        setattr(owner, name, replacement)


def _is_ours(file: str, error: str) -> bool:
    # The Python loader's error starts with the name of its exception (see ``dags``).
    return file.lower().endswith(SUFFIXES) or error.startswith("DocumentLoadError:")


def _keep_alive(bundle_name: str, files: set[str], dags: Any, session: Any) -> None:
    from airflow.models.dag import DagModel
    from sqlalchemy import update

    session.execute(
        update(DagModel)
        .where(
            DagModel.bundle_name == bundle_name,
            DagModel.relative_fileloc.in_(files),
            DagModel.dag_id.in_([dag.dag_id for dag in dags]),
        )
        .values(has_import_errors=False, is_stale=False)
        .execution_options(synchronize_session="fetch")
    )
