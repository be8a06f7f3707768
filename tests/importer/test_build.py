"""From a document to DAGs: every error told, nothing raised, only what is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from importer_documents import workflow

from airflow_stagecoach.importer import build
from airflow_stagecoach.importer.build import build_document

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    from airflow_stagecoach.importer.cache import PlanCache


def test_every_workflow_of_a_file_with_its_place(folder: Path, cache: PlanCache) -> None:
    path = folder / "sub" / "a.yaml"
    path.parent.mkdir()
    path.write_text(workflow("a") + workflow("b"))
    built = build_document(path, bundle_path=folder, bundle_name="bundle")
    assert [dag.dag_id for dag in built.dags] == ["a", "b"]
    assert {dag.fileloc for dag in built.dags} == {str(path)}
    assert {dag.relative_fileloc for dag in built.dags} == {"sub/a.yaml"}
    assert built.report == ""


def test_bad_workflow_beside_a_good_one(folder: Path, cache: PlanCache) -> None:
    path = folder / "a.yaml"
    path.write_text(workflow("bad", bad=True) + workflow("good"))
    built = build_document(path, bundle_path=folder, bundle_name="bundle")
    assert [dag.dag_id for dag in built.dags] == ["good"]
    assert built.report.startswith("a.yaml:7:11: ")
    assert (built.line, built.column) == (7, 11)


def test_only_the_workflow_that_a_worker_asks_for(
    folder: Path, cache: PlanCache, parse_for: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "a.yaml"
    path.write_text(workflow("a") + workflow("b"))
    asked: list[str] = []
    original = build.build_dag

    def build_dag(plan: Any, **arguments: Any) -> Any:
        asked.append(plan["dag_id"])
        return original(plan, **arguments)

    monkeypatch.setattr(build, "build_dag", build_dag)
    parse_for("b")
    built = build_document(path, bundle_path=folder, bundle_name="bundle")
    assert [dag.dag_id for dag in built.dags] == asked == ["b"]
    parse_for("somewhere-else")
    assert build_document(path, bundle_path=folder, bundle_name="bundle").dags == []


def test_workflow_that_airflow_refuses(
    folder: Path, cache: PlanCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "a.yaml"
    path.write_text(workflow("first") + workflow("second"))
    original = build.build_dag

    def build_dag(plan: Any, **arguments: Any) -> Any:
        if plan["dag_id"] == "second":
            raise RuntimeError("no such pool")
        return original(plan, **arguments)

    monkeypatch.setattr(build, "build_dag", build_dag)
    built = build_document(path, bundle_path=folder, bundle_name="bundle")
    assert [dag.dag_id for dag in built.dags] == ["first"]
    place = f"a.yaml:{built.line}:1"
    assert f"{place}: workflow 'second' cannot become a DAG: RuntimeError: no such pool" in built.report
    assert "Traceback" in built.report
    assert built.line in (8, 9)  # of the second workflow


def test_two_documents_with_one_dag_id(
    folder: Path, cache: PlanCache, parse_for: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "client")
    for name in ("a.yaml", "b.yaml"):
        (folder / name).write_text(workflow("same") + workflow(f"own-{name[0]}"))
    first = build_document(folder / "a.yaml", bundle_path=folder, bundle_name="bundle")
    second = build_document(folder / "b.yaml", bundle_path=folder, bundle_name="bundle")
    assert [dag.dag_id for dag in first.dags] == ["same", "own-a"]
    assert [dag.dag_id for dag in second.dags] == ["own-b"]
    assert second.report.startswith(f"b.yaml:{second.line}:1: workflow 'same' is also defined in a.yaml ")
    parse_for("same")  # a worker was told which file to read
    assert len(build_document(folder / "b.yaml", bundle_path=folder, bundle_name="bundle").dags) == 1


def test_only_the_dag_processor_gives_out_dag_ids(folder: Path, cache: PlanCache) -> None:
    for name in ("a.yaml", "b.yaml"):
        (folder / name).write_text(workflow("same"))
        built = build_document(folder / name, bundle_path=folder, bundle_name="bundle")
        assert len(built.dags) == 1


def test_document_that_cannot_be_read(folder: Path, cache: PlanCache) -> None:
    built = build_document(folder / "gone.yaml", bundle_path=folder)
    assert (built.dags, built.report) == ([], "gone.yaml: cannot be read: No such file or directory")


def test_outside_the_bundle_the_path_is_whole(folder: Path, cache: PlanCache, tmp_path: Path) -> None:
    path = folder / "a.yaml"
    path.write_text(workflow("a"))
    (dag,) = build_document(path, bundle_path=tmp_path / "elsewhere").dags
    assert dag.relative_fileloc == str(path)
