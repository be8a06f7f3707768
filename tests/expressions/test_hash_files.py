from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from airflow_stagecoach.expressions import ExpressionError, evaluate, parse

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.txt", "b.csv", "sub/c.txt", "sub/deep/d.txt", "sub/[x].txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path


def digest(*names: str) -> str:
    total = hashlib.sha256()
    for name in sorted(names):
        total.update(hashlib.sha256(name.encode()).digest())
    return total.hexdigest()


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        ("'a.txt'", ["a.txt"]),
        ("'./a.txt'", ["a.txt"]),
        ("'*.txt'", ["a.txt"]),
        ("'?.csv'", ["b.csv"]),
        ("'**/*.txt'", ["a.txt", "sub/c.txt", "sub/deep/d.txt", "sub/[x].txt"]),
        ("'sub/**'", ["sub/c.txt", "sub/deep/d.txt", "sub/[x].txt"]),
        ("'sub/[a-c].txt'", ["sub/c.txt"]),
        ("'sub/[a-b].txt'", []),
        ("'sub/[abc].txt'", ["sub/c.txt"]),
        ("'sub/[!c].txt'", []),
        ("'*.txt', '*.csv'", ["a.txt", "b.csv"]),
        ("'**/*.txt', '!sub/deep/*'", ["a.txt", "sub/c.txt", "sub/[x].txt"]),
    ],
)
def test_hash(folder: Path, patterns: str, names: list[str]) -> None:
    found = evaluate(parse(f"hashFiles({patterns})"), {"__workspace__": str(folder)})
    assert found == (digest(*names) if names else "")


def test_default_is_the_current_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert evaluate(parse("hashFiles('a.txt')"), {}) == digest("a.txt")


@pytest.mark.parametrize("pattern", ["../x", "/etc/passwd", "a/../../b", "!../x", "~/x", "C:/x"])
def test_paths_that_lead_out(folder: Path, pattern: str) -> None:
    with pytest.raises(ExpressionError, match="only reads files below its base folder"):
        evaluate(parse(f"hashFiles('{pattern}')"), {"__workspace__": str(folder)})


def test_a_range_that_is_none(folder: Path) -> None:
    with pytest.raises(ExpressionError, match="cannot use"):
        evaluate(parse("hashFiles('[z-a]')"), {"__workspace__": str(folder)})


def test_unreadable_file(folder: Path) -> None:
    (folder / "a.txt").unlink()
    (folder / "a.txt").symlink_to(folder / "nosuch")
    with pytest.raises(ExpressionError, match=r"hashFiles\(\) cannot read a file"):
        evaluate(parse("hashFiles('a.txt')"), {"__workspace__": str(folder)})
