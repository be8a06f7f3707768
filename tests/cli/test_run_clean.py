"""Tests of what ``stagecoach run`` leaves behind: nothing, unless the document says so."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from airflow_stagecoach.cli.run_local import Session

if TYPE_CHECKING:
    from pathlib import Path

DOCUMENT = """
trial:
  type: Workflow
  jobs:
    fails:
      runs-on: {type: docker, emulate: true, with: {image: any}}
      stages:
        - {name: One, bash: "echo 1 >note"}
        - {name: Two, bash: "cat note; exit 1"}
        - {name: Three, bash: "true"}
    stays:
      runs-on: {type: docker, emulate: true, with: {image: any}}
      cleanup: never
      stages:
        - {name: One, bash: "echo 1 >note"}
        - {name: Two, bash: "cat note"}
    here-fails:
      stages:
        - {name: One, bash: "echo 1 >note"}
        - {name: Two, bash: "exit 1"}
    here-stays:
      cleanup: never
      stages: [{name: One, bash: "echo 1 >note; exit 1"}]
"""


@pytest.mark.runs
def test_a_failed_trial_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "trial.yaml").write_text(DOCUMENT)
    (tmp_path / "tmp").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "airflow_stagecoach.cli.main", "run", str(tmp_path / "trial.yaml")],
        env={**os.environ, "TMPDIR": str(tmp_path / "tmp")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    notes = sorted(map(str, (tmp_path / "tmp").rglob("note")), key=lambda note: "kept" in note)
    assert len(notes) == 2, notes
    assert "/emulated/leg-" in notes[0]
    assert "/stagecoach-kept-" in notes[1]
    assert notes[1].endswith("/here-stays/note")
    told = [line.rpartition(": folder ")[2] for line in done.stderr.splitlines() if "so this stays" in line]
    assert sorted(told) == sorted(note.removesuffix("/note") for note in notes)
    emulated = next((tmp_path / "tmp").glob("stagecoach-*/emulated"))
    assert [path.name.partition("-")[0] for path in emulated.iterdir()] == ["leg"]


def test_what_cannot_be_removed_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    session = Session([], tmp_path / "doc.yaml", {})
    gone = []

    def away() -> None:
        raise ConnectionError("nobody answers")

    session.leaves("volume a", away)
    session.leaves("volume b", lambda: gone.append("b"))
    session.leaves("volume b", lambda: gone.append("b again"))
    session.leaves("volume c", None)
    session.clean()
    assert gone == ["b again"]
    assert [line.strip() for line in capsys.readouterr().err.splitlines()] == [
        "! volume a could not be removed: nobody answers",
        "| cleanup: never, so this stays: volume c",
    ]
