"""Which backends there are: our own, and what other packages register.

Another package registers a backend under the entry point group
``airflow_stagecoach.backends``: its name is the type, its value the class. Nothing
is imported before a document or a command names it, and a package that is broken
harms only the documents that use it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from importlib.metadata import EntryPoint

    from airflow_stagecoach.backends.base import Backend

GROUP = "airflow_stagecoach.backends"

_OURS = "airflow-provider-stagecoach"

#: Canonical type -> class.
BUILT_IN = {
    "docker": "airflow_stagecoach.backends.docker:DockerBackend",
    "kubernetes": "airflow_stagecoach.backends.kubernetes:KubernetesBackend",
    "local": "airflow_stagecoach.backends.local:LocalBackend",
    "self-hosted": "airflow_stagecoach.backends.self_hosted:SelfHostedBackend",
}


class BackendError(LookupError):
    """A backend cannot be used: there is none of that type, there are two, or it is broken."""


class Installed(NamedTuple):
    """One registered backend."""

    name: str  # the canonical type
    distribution: str
    version: str
    path: str  # ``package.module:Class``

    def load(self) -> type[Backend]:
        """Import its class.

        :raises BackendError: it cannot be imported, or is no backend
        """
        from airflow_stagecoach.backends.base import Backend

        module_name, _, class_name = self.path.partition(":")
        try:
            found = getattr(import_module(module_name), class_name)
        except (Exception, SystemExit) as error:
            raise self._broken(f"importing {self.path} gives {type(error).__name__}: {error}") from error
        if not (isinstance(found, type) and issubclass(found, Backend)):
            raise self._broken(f"{self.path} is no subclass of airflow_stagecoach.backends.Backend")
        missing = sorted(getattr(found, "__abstractmethods__", ()))
        if missing:
            raise self._broken(f"{self.path} lacks {', '.join(missing)}")
        return found

    def _broken(self, why: str) -> BackendError:
        return BackendError(f"backend {self.name!r} of {self.distribution} {self.version} is broken: {why}")


def canonical(type_: str) -> str:
    """The spelling of a type: small letters, ``-`` for ``_``."""
    return type_.strip().lower().replace("_", "-")


def installed() -> list[Installed]:
    """Every registered backend, ours first; a type that two packages register stands there twice."""
    from importlib.metadata import version

    ours = [Installed(type_, _OURS, version(_OURS), path) for type_, path in sorted(BUILT_IN.items())]
    return ours + sorted(
        Installed(
            canonical(entry.name),
            (entry.dist.name if entry.dist else None) or "an unknown package",
            (entry.dist.version if entry.dist else None) or "?",
            entry.value.partition("[")[0].strip(),  # extras mean nothing here
        )
        for entry in _entry_points()
    )


def conflict(one: Installed, others: Iterable[Installed]) -> str | None:
    """Why a registered backend cannot be had by its type.

    :param others: all that are registered, with ``one`` itself
    :return: ``None`` when it can
    """
    if one.name in BUILT_IN:
        if one.path == BUILT_IN[one.name]:
            return None
        return (
            f"backend {one.name!r} of {one.distribution} {one.version} is not used: "
            f"the type belongs to {_OURS}; register it under another name"
        )
    same = [other for other in others if other.name == one.name]
    if len(same) < 2:
        return None
    packages = " and ".join(f"{other.distribution} {other.version}" for other in same)
    return f"backend {one.name!r} is registered by {packages}; uninstall one of them"


def types() -> list[str]:
    """The canonical types that a document may name here."""
    return list(dict.fromkeys(one.name for one in installed()))


def find(type_: str) -> type[Backend]:
    """The class of a backend.

    A type of ours is never taken from another package: that would change what documents mean.

    :param type_: canonical
    :raises BackendError: unknown, registered twice, or broken; the message says which packages are involved
    """
    if type_ in BUILT_IN:
        return Installed(type_, _OURS, "", BUILT_IN[type_]).load()
    all_of_them = installed()
    matching = [one for one in all_of_them if one.name == type_]
    if not matching:
        known = ", ".join(dict.fromkeys(one.name for one in all_of_them))
        raise BackendError(f"no backend {type_!r} is installed here; there is: {known}")
    reason = conflict(matching[0], matching)
    if reason is not None:
        raise BackendError(reason)
    return matching[0].load()


def _entry_points() -> Iterator[EntryPoint]:
    from importlib.metadata import entry_points

    yield from entry_points(group=GROUP)
