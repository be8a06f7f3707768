"""A scratch folder that cannot be made is the document's fault; room on the disk is kept for the result."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from airflow_stagecoach.engine import Runner, pack
from airflow_stagecoach.engine.transport import dump
from tests.engine.harness import bash, named, python

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("stage", [bash("true"), python("a = 1")])
def test_a_folder_that_cannot_be_made(tmp_path: Path, stage: dict[str, Any]) -> None:
    (tmp_path / "file").write_text("")
    unit: Any = {"stages": named([stage]), "workdir": str(tmp_path / "file" / "work")}
    (result,) = Runner(unit).run()["stages"].values()
    error = result["error"]
    assert error is not None
    assert (error["type"], error.get("category")) == ("FolderNotFound", "configuration")
    assert "working-dir" in error["message"]


def test_room_for_the_result_is_there_while_stages_run(tmp_path: Path) -> None:
    app = pack.write(str(tmp_path / "stagecoach.pyz"))
    code = f"import os\nsize = os.path.getsize({str(tmp_path / 'result.json.reserve')!r})"
    (tmp_path / "unit.json").write_text(dump({"stages": named([python(code)])}))
    subprocess.run(
        [sys.executable, app, tmp_path / "unit.json", tmp_path / "result.json"], check=True, timeout=60
    )
    (result,) = json.loads((tmp_path / "result.json").read_text())["stages"].values()
    assert result["outputs"]["size"] > 100_000
    assert not os.path.exists(tmp_path / "result.json.reserve")
