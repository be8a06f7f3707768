"""What came with a request: unpacked into the folder of its job, without trusting it."""

from __future__ import annotations

import os
import shutil
import sys
import tarfile
from typing import Any

from airflow_stagecoach.engine.transport import dump, load

#: The engine and what it runs; without them nothing can be started.
ENGINE, UNIT, RESULT = "stagecoach.pyz", "unit.json", "result.json"


#: The engine of this package, which can limit stages; the one that travels leaves that to containers.
_LIMITING = "import sys; from airflow_stagecoach.engine.entry import main; sys.exit(main(sys.argv[1:]))"


class BadShipment(ValueError):
    """It is no archive of ours."""


def unpack(archive: str, folder: str, home: str, work: str) -> None:
    """Unpack an archive of ``backends.shipment.pack_unit``.

    :param archive: path of a tar file that is not compressed
    :param folder: where to; exists, is empty and for this user alone
    :param home: the path that the folder will have when the unit runs
    :param work: path of the scratch folder then
    :raises BadShipment: it is damaged, would write elsewhere, or holds no unit
    """
    try:
        with tarfile.open(archive, mode="r:") as members:
            for member in members:
                _extract(members, member, folder)
    except (tarfile.TarError, EOFError) as error:
        raise BadShipment(f"the request is no archive: {error}") from None
    if not os.path.isfile(os.path.join(folder, ENGINE)):
        raise BadShipment(f"the archive holds no {ENGINE}")
    _settle(os.path.join(folder, UNIT), home, work)


def read_unit(archive: str) -> Any:
    """The unit of an archive that is unpacked elsewhere.

    :param archive: path of a tar file that is not compressed
    :raises BadShipment: :func:`unpack` would refuse it
    """
    names, unit = set(), None
    try:
        with tarfile.open(archive, mode="r:") as members:
            for member in members:
                _require_plain(member)
                names.add(member.name)
                if member.name == UNIT and (source := members.extractfile(member)) is not None:
                    unit = load(source.read().decode("utf-8"))
    except (tarfile.TarError, EOFError) as error:
        raise BadShipment(f"the request is no archive: {error}") from None
    except ValueError as error:
        if isinstance(error, BadShipment):
            raise
        raise BadShipment(f"the archive holds no usable {UNIT}: {type(error).__name__}") from None
    if ENGINE not in names:
        raise BadShipment(f"the archive holds no {ENGINE}")
    if not isinstance(unit, dict) or not isinstance(unit.get("stages"), list):
        raise BadShipment(f"the archive holds no usable {UNIT}")
    return unit


def command(folder: str) -> list[str]:
    """What runs the unit of a folder. The engine that came with it, but for stages with ``resources``."""
    with open(os.path.join(folder, UNIT), encoding="utf-8") as file:
        unit = load(file.read())
    limited = any(isinstance(spec, dict) and spec.get("resources") for spec in unit.get("stages") or ())
    engine = ["-c", _LIMITING] if limited else [os.path.join(folder, ENGINE)]
    return [sys.executable, *engine, os.path.join(folder, UNIT), os.path.join(folder, RESULT)]


def _require_plain(member: tarfile.TarInfo) -> None:
    # Links, devices and files with holes are never sent, and could reach or fill what is not ours.
    plain = member.isdir() or (member.isreg() and not member.issparse())
    outside = any(part in ("", ".", "..") for part in member.name.split("/"))
    if not plain or member.name.startswith("/") or outside:
        raise BadShipment(f"the archive holds {member.name!r}, which is no file or folder below its own")


def _extract(members: tarfile.TarFile, member: tarfile.TarInfo, folder: str) -> None:
    _require_plain(member)
    path = os.path.join(folder, *member.name.split("/"))
    try:
        if member.isdir():
            os.makedirs(path, exist_ok=True)
            return
        os.makedirs(os.path.dirname(path), exist_ok=True)
        source = members.extractfile(member)
        assert source is not None, "regular files have contents"
        with source, open(path, "wb") as target:
            shutil.copyfileobj(source, target)
        os.chmod(path, member.mode & 0o700 | 0o600)
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise BadShipment(f"the archive holds {member.name!r} twice") from error


def _settle(path: str, home: str, work: str) -> None:
    """Tell the unit where it lives: whoever packed it could not know."""
    try:
        with open(path, encoding="utf-8") as file:
            unit = load(file.read())
        document = os.path.join(home, "document")
        unit["document_dir"] = document
        # There is no container around the stages: what they may use is the engine's to limit.
        unit["enforce_resources"] = True
        unit["workdir"] = work
        unit["modules"] = {**(unit.get("modules") or {}), "paths": [document]}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise BadShipment(f"the archive holds no usable {UNIT}: {type(error).__name__}") from None
    for folder in ("document", "work"):
        os.makedirs(os.path.join(os.path.dirname(path), folder), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(dump(unit))
