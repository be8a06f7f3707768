"""Where a job runs: ``runs-on``.

Authors of backends subclass :class:`RemoteBackend`; see ``docs/backends/authors.md``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_stagecoach.backends.base import Backend
    from airflow_stagecoach.backends.registry import BackendError
    from airflow_stagecoach.backends.remote import RemoteBackend
    from airflow_stagecoach.backends.settings import BackendConfigError
    from airflow_stagecoach.backends.shipment import ShipmentError, pack_unit, unpack_unit
    from airflow_stagecoach.backends.work import Handle, Lines, Status, StillRunning, Work

__all__ = [
    "Backend",
    "BackendConfigError",
    "BackendError",
    "Handle",
    "Lines",
    "RemoteBackend",
    "ShipmentError",
    "Status",
    "StillRunning",
    "Work",
    "get_backend",
    "pack_unit",
    "unpack_unit",
]

#: Name -> module. A task that runs here imports none of it.
_HOMES = {
    "Backend": "base",
    "BackendConfigError": "settings",
    "BackendError": "registry",
    "Handle": "work",
    "Lines": "work",
    "RemoteBackend": "remote",
    "ShipmentError": "shipment",
    "Status": "work",
    "StillRunning": "work",
    "Work": "work",
    "pack_unit": "shipment",
    "unpack_unit": "shipment",
}


def get_backend(type_: str, config: dict[str, Any] | None = None, *, emulate: bool = False) -> Backend:
    """Make the backend of a canonical type.

    :param type_: e.g. ``local``
    :param config: what stands under ``runs-on: {with: ...}``, evaluated
    :param emulate: check the settings, and run the work as a process on this machine
    :raises BackendError: there is no such backend, or it is broken
    :raises BackendConfigError: the settings do not fit
    """
    if type_ == "local":
        from airflow_stagecoach.backends.local import LocalBackend

        return LocalBackend(config)
    from airflow_stagecoach.backends.registry import find

    class_: Any = find(type_)
    if emulate:
        from airflow_stagecoach.backends.emulated import EmulatedBackend
        from airflow_stagecoach.backends.settings import check_config

        return EmulatedBackend(emulates=type_, settings=check_config(class_, config or {}))
    backend: Backend = class_(config)
    return backend


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
