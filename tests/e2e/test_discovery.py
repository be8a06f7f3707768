"""Airflow finds documents with nothing but the package installed."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from e2e_client import Client

AIRFLOW = tuple(int(part) for part in version("apache-airflow-core").split(".")[:2])


def document(name: str, word: str = "hello", job: str = "greet") -> str:
    return f"""\
{name}:
  type: Workflow
  jobs:
    {job}:
      stages:
        - name: Say
          id: say
          bash: echo {word}
"""


def test_saved_document_becomes_a_dag_and_runs(client: Client) -> None:
    client.drop("folder/found.yaml", document("found"))
    dag = client.wait_for_dag("found")
    assert dag["relative_fileloc"] == "folder/found.yaml"
    assert dag["fileloc"] == str(client.dags_folder / "folder" / "found.yaml")
    assert dag["is_paused"] is False
    assert client.code("found") == document("found")
    run = client.run("found")
    assert run.state == "success", client.states(run)


def test_edited_document_is_picked_up(client: Client) -> None:
    client.drop("edited.yml", document("edited"))
    client.wait_for_dag("edited")
    client.drop("edited.yml", document("edited", word="changed"))
    assert client.wait_for_code("edited", "echo changed") == document("edited", word="changed")


def test_deleted_document_goes(client: Client) -> None:
    client.drop("deleted.yaml", document("deleted"))
    client.wait_for_dag("deleted")
    client.remove("deleted.yaml")
    client.wait_until_gone("deleted")


def test_broken_document_does_not_hide_the_one_beside_it(client: Client) -> None:
    client.drop("broken.yaml", document("broken").replace("jobs:", "jbos:"))
    client.drop("beside.yaml", document("beside"))
    text = client.wait_for_import_error("broken.yaml")
    client.wait_for_dag("beside")
    lines = text.splitlines()
    place = next(number for number, line in enumerate(lines) if line.startswith("broken.yaml:3:3: "))
    assert "'jbos'" in lines[place], text
    assert lines[place + 2] == "3 |   jbos:", text
    assert "did you mean 'jobs'?" in text
    client.drop("broken.yaml", document("broken"))
    client.wait_for_dag("broken")
    client.wait_until_no_import_error("broken.yaml")


def test_every_error_of_a_document_is_shown(client: Client) -> None:
    text = document("many-a").replace("jobs:", "jbos:") + document("many-b").replace("bash:", "bsah:")
    client.drop("many.yaml", text)
    error = client.wait_for_import_error("many.yaml")
    assert "jbos" in error
    assert "bsah" in error
    assert error.count("many.yaml:") >= 2
    assert "\n\n" in error
    client.remove("many.yaml")
    client.wait_until_no_import_error("many.yaml")


def test_bad_workflow_does_not_hide_the_good_one_in_its_file(client: Client) -> None:
    client.drop("mixed.yaml", document("mixed-good") + document("mixed-bad").replace("bash:", "bsah:"))
    client.wait_for_import_error("mixed.yaml", "bsah")
    client.wait_for_dag("mixed-good")
    assert "mixed-bad" not in client.dags()
    run = client.run("mixed-good")
    assert run.state == "success", client.states(run)
    # The file is parsed every few seconds: the DAG must not flicker.
    assert "mixed-good" in client.dags()
    assert "mixed.yaml" in client.import_errors()
    client.drop("mixed.yaml", document("mixed-good") + document("mixed-bad"))
    client.wait_for_dag("mixed-bad")
    client.wait_until_no_import_error("mixed.yaml")


def test_two_documents_with_one_dag_id(client: Client) -> None:
    client.drop("twice-1.yaml", document("twice", word="first"))
    client.wait_for_dag("twice")
    client.drop("twice-2.yaml", document("twice", word="second"))
    text = client.wait_for_import_error("twice-2.yaml")
    assert "twice-1.yaml" in text
    assert text.startswith("twice-2.yaml:")
    assert "echo first" in client.code("twice")
    client.remove("twice-1.yaml")
    client.wait_for_code("twice", "echo second")
    client.wait_until_no_import_error("twice-2.yaml")


def test_airflowignore_and_other_yaml(client: Client) -> None:
    client.drop("sub/.airflowignore", "ignored*\n")
    client.drop("sub/ignored.yaml", document("ignored"))
    client.drop("sub/values.yaml", "replicas: 3\nimage: {repository: nginx}\n")
    client.drop("sub/compose.yml", "services: {web: {image: nginx}}\njobs: 3\n")
    client.drop("sub/seen.yaml", document("seen"))
    client.wait_for_dag("seen")
    assert "ignored" not in client.dags()
    assert not [name for name in client.import_errors() if name.startswith("sub/")]


@pytest.mark.skipif(AIRFLOW < (3, 4), reason="Airflow has YAML of its own since 3.4")
def test_airflows_own_yaml_lives_beside(client: Client) -> None:
    from airflow.sdk.importers.yaml_importer.migrator import DAG_SCHEMA_PREFIX
    from airflow.sdk.importers.yaml_importer.versions import get_bundle

    newest = get_bundle().versions[0].value
    client.drop(
        "airflows.yaml",
        f"""
        $schema: {DAG_SCHEMA_PREFIX}{newest}.json
        dag_id: airflows_own
        tasks:
          - id: hello
            uses: airflow.providers.standard.operators.bash.BashOperator
            with: {{bash_command: echo hello}}
        """,
    )
    client.wait_for_dag("airflows_own")


def test_python_loader(client: Client) -> None:
    client.drop("loaded/.airflowignore", "*.yaml\n")
    (client.dags_folder.parent / "elsewhere").mkdir()
    client.drop("../elsewhere/by-loader.yaml", document("by-loader"))
    client.drop("../elsewhere/bad.yaml", document("loader-bad").replace("bash:", "bsah:"))
    client.drop(
        "loaded/loader.py",
        """
        from airflow_stagecoach.importer.dags import load_workflows

        load_workflows(globals(), "../../elsewhere")
        """,
    )
    client.wait_for_dag("by-loader")
    text = client.wait_for_import_error("loaded/loader.py", "bsah")
    assert "bad.yaml:" in text
    run = client.run("by-loader")
    assert run.state == "success", client.states(run)
    assert "by-loader" in client.dags()
