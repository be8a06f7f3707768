"""Tests of ``stagecoach run``: real runs in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

DOCUMENT = """
parent:
  type: Workflow
  params:
    count: {type: int, default: 2}
    day: {type: date, required: true}
  jobs:
    ask:
      stages:
        - {name: Go on?, id: go, approval: "Really ${{ params.count }}?"}
        - {name: noise, bash: "echo to-stdout; echo to-stderr >&2", outputs: {twice: "${{ params.count * 2 }}"}}
        - {name: more noise, run: "print('printed')\\nyear = params.day.year"}
    child:
      needs: ask
      stages:
        - {name: call, id: call, trigger: child, params: {n: "${{ params.count }}"}}
      outputs: {got: "${{ stages.call.outputs.jobs.c.outputs.m }}"}
child:
  type: Workflow
  params: {n: int}
  jobs:
    c: {stages: [{name: add, run: "m = params.n + 1"}]}
broken-on-purpose:
  type: Workflow
  concurrency: {group: g}
  notify:
    failure: [{webhook: "http://localhost:9/"}]
  jobs:
    j: {stages: [{name: fails, bash: exit 3}]}
"""


@pytest.fixture
def document(tmp_path: Path) -> Path:
    file = tmp_path / "doc.yaml"
    file.write_text(DOCUMENT)
    return file


def start(*arguments: str, **more: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "airflow_stagecoach.cli.main", "run", *arguments]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, text=True, **{**pipes, **more})


def finish(process: subprocess.Popen[str]) -> tuple[int, Any, str]:
    """Exit code, the JSON object on stdout, and stderr."""
    out, err = process.communicate(timeout=300)
    return process.returncode, json.loads(out), err


def test_runs_side_by_side_do_not_meet(document: Path, tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text("day: 2026-01-31\ncount: 5\n")
    foreign = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path / "foreign"),
        "AIRFLOW__CORE__DAGS_FOLDER": "/nowhere",
    }
    first = start(
        str(document),
        "--workflow",
        "parent",
        "--json",
        "--approve",
        "go=yes",
        "--params-file",
        str(params),
        env=foreign,
    )
    second = start(
        str(document),
        "--workflow",
        "parent",
        "--json",
        "--approve",
        "ask.go=no",
        "-p",
        "day=2026-02-01",
        env=foreign,
    )
    code, outcome, err = finish(first)
    assert (code, outcome["state"], outcome["errors"]) == (0, "success", [])
    assert outcome["workflow"] == "parent"
    assert outcome["params"] == {"count": 5, "day": "2026-01-31"}
    stages = outcome["jobs"]["ask"]["stages"]
    assert stages["go"]["outputs"]["approved"] is True
    assert stages["noise"]["outputs"]["stdout"] == "to-stdout"
    assert stages["noise"]["outputs"]["twice"] == 10
    assert stages["more-noise"]["outputs"] == {"year": 2026}
    assert outcome["jobs"]["child"]["outputs"] == {"got": 6}
    assert outcome["jobs"]["child"]["stages"]["call"]["outputs"]["jobs"]["c"]["result"] == "success"
    assert stages["noise"]["record"]["exit_code"] == 0
    assert (outcome["record"]["progress"], outcome["record"]["tries"]) == ({"done": 4, "total": 4}, 4)
    assert "jobs" not in outcome["record"], "each record stands beside its outputs"
    for line in ("> ask / noise", "to-stdout", "to-stderr", "printed", "< ask / noise: success"):
        assert line in err
    code, outcome, _ = finish(second)
    assert (code, outcome["state"]) == (1, "failed")
    assert outcome["jobs"]["ask"]["stages"]["go"]["state"] == "failed"
    assert "Rejected by" in outcome["jobs"]["ask"]["stages"]["go"]["error"]
    assert outcome["jobs"]["ask"]["stages"]["noise"]["state"] == "upstream_failed"
    assert outcome["jobs"]["child"]["result"] == "upstream_failed"
    assert not (tmp_path / "foreign").exists(), "the user's Airflow was touched"


def test_the_summary_for_people(document: Path) -> None:
    process = start(str(document), "--workflow", "broken-on-purpose")
    out, err = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "j  failure" in out
    assert "j / fails: component, exit-3: the script ended with exit code 3" in out
    assert "1/1 stages done, 1 try, 1 failed, failures: 1 component" in out
    assert "not in a local run: notify, concurrency" in err
    assert "broken-on-purpose: failed" in out
    assert "exit code 3" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "several workflows, choose one: --workflow parent | child | broken-on-purpose"),
        (["--workflow", "chidl"], "no workflow 'chidl'"),
        (["--workflow", "parent"], "param 'day' is required: pass -p day=VALUE"),
        (["--workflow", "parent", "-p", "day=soon"], "param 'day'"),
        (["--workflow", "parent", "-p", "day=2026-01-01", "-p", "cuont=1"], "did you mean 'count'?"),
        (["--workflow", "parent", "-p", "day"], "write NAME=VALUE"),
        (
            ["--workflow", "parent", "-p", "day=2026-01-01", "--approve", "gone=yes"],
            "no approval stage 'gone'",
        ),
        (["--workflow", "parent", "-p", "day=2026-01-01", "--approve", "go=perhaps"], "write STAGE=yes"),
        (["--workflow", "parent", "--params-file", "/nowhere.yaml"], "/nowhere.yaml: cannot be read"),
    ],
)
def test_what_cannot_be_run_is_refused(document: Path, arguments: list[str], words: str) -> None:
    code, outcome, _ = finish(start(str(document), "--json", *arguments))
    assert code == 2
    assert outcome["state"] == "failed"
    assert words in "\n".join(outcome["errors"])
    assert outcome["jobs"] == {}


def test_a_bad_document_is_refused_with_all_its_errors(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("w:\n  type: Workflow\n  jobs:\n    a: {needs: [z], stages: [{nmae: x, bash: y}]}\n")
    code, outcome, _ = finish(start(str(file), "--json"))
    assert code == 2
    assert len(outcome["errors"]) >= 2
    assert any("did you mean 'name'" in error for error in outcome["errors"])


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    code, outcome, _ = finish(start(str(tmp_path / "gone.yaml"), "--json"))
    assert (code, outcome["workflow"]) == (2, "gone")
    assert "cannot be read" in outcome["errors"][0]


def test_the_airflow_command_line_runs_a_document_in_a_process_of_its_own(
    document: Path, tmp_path: Path
) -> None:
    foreign = {**os.environ, "AIRFLOW_HOME": str(tmp_path / "foreign")}
    command = [
        sys.executable,
        "-m",
        "airflow",
        "stagecoach",
        "run",
        str(document),
        "--workflow",
        "child",
        "-p",
        "n=4",
    ]
    done = subprocess.run([*command, "--json"], env=foreign, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["jobs"]["c"]["outputs"] == {"m": 5}
    assert not (tmp_path / "foreign" / "airflow.db").exists()


NESTED = """
parent:
  type: Workflow
  jobs:
    j:
      stages:
        - name: fan
          id: fan
          foreach: [1, 2]
          concurrent: 2
          stages: [{name: call, id: call, trigger: "child-${{ 'x' }}", params: {n: "${{ item }}"}}]
