"""Tests of airflow_stagecoach.backends.shipment: what travels, and what cannot."""

from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from airflow_stagecoach.backends import shipment
from airflow_stagecoach.backends.shipment import ShipmentError, modules_of, pack_unit, unpack_unit
from airflow_stagecoach.engine import pack
from tests.engine.harness import compile_package

if TYPE_CHECKING:
    from pathlib import Path


def names(archive: bytes) -> set[str]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        return {member.name for member in opened if member.isfile()} - {
            "stagecoach.pyz",
            "unit.json",
            "no-python.json",
            "otherwise.sh",
        }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("tasks.py", "my_etl/__init__.py", "my_etl/load.py", "sql/a.sql", "sql/deep/b.sql", "big"):
        path = tmp_path / "doc" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "doc"


def unit(folder: Path, *uses: str) -> Any:
    stages = [{"kind": "call", "uses": text} for text in uses] or [{"kind": "empty"}]
    return {"stages": stages, "document_dir": str(folder), "modules": {"paths": [str(folder)]}}


@pytest.mark.parametrize(
    ("uses", "ship", "expected"),
    [
        ([], [], set()),
        (["tasks/f@demo"], [], {"document/tasks.py"}),
        (["my-etl/f@demo"], [], {"document/my_etl/__init__.py", "document/my_etl/load.py"}),
        (["my_etl/load/f@demo"], [], {"document/my_etl/load.py"}),
        (["elsewhere/f@demo"], [], set()),
        (["${{ params.x }}/f@demo"], [], set()),
        ([], ["sql/*.sql"], {"document/sql/a.sql"}),
        ([], ["sql/**/*.sql"], {"document/sql/a.sql", "document/sql/deep/b.sql"}),
        (["tasks/f@demo"], ["tasks.py"], {"document/tasks.py"}),
    ],
)
def test_files(folder: Path, uses: list[str], ship: list[str], expected: set[str]) -> None:
    assert names(pack_unit(unit(folder, *uses), ship=ship)) == expected


@pytest.mark.parametrize("pattern", ["../x", "/etc/passwd", "sql/../../x", "nothing*"])
def test_what_cannot_travel(folder: Path, pattern: str) -> None:
    with pytest.raises(ShipmentError, match="ship: "):
        pack_unit(unit(folder), ship=[pattern])


def test_too_much(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipment, "LARGEST", 2)
    with pytest.raises(ShipmentError, match="put them into the image"):
        pack_unit(unit(folder), ship=["big"])


def test_the_unit_there(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "there"
    place.mkdir()
    unpack_unit(unit(folder, "tasks/f@demo"), place)
    found = json.loads((place / "unit.json").read_text())
    assert found["document_dir"] == f"{place}/document"
    assert found["modules"]["paths"] == [f"{place}/document"]
    assert found["workdir"] == f"{place}/work"
    assert (place / "document" / "tasks.py").read_text() == "tasks.py"


def test_modules_of_nested_stages() -> None:
    call = {"kind": "call", "uses": "a/f@t"}
    stages: list[dict[str, Any]] = [
        {"kind": "parallel", "parallel": {"x": [call]}},
        {"kind": "foreach", "stages": [{"kind": "call", "uses": "b/c/f@t"}]},
        {
            "kind": "case",
            "match": [{"case": 1, "stages": [{"uses": "d/f@t"}]}, {"else": [{"uses": "e/f@t"}]}],
        },
    ]
    assert modules_of(stages) == ["a", "b/c", "d", "e"]


def test_what_python_has_compiled_travels_where_it_is_wanted(folder: Path) -> None:
    compile_package()
    kept = pack.compiled()
    assert kept is not None
    with tarfile.open(fileobj=io.BytesIO(pack_unit(unit(folder), compiled=True))) as archive:
        file = archive.extractfile(kept[0])
        assert file is not None
        assert file.read() == kept[1]
    assert kept[0] not in names(pack_unit(unit(folder)))
