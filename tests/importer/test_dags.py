"""The Python loader: all DAGs for the DAG processor, one document for a task."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.dag_processing.dagbag import BundleDagBag
from importer_documents import workflow

from airflow_stagecoach.importer import dags
from airflow_stagecoach.importer.dags import DocumentLoadError, load_workflows

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_stagecoach.importer.cache import PlanCache

LOADER = """\
from airflow_stagecoach.importer.dags import load_workflows

load_workflows(globals(), "documents")
"""


@pytest.fixture
def documents(folder: Path) -> Path:
    """A folder of ten documents, beside a loader."""
    documents = folder / "documents"
    documents.mkdir()
    for number in range(10):
        (documents / f"{number}.yaml").write_text(workflow(f"flow-{number}"))
    (folder / "loader.py").write_text(LOADER)
    return documents


def namespace(folder: Path) -> dict[str, Any]:
    return {"__file__": str(folder / "loader.py")}


def test_all_dags_of_the_folder(folder: Path, documents: Path, cache: PlanCache) -> None:
    (documents / "values.yaml").write_text("replicas: 3\n")
    (documents / ".airflowignore").write_text("9.yaml\n")
    names = namespace(folder)
    found = load_workflows(names, "documents")
    assert sorted(found) == [f"flow-{number}" for number in range(9)]
    assert {key: names[key] for key in found} == found


def test_folder_is_the_loaders_own_unless_named(folder: Path, documents: Path, cache: PlanCache) -> None:
    assert len(load_workflows({"__file__": str(documents / "loader.py")})) == 10
    assert list(load_workflows(namespace(folder), documents / "3.yaml")) == ["flow-3"]
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere"):
        load_workflows(namespace(folder), "nowhere")


def bag(folder: Path) -> BundleDagBag:
    # As the DAG processor does, safe mode included: the loader must hold the right words.
    return BundleDagBag(
        dag_folder=str(folder / "loader.py"), bundle_path=folder, bundle_name="loaders", safe_mode=True
    )


def test_airflow_takes_the_good_and_shows_all_errors(folder: Path, documents: Path, cache: PlanCache) -> None:
    (documents / "bad-1.yaml").write_text(workflow("bad", bad=True))
    (documents / "bad-2.yaml").write_text(workflow("worse", bad=True))
    found = bag(folder)
    assert len(found.dags) == 10
    (text,) = found.import_errors.values()
    assert text.startswith("DocumentLoadError:")
    assert "\nbad-1.yaml:7:11: " in text
    assert "\nbad-2.yaml:7:11: " in text


def test_only_bad_documents(folder: Path, cache: PlanCache) -> None:
    (folder / "bad.yaml").write_text(workflow("bad", bad=True))
    with pytest.raises(DocumentLoadError, match=r"bad\.yaml:7:11: "):
        load_workflows(namespace(folder))


def test_two_documents_with_one_dag_id(folder: Path, documents: Path, cache: PlanCache) -> None:
    (documents / "same.yaml").write_text(workflow("flow-3"))
    found = bag(folder)
    assert len(found.dags) == 10
    (text,) = found.import_errors.values()
    assert "\nsame.yaml:" in text
    assert ": workflow 'flow-3' is also defined in 3.yaml [duplicate-dag-id]" in text


def test_a_task_reads_its_own_document_only(
    folder: Path,
    documents: Path,
    cache: PlanCache,
    parse_for: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    load_workflows(namespace(folder), "documents")
    read: list[str] = []
    original = Path.read_bytes

    def read_bytes(path: Path) -> bytes:
        if path.suffix == ".yaml":
            read.append(path.name)
        return original(path)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    parse_for("flow-7")
    assert list(load_workflows(namespace(folder), "documents")) == ["flow-7"]
    assert set(read) == {"7.yaml"}


@pytest.mark.parametrize("index", ["missing", "damaged", "wrong"])
def test_a_task_finds_its_document_without_a_good_index(
    folder: Path,
    documents: Path,
    cache: PlanCache,
    checks: list[str],
    parse_for: Callable[[str], None],
    index: str,
) -> None:
    if index == "damaged":
        cache.write(dags._index(documents), b"[1")
    elif index == "wrong":
        cache.write(dags._index(documents), f'{{"flow-7": "{documents}/3.yaml"}}'.encode())
    parse_for("flow-7")
    assert list(load_workflows(namespace(folder), "documents")) == ["flow-7"]
    # The documents that do not name the id were not checked.
    assert set(checks) - {"3.yaml"} == {"7.yaml"}


def test_a_task_finds_a_document_that_spells_its_name_otherwise(
    folder: Path, documents: Path, cache: PlanCache, parse_for: Callable[[str], None]
) -> None:
    (documents / "flat.yaml").write_text(
        "name: My Report\njobs:\n  a:\n    stages: [{name: Say, echo: hello}]\n"
    )
    parse_for("My-Report")
    assert list(load_workflows(namespace(folder), "documents")) == ["My-Report"]


def test_a_task_of_an_unknown_dag(
    folder: Path, documents: Path, cache: PlanCache, parse_for: Callable[[str], None]
) -> None:
    parse_for("unknown")
    assert load_workflows(namespace(folder), "documents") == {}


def test_a_task_is_not_disturbed_by_a_bad_document(
    folder: Path, documents: Path, cache: PlanCache, parse_for: Callable[[str], None]
) -> None:
    (documents / "bad.yaml").write_text(workflow("bad", bad=True))
    parse_for("flow-1")
    found = bag(folder)
    assert list(found.dags) == ["flow-1"]
    assert found.import_errors == {}
