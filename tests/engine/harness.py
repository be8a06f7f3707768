"""Runs units in tests and collects what they log."""

from __future__ import annotations

import compileall
import time
from pathlib import Path
from typing import Any, NamedTuple

from airflow_stagecoach import engine
from airflow_stagecoach.engine import Hooks, Runner


class Ran(NamedTuple):
    result: Any
    lines: list[tuple[str, str]]  # level, text
    seconds: float

    @property
    def state(self) -> str:
        return str(self.result["state"])

    @property
    def stages(self) -> dict[str, Any]:
        return dict(self.result["stages"])

    @property
    def only(self) -> dict[str, Any]:
        """The result of the only stage."""
        (stage,) = self.result["stages"].values()
        return dict(stage)

    @property
    def outputs(self) -> dict[str, Any]:
        assert self.only["state"] == "success", self.only["error"]
        return dict(self.only["outputs"])

    @property
    def error(self) -> dict[str, Any]:
        assert self.only["state"] == "failed", self.only
        return dict(self.only["error"])

    @property
    def texts(self) -> list[str]:
        return [text for _, text in self.lines]


def run(*stages: dict[str, Any], trigger: Any = None, **unit: Any) -> Ran:
    """Run stages as one unit; ``id`` is filled in where it is missing."""
    lines: list[tuple[str, str]] = []

    def log(text: str, level: str) -> None:
        lines.append((level, text))

    hooks = Hooks(log=log, trigger=trigger)
    started = time.monotonic()
    result = Runner({"stages": named(stages), **unit}, hooks).run()
    return Ran(result, lines, time.monotonic() - started)


def named(stages: Any) -> list[dict[str, Any]]:
    return [{"id": f"s{at}", **stage} for at, stage in enumerate(stages, 1)]


def bash(script: str, **keys: Any) -> dict[str, Any]:
    return {"kind": "bash", "bash": script, **keys}


def python(source: str, **keys: Any) -> dict[str, Any]:
    return {"kind": "python", "run": source, **keys}


def empty(**keys: Any) -> dict[str, Any]:
    return {"kind": "empty", **keys}


def shape(value: Any) -> Any:
    """A nested stage's outputs with only what the grammar promises: states and outputs."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items() if key not in ("outcome", "error", "omitted")}
    return value


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def wait_for(condition: Any, seconds: float = 10.0) -> Any:
    """Poll until the condition gives something true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError("waited in vain")


def read(path: Any) -> str:
    """The text of a file, empty while it is not there."""
    try:
        with open(path) as file:
            return file.read()
    except FileNotFoundError:
        return ""


def compile_package() -> None:
    """Let Python keep what it compiles of the engine, as it does where somebody has used all of it."""
    package = Path(engine.__path__[0]).parent
    for room in ("engine", "expressions"):
        compileall.compile_dir(package / room, quiet=1)
