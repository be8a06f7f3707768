"""Faults of the machine and of programs, for real: floods, full disks, processes that vanish or will not go."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from airflow_stagecoach.engine import Hooks, Runner
from airflow_stagecoach.engine.streams import KEPT, LONGEST_LINE
from tests.engine.harness import alive, bash, named, python, read, run, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIB = 1024 * 1024

#: Runs one stage in a fresh interpreter; prints lines, characters, the end of stdout and the peak memory.
COUNTING = """
import json, sys
from airflow_stagecoach.engine import Hooks, Runner
lines = size = longest = 0
def log(text, level):
    global lines, size, longest
    lines += 1; size += len(text); longest = max(longest, len(text))
result = Runner({"stages": [json.loads(sys.argv[1])]}, Hooks(log=log)).run()
(stage,) = result["stages"].values()
peak = [line for line in open("/proc/self/status") if line.startswith("VmHWM")][0].split()[1]
print(json.dumps({"lines": lines, "size": size, "longest": longest, "state": stage["state"],
    "kept": len((stage["outputs"].get("stdout") or "").encode()), "peak": int(peak) * 1024,
    "own": stage["peak_memory"]}))
"""


def counted(stage: dict[str, Any]) -> dict[str, Any]:
    import json

    done = subprocess.run(
        [sys.executable, "-c", COUNTING, json.dumps({"id": "s", **stage})],
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )
    return dict(json.loads(done.stdout))


FLOOD = 100 * MIB


@pytest.mark.parametrize(
    ("stage", "lines"),
    [
        (bash(f"yes {'0123456789' * 20} | head -c {FLOOD}"), FLOOD / 201),
        (python(f"line = '0123456789' * 20\nfor _ in range({FLOOD // 201}): print(line)"), FLOOD / 201),
    ],
    ids=["bash", "python"],
)
def test_100_mb_of_output_arrive_whole_and_need_little_memory(stage: Any, lines: float) -> None:
    found = counted(stage)
    assert found["state"] == "success"
    assert abs(found["lines"] - lines) <= 1
    assert abs(found["size"] + found["lines"] - FLOOD) <= 202
    assert found["kept"] <= KEPT + 100
    assert found["peak"] < 80 * MIB


@pytest.mark.parametrize(
    "stage",
    [
        bash(f"head -c {10 * MIB} /dev/zero | tr '\\0' x; echo"),
        python(f"print('x' * {10 * MIB})"),
    ],
    ids=["bash", "python"],
)
def test_a_line_of_10_mb_comes_in_pieces(stage: Any) -> None:
    found = counted(stage)
    assert found["longest"] == LONGEST_LINE
    assert found["size"] == 10 * MIB
    assert found["peak"] < 120 * MIB


def test_binary_output_becomes_text_and_can_be_stored() -> None:
    ran = run(bash("head -c 300000 /dev/urandom; head -c 1000 /dev/zero"))
    text = ran.outputs["stdout"]
    assert "\0" not in text
    assert text.encode("utf-8")
    assert ran.state == "success"


def test_a_script_that_neither_ends_nor_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_stagecoach.engine.process.GRACE", 0.5)
    code = (
        "import os, signal, time\n"
        "for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP): signal.signal(number, signal.SIG_IGN)\n"
        f"open('{tmp_path}/pid', 'w').write(f'{{os.getpid()}}\\n')\ntime.sleep(600)"
    )
    ran = run(bash(f'trap "" TERM INT; python3 -c "{code}"', timeout=1.5), enforce_timeouts=True)
    assert ran.error["category"] == "timeout"
    assert not alive(int(read(tmp_path / "pid")))


def test_a_grandchild_in_a_session_of_its_own_that_keeps_the_pipe(tmp_path: Path) -> None:
    ran = run(bash(f"setsid sh -c 'echo $$ > {tmp_path}/pid; sleep 600' & sleep 0.3; echo done"))
    assert ran.outputs["stdout"] == "done"
    assert ran.seconds < 15
    assert not alive(int(read(tmp_path / "pid")))
    assert any("left running in the background" in text for text in ran.texts)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_script_that_is_killed_from_outside(tmp_path: Path, number: signal.Signals) -> None:
    def kill() -> None:
        os.kill(int(wait_for(lambda: read(tmp_path / "pid"))), number)

    thread = threading.Thread(target=kill)
    thread.start()
    ran = run(bash(f"echo $$ > {tmp_path}/pid; exec sleep 60"))
    thread.join()
    assert ran.error["signal"] == number.name
    assert ran.error["category"] == ("component" if number == signal.SIGSEGV else "system")
    assert ran.seconds < 15


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k,nr_inodes=12", "stagecoach-test", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, timeout=10, check=False).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("mounting a small disk needs rights that there are not here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], timeout=10, check=False)


def fill(folder: Path) -> None:
    with (folder / "ballast").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass


def use_up_names(folder: Path) -> None:
    try:
        for at in range(100):
            (folder / f"name{at}").touch()
    except OSError:
        pass


def assert_disk_full(error: dict[str, Any]) -> None:
    assert (error["category"], error["reason"]) == ("resource", "disk-full"), error


@pytest.mark.parametrize(
    "stage",
    [
        bash("dd if=/dev/zero of=big bs=4k count=1000"),
        bash("head -c 1M /dev/zero > big"),
        python("open('big', 'wb').write(bytes(1 << 20))"),
        {"kind": "foreach", "foreach": [1], "stages": [bash("cat /dev/zero > big", id="i")]},
    ],
    ids=["dd", "head", "python", "nested"],
)
def test_a_stage_that_fills_its_disk(small_disk: Path, stage: Any) -> None:
    assert_disk_full(run(stage, workdir=str(small_disk / "work")).error)


@pytest.mark.parametrize("stage", [bash("echo never"), python("print('never')")], ids=["bash", "python"])
def test_no_room_for_the_scratch_folder(small_disk: Path, stage: Any) -> None:
    use_up_names(small_disk)
    ran = run(stage, {"kind": "empty"}, workdir=str(small_disk / "a/b"))
    assert [result["state"] for result in ran.stages.values()] == ["failed", "upstream_failed"]
    assert_disk_full(ran.stages["s1"]["error"])
    assert "never" not in ran.texts


@pytest.mark.parametrize(
    "stage",
    [
        bash("echo never #" + "x" * 300_000),
        bash("echo name=value >> $STAGE_OUTPUT"),
        {"kind": "virtual_python", "run": "x = 1", "deps": []},
    ],
    ids=["script", "STAGE_OUTPUT", "environment"],
)
def test_no_room_for_the_engines_own_files(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: Any
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk))
    if "STAGE_OUTPUT" in str(stage):  # The script still fits.
        stage = bash(f"cat /dev/zero > {small_disk}/ballast || true\n{stage['bash']}")
    else:
        fill(small_disk)
    error = run(stage, workdir=str(tmp_path / "work")).error
    assert_disk_full(error)
    assert os.listdir(small_disk) in (["ballast"], []), "nothing of the engine's is left"


def test_no_room_for_a_temporary_folder(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_up_names(small_disk)
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk))
    assert_disk_full(run(python("print('never')")).error)


def test_a_full_disk_is_no_reason_to_fail_for_who_needs_none(small_disk: Path) -> None:
    use_up_names(small_disk)
    assert run({"kind": "empty", "echo": "fine"}, workdir=str(small_disk / "a")).state == "success"


def test_the_folder_vanishes_while_the_stage_runs(tmp_path: Path) -> None:
    ran = run(bash(f"rm -rf {tmp_path}/work; echo ok"), bash("pwd"), workdir=str(tmp_path / "work"))
    assert ran.state == "success"
    assert ran.stages["s2"]["outputs"]["stdout"] == str(tmp_path / "work")


def test_python_code_that_closes_descriptors_and_chokes_its_own_output() -> None:
    ran = run(
        python(
            "import os, sys\nsys.stdout.close(); sys.stderr.close()\nprint('after')\n"
            "class Odd:\n    def __str__(self): raise RuntimeError('odd')\n"
            "try:\n    print(Odd())\nexcept RuntimeError:\n    print('survived')"
        )
    )
    assert ran.state == "success"
    assert ran.texts == ["after", "survived"]


def test_a_log_that_fails_stops_the_stage_and_leaves_nothing_behind(tmp_path: Path) -> None:
    def log(text: str, level: str) -> None:
        raise ConnectionError("the log is gone")

    script = f"echo $$ > {tmp_path}/pid; while :; do echo x; sleep 0.05; done"
    started = time.monotonic()
    with pytest.raises(ConnectionError):
        Runner({"stages": named([bash(script)])}, Hooks(log=log)).run()
    assert time.monotonic() - started < 30
    assert not alive(int(read(tmp_path / "pid")))
