"""Finds and loads the modules that ``uses:`` names, always as they are now.

A module found in a folder is loaded from its file under a private name, so that
two documents may each have their ``tasks.py``, and an edit counts at once, also
in a process that lives long. What it imports from its own folder is loaded with
it and belongs to it alone.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import sys
import threading
from typing import TYPE_CHECKING, Dict, List, Tuple

from airflow_stagecoach.engine.errors import StageError

if TYPE_CHECKING:
    from types import ModuleType
    from typing import Iterator, Sequence

#: Loading changes sys.path and sys.modules for a moment, so one module is loaded at a time.
_loading = threading.RLock()


class ModuleCache:
    """The modules of one unit: each is loaded once per unit.

    :param folders: where to look, in order
    :param packages: dotted names of importable packages to look in, after the folders
    """

    def __init__(self, folders: Sequence[str], packages: Sequence[str]) -> None:
        self._folders = list(dict.fromkeys(os.path.abspath(folder) for folder in folders))
        self._packages = packages
        self._loaded: Dict[str, List[Tuple[ModuleType, str | None]]] = {}

    def places(self) -> Dict[str, List[str]]:
        """Where it looks: ``modules`` of a unit."""
        return {"paths": list(self._folders), "packages": list(self._packages)}

    def find(self, path: str) -> List[Tuple[ModuleType, str | None]]:
        """Every module of this name, in the order of the places; usually there is one.

        :param path: ``tasks``, ``etl/tasks`` or ``etl.tasks``
        :return: modules, each with the folder that its imports look in
        :raises StageError: the path is malformed, or there is no such module
        :raises Exception: what the module raised when it was loaded
        """
        with _loading:
            if path not in self._loaded:
                self._loaded[path] = self._load(path)
            return self._loaded[path]

    def _load(self, path: str) -> List[Tuple[ModuleType, str | None]]:
        parts = path.replace("/", ".").split(".")
        if not all(part.replace("-", "_").isidentifier() for part in parts):
            raise StageError(f"uses: {path!r} is no path of a module", type="InvalidValue")
        found: List[Tuple[ModuleType, str | None]] = []
        for folder in self._folders:
            file = _file(folder, parts)
            if file is not None:
                found.append((_load_file(file, folder, parts), folder))
                break  # The nearest folder wins: a copy beside the document is meant to.
        for package in self._packages:
            module = _import_from(package, parts)
            if module is not None:
                found.append((module, None))
        if not found:
            places = [*self._folders, *(f"package {package}" for package in self._packages)]
            raise StageError(
                f"uses: there is no module {path!r}; looked in: {', '.join(places) or 'no place at all'}",
                type="ModuleNotFound",
            )
        return found


def _file(folder: str, parts: List[str]) -> str | None:
    for spelled in dict.fromkeys((tuple(parts), tuple(part.replace("-", "_") for part in parts))):
        base = os.path.join(folder, *spelled)
        for candidate in (base + ".py", os.path.join(base, "__init__.py")):
            if os.path.isfile(candidate):
                return candidate
    return None


def _load_file(file: str, folder: str, parts: List[str]) -> ModuleType:
    with open(file, "rb") as opened:
        source = opened.read()
    import hashlib  # Loads OpenSSL.

    place = hashlib.sha256(f"{os.path.dirname(file)}\0".encode() + source).hexdigest()[:12]
    is_package = os.path.basename(file) == "__init__.py"
    # A package around it makes `from . import sibling` work.
    package = f"stagecoach_user_{place}"
    name = package if is_package else f"{package}.{parts[-1].replace('-', '_')}"
    _forget(package)
    if not is_package:
        around = importlib.util.module_from_spec(_package_spec(package, os.path.dirname(file)))
        sys.modules[package] = around
    spec = importlib.util.spec_from_file_location(
        name, file, submodule_search_locations=[os.path.dirname(file)] if is_package else None
    )
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with own_imports(folder, os.path.dirname(file)):
            # Compiled from what was read: a cached .pyc may be as old as the last second.
            exec(compile(source, file, "exec", dont_inherit=True), vars(module))  # noqa: S102 - its purpose
    except BaseException:
        _forget(package)
        raise
    return module


def _package_spec(name: str, folder: str) -> importlib.machinery.ModuleSpec:
    spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
    spec.submodule_search_locations = [folder]
    return spec


def _forget(package: str) -> None:
    for name in [name for name in sys.modules if name == package or name.startswith(package + ".")]:
        del sys.modules[name]


@contextlib.contextmanager
def own_imports(*folders: str) -> Iterator[None]:
    """Let imports find these folders first; what is imported from them does not stay in sys.modules.

    So the next document that has a ``helper.py`` of its own gets its own.
    """
    with _loading:
        before = set(sys.modules)
        path = list(sys.path)
        write = sys.dont_write_bytecode
        sys.path[:0] = dict.fromkeys(folders)
        sys.dont_write_bytecode = True
        importlib.invalidate_caches()
        try:
            yield
        finally:
            sys.path[:] = path
            sys.dont_write_bytecode = write
            for name in set(sys.modules) - before:
                file = getattr(sys.modules[name], "__file__", None) or ""
                if not name.startswith("stagecoach_user_") and file.startswith(tuple(_below(folders))):
                    del sys.modules[name]


def _below(folders: Sequence[str]) -> List[str]:
    return [os.path.join(os.path.abspath(folder), "") for folder in folders]


def _import_from(package: str, parts: List[str]) -> ModuleType | None:
    name = ".".join([package, *(part.replace("-", "_") for part in parts)])
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # Its own broken import is an error of its own, not a missing module.
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            return None
        raise
