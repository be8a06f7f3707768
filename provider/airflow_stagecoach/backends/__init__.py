"""Where a job runs: ``runs-on``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_stagecoach.backends.base import Backend

#: Canonical type -> class. A backend is imported only when a stage runs on it.
_BUILT_IN = {"local": "airflow_stagecoach.backends.local:LocalBackend"}


def get_backend(type_: str, config: dict[str, Any] | None = None) -> Backend:
    """Make the backend of a canonical type.

    :param type_: e.g. ``local``
    :param config: what stands under ``runs-on: {with: ...}``
    :raises LookupError: no such backend
    """
    try:
        module_name, _, class_name = _BUILT_IN[type_].partition(":")
    except KeyError:
        raise LookupError(f"no backend {type_!r}; there is: {', '.join(sorted(_BUILT_IN))}") from None
    from importlib import import_module

    backend: Backend = getattr(import_module(module_name), class_name)(config)
    return backend