child-x:
  type: Workflow
  params: {n: int}
  jobs:
    c:
      stages:
        - {name: add, run: "m = params.n + 1"}
        - {name: deeper, parallel: {x: [{name: t, trigger: grandchild}]}}
grandchild:
  type: Workflow
  jobs: {g: {stages: [{name: s, bash: "echo {{ ds }}"}]}}
endless:
  type: Workflow
  jobs: {j: {stages: [{name: again, trigger: "${{ 'endless' }}"}]}}
"""


def test_branches_may_trigger_workflows_at_the_same_time(tmp_path: Path) -> None:
    file = tmp_path / "nested.yaml"
    file.write_text(NESTED)
    code, outcome, err = finish(start(str(file), "--workflow", "parent", "--json"))
    assert (code, outcome["state"]) == (0, "success"), err
    items = outcome["jobs"]["j"]["stages"]["fan"]["outputs"]["foreach"]
    found = {
        key: item["stages"]["call"]["outputs"]["jobs"]["c"]["outputs"]["m"] for key, item in items.items()
    }
    assert found == {"1": 2, "2": 3}


def test_recursion_that_only_a_run_can_show_ends(tmp_path: Path) -> None:
    file = tmp_path / "nested.yaml"
    file.write_text(NESTED)
    code, outcome, err = finish(start(str(file), "--workflow", "endless", "--json"))
    assert (code, outcome["state"]) == (1, "failed")
    assert "triggered each other 16 times" in err
