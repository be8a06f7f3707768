"""``stagecoach validate``: every error of every document, without Airflow."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from airflow_stagecoach.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path


def workflow(dag_id: str, key: str = "bash") -> str:
    return f"""\
{dag_id}:
  type: Workflow
  jobs:
    greet:
      stages:
        - name: Say
          {key}: echo hello
"""


def test_good_documents(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(workflow(name))
    assert main(["validate", str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml")]) == 0
    assert capsys.readouterr().out == "2 documents, 2 good workflows, no errors\n"


def test_every_error_of_every_document(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.yaml").write_text(workflow("a1", "bsah") + workflow("a2", "bassh") + workflow("a3"))
    (tmp_path / "b.yaml").write_text(workflow("b", "bahs"))
    assert main(["validate", "a.yaml", "b.yaml"]) == 1
    text = capsys.readouterr().out
    for place in ("a.yaml:7:11: ", "a.yaml:14:11: ", "b.yaml:7:11: "):
        assert f"\n{place}" in f"\n{text}"
    assert text.count("did you mean 'bash'?") == 3
    assert text.splitlines()[-1].startswith("2 documents, 1 good workflow, ")


def test_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / "sub" / "a.yml").write_text(workflow("a"))
    (tmp_path / "values.yaml").write_text("replicas: 3\n")
    (tmp_path / "notes.txt").write_text(workflow("notes"))
    (tmp_path / ".git" / "b.yaml").write_text(workflow("b", "bsah"))
    assert main(["validate", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "1 document, 1 good workflow, no errors\n"


def test_folder_without_documents(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(tmp_path)]) == 1
    assert capsys.readouterr().out == f"no document found in {tmp_path}\n"


def test_other_yaml_that_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "values.yaml").write_text("replicas: 3\n")
    assert main(["validate", str(tmp_path / "values.yaml")]) == 1
    assert "values.yaml" in capsys.readouterr().out


@pytest.mark.parametrize(("text", "code"), [(workflow("a"), 0), (workflow("a", "bsah"), 1)])
def test_stdin(
    text: str, code: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert main(["validate", "-"]) == code
    assert ("<stdin>:7:11: " in capsys.readouterr().out) is bool(code)


def test_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(workflow("bad", "bsah") + workflow("good"))
    assert main(["validate", "--json", str(path)]) == 1
    outcome: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert outcome["ok"] is False
    (document,) = outcome["documents"]
    assert (document["file"], document["workflows"]) == (str(path), ["good"])
    diagnostic = document["diagnostics"][0]
    assert (diagnostic["file"], diagnostic["line"], diagnostic["column"]) == (str(path), 7, 11)
    path.write_text(workflow("good"))
    assert main(["validate", "--json", str(path)]) == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True


def test_two_documents_with_one_dag_id(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(workflow("same"))
    assert main(["validate", str(tmp_path)]) == 1
    text = capsys.readouterr().out
    assert f"workflow 'same' is also defined in {tmp_path / 'a.yaml'}, line " in text
    assert text.startswith(f"{tmp_path / 'b.yaml'}:")


def test_a_file_that_is_given_twice_is_checked_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.yaml").write_text(workflow("a"))
    (tmp_path / "link.yaml").symlink_to("a.yaml")
    assert main(["validate", "a.yaml", "./a.yaml", ".", str(tmp_path), "link.yaml"]) == 0
    assert capsys.readouterr().out == "1 document, 1 good workflow, no errors\n"


def test_a_file_that_is_named_after_its_folder_is_still_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "values.yaml").write_text("replicas: 3\n")
    assert main(["validate", str(tmp_path), str(tmp_path / "values.yaml")]) == 1
    assert "no-workflow" in capsys.readouterr().out


def test_file_that_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(tmp_path / "gone.yaml")]) == 1
    assert "gone.yaml: cannot be read: No such file or directory" in capsys.readouterr().out
    (tmp_path / "latin.yaml").write_bytes(b"caf\xe9: 1\n")
    assert main(["validate", str(tmp_path / "latin.yaml")]) == 1
    assert "not UTF-8" in capsys.readouterr().out


def test_no_file_is_a_wrong_call(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["validate"])
    assert stop.value.code == 2


def test_needs_no_airflow(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(workflow("a"))
    code = (
        "import sys; from airflow_stagecoach.cli.main import main; "
        f"print(main(['validate', {str(tmp_path)!r}]), 'airflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "0 False", done.stderr


def test_policies_are_looked_for_beside_the_document(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = "          retry: {max: 1, backoff: custom, policy: 'beside_document:%s'}\n"
    (tmp_path / "beside_document.py").write_text(
        "from airflow.sdk import RetryPolicy\n"
        "class Patient(RetryPolicy):\n"
        "    def evaluate(self, *arguments, **more): ...\n"
    )
    (tmp_path / "good.yaml").write_text(workflow("good") + policy % "Patient")
    (tmp_path / "bad.yaml").write_text(workflow("bad") + policy % "Patent")
    assert main(["validate", str(tmp_path / "good.yaml")]) == 0
    capsys.readouterr()
    assert main(["validate", str(tmp_path / "bad.yaml")]) == 1
    out = capsys.readouterr().out
    assert "module 'beside_document' has no 'Patent' [bad-policy]" in out
    assert "Patient" in out
