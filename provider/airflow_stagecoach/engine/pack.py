"""Packs the engine into one small zip app that runs wherever Python 3.8 or newer is.

The archive holds the engine and the expressions, and an ``airflow_stagecoach``
package that has nothing but ``tag`` and ``register_filter``: modules of users that
import those work. The
same sources give the same bytes.

Where a few hundred kilobytes more do no harm, the same modules may lie beside it as this Python has compiled
them: a Python of the same version then starts in half the time, any other one takes no notice.
"""

from __future__ import annotations

import os
import zipfile
from typing import TYPE_CHECKING, Dict

if TYPE_CHECKING:
    from typing import Iterator, Tuple

#: Name of the zip app. What is compiled lies beside it under the same name, with the version's mark.
APP = "stagecoach.pyz"

_PACKAGE = "airflow_stagecoach"
_ROOMS = ("engine", "expressions")

#: What limits stages on a worker stays there: a container is limited from outside.
_STAYS = frozenset({"cgroup.py", "limits.py", "limited.py"})

_MAIN = f"""\
import os
import sys

if sys.version_info < (3, 8):
    sys.exit("Stagecoach needs Python 3.8 or newer in the container, this is " + sys.version.split()[0])

from importlib.util import MAGIC_NUMBER

compiled = os.path.splitext(sys.path[0])[0] + "." + MAGIC_NUMBER.hex() + ".zip"
if os.path.exists(compiled):
    sys.path.insert(0, compiled)

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

#: How many modules are compiled when Python has not kept them; more would take longer than it saves.
_FEW = 8

#: Zip archives cannot say less; a fixed time makes the bytes depend on the sources alone.
_TIME = (1980, 1, 1, 0, 0, 0)


def build(*, small: bool = True) -> bytes:
    """The zip app.

    Inside a zip app it is that very archive.

    :param small: compressed; that takes longer than all the rest, and lets it start a little later
    """
    import io

    archive = _own_archive()
    if archive is not None:
        with open(archive, "rb") as file:
            return file.read()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compresslevel=9) as packed:
        for name, source in sorted(_sources().items()):
            entry = zipfile.ZipInfo(name, _TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED if small else zipfile.ZIP_STORED
            entry.external_attr = 0o644 << 16
            packed.writestr(entry, source)
    return buffer.getvalue()


def compiled() -> Tuple[str, bytes] | None:
    """What may lie beside the zip app: its modules as this Python has compiled them.

    They are those that Python keeps itself (``__pycache__``), so that this takes no time.

    :return: file name and content; None where Python keeps them not, or runs a zip app itself
    """
    import io
    import marshal
    from importlib.machinery import SourceFileLoader
    from importlib.util import MAGIC_NUMBER

    if _own_archive() is not None:
        return None
    buffer = io.BytesIO()
    # Hash-based and never checked: the sources that they came from are those that travel with them.
    head = MAGIC_NUMBER + (1).to_bytes(4, "little") + bytes(8)
    init = compile(_INIT, _PACKAGE, "exec", dont_inherit=True)
    with zipfile.ZipFile(buffer, "w") as packed:
        packed.writestr(zipfile.ZipInfo(f"{_PACKAGE}/__init__.pyc", _TIME), head + marshal.dumps(init))
        missing = 0
        for name, path in sorted(_files()):
            code = _kept(path)
            if code is None:
                missing += 1
                if missing > _FEW:
                    return None
                # Nothing has imported it until now. Python keeps it where it may write.
                code = marshal.dumps(SourceFileLoader(name, path).get_code(name))
            packed.writestr(zipfile.ZipInfo(f"{name}c", _TIME), head + code)
    return f"{os.path.splitext(APP)[0]}.{MAGIC_NUMBER.hex()}.zip", buffer.getvalue()


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


def _kept(path: str) -> bytes | None:
    """What Python keeps of a module that it has compiled, without the head; None where it keeps nothing."""
    from importlib.util import MAGIC_NUMBER, cache_from_source

    source = os.stat(path)
    head = MAGIC_NUMBER + bytes(4)
    for number in (int(source.st_mtime), source.st_size):
        head += (number & 0xFFFFFFFF).to_bytes(4, "little")
    try:
        with open(cache_from_source(path), "rb") as file:
            found = file.read()
    except (OSError, NotImplementedError):
        return None
    return found[len(head) :] if found.startswith(head) else None


def _own_archive() -> str | None:
    """The zip app that this module was loaded from, if it was: itself, or what lies beside it."""
    archive: str | None = getattr(globals().get("__loader__"), "archive", None)
    if archive is None or archive.endswith(".pyz"):
        return archive
    return os.path.join(os.path.dirname(archive), APP)
