"""Airflow with our adapters, in one process: what a bag of DAGs and the database then hold."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from airflow.dag_processing.dagbag import BundleDagBag, DagBag
from importer_documents import workflow

if TYPE_CHECKING:
    from pathlib import Path


def test_bag_of_a_folder(folder: Path) -> None:
    (folder / "good.yml").write_text(workflow("good"))
    (folder / "mixed.YAML").write_text(workflow("mixed-good") + workflow("mixed-bad", bad=True))
    (folder / "values.yaml").write_text("replicas: 3\n")
    (folder / "broken.yaml").write_text("a: [1\n")
    (folder / "ignored.yaml").write_text(workflow("ignored"))
    (folder / ".airflowignore").write_text("ignored.*\n")
    bag = BundleDagBag(dag_folder=str(folder), bundle_path=folder, bundle_name="bag-of-a-folder")
    assert sorted(bag.dags) == ["good", "mixed-good"]
    assert list(bag.import_errors) == ["mixed.YAML"]
    assert bag.import_errors["mixed.YAML"].startswith("mixed.YAML:14:11: ")
    assert "\n" in bag.import_errors["mixed.YAML"]
    assert bag.dags["good"].relative_fileloc == "good.yml"


def test_bag_of_one_file(folder: Path) -> None:
    path = folder / "good.yaml"
    path.write_text(workflow("good"))
    bag = DagBag(dag_folder=str(path), safe_mode=False)
    assert list(bag.dags) == ["good"]
    assert bag.dags["good"].fileloc == str(path)


def test_duplicate_in_one_bag_names_both_files(folder: Path) -> None:
    for name in ("one.yaml", "two.yaml"):
        (folder / name).write_text(workflow("duplicate-in-bag"))
    bag = BundleDagBag(dag_folder=str(folder), bundle_path=folder, bundle_name="duplicates")
    assert list(bag.dags) == ["duplicate-in-bag"]
    (text,) = bag.import_errors.values()
    assert "one.yaml" in text
    assert "two.yaml" in text


SYNC = """
import sys
from pathlib import Path
from airflow.utils.db import initdb
initdb()
from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db
from airflow.models.dag import DagModel
from airflow.models.dagbundle import DagBundleModel
from airflow.models.errors import ParseImportError
from airflow.utils.session import create_session
folder = Path(sys.argv[1])
with create_session() as session:
    session.add(DagBundleModel(name="bundle"))
for turn in range(2):
    bag = BundleDagBag(dag_folder=str(folder), bundle_path=folder, bundle_name="bundle")
    if turn:
        # What the Airflow of another version may say about a file of ours is not for us to judge.
        bag.import_errors["plain.py"] = "boom"
    sync_bag_to_db(bag, "bundle", None)
    with create_session() as session:
        print(sorted((dag.dag_id, dag.is_stale, dag.has_import_errors) for dag in session.query(DagModel)))
        print(sorted(error.filename for error in session.query(ParseImportError)))
"""


def test_good_workflow_of_a_bad_file_stays_alive_in_the_database(folder: Path, tmp_path: Path) -> None:
    (folder / "mixed.yaml").write_text(workflow("mixed-good") + workflow("mixed-bad", bad=True))
    (folder / "plain.py").write_text("from airflow.sdk import DAG\n\ndag = DAG('plain', schedule=None)\n")
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path / "home"),
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "CRITICAL",
    }
    done = subprocess.run(
        [sys.executable, "-c", SYNC, str(folder)],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
    )
    assert done.stdout.splitlines() == [
        "[('mixed-good', False, False), ('plain', False, False)]",
        "['mixed.yaml']",
        "[('mixed-good', False, False), ('plain', True, True)]",
        "['mixed.yaml', 'plain.py']",
    ], done.stderr[-2000:]


@pytest.mark.parametrize("documents", [True, False], ids=["documents", "python-only"])
def test_parents_preload_what_children_need_and_only_where_documents_are(
    folder: Path, documents: bool
) -> None:
    (folder / "plain.py").write_text("# airflow dag\n")
    if documents:
        (folder / "a.yaml").write_text(workflow("a"))
    code = f"""
import sys
import airflow
from airflow.dag_processing import manager
from airflow.dag_processing.bundles.local import LocalDagBundle
try:
    from airflow.utils.file import list_py_file_paths
    listed = list_py_file_paths({str(folder)!r}, True)
except ImportError:
    from airflow.sdk.importers import get_importer_registry
    bundle = LocalDagBundle(name="b", path={str(folder)!r})
    listed = list(get_importer_registry().list_dag_definitions(bundle))
print(len(listed))
print(*sorted(name for name in sys.modules if name.startswith("airflow_stagecoach.")))
heavy = ("docker", "kubernetes", "boto3", "azure", "google.cloud")
print([name for name in heavy if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    listed, loaded, heavy = done.stdout.splitlines()[-3:]
    assert listed == ("2" if documents else "1")
    assert ("airflow_stagecoach.importer.build" in loaded) is documents
    assert ("airflow_stagecoach.factory" in loaded) is documents
    assert ("airflow_stagecoach.document.workflow" in loaded.split()) is documents
    assert heavy == "[]"


def test_worker_parent_preloads_for_a_document_only() -> None:
    code = """
import sys
import airflow
from airflow.sdk.execution_time import supervisor
for path in ("a.py", "a.yaml"):
    try:
        supervisor.supervise_task(dag_rel_path=path)
    except TypeError as error:
        assert "missing" in str(error), error
    print("airflow_stagecoach.factory" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.split()[-2:] == ["False", "True"], done.stderr


def test_children_import_nothing_of_ours_after_preloading(folder: Path, tmp_path: Path) -> None:
    text = workflow("a") + "".join(
        f"        - {{name: S{number}, {stage}}}\n"
        for number, stage in enumerate(
            (
                "run: x = 1",
                "echo: hello",
                "trigger: other",
                "raise: stop",
                "foreach: [1], stages: [{name: In, bash: echo}]",
                "operator: airflow.providers.standard.operators.bash.BashOperator, with: {bash_command: a}",
            )
        )
    )
    path = folder / "a.yaml"
    path.write_text(text + "  params: {a: str, b: {type: int, default: 1}}\n  on: '@daily'\n")
    code = f"""
import sys
import airflow
from airflow_stagecoach.importer.build import build_document
if sys.argv[1:]:
    from airflow_stagecoach.importer.adapters import preload
    preload()
    before = set(sys.modules)
built = build_document({str(path)!r})
assert len(built.dags) == 1, built.report
if sys.argv[1:]:
    print([name for name in set(sys.modules) - before if name.startswith("airflow_stagecoach.")])
"""
    environment = {**os.environ, "AIRFLOW_HOME": str(tmp_path / "home")}
    for arguments in ([], ["preload"]):  # the first one fills the cache
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            env=environment,
        )
        assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
