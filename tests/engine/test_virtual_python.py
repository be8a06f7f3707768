from __future__ import annotations

import base64
import hashlib
import sys
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from airflow_stagecoach.engine import virtual_python
from airflow_stagecoach.engine.virtual_python import find_uv
from tests.engine.harness import Ran, run

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("uv")


def virtual(source: str, unit: dict[str, Any] | None = None, **keys: Any) -> Ran:
    return run({"kind": "virtual_python", "run": source, **keys}, env=[{"UV_OFFLINE": "1"}], **(unit or {}))


def wheel(folder: Path) -> str:
    """A package made here, so that nothing is fetched."""
    path = folder / "tiny_dep-1.0-py3-none-any.whl"
    files = {
        "tiny_dep.py": "answer = 42\n",
        "tiny_dep-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: tiny-dep\nVersion: 1.0\n",
        "tiny_dep-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "tiny_dep-1.0.dist-info/RECORD,,\n"
    for name, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += f"{name},sha256={digest},{len(text)}\n"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
        archive.writestr("tiny_dep-1.0.dist-info/RECORD", record)
    return f"tiny-dep @ {path.as_uri()}"


def test_code_runs_in_an_environment_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    ran = run(
        {
            "kind": "virtual_python",
            "run": "import sys, os, tiny_dep\n"
            "answer = tiny_dep.answer\n"
            "isolated = sys.prefix != sys.base_prefix\n"
            "text = 'p ${{ params.x }} ' + var + env.A + os.environ['A']\n"
            "day = ${{ params.day }}.year\n"
            "cwd = os.getcwd()\n"
            "attempt = context.attempt\n"
            "bad = object()\n"
            "print('printed')\nlogger.warning('warned')\n",
            "deps": ["${{ params.dep }}"],
            "vars": {"var": "v${{ params.x }}"},
            "outputs": {"declared": "${{ outputs.answer }}"},
        },
        env=[{"UV_OFFLINE": "1", "A": "a"}],
        contexts={
            "params": {"x": "it's", "dep": wheel(tmp_path), "day": __import__("datetime").date(2026, 1, 2)}
        },
        workdir=str(tmp_path / "w"),
        attempt=2,
    )
    assert ran.outputs == {
        "answer": 42,
        "isolated": True,
        "text": "p it's vit'saa",
        "day": 2026,
        "cwd": str((tmp_path / "w").resolve()),
        "attempt": 2,
        "declared": 42,
    }
    assert "object" in ran.only["omitted"]["bad"]
    assert "printed" in ran.texts
    assert any("warned" in text for text in ran.texts)
    assert list(temporary.iterdir()) == []


def test_without_deps_and_version_it_is_the_same_python() -> None:
    assert virtual("import sys\nv = sys.version_info[:2]", deps=[]).outputs["v"] == list(sys.version_info[:2])


def test_maps_of_the_code_stay_maps() -> None:
    value = {"$type": "date", "value": "2026-01-31"}
    assert virtual(f"x = {value}", deps=[]).outputs == {"x": value}


def test_failures_of_the_code_come_through() -> None:
    ran = virtual("raise FileNotFoundError('inside')", deps=[])
    assert ran.error["type"] == "FileNotFoundError"
    assert ran.error["message"] == "FileNotFoundError: inside"
    assert sum(ran.error["message"] in text for text in ran.texts) == 1  # the last line of the traceback
    assert "builtins.OSError" in ran.error["classes"]
    assert any('File "<stage s1>", line 1' in text for text in ran.texts)
    assert virtual("import sys; sys.exit(3)", deps=[]).error["exit_code"] == 3
    error = virtual("import os; os.kill(os.getpid(), 9)", deps=[]).error
    assert "SIGKILL" in error["message"]
    assert virtual("import os; os._exit(0)", deps=[]).error["type"] == "NoResult"


def test_skipping() -> None:
    ran = virtual("class AirflowSkipException(Exception): pass\nraise AirflowSkipException('no')", deps=[])
    assert ran.state == "skipped"
    assert ran.only["error"]["message"] == "no"


@pytest.mark.parametrize(
    ("keys", "type_"),
    [
        ({"deps": ["no-such-package-at-all-zz"]}, "UnresolvedDeps"),
        ({"deps": ["!!not a requirement"]}, "InvalidDeps"),
        ({"deps": [], "version": "3.99"}, "PythonNotFound"),
        ({"deps": [], "version": "3.6"}, "PythonNotFound"),
    ],
)
def test_what_uv_cannot_do_is_told_clearly(keys: dict[str, Any], type_: str) -> None:
    error = virtual("x = 1", **keys).error
    assert error["type"] == type_
    assert error["message"].startswith(("deps: ", "version: "))


def test_no_uv(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "uv", None)
    assert virtual("x = 1", deps=[], env={"PATH": str(tmp_path)}).error["type"] == "UvNotFound"
    (tmp_path / "uv").write_text("#!/bin/sh\n")
    (tmp_path / "uv").chmod(0o755)
    assert find_uv({"PATH": str(tmp_path)}) == str(tmp_path / "uv")


def test_timeout() -> None:
    ran = run(
        {"kind": "virtual_python", "run": "import time; time.sleep(60)", "deps": [], "timeout": 1.5},
        enforce_timeouts=True,
    )
    assert ran.error["type"] == "TimedOut"
    assert ran.seconds < 8


def test_shims_of_pyenv_are_replaced_by_what_they_stand_for(tmp_path: Path) -> None:
    for name in ("3.9.1", "3.12.0", "2.7.18"):
        (tmp_path / "versions" / name / "bin").mkdir(parents=True)
    (tmp_path / "shims").mkdir()
    path = virtual_python._without_shims(f"/a:{tmp_path}/shims:/b")
    assert path == f"/a:{tmp_path}/versions/3.9.1/bin:{tmp_path}/versions/3.12.0/bin:/b"
