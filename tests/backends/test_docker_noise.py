"""Output that no author means to write: all of it comes, and the worker holds none of it."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from airflow_stagecoach.backends.conformance import Log
from airflow_stagecoach.backends.docker import DockerBackend
from tests.backends import images

if TYPE_CHECKING:
    from tests.backends.docker_engine import DockerEngine

pytestmark = pytest.mark.runs

#: Runs a stage with much output in a process of its own, whose memory is measured.
MUCH = """
import re, time
from airflow_stagecoach.backends.docker import DockerBackend
from airflow_stagecoach.engine import Hooks

identity = {"dag_id": "d", "run_id": str(time.time()), "task_id": "t", "map_index": -1, "try_number": 1}
backend = DockerBackend({"image": "IMAGE", "host": "URL", "pull": "never"})
backend.check()
def peak():
    # Not getrusage(): that counts in what the process was before it became this one.
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
before = peak()
count = [0, 0]
def log(text, level):
    if text.startswith("x"):
        count[0] += 1
        count[1] += len(text)
line = "x" * 999
script = f"yes {line} | head -n 60000"
result = backend.run(
    {"stages": [{"kind": "bash", "id": "a", "bash": script}], "identity": identity}, Hooks(log=log)
)
assert result["state"] == "success", result
print(*count, peak() - before)
"""


def unit(*stages: dict[str, Any], **more: Any) -> Any:
    identity = {
        "dag_id": "noise",
        "run_id": f"run {time.time_ns()}",
        "task_id": "job.stage",
        "map_index": -1,
        "try_number": 1,
    }
    return {"stages": list(stages), "identity": identity, **more}


class TestNoise:
    def run(self, engine: DockerEngine, image: str, script: str) -> list[str]:
        log = Log()
        backend = DockerBackend({"image": image, "host": engine.url, "pull": "never"})
        result = backend.run(unit({"kind": "bash", "id": "a", "bash": script}), log.hooks)
        assert result["state"] == "success", result["stages"]
        assert engine.containers() == []
        return [line for line in log.lines if not line.startswith("Started ")]

    @pytest.mark.parametrize("image", [images.PYTHON, images.BUSYBOX])
    def test_a_very_long_line(self, engine: DockerEngine, image: str) -> None:
        lines = self.run(engine, image, "head -c 10000000 /dev/zero | tr '\\0' x; echo; echo end")
        assert lines[-1] == "end"
        assert "".join(lines[:-1]) == "x" * 10_000_000
        assert max(map(len, lines)) < 100_000

    @pytest.mark.parametrize("image", [images.PYTHON, images.BUSYBOX])
    def test_garbage(self, engine: DockerEngine, image: str) -> None:
        lines = self.run(engine, image, "head -c 3000000 /dev/urandom; echo; echo end")
        assert lines[-1] == "end"
        assert len("".join(lines)) > 1_000_000

    def test_both_streams_at_once(self, engine: DockerEngine) -> None:
        script = "(seq 1 30000 | sed s/^/o/) & (seq 1 30000 | sed s/^/e/ >&2) & wait"
        lines = self.run(engine, images.BUSYBOX, script)
        for stream in "oe":
            found = [line for line in lines if line.startswith(stream)]
            assert found == [f"{stream}{number}" for number in range(1, 30001)]

    def test_a_worker_with_another_clock(self, engine: DockerEngine, monkeypatch: pytest.MonkeyPatch) -> None:
        now = time.time
        script = "for n in 1 2 3 4 5 6; do echo $n; sleep 0.5; done"
        for off in (-86_400, 86_400):
            monkeypatch.setattr(time, "time", lambda off=off: now() + off)
            assert self.run(engine, images.BUSYBOX, script) == list("123456")

    def test_much_of_it_quickly(self, engine: DockerEngine) -> None:
        """60 MB: all lines come, and the worker keeps none of them."""
        code = MUCH.replace("URL", engine.url).replace("IMAGE", images.BUSYBOX)
        told = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False
        )
        assert told.returncode == 0, told.stderr[-2000:]
        lines, size, grown = map(int, told.stdout.split())
        assert (lines, size) == (60_000, 60_000 * 999)
        assert grown < 20 * 1024, f"{grown} KiB more than before"

    def test_output_without_a_pause_can_be_stopped(self, engine: DockerEngine) -> None:
        backend = DockerBackend({"image": images.BUSYBOX, "host": engine.url, "pull": "never"})
        log, results = Log(), []
        the_unit = unit({"kind": "bash", "id": "a", "bash": "while :; do echo again; done"})
        thread = threading.Thread(target=lambda: results.append(backend.run(the_unit, log.hooks)))
        thread.start()
        log.wait_for("again")
        time.sleep(3)
        backend.cancel()
        thread.join(60)
        assert results
        assert results[0]["outcome"] == "cancelled"
        assert engine.containers() == []
