"""What documents may say under ``runs-on``: the installed backends, as checks for ``document.load``.

Nothing is imported or looked up before a document names a backend other than ``local``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from airflow_stagecoach.backends import registry

if TYPE_CHECKING:
    from airflow_stagecoach.document.runs_on import BackendCheck


class InstalledBackends(Mapping[str, "BackendCheck"]):
    """Canonical type -> the check of its ``with``. A broken backend is found when it is checked."""

    def __getitem__(self, type_: str) -> BackendCheck:
        if type_ not in self:
            raise KeyError(type_)
        return InstalledBackend(type_)

    def __contains__(self, type_: object) -> bool:
        return type_ in registry.BUILT_IN or type_ in registry.types()

    def __iter__(self) -> Iterator[str]:
        return iter(registry.types())

    def __len__(self) -> int:
        return len(registry.types())

    def __bool__(self) -> bool:
        # There are always our own. Without this, asking would look through everything that is installed.
        return True


class InstalledBackend:
    """One of them, by its canonical type: the check of what stands under ``with``, and what it can do."""

    def __init__(self, type_: str) -> None:
        self.type = type_

    def __call__(self, settings: dict[str, Any]) -> dict[str, Any]:
        return check_settings(self.type, settings)

    @property
    def capabilities(self) -> frozenset[str]:
        """As its class has them; nothing of one that is broken, which its check tells."""
        try:
            return frozenset(getattr(registry.find(self.type), "capabilities", ()))
        except registry.BackendError:
            return frozenset()

    @property
    def needed_without_image(self) -> tuple[tuple[str, ...], ...]:
        """Settings that only ``image:`` stages can do without; see ``RemoteBackend``."""
        try:
            return tuple(getattr(registry.find(self.type), "needed_without_image", ()))
        except registry.BackendError:
            return ()


def check_settings(type_: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Check what stands under ``with``. What only a run can know, an expression, is left for the run.

    :return: the settings as they are
    :raises PydanticCustomError, ValidationError: faults with positions below ``with``
    """
    from airflow_stagecoach.document.diagnostics import did_you_mean
    from airflow_stagecoach.document.model import Faults, fault

    if type_ == "local":
        from airflow_stagecoach.document.runs_on import no_settings

        return no_settings(settings)
    from airflow_stagecoach.backends.remote import RemoteBackend
    from airflow_stagecoach.backends.settings import BackendConfigError, check_config

    try:
        backend: Any = registry.find(type_)
    except registry.BackendError as error:
        raise fault("broken-backend", f"runs-on: {error}") from None
    if not issubclass(backend, RemoteBackend):
        return settings  # Of another package, which checks them itself.
    early = Faults()
    for name in backend.known_at_load:
        if isinstance(value := settings.get(name), str) and "{{" in value:
            message = f"runs-on: {name} must be known when the document is loaded, found an expression"
            early.add(fault("wrong-type", message, "write the name itself"), name)
    early.raise_any()
    try:
        check_config(backend, settings)
    except BackendConfigError as error:
        faults = Faults()
        for path, text in error.problems:
            value = _at(settings, path)
            if _has_expression(value):
                continue
            name = ".".join(map(str, path))
            if text == "is missing":
                hint = backend.instead_of.get(name)
                faults.add(fault("missing-key", f"runs-on: {type_} needs '{name}'", hint), *path[:-1])
            elif text == "is no setting of this backend":
                hint = did_you_mean(str(path[-1]), backend.setting_names())
                faults.add(
                    fault("unknown-key", f"unknown setting '{name}' of {type_}", hint, on_key=True), *path
                )
            else:
                hint = f"write {path[-1]}: [...]" if text.endswith("a valid list") else None
                faults.add(fault("bad-setting", f"{name}: {text}", hint), *path)
        faults.raise_any()
    except Exception as error:
        # Not its text: a value may stand in it.
        found = f"checking the settings of {type_} gives {type(error).__name__}"
        raise fault("broken-backend", f"runs-on: {found}; that is a fault of the backend") from None
    return settings


def _at(value: Any, path: tuple[str | int, ...]) -> Any:
    """The value at a path, or the nearest one above it."""
    for step in path:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return value if isinstance(value, str) else None
    return value


def _has_expression(value: Any) -> bool:
    return isinstance(value, str) and "${{" in value
