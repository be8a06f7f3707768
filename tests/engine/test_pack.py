"""The zip app, run by the oldest and the newest Python that the machine has."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from airflow_stagecoach.engine import pack
from airflow_stagecoach.engine.transport import dump
from tests.engine.harness import alive, bash, compile_package, empty, named, python, read, wait_for


def interpreters() -> list[str]:
    """Pythons 3.8 and newer: those on PATH, and those that pyenv keeps."""
    found = {sys.version_info[:2]: sys.executable}
    folders = [
        *os.environ.get("PATH", "").split(os.pathsep),
        *map(str, Path.home().glob(".pyenv/versions/*/bin")),
    ]
    for minor in range(8, 15):
        for folder in folders:
            if os.path.basename(folder) != "shims":
                path = shutil.which(f"python3.{minor}", path=folder)
                if path:
                    found.setdefault((3, minor), path)
    versions = sorted(found)
    return [found[version] for version in dict.fromkeys((versions[0], versions[-1]))]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> str:
    return pack.write(str(tmp_path_factory.mktemp("app") / "stagecoach.pyz"))


def test_it_is_small_and_always_the_same() -> None:
    first = pack.build()
    assert first == pack.build()
    assert len(first) < 150_000
    with (
        zipfile.ZipFile(io.BytesIO(first)) as one,
        zipfile.ZipFile(io.BytesIO(pack.build(small=False))) as other,
    ):
        assert {name: one.read(name) for name in one.namelist()} == {
            name: other.read(name) for name in other.namelist()
        }
    names = zipfile.ZipFile(io.BytesIO(first)).namelist()
    assert "__main__.py" in names
    assert names == sorted(names)
    assert not [name for name in names if "pycache" in name or not name.endswith(".py")]
    assert not [
        name
        for name in names
        if name.split("/")[1:2] not in ([], ["__init__.py"], ["engine"], ["expressions"])
    ]


def test_what_python_has_compiled_lies_beside_it(app: str, tmp_path: Path) -> None:
    compile_package()
    found = pack.compiled()
    assert found == pack.compiled(), "the same every time"
    assert found is not None
    name, data = found
    with zipfile.ZipFile(io.BytesIO(data)) as beside, zipfile.ZipFile(app) as packed:
        assert {f"{name}c" for name in packed.namelist()} - {"__main__.pyc"} == set(beside.namelist())
    shutil.copy(app, tmp_path / pack.APP)
    (tmp_path / name).write_bytes(data)
    # What a Python of another version has compiled.
    (tmp_path / "stagecoach.00000000.zip").write_bytes(b"nothing that any Python reads")
    code = (
        "from airflow_stagecoach.engine import pack, runner\nfile = runner.__file__\napp = len(pack.build())"
    )
    unit = {"stages": [python(code, id="a")], "workdir": str(tmp_path / "work")}
    (tmp_path / "unit.json").write_text(dump(unit))
    command = [sys.executable, str(tmp_path / pack.APP), "unit.json", "result.json"]
    for compiled in (True, False):
        subprocess.run(command, check=True, cwd=tmp_path, timeout=60)
        outputs = json.loads((tmp_path / "result.json").read_text())["stages"]["a"]["outputs"]
        assert outputs["file"].startswith(str(tmp_path / (name if compiled else pack.APP)))
        assert outputs["app"] == os.path.getsize(app), "what travels on is the zip app"
        (tmp_path / name).unlink(missing_ok=True)


def test_nothing_is_compiled_for_it_where_python_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "pycache_prefix", "/nowhere")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert pack.compiled() is None


UNIT: dict[str, Any] = {
    "stages": named(
        [
            python(
                "import sys\nx: str = 'it is ${{ params.a }}'\n"
                "v = sys.version_info[:2]\nd = ${{ params.d }}.year"
            ),
            bash("echo ${{ stages.s1.outputs.v }} $A; echo y=1 >> $STAGE_OUTPUT", env={"A": "${{ env.B }}"}),
            {"kind": "call", "uses": "tasks/add@v1", "with": {"a": "1", "b": 2}},
            {
                "kind": "parallel",
                "parallel": {
                    "p": [
                        {
                            "kind": "foreach",
                            "id": "f",
                            "foreach": [1, 2],
                            "stages": [python("q = ${{ item }} + 1", id="q")],
                        }
                    ],
                    "c": [
                        {
                            "kind": "case",
                            "id": "c",
                            "case": 1,
                            "match": [{"case": 1, "stages": [empty(id="e")]}],
                        }
                    ],
                    "u": [{"kind": "until", "id": "u", "until": "item > 1", "stages": [empty(id="e")]}],
                },
            },
            python("print('printed')\nmetric('rows', 2)\nprint('::metric name=rows value=1.5')\n1/0"),
            empty(**{"if": "failure()"}),
        ]
    ),
    "contexts": {"params": {"a": "quote ' \" \n", "d": __import__("datetime").date(2026, 1, 31)}},
    "env": [{"B": "b"}],
}

TASKS = """
from typing import Optional
from airflow_stagecoach import tag

@tag("v1")
def add(a: int, b: "int", c: Optional[int] = None, *, context) -> dict:
    return {"sum": a + b, "attempt": context.attempt}
