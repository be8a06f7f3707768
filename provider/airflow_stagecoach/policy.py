"""Makes Airflow find documents, with nothing to configure (entry point ``airflow.policy``).

Airflow imports this module while it imports itself, in every process. So it
imports nothing but ``sys``, and it changes nothing yet: it only leaves a note
with Python's import system. When Airflow itself imports one of the modules in
``ADAPTERS``, the function named there adapts that module. A process that lists
or parses no files (an API server, say) never pays for more than this file.

An import hook is used, rather than importing Airflow's modules here, because
Airflow is only half imported at this moment, and because the modules in
question cost up to half a second that most processes never spend.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

#: Airflow's module -> the function in ``importer.adapters`` that adapts it. A module
#: that this version of Airflow does not have is simply never imported.
ADAPTERS = {
    "airflow.utils.file": "adapt_file_listing",
    "airflow.dag_processing.importers.base": "adapt_importer_registry_33",
    "airflow.sdk.importers.base": "adapt_importer_registry_34",
    "airflow.dag_processing.collection": "adapt_parsing_results",
    "airflow.sdk.execution_time.supervisor": "adapt_supervisor",
}


def adapt(module: ModuleType) -> None:
    """Adapt an imported module of Airflow. Never raises: a failure is one line in the log."""
    name = module.__name__
    try:
        from airflow_stagecoach.importer import adapters

        getattr(adapters, ADAPTERS[name])(module)
    except Exception as error:
        import logging

        logging.getLogger(__name__).error(
            "Stagecoach cannot adapt %s, so YAML documents may not be found; the Python loader "
            "(docs/importing.md) still works. %s: %s",
            name,
            type(error).__name__,
            error,
        )


class AfterImport:
    """A meta path finder that calls ``adapt`` after one of the modules in ``ADAPTERS`` was imported."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Give the spec that the other finders give, with ``adapt`` after its execution; else None."""
        if name not in ADAPTERS:
            return None
        for finder in sys.meta_path:
            if finder is AfterImport:
                continue
            spec = finder.find_spec(name, path, target)
            if spec is None:
                continue
            _extend(spec.loader)
            return spec
        return None


def _extend(loader: Any) -> None:
    """Make a loader call ``adapt`` after it executed its module.

    A loader belongs to one spec. It stays the loader that it is (inspect and linecache ask it for
    source), only this instance does a little more.
    """
    execute = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        execute(module)
        adapt(module)

    loader.exec_module = exec_module


def install() -> None:
    """Leave the note. Calling it again changes nothing."""
    if not any(finder is AfterImport for finder in sys.meta_path):
        sys.meta_path.insert(0, AfterImport)
    for name in ADAPTERS:
        module = sys.modules.get(name)
        # A module that is still executing is left alone: what it defines later would undo the change.
        if module is not None and not getattr(module.__spec__, "_initializing", False):
            adapt(module)


try:
    install()
except Exception as error:  # pragma: no cover - a broken provider must never be a broken Airflow
    print(f"Stagecoach could not start: {error}", file=sys.stderr)  # noqa: T201  # logging is not set up yet
