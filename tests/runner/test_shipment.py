"""Tests of airflow_stagecoach.runner.shipment: archives are unpacked without trusting them."""

from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from airflow_stagecoach.backends.shipment import pack_unit
from airflow_stagecoach.runner.shipment import BadShipment, read_unit, unpack

if TYPE_CHECKING:
    from pathlib import Path


def member(name: str, data: bytes = b"", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


GOOD = [member("stagecoach.pyz", b"x"), member("unit.json", b'{"stages": []}')]


def unpacked(tmp_path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(tmp_path / "archive", "w") as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    folder = tmp_path / "folder"
    folder.mkdir()
    unpack(str(tmp_path / "archive"), str(folder), "/home/job", "/elsewhere/work")
    return folder


def test_what_a_worker_packs(tmp_path: Path) -> None:
    beside = tmp_path / "document"
    (beside / "sub").mkdir(parents=True)
    (beside / "sub" / "data.csv").write_text("1,2")
    unit: Any = {"stages": [{"kind": "empty"}], "document_dir": str(beside), "env": [{"A": "ä"}]}
    (tmp_path / "archive").write_bytes(pack_unit(unit, ship=["**/*.csv"]))
    folder = tmp_path / "folder"
    folder.mkdir()
    unpack(str(tmp_path / "archive"), str(folder), "/home/job", "/elsewhere/work")
    found = json.loads((folder / "unit.json").read_text())
    assert found["document_dir"] == "/home/job/document"
    assert found["workdir"] == "/elsewhere/work"
    assert found["modules"]["paths"] == ["/home/job/document"]
    assert (found["stages"], found["env"]) == (unit["stages"], unit["env"])
    assert (folder / "document" / "sub" / "data.csv").read_text() == "1,2"
    assert (folder / "stagecoach.pyz").stat().st_size > 10_000


@pytest.mark.parametrize(
    "bad",
    [
        member("/etc/x", b"x"),
        member("../x", b"x"),
        member("a/../../x", b"x"),
        member("./x", b"x"),
        member("a//x", b"x"),
        member("link", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        member("link", type=tarfile.LNKTYPE, linkname="unit.json"),
        member("fifo", type=tarfile.FIFOTYPE),
        member("device", type=tarfile.CHRTYPE),
        member("holes", type=tarfile.GNUTYPE_SPARSE),
        member("unit.json/x", b"x"),
    ],
    ids=lambda bad: bad[0].name if isinstance(bad, tuple) else None,
)
def test_what_would_reach_elsewhere(bad: tuple[tarfile.TarInfo, bytes], tmp_path: Path) -> None:
    with pytest.raises(BadShipment):
        unpacked(tmp_path, *GOOD, bad)
    if bad[0].name != "unit.json/x":  # That is for whoever unpacks it.
        with pytest.raises(BadShipment):
            read_unit(str(tmp_path / "archive"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive", "folder"]


@pytest.mark.parametrize(
    "members",
    [
        [],
        GOOD[:1],
        GOOD[1:],
        [GOOD[0], member("unit.json", b"{")],
        [GOOD[0], member("unit.json", b"[]")],
        [GOOD[0], member("unit.json", b"\xff")],
        [GOOD[0], member("unit.json", b'{"modules": 3}')],
        [GOOD[0], member("unit.json", type=tarfile.DIRTYPE)],
    ],
)
def test_what_is_no_unit(members: list[tuple[tarfile.TarInfo, bytes]], tmp_path: Path) -> None:
    with pytest.raises(BadShipment):
        unpacked(tmp_path, *members)


@pytest.mark.parametrize("data", [b"", b"no archive", b"\x1f\x8b" + b"\0" * 600])
def test_what_is_no_archive(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(data)
    (tmp_path / "folder").mkdir()
    with pytest.raises(BadShipment):
        unpack(str(tmp_path / "archive"), str(tmp_path / "folder"), "/home/job", "/w")
    with pytest.raises(BadShipment):
        read_unit(str(tmp_path / "archive"))


def test_a_damaged_archive(tmp_path: Path) -> None:
    unit: Any = {"stages": [{"kind": "empty"}]}
    (tmp_path / "archive").write_bytes(pack_unit(unit)[:5000])
    (tmp_path / "folder").mkdir()
    with pytest.raises(BadShipment):
        unpack(str(tmp_path / "archive"), str(tmp_path / "folder"), "/home/job", "/w")


def test_rights_are_the_owners(tmp_path: Path) -> None:
    folder = unpacked(tmp_path, *GOOD, member("document/run.sh", b"x", mode=0o4777))
    assert (folder / "document" / "run.sh").stat().st_mode & 0o7777 == 0o700
    assert (folder / "unit.json").stat().st_mode & 0o077 == 0
