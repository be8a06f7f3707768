"""The check of all backends at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

CHECK = """
import json
from airflow_stagecoach.backends.listing import check_backends, list_backends
found = list_backends(["docker", "kubernetes"])
check_backends(found, {"host": "tcp://127.0.0.1:9", "config-file": "/nowhere/kubeconfig", "in-cluster": False})
print(json.dumps([one["message"] for one in found]))
"""


@pytest.mark.runs
def test_places_are_asked_side_by_side_in_a_process_that_has_no_airflow_yet(tmp_path: Path) -> None:
    environment = {**os.environ, "AIRFLOW_HOME": str(tmp_path)}
    asked = [sys.executable, "-c", CHECK]
    told = subprocess.run(asked, env=environment, capture_output=True, text=True, timeout=300, check=True)
    docker, kubernetes = json.loads(told.stdout.splitlines()[-1])
    assert docker.startswith("no Docker daemon answers at tcp://127.0.0.1:9"), told.stderr
    assert kubernetes.startswith("no cluster is known: "), told.stderr
