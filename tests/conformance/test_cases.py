"""Documents and outcomes of an older engine with this grammar (cases.yaml)."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
CASES = yaml.safe_load((HERE / "cases.yaml").read_text())["cases"]

#: Cases that come out differently on purpose, with the reason.
EXCEPTIONS = {
    "strategy-stage-condition-on-matrix": "comparing a text with a number is false: comparison is strict",
}


class Runner:
    """A process that runs documents one after the other."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "runner.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> dict[str, Any]:
        """The outcome of ``stagecoach run --json ARGUMENTS``, with its exit code."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(arguments) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer


@pytest.fixture(scope="session")
def runner() -> Iterator[Runner]:
    runner = Runner()
    yield runner
    assert runner.process.stdin is not None
    runner.process.stdin.close()
    runner.process.wait(30)


def ids(kind: str) -> list[Any]:
    return [pytest.param(case, id=case["id"]) for case in CASES if case["kind"] == kind]


def write(case: dict[str, Any], folder: Path) -> Path:
    """The case's document, with the functions it calls beside it."""
    workflows = case.get("workflows") or {case["id"]: case["workflow"]}
    file = folder / "document.yaml"
    file.write_text(yaml.safe_dump({name: {"type": "Workflow", **body} for name, body in workflows.items()}))
    for name in case.get("fixtures", ()):
        shutil.copy(HERE / f"{name}.py", folder)
    return file


@pytest.mark.parametrize("case", ids("workflow"))
def test_a_workflow_comes_out_as_observed(case: dict[str, Any], runner: Runner, tmp_path: Path) -> None:
    file = write(case, tmp_path)
    params = tmp_path / "params.json"
    params.write_text(json.dumps(case.get("params", {})))
    outcome = runner.run(str(file), "--workflow", case.get("entry", case["id"]), "--params-file", str(params))
    expected = case["expect"]
    if case["id"] in EXCEPTIONS:
        assert difference(expected, outcome) is not None, "it agrees: the exception is not needed"
        return
    if expected["state"] == "failed" and outcome["code"] == 2:
        assert outcome["errors"]
        return
    assert difference(expected, outcome) is None
    assert outcome["code"] == (1 if expected["state"] == "failed" else 0)


def difference(expected: Any, found: Any, path: str = "") -> str | None:
    """Where ``found`` lacks or differs from what was observed; keys that were not observed do not count."""
    if isinstance(expected, dict):
        if not isinstance(found, dict):
            return f"{path}: expected a map, found {found!r}"
        found = {str(key): value for key, value in found.items()}
        for key, value in expected.items():
            if str(key) not in found:
                return f"{path}.{key} is missing; there is {sorted(found)}"
            wrong = difference(value, found[str(key)], f"{path}.{key}")
            if wrong:
                return wrong
        return None
    if isinstance(expected, list) and path.endswith(".legs"):
        rest = list(found)
        for leg in expected:
            match = next((other for other in rest if difference(leg, other) is None), None)
            if match is None:
                return f"{path}: no leg like {leg}; there is {found}"
            rest.remove(match)
        return f"{path}: more legs than observed: {rest}" if rest else None
    return None if expected == found else f"{path}: expected {expected!r}, found {found!r}"


@pytest.mark.parametrize("case", ids("reject"))
def test_a_document_is_refused(case: dict[str, Any], runner: Runner, tmp_path: Path) -> None:
    outcome = runner.run(str(write(case, tmp_path)))
    assert outcome["code"] == 2
    assert outcome["errors"]
    assert outcome["state"] == "failed"
