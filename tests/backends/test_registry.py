"""Tests of airflow_stagecoach.backends.registry and listing: good, broken and doubled packages."""

from __future__ import annotations

import sys
import time
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel, ConfigDict, Field

from airflow_stagecoach.backends import BackendError, get_backend, listing, registry
from airflow_stagecoach.backends.listing import check_backends, list_backends
from airflow_stagecoach.backends.remote import RemoteBackend


class Config(BaseModel):
    model_config = ConfigDict(extra="forbid")

    image: str = Field(alias="the-image", description="what runs")
    sizes: list[int] = Field(default_factory=list)
    mode: str | int | None = None


class Bare(RemoteBackend):
    """Lacks most of the contract."""

    def render(self, work: Any) -> Any:
        return {}


class Whole(RemoteBackend):
    type = "whole"
    capabilities: ClassVar[frozenset[str]] = frozenset({"volumes", "gpu"})
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

    def check(self) -> str:
        if self.settings.mode == "slow":
            time.sleep(30)
        if self.settings.mode:
            raise ConnectionError(f"nobody at {self.settings.mode}")
        return f"image {self.settings.image}"


class Odd(Whole):
    type = "odd"
    Config: ClassVar[Any] = "not a model"


class EntryPoint:
    def __init__(self, name: str, value: str, package: str | None = "some-package") -> None:
        self.name = name
        self.value = value
        self.dist = None if package is None else SimpleNamespace(name=package, version="2.5")


ENTRIES = [
    EntryPoint("Whole_One", f"{__name__}:Whole [extra]"),
    EntryPoint("bare", f"{__name__}:Bare"),
    EntryPoint("odd", f"{__name__}:Odd"),
    EntryPoint("missing", "no_such_module_anywhere:Backend"),
    EntryPoint("nameless", "json:Backend", None),
    EntryPoint("leaves", "module_that_leaves:Backend"),
    EntryPoint("twice", "a:A"),
    EntryPoint("twice", "b:B", "other-package"),
    EntryPoint("docker", "a:A"),
]


@pytest.fixture(autouse=True)
def packages(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("modules")
    (folder / "module_that_leaves.py").write_text("raise SystemExit('not on this machine')\n")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(registry, "_entry_points", lambda: iter(ENTRIES))


ERRORS = {
    "bare": ["some-package 2.5 is broken", "Bare lacks clean, find, logs, poll, result, start, stop"],
    "odd": ["some-package 2.5 is broken", "its settings cannot be read"],
    "missing": ["is broken: importing no_such_module_anywhere:Backend", "ModuleNotFoundError"],
    "nameless": ["an unknown package ? is broken", "AttributeError"],
    "leaves": ["SystemExit: not on this machine"],
    "twice": ["registered by other-package 2.5 and some-package 2.5; uninstall one of them"],
}


@pytest.mark.parametrize("type_", [name for name in ERRORS if name != "odd"])
def test_finding_one_that_cannot_be_used(type_: str) -> None:
    with pytest.raises(BackendError) as raised:
        registry.find(type_)
    assert [part for part in ERRORS[type_] if part not in str(raised.value)] == []


def test_finding_one_that_is_not_there() -> None:
    with pytest.raises(
        BackendError, match=r"no backend 'whol' is installed here; there is: docker, kubernetes, local, "
    ):
        registry.find("whol")


def test_the_others_are_not_harmed() -> None:
    assert registry.find("whole-one") is Whole
    assert registry.find("docker").__module__ == "airflow_stagecoach.backends.docker"
    assert get_backend("whole-one", {"the-image": "x"}).type == "whole"


def test_the_list() -> None:
    listed = {(one["type"], one["distribution"]): one for one in list_backends()}
    for (type_, distribution), one in listed.items():
        good = type_ in ("local", "whole-one") or distribution.startswith("airflow")
        assert (one["error"] is None) == good, one
    for type_, parts in ERRORS.items():
        for one in (one for one in listed.values() if one["type"] == type_):
            assert [part for part in parts if part not in str(one["error"])] == []
    assert "not used: the type belongs to" in str(listed["docker", "some-package"]["error"])
    whole = listed["whole-one", "some-package"]
    assert whole["capabilities"] == ["gpu", "volumes"]
    assert whole["settings"] == [
        {"name": "the-image", "type": "text", "required": True, "default": None, "description": "what runs"},
        {"name": "sizes", "type": "list", "required": False, "default": None, "description": ""},
        {
            "name": "mode",
            "type": "text or whole number",
            "required": False,
            "default": None,
            "description": "",
        },
    ]


def test_listing_some() -> None:
    assert [one["type"] for one in list_backends(["twice", "local"])] == ["local", "twice", "twice"]


@pytest.mark.parametrize(
    ("settings", "reachable", "message"),
    [
        ({"the-image": "x"}, True, "image x"),
        ({"the-image": "x", "of-another": 1}, True, "image x"),
        ({}, True, "image None"),
        ({"mode": "north"}, False, "ConnectionError: nobody at north (not given: the-image)"),
        ({"the-image": "x", "mode": "north"}, False, "ConnectionError: nobody at north"),
        ({"the-image": "x", "mode": "slow"}, False, "has not answered for 0 s"),
        (
            {"the-image": "x", "sizes": "hunter2"},
            False,
            "runs-on whole: sizes: input should be a valid list",
        ),
    ],
)
def test_check(
    settings: dict[str, Any], reachable: bool, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "PATIENCE", 0.3)
    listed = list_backends(["whole-one", "missing", "local"])
    check_backends(listed, settings)
    found = {one["type"]: one for one in listed}
    assert (found["whole-one"]["reachable"], found["whole-one"]["message"]) == (reachable, message)
    assert found["local"]["reachable"]
    assert not found["missing"]["reachable"]
    assert found["missing"]["message"] == found["missing"]["error"]


def test_a_place_that_nothing_names_is_not_asked() -> None:
    listed = list_backends(["self-hosted"])
    check_backends(listed, {})
    assert [(one["reachable"], one["message"]) for one in listed] == [(None, "needs host, token")]
    check_backends(listed, {"host": "h", "token": "t", "labels": "x"})
    assert [one["reachable"] for one in listed] == [False]


def test_listing_imports_nothing_of_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    # Only for now: other tests hold what is in them.
    for name in [name for name in sys.modules if name.partition(".")[0] == "docker"]:
        monkeypatch.delitem(sys.modules, name)
    list_backends()
    assert "docker" not in sys.modules
