"""What travels: one folder with the zip app of the engine, the unit, and the files that it needs.

/stagecoach/stagecoach.pyz   the engine
/stagecoach/stagecoach.*.zip the same, compiled by the worker's Python: for an image with the same version
/stagecoach/unit.json        what to run
/stagecoach/document/        modules that `uses:` names, files of `ship:`; WORKFLOW_DIR
/stagecoach/otherwise.sh     what runs where there is no Python: a `bash:` stage, or it hands over
/stagecoach/no-python.json   the result that says so
/stagecoach/result.json      written at the end
"""

from __future__ import annotations

import glob
import io
import os
import tarfile
from typing import TYPE_CHECKING, Any

from airflow_stagecoach.backends.work import failed
from airflow_stagecoach.engine import pack
from airflow_stagecoach.engine.transport import dump

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from airflow_stagecoach.engine.contract import Error, Unit

#: Where the folder lies in a container.
FOLDER = "/stagecoach"

#: What runs the unit there.
COMMAND = [
    "/bin/sh",
    "-c",
    f"for p in python3 python; do if command -v $p >/dev/null 2>&1; then "
    f"exec $p {FOLDER}/stagecoach.pyz {FOLDER}/unit.json {FOLDER}/result.json; fi; done; "
    f"exec /bin/sh {FOLDER}/otherwise.sh",
]

_FOLDERS = ("document", "work")

#: The file behind ``$STAGE_OUTPUT`` of an ``image:`` stage, in that folder.
OUTPUT_FILE = "output"

#: Files of a user that travel with one unit, together, in bytes.
LARGEST = 50 * 1024 * 1024


class ShipmentError(ValueError):
    """Something that a unit needs cannot travel."""


def pack_unit(
    unit: Unit,
    *,
    folder: str = FOLDER,
    workdir: str | None = None,
    ship: Iterable[str] = (),
    compiled: bool = False,
) -> bytes:
    """A tar archive to be unpacked in a folder of the place where the unit runs.

    :param unit: its ``document_dir`` is a folder of this machine
    :param folder: where the archive will be unpacked
    :param workdir: the scratch folder there, ``work`` in that folder if absent
    :param ship: patterns of files relative to the document's folder that travel too, ``**`` included
    :param compiled: for a place to which a megabyte travels in no time: the engine is there also as this
        Python has compiled it, nothing is compressed, and so all of it starts sooner
    :raises ShipmentError: no such file, outside of the folder, or too much
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in _FOLDERS:
            info = tarfile.TarInfo(name)
            info.type = tarfile.DIRTYPE
            # Any user of the image may write there: the stages run as whom the image says.
            info.mode = 0o1777
            archive.addfile(info)
        contents = _contents(unit, folder, workdir, list(ship), small=not compiled)
        beside = pack.compiled() if compiled else None
        for name, data in (*contents, *([beside] if beside else [])):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            info.mode = 0o755 if name.endswith(".sh") else 0o644
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def pack_image_stage(unit: Unit, *, ship: Iterable[str] = ()) -> bytes:
    """A tar archive for the container of an ``image:`` stage: nothing of ours, but a file for its outputs.

    :param ship: as for :func:`pack_unit`
    :raises ShipmentError: see :func:`pack_unit`
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in _FOLDERS:
            info = tarfile.TarInfo(name)
            info.type = tarfile.DIRTYPE
            # Whoever the program runs as may also remove what others have put there.
            info.mode = 0o777
            archive.addfile(info)
        for name, path in sorted(_files(unit, list(ship)).items()):
            info = tarfile.TarInfo(f"document/{name}")
            info.size = os.path.getsize(path)
            info.mode = 0o755 if os.access(path, os.X_OK) else 0o644
            with open(path, "rb") as file:
                archive.addfile(info, file)
        info = tarfile.TarInfo(OUTPUT_FILE)
        info.mode = 0o666
        archive.addfile(info)
    return buffer.getvalue()


def unpack_unit(
    unit: Unit, folder: str | os.PathLike[str], *, workdir: str | None = None, ship: Iterable[str] = ()
) -> None:
    """Put all that travels into a folder of this machine.

    :param folder: exists; nobody else can read it, for secrets are in what travels
    :param workdir: the scratch folder, ``work`` in that folder if absent
    :raises ShipmentError: see :func:`pack_unit`
    """
    folder = os.path.abspath(folder)
    for name in _FOLDERS:
        os.makedirs(os.path.join(folder, name), exist_ok=True)
    for name, data in _contents(unit, folder, workdir, list(ship)):
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)


def _contents(
    unit: Unit, folder: str, workdir: str | None, ship: list[str], *, small: bool = True
) -> Iterator[tuple[str, bytes]]:
    files = _files(unit, ship)
    there = f"{folder}/document"
    travelling: dict[str, Any] = {
        # What stands beside the work is none of its business; secrets may be in it.
        **{key: value for key, value in unit.items() if key != "services"},
        "workdir": workdir or f"{folder}/work",
        "document_dir": there,
        "modules": {**(unit.get("modules") or {}), "paths": [there]},
    }
    yield "stagecoach.pyz", pack.build(small=small)
    yield "unit.json", dump(travelling).encode("utf-8")
    from airflow_stagecoach.backends._bash_alone import fallback

    without = fallback(unit, folder, travelling["workdir"])
    yield "no-python.json", dump(without.result or failed(unit, _no_python(unit))).encode("utf-8") + b"\n"
    for name, text in without.files.items():
        yield name, text.encode("utf-8", "surrogateescape")
    for name, path in sorted(files.items()):
        with open(path, "rb") as file:
            yield f"document/{name}", file.read()


def _no_python(unit: Unit) -> Error:
    """What is told where there is no Python: which stage needs it."""
    needing = next((spec for spec in unit["stages"] if spec.get("kind") != "bash"), unit["stages"][0])
    name = str(needing.get("id") or needing.get("name") or "the stage")
    return {
        "type": "NoPython",
        "message": (
            f"stage {name!r} ({needing.get('kind')}) needs Python 3.8 or newer, which is not in the image: "
            "take an image with Python; only a `bash:` stage that is a task of its own runs without"
        ),
        "category": "configuration",
        "reason": "NoPython",
    }


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
