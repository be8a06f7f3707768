"""Tests of airflow_stagecoach.importer.backends: what documents may say under ``runs-on``."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel, ConfigDict, field_validator

from airflow_stagecoach.backends import registry
from airflow_stagecoach.backends.remote import RemoteBackend
from airflow_stagecoach.document import load
from airflow_stagecoach.importer.backends import InstalledBackends


class Config(BaseModel):
    model_config = ConfigDict(extra="forbid")

    image: str
    size: int = 1
    token: str = ""


class Other(RemoteBackend):
    type = "other"
    Config: ClassVar[Any] = Config

    def render(self, work: Any) -> Any:
        return {}

    def start(self, work: Any) -> Any:
        return None

    def find(self, work: Any) -> Any:
        return None

    def poll(self, handle: Any) -> Any:
        return None

    def logs(self, handle: Any, position: Any) -> Any:
        return None

    def result(self, handle: Any) -> Any:
        return None

    def stop(self, handle: Any) -> None:
        return None

    def clean(self, handle: Any) -> None:
        return None


class Plain(Other):
    type = "plain"
    Config = None


class Faulty(Other):
    type = "faulty"

    class Config(BaseModel):
        image: str

        @field_validator("image")
        @classmethod
        def _fails(cls, value: str) -> str:
            raise KeyError(value)


class _EntryPoint:
    dist = SimpleNamespace(name="some-package", version="2.5")

    def __init__(self, name: str, value: str) -> None:
        self.name = name
        self.value = value


@pytest.fixture(autouse=True)
def packages(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [
        _EntryPoint("other", f"{__name__}:Other"),
        _EntryPoint("plain", f"{__name__}:Plain"),
        _EntryPoint("faulty", f"{__name__}:Faulty"),
        _EntryPoint("Twice_Here", "a:A"),
        _EntryPoint("twice-here", "b:B"),
        _EntryPoint("broken", "no_such_module_anywhere:Backend"),
        _EntryPoint("no-class", "json:dumps"),
        _EntryPoint("local", "a:A"),
    ]
    monkeypatch.setattr(registry, "_entry_points", lambda: iter(entries))


def faults(runs_on: str) -> list[str]:
    text = f"w:\n  type: Workflow\n  jobs:\n    j:\n      runs-on: {runs_on}\n      stages: [{{name: a}}]\n"
    found = load(text.encode(), "w.yaml", backends=InstalledBackends()).diagnostics
    return [f"{one.line}:{one.column} {one.message} | {one.hint}" for one in found]


@pytest.mark.parametrize(
    "runs_on",
    [
        "local",
        "plain",
        "{type: other, with: {image: x}}",
        "{type: Other, with: {image: x, size: 3}}",
        "{type: other, emulate: true, with: {image: x}}",
        '{type: other, with: {image: x, size: "${{ params.n }}"}}',
    ],
)
def test_good(runs_on: str) -> None:
    assert faults(runs_on) == []


@pytest.mark.parametrize(
    ("runs_on", "parts"),
    [
        ("other", ["needs 'image'"]),
        ("{type: other, with: {imgae: x, image: x}}", ["imgae", "did you mean 'image'?"]),
        ("{type: other, with: {image: x, size: big}}", ["5:", "size"]),
        ("{type: plain, with: {image: x}}", ["unknown setting 'image' of plain"]),
        ("{type: faulty, with: {image: x}}", ["checking the settings of faulty gives KeyError;"]),
        ("{type: twice-here}", ["some-package 2.5 and some-package 2.5", "uninstall one"]),
        ("broken", ["some-package 2.5", "no_such_module_anywhere"]),
        ("no-class", ["some-package 2.5", "no subclass"]),
        ("othr", ["unknown backend", "did you mean 'other'?"]),
        ("aws-batch", ["not available"]),
        ("{type: self-hosted, with: {token: t}}", ["needs 'host'", "write with: {conn: ID}"]),
        ("{type: self-hosted, with: {host: h}}", ["needs 'token'", "write with: {conn: ID}"]),
        ("{type: self-hosted, with: {conn: c, labels: gpu}}", ["valid list", "write labels: [...]"]),
        ("[self-hosted, gpu]", ["5:", "found a list", "labels: [...]"]),
        ("{type: local, emulate: true}", ["nothing to emulate"]),
    ],
)
def test_bad(runs_on: str, parts: list[str]) -> None:
    (fault,) = faults(runs_on)
    assert [part for part in parts if part not in fault] == [], fault


def test_no_value_stands_in_an_error() -> None:
    (fault,) = faults("{type: other, with: {image: x, size: hunter2-secret}}")
    assert "hunter2" not in fault


def test_our_types_are_not_taken_over() -> None:
    from airflow_stagecoach.backends.local import LocalBackend

    assert registry.find("local") is LocalBackend


def test_a_broken_backend_harms_only_who_uses_it() -> None:
    names: list[Any] = registry.types()
    assert {"local", "other", "broken", "twice-here"} <= set(names)


def test_backends_of_ours_are_known_without_a_look_at_what_is_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def look() -> Any:
        raise AssertionError("it takes longer than all the rest")

    monkeypatch.setattr(registry, "_entry_points", look)
    text = b"""
w:
  type: Workflow
  jobs:
    a: {runs-on: {type: docker, with: {image: "python:3.12"}}, stages: [{bash: "true"}]}
    b: {runs-on: {type: self-hosted, with: {conn: runner}}, stages: [{bash: "true"}]}
"""
    assert load(text, "w.yaml", backends=InstalledBackends()).diagnostics == []