"""


@pytest.mark.parametrize("interpreter", interpreters())
def test_a_unit_from_files(tmp_path: Path, app: str, interpreter: str) -> None:
    (tmp_path / "tasks.py").write_text(TASKS)
    (tmp_path / "unit.json").write_text(dump({**UNIT, "document_dir": str(tmp_path)}))
    done = subprocess.run(
        [interpreter, app, str(tmp_path / "unit.json"), str(tmp_path / "result.json")],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
    )
    assert done.returncode == 1, done.stderr
    result = json.loads((tmp_path / "result.json").read_text())
    stages = result["stages"]
    assert [stage["state"] for stage in stages.values()] == [*["success"] * 4, "failed", "success"], stages
    first = stages["s1"]["outputs"]
    assert first["x"] == "it is quote ' \" \n"
    assert first["d"] == 2026
    version = json.dumps(first["v"])
    assert stages["s2"]["outputs"] == {"return_code": 0, "stdout": f"{version} b", "stderr": None, "y": "1"}
    assert stages["s3"]["outputs"] == {"sum": 3, "attempt": 1}
    branches = stages["s4"]["outputs"]["parallel"]
    assert branches["p"]["stages"]["f"]["outputs"]["foreach"]["2"]["stages"]["q"]["outputs"] == {"q": 3}
    assert "printed" in done.stdout
    assert 'File "<stage s5>", line 4, in <module>\n' in done.stdout.replace("::error::", "")
    assert stages["s5"]["metrics"] == {"rows": 3.5}
    assert (stages["s5"]["error"]["category"], stages["s1"]["cpu_seconds"] >= 0) == ("component", True)
    assert result["peak_memory"] > 0
    assert not (tmp_path / "result.json.part").exists()


def test_standard_input_and_output(app: str) -> None:
    unit = {"stages": named([bash("echo noise"), python("print('more noise')\nx = 1")])}
    done = subprocess.run(
        [sys.executable, app, "-", "-"], input=dump(unit), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0
    result = json.loads(done.stdout)
    assert result["stages"]["s2"]["outputs"] == {"x": 1}
    assert "noise" in done.stderr


@pytest.mark.parametrize("text", ["", "nonsense", "[]", "{}"])
def test_no_usable_unit(app: str, text: str) -> None:
    done = subprocess.run(
        [sys.executable, app, "-", "-"], input=text, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "no usable unit" in done.stderr


def test_usage(app: str) -> None:
    done = subprocess.run([sys.executable, app], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: ")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_cancels_and_the_result_is_written(tmp_path: Path, app: str, number: int) -> None:
    unit = {"stages": named([bash(f"echo $$ > {tmp_path}/pid; sleep 60")])}
    (tmp_path / "unit.json").write_text(dump(unit))
    process = subprocess.Popen(
        [sys.executable, app, str(tmp_path / "unit.json"), str(tmp_path / "result.json")]
    )
    try:
        pid = int(wait_for(lambda: read(tmp_path / "pid")))
        started = time.monotonic()
        process.send_signal(number)
        assert process.wait(timeout=20) == 143
        assert time.monotonic() - started < 5
    finally:
        process.kill()
        process.wait()
    assert json.loads((tmp_path / "result.json").read_text())["outcome"] == "cancelled"
    assert not alive(pid)


def test_no_text_breaks_the_result(app: str) -> None:
    unit = {
        "stages": named(
            [python("raise ValueError('\\udcff \u00e9')"), empty(echo="\u00e9", **{"if": "always()"})]
        )
    }
    done = subprocess.run(
        [sys.executable, app, "-", "-"],
        input=dump(unit).encode(),
        capture_output=True,
        timeout=60,
        env={"PYTHONIOENCODING": "ascii"},
    )
    assert json.loads(done.stdout)["stages"]["s1"]["error"]["message"] == "ValueError: \\udcff \u00e9"
    assert b"\\xe9" in done.stderr


def test_timeouts_are_enforced_inside(app: str) -> None:
    unit = {"stages": named([bash("sleep 60", timeout=0.3)])}
    done = subprocess.run(
        [sys.executable, app, "-", "-"], input=dump(unit), capture_output=True, text=True, timeout=60
    )
    assert json.loads(done.stdout)["stages"]["s1"]["error"]["type"] == "TimedOut"


def test_the_zip_packs_itself(tmp_path: Path, app: str) -> None:
    unit = {"stages": named([python("from airflow_stagecoach.engine import pack\nn = len(pack.build())")])}
    done = subprocess.run(
        [sys.executable, app, "-", "-"], input=dump(unit), capture_output=True, text=True, timeout=60
    )
    assert json.loads(done.stdout)["stages"]["s1"]["outputs"]["n"] == os.path.getsize(app)


def test_levels_are_marked(tmp_path: Path) -> None:
    from airflow_stagecoach.engine.log_levels import unmarked

    code = (
        "print('::error::it is but text')\nlogger.warning('careful')\nprint('plain')\nraise ValueError('bad')"
    )
    unit = {
        "stages": [{"kind": "python", "id": "a", "run": code}],
        "contexts": {"secrets": {"T": "hunter2-x"}},
    }
    (tmp_path / "unit.json").write_text(json.dumps(unit))
    archive = pack.write(str(tmp_path / "stagecoach.pyz"))
    done = subprocess.run(
        [sys.executable, archive, str(tmp_path / "unit.json"), str(tmp_path / "result.json")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    lines = [unmarked(line) for line in done.stdout.splitlines()]
    assert lines[:3] == [("::error::it is but text", "info"), ("careful", "warning"), ("plain", "info")]
    assert lines[-1] == ("ValueError: bad", "error")
