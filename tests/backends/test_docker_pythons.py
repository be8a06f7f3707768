"""One job of all sorts of stages, in images with the oldest and the newest Python."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_stagecoach.backends.conformance import Log
from airflow_stagecoach.backends.docker import DockerBackend
from tests.backends import images
from tests.engine.test_pack import TASKS, UNIT

if TYPE_CHECKING:
    from tests.backends.docker_engine import DockerEngine

pytestmark = pytest.mark.runs


def unit(*stages: dict[str, Any], **more: Any) -> Any:
    identity = {
        "dag_id": "pythons",
        "run_id": f"run {time.time_ns()}",
        "task_id": "job.stage",
        "map_index": -1,
        "try_number": 1,
    }
    return {"stages": list(stages), "identity": identity, **more}


def interpreter_of(version: str) -> str | None:
    """A Python on PATH, or one that pyenv keeps."""
    kept = map(str, Path.home().glob(f".pyenv/versions/{version}*/bin"))
    folders = [name for name in os.environ.get("PATH", "").split(os.pathsep) if not name.endswith("shims")]
    return shutil.which(f"python{version}", path=os.pathsep.join([*kept, *folders]))


@pytest.mark.parametrize("version", ["3.8", "3.13"])
def test_a_mixed_job_on_the_oldest_and_the_newest_python(
    engine: DockerEngine, tmp_path: Path, version: str
) -> None:
    interpreter = interpreter_of(version)
    if interpreter is None:
        pytest.skip(f"needs Python {version}")
    image = f"stagecoach-test/python:{version}"
    layer = images.python_layer(interpreter)
    engine.client.import_image_from_data(layer, *image.split(":"), changes=images.PYTHON_CHANGES)
    (tmp_path / "tasks.py").write_text(TASKS)
    (tmp_path / "note.txt").write_text("beside the document")
    stages = [
        *UNIT["stages"],
        {"kind": "bash", "id": "note", "bash": 'cat "$WORKFLOW_DIR/note.txt"', "if": "failure()"},
    ]
    the_unit = unit(
        *stages,
        contexts=UNIT["contexts"],
        env=UNIT["env"],
        document_dir=str(tmp_path),
        modules={"paths": [str(tmp_path)]},
    )
    settings = {"image": image, "host": engine.url, "pull": "never", "ship": ["note.txt"]}
    log = Log()
    try:
        result = DockerBackend(settings).run(the_unit, log.hooks)
    finally:
        engine.client.remove_image(image)
    found = result["stages"]
    wanted = [*["success"] * 4, "failed", "success", "success"]
    assert [stage["state"] for stage in found.values()] == wanted, (found, log.lines)
    assert found["s1"]["outputs"]["v"] == [int(part) for part in version.split(".")]
    assert found["s3"]["outputs"] == {"sum": 3, "attempt": 1}
    assert found["note"]["outputs"]["stdout"] == "beside the document"
    assert "printed" in log.lines
    error = found["s5"]["error"]
    assert error is not None
    assert error["type"] == "ZeroDivisionError"
