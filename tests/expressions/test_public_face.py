from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_stagecoach import expressions


def test_all_is_sorted_and_there() -> None:
    assert expressions.__all__ == sorted(expressions.__all__)
    for name in expressions.__all__:
        assert getattr(expressions, name) is not None


def test_other_names_are_missing() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nosuch'"):
        _ = expressions.nosuch


def test_import_is_cheap() -> None:
    """What only errors, dates, JSON, files and checks need is imported when they happen."""
    code = (
        "import sys; before = set(sys.modules); import airflow_stagecoach.expressions;"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(_package_folder())},
    )
    loaded = set(done.stdout.split())
    assert "airflow_stagecoach.expressions" in loaded, done.stderr
    heavy = {"json", "datetime", "decimal", "hashlib", "difflib", "inspect", "dataclasses", "ast"}
    assert not loaded & (heavy | {"airflow_stagecoach.expressions._check"})


def _package_folder() -> str:
    import airflow_stagecoach

    assert airflow_stagecoach.__file__ is not None
    return airflow_stagecoach.__file__.rsplit("/", 2)[0]


def test_modules_can_be_read_by_python_3_8() -> None:
    """The language travels into containers, where Python may be old."""
    modules = sorted(Path(expressions.__file__).parent.glob("*.py"))
    assert len(modules) > 10
    for module in modules:
        ast.parse(module.read_text(encoding="utf-8"), feature_version=(3, 8))
