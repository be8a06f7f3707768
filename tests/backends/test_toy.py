"""The example package of docs/backends, installed as its users would: into an environment of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import textwrap
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOY = ROOT / "docs/backends/toy"
AUTHORS = (ROOT / "docs/backends/authors.md").read_text()

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Environment:
    """A virtual environment that has what this one has, and whatever is installed into it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python = folder / "bin/python"
        run("uv", "venv", "--quiet", "--python", sys.executable, str(folder))
        # Not only a path: editable packages here have files of that sort too.
        borrowed = sysconfig.get_path("purelib")
        (site,) = folder.glob("lib/python*/site-packages")
        (site / "borrowed.pth").write_text(f"import site; site.addsitedir({borrowed!r})\n")

    def install(self, package: Path) -> None:
        # The project itself is built with the same tool, so it is in the cache where nothing can be reached.
        run("uv", "pip", "install", "--quiet", "--no-deps", "--python", str(self.python), str(package))

    def stagecoach(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return run(str(self.python), "-m", "airflow_stagecoach.cli.main", *arguments, check=False)


def run(*command: str, cwd: Path | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=300,
        cwd=cwd,
        env={**os.environ, "AIRFLOW__CORE__LOAD_EXAMPLES": "False"},
        check=False,
    )
    assert not check or done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    if shutil.which("uv") is None:
        pytest.skip("needs uv")
    folder = tmp_path_factory.mktemp("toy")
    package = folder / "package"
    shutil.copytree(TOY, package)  # a build may leave files beside what it builds
    environment = Environment(folder / "venv")
    environment.install(package)
    return environment


@pytest.mark.runs
def test_it_holds_the_contract(toy: Environment, tmp_path: Path) -> None:
    shutil.copy(TOY / "test_toy.py", tmp_path)
    done = run(
        str(toy.python),
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "test_toy.py",
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"\b(1[5-9]|[2-9]\d) passed", done.stdout), done.stdout


@pytest.mark.runs
def test_a_document_runs_on_it(toy: Environment, tmp_path: Path) -> None:
    place = tmp_path / "place"
    done = toy.stagecoach("run", "--json", str(TOY / "report.yaml"), "-p", f"folder={place}")
    outcome: dict[str, Any] = json.loads(done.stdout)
    assert (outcome["state"], outcome["errors"]) == ("success", []), done.stderr
    assert outcome["jobs"]["load"]["outputs"] == {"rows": 84}
    assert done.stderr.count("(toy ") == 4
    assert "counting orders in north" in done.stderr
    assert list(place.iterdir()) == []


@pytest.mark.parametrize(
    ("setting", "error"),
    [
        ("nicenes: 5", "unknown setting 'nicenes' of toy"),
        ("niceness: 50", "niceness: input should be less than or equal to 19"),
    ],
)
def test_its_settings_are_checked(toy: Environment, tmp_path: Path, setting: str, error: str) -> None:
    document = tmp_path / "report.yaml"
    document.write_text((TOY / "report.yaml").read_text().replace("niceness: 5", setting))
    done = toy.stagecoach("validate", str(document))
    assert done.returncode == 1
    assert error in done.stdout + done.stderr


def test_it_is_listed_and_checked(toy: Environment, tmp_path: Path) -> None:
    done = toy.stagecoach("backends", "toy", "--json", "--check", "--with", f"folder={tmp_path}")
    (found,) = json.loads(done.stdout)
    assert found["type"] == "toy"
    assert (found["distribution"], found["version"]) == ("stagecoach-backend-toy", "1.0")
    assert [one["name"] for one in found["settings"]] == ["folder", "niceness", "env", "ship"]
    assert (found["reachable"], found["message"]) == (True, f"the folder {tmp_path} is writable")
    assert done.returncode == 0
    done = toy.stagecoach("backends", "toy", "--check", "--with", f"folder={tmp_path / 'none'}")
    assert done.returncode == 1
    assert "is not there" in done.stdout


def excerpts() -> list[tuple[str, str]]:
    return [
        (language, text)
        for language, text in _FENCE.findall(AUTHORS)
        if language in ("python", "yaml", "toml")
    ]


def test_every_excerpt_of_the_page_is_of_the_package() -> None:
    sources = {
        "python": [TOY / "stagecoach_backend_toy.py", TOY / "test_toy.py"],
        "yaml": [TOY / "report.yaml"],
        "toml": [TOY / "pyproject.toml"],
    }
    assert len(excerpts()) >= 6
    for language, text in excerpts():
        texts = [textwrap.indent(textwrap.dedent(text), " " * depth) for depth in (0, 4, 6)]
        found = any(one in file.read_text() for file in sources[language] for one in texts)
        assert found, f"docs/backends/authors.md shows what is not in the package:\n{text}"
