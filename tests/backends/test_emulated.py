"""The emulated backend is held to the contract like every other; and what a killed worker leaves."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from airflow_stagecoach.backends import ShipmentError, emulated
from airflow_stagecoach.backends.conformance import BackendConformance
from airflow_stagecoach.backends.detached import Detached
from airflow_stagecoach.backends.emulated import EmulatedBackend
from airflow_stagecoach.backends.work import Work

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.runs
class TestEmulated(BackendConformance):
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path) -> None:
        self._folder = str(tmp_path / "emulated")

    def backend(self) -> EmulatedBackend:
        return EmulatedBackend(folder=self._folder)


class Killed(BaseException):
    """As when the worker is killed: nothing is done about it."""


def work(script: str = "true", *, number: int = 1) -> Work:
    identity: Any = {"dag_id": "d", "run_id": "r", "task_id": "j.s", "map_index": -1, "try_number": number}
    unit: Any = {"stages": [{"kind": "bash", "id": "a", "bash": script}], "leg": {"key": "k", "keep": False}}
    return Work.of(identity, {**unit, "identity": identity})


@pytest.fixture
def backend(tmp_path: Path) -> EmulatedBackend:
    return EmulatedBackend(folder=str(tmp_path / "emulated"))


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("moment", ["unpack_unit", "Detached"])
def test_a_worker_that_is_killed_while_it_starts(
    moment: str, backend: EmulatedBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = work(f"echo x >>{tmp_path}/count")

    def die(*_: Any, **__: Any) -> Any:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(emulated, moment, die)
        patch.setattr("shutil.rmtree", lambda *_, **__: None)
        with pytest.raises(Killed):
            backend.start(one)
    assert left_in(tmp_path / "emulated") == sorted([one.name, "leg-k.owner"])
    assert backend.find(one) is None
    assert [(left.kind, left.identity) for left in backend.leftovers()] == [
        ("process", one.identity),
        ("folder", one.identity),
    ]
    # The same try may be started again: it has not run.
    handle = backend.start(one)
    until = time.monotonic() + 60
    while backend.poll(handle).state != "ended":
        assert time.monotonic() < until
        time.sleep(0.05)
    with pytest.raises(FileExistsError):
        backend.start(one)
    assert (tmp_path / "count").read_text() == "x\n"
    assert len(backend.sweep(lambda leftover: False)) == 2
    assert left_in(tmp_path / "emulated") == []


def test_what_runs_is_stopped_when_it_is_swept(backend: EmulatedBackend, tmp_path: Path) -> None:
    handle = backend.start(work("trap '' TERM; sleep 300"))
    process = Detached(os.path.join(tmp_path, "emulated", handle["name"]))
    assert process.alive
    backend.sweep(lambda leftover: False)
    until = time.monotonic() + 60
    while os.path.exists(f"/proc/{handle['id']}") and process.alive:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert left_in(tmp_path / "emulated") == []


def test_what_cannot_travel_leaves_nothing(tmp_path: Path) -> None:
    class Settings:
        ship = ("none.csv",)

    backend = EmulatedBackend(folder=str(tmp_path / "emulated"), settings=Settings())
    with pytest.raises(ShipmentError):
        backend.start(work())
    assert left_in(tmp_path / "emulated") == ["leg-k.owner"]
    backend.clean_leg("k")
    assert left_in(tmp_path / "emulated") == []
