"""A document is checked once per content, whatever its name and whichever process asks."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from importer_documents import workflow

from airflow_stagecoach.importer.documents import load_document

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_stagecoach.importer.cache import PlanCache


def test_good_document(folder: Path, cache: PlanCache, checks: list[str]) -> None:
    path = folder / "a.yaml"
    path.write_text(workflow("a") + workflow("b"))
    first = load_document(path)
    assert [plan["dag_id"] for plan in first.plans] == ["a", "b"]
    assert (first.report, first.ours) == ("", True)
    assert load_document(path) == first
    assert checks == [str(path)]


def test_errors_are_kept_and_name_the_file_that_was_asked_for(
    folder: Path, cache: PlanCache, checks: list[str]
) -> None:
    for name in ("a.yaml", "b.yaml"):
        (folder / name).write_text(workflow("good") + workflow("bad", bad=True))
    first = load_document(folder / "a.yaml", file="a.yaml")
    second = load_document(folder / "b.yaml", file="b.yaml")
    assert checks == ["a.yaml"]
    assert first.report.startswith("a.yaml:14:11: ")
    assert second.report == first.report.replace("a.yaml", "b.yaml")
    assert [plan["dag_id"] for plan in second.plans] == ["good"]


def test_content_decides_not_the_time_of_the_file(folder: Path, cache: PlanCache, checks: list[str]) -> None:
    import os

    path = folder / "a.yaml"
    path.write_text(workflow("aa"))
    stamp = path.stat()
    assert [plan["dag_id"] for plan in load_document(path).plans] == ["aa"]
    path.write_text(workflow("bb"))  # same size
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert [plan["dag_id"] for plan in load_document(path).plans] == ["bb"]
    assert len(checks) == 2


def test_works_without_a_cache(folder: Path, checks: list[str]) -> None:
    from airflow_stagecoach.importer.cache import PlanCache

    path = folder / "a.yaml"
    path.write_text(workflow("a"))
    for _ in range(2):
        assert len(load_document(path, cache=PlanCache(None)).plans) == 1
    assert len(checks) == 2


def test_text_that_is_not_utf8(folder: Path, cache: PlanCache) -> None:
    path = folder / "a.yaml"
    path.write_bytes(workflow("a").encode() + b"# caf\xe9\n")
    document = load_document(path, file="a.yaml")
    assert document.plans == []
    assert document.report.startswith("a.yaml:")
    assert "UTF-8" in document.report


def test_byte_order_mark_is_no_error(folder: Path, cache: PlanCache) -> None:
    path = folder / "a.yaml"
    path.write_text(workflow("a"), encoding="utf-8-sig")
    assert len(load_document(path).plans) == 1


def test_matrix_with_more_legs_than_airflow_allows(
    folder: Path, cache: PlanCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "a.yaml"
    matrix = "strategy: {matrix: {n: [1, 2, 3, 4]}}"
    path.write_text(workflow("a").replace("greet:", f"greet:\n      {matrix}"))
    assert len(load_document(path).plans) == 1
    monkeypatch.setenv("AIRFLOW__CORE__MAX_MAP_LENGTH", "3")
    assert load_document(path).plans == []
    assert "4" in load_document(path).report


def test_missing_file(folder: Path, cache: PlanCache) -> None:
    with pytest.raises(FileNotFoundError):
        load_document(folder / "missing.yaml")


def test_cached_document_costs_neither_models_nor_yaml(folder: Path, tmp_path: Path) -> None:
    path = folder / "a.yaml"
    path.write_text(workflow("a"))
    code = f"""
import sys
from pathlib import Path
from airflow_stagecoach.importer.cache import PlanCache
from airflow_stagecoach.importer.documents import load_document
assert load_document({str(path)!r}, cache=PlanCache(Path({str(tmp_path / "plans")!r}))).plans
ours = "airflow_stagecoach.document."
print([name for name in (ours + "workflow", ours + "source") if name in sys.modules])
"""
    models = ["airflow_stagecoach.document.workflow", "airflow_stagecoach.document.source"]
    for expected in (str(models), "[]"):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
        assert done.stdout.strip() == expected, done.stderr
