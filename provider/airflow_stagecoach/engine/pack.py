"""Packs the engine into one small zip app that runs wherever Python 3.8 or newer is.

The archive holds the engine and the expressions, and an ``airflow_stagecoach``
package that has nothing but ``tag`` and ``register_filter``: modules of users that
import those work. The
same sources give the same bytes.
"""

from __future__ import annotations

import os
import zipfile
from typing import TYPE_CHECKING, Dict

if TYPE_CHECKING:
    from typing import Iterator, Tuple

_PACKAGE = "airflow_stagecoach"
_ROOMS = ("engine", "expressions")

#: What limits stages on a worker stays there: a container is limited from outside.
_STAYS = frozenset({"cgroup.py", "limits.py", "limited.py"})

_MAIN = f"""\
import sys

if sys.version_info < (3, 8):
    sys.exit("Stagecoach needs Python 3.8 or newer in the container, this is " + sys.version.split()[0])

from {_PACKAGE}.engine.entry import main

sys.exit(main(sys.argv[1:]))
"""

_INIT = f'''\
"""Stagecoach inside a container: what modules of users may import."""

from {_PACKAGE}.engine.tag import tag

__all__ = ["register_filter", "tag"]


def __getattr__(name):
    if name == "register_filter":
        from {_PACKAGE}.expressions import register_filter

        return register_filter
    raise AttributeError(f"{{name}} is not there inside a container, only tag and register_filter are")
'''

#: Zip archives cannot say less; a fixed time makes the bytes depend on the sources alone.
_TIME = (1980, 1, 1, 0, 0, 0)


def build() -> bytes:
    """The zip app.

    Inside a zip app it is that very archive.
    """
    import io

    archive = _own_archive()
    if archive is not None:
        with open(archive, "rb") as file:
            return file.read()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        for name, source in sorted(_sources().items()):
            entry = zipfile.ZipInfo(name, _TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            packed.writestr(entry, source)
    return buffer.getvalue()


def write(path: str) -> str:
    """Write the zip app to a file.

    :return: the path
    """
    with open(path, "wb") as file:
        file.write(build())
    return path


def _sources() -> Dict[str, bytes]:
    found = {"__main__.py": _MAIN.encode(), f"{_PACKAGE}/__init__.py": _INIT.encode()}
    for name, path in _files():
        with open(path, "rb") as file:
            found[name] = file.read()
    return found


def _files() -> Iterator[Tuple[str, str]]:
    top = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    for room in _ROOMS:
        for folder, folders, files in os.walk(os.path.join(top, room)):
            folders[:] = sorted(name for name in folders if name != "__pycache__")
            inside = os.path.relpath(folder, top).replace(os.sep, "/")
            for file in files:
                if file.endswith(".py") and file not in _STAYS:
                    yield f"{_PACKAGE}/{inside}/{file}", os.path.join(folder, file)


def _own_archive() -> str | None:
    """The zip file that this module was loaded from, if it was."""
    return getattr(globals().get("__loader__"), "archive", None)
