"""What travels: one folder with the zip app of the engine, the unit, and the files that it needs.

/stagecoach/stagecoach.pyz   the engine
/stagecoach/unit.json        what to run
/stagecoach/document/        modules that `uses:` names, files of `ship:`; WORKFLOW_DIR
/stagecoach/result.json      written at the end
"""

from __future__ import annotations

import glob
import io
import os
import tarfile
from typing import TYPE_CHECKING, Any

from airflow_stagecoach.engine import pack
from airflow_stagecoach.engine.transport import dump

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from airflow_stagecoach.engine.contract import Unit

#: Where the folder lies in a container.
FOLDER = "/stagecoach"

#: What runs the unit there. Without Python it says so, with the code that containers use for "cannot start".
COMMAND = [
    "/bin/sh",
    "-c",
    f"for p in python3 python; do if command -v $p >/dev/null 2>&1; then "
    f"exec $p {FOLDER}/stagecoach.pyz {FOLDER}/unit.json {FOLDER}/result.json; fi; done; "
    f'echo "This image has no Python 3.8 or newer, which the stages of this job need" >&2; exit 126',
]

#: Files of a user that travel with one unit, together, in bytes.
LARGEST = 50 * 1024 * 1024


class ShipmentError(ValueError):
    """Something that a unit needs cannot travel."""


def pack_unit(unit: Unit, *, workdir: str, ship: Iterable[str] = ()) -> bytes:
    """A tar archive to be unpacked in :data:`FOLDER`.

    :param unit: its ``document_dir`` is a folder of this machine
    :param workdir: the scratch folder there
    :param ship: patterns of files relative to the document's folder that travel too, ``**`` included
    :raises ShipmentError: no such file, outside of the folder, or too much
    """
    files = _files(unit, list(ship))
    there = f"{FOLDER}/document"
    modules = {**(unit.get("modules") or {}), "paths": [there]}
    travelling = {**unit, "workdir": workdir, "document_dir": there, "modules": modules}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for folder in ("document", "work"):
            _add_folder(archive, folder)
        _add(archive, "stagecoach.pyz", pack.build())
        _add(archive, "unit.json", dump(travelling).encode("utf-8"), mode=0o644)
        for name, path in sorted(files.items()):
            archive.add(path, f"document/{name}", recursive=False, filter=_anonymous)
    return buffer.getvalue()


def _files(unit: Unit, patterns: list[str]) -> dict[str, str]:
    """Name below ``document/`` -> path on this machine."""
    found: dict[str, str] = {}
    folder = unit.get("document_dir")
    for pattern in patterns:
        if folder is None or os.path.isabs(pattern) or ".." in pattern.split("/"):
            raise ShipmentError(f"ship: {pattern!r} must be relative to the folder of the document")
        paths = [
            path
            for path in glob.glob(os.path.join(glob.escape(folder), pattern), recursive=True)
            if os.path.isfile(path)
        ]
        if not paths:
            raise ShipmentError(f"ship: {pattern!r} matches no file beside the document")
        found.update((os.path.relpath(path, folder), path) for path in paths)
    for path in modules_of(unit["stages"]):
        for place in (unit.get("modules") or {}).get("paths", ()):
            if names := dict(_module_files(place, path)):
                found.update(names)
                break
    total = sum(os.path.getsize(path) for path in found.values())
    if total > LARGEST:
        raise ShipmentError(
            f"ship: the files take {total / 1024 / 1024:.0f} MiB, more than the "
            f"{LARGEST // 1024 // 1024} MiB that travel with a stage; put them into the image"
        )
    return found


def modules_of(stages: Iterable[Mapping[str, Any]]) -> list[str]:
    """Paths of the modules that ``uses:`` names, nested stages included, where no expression hides them."""
    return list(dict.fromkeys(_modules(stages)))


def _modules(stages: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for spec in stages:
        uses = spec.get("uses")
        if isinstance(uses, str) and "${{" not in uses:
            yield uses.rpartition("@")[0].rpartition("/")[0]
        yield from _modules(spec.get("stages") or ())
        for branch in (spec.get("parallel") or {}).values():
            yield from _modules(branch)
        for entry in spec.get("match") or ():
            yield from _modules(entry.get("stages") or entry.get("else") or ())


def _module_files(folder: str, path: str) -> Iterator[tuple[str, str]]:
    """The files of one module, or of a package with all below it."""
    parts = path.replace("/", ".").split(".")
    for spelled in dict.fromkeys((tuple(parts), tuple(part.replace("-", "_") for part in parts))):
        base = os.path.join(folder, *spelled)
        if os.path.isfile(f"{base}.py"):
            yield "/".join(spelled) + ".py", f"{base}.py"
            return
        if os.path.isfile(os.path.join(base, "__init__.py")):
            for place, folders, names in os.walk(base):
                folders[:] = [name for name in folders if name != "__pycache__"]
                for name in names:
                    file = os.path.join(place, name)
                    yield os.path.relpath(file, folder), file
            return


def _add(archive: tarfile.TarFile, name: str, data: bytes, mode: int = 0o644) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    info.mode = mode
    archive.addfile(info, io.BytesIO(data))


def _add_folder(archive: tarfile.TarFile, name: str) -> None:
    info = tarfile.TarInfo(name)
    info.type = tarfile.DIRTYPE
    # Any user of the image may write there: the stages run as whom the image says.
    info.mode = 0o1777
    archive.addfile(info)


def _anonymous(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    return info
