"""Following work in the triggerer: its output, and when it fires."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

from airflow_stagecoach.backends.work import Lines, Status
from airflow_stagecoach.triggers.work import WorkTrigger

if TYPE_CHECKING:
    import pytest


class Place:
    """Work that ends with its last lines."""

    def __init__(self, looks: list[list[str]], *, ends: bool = True) -> None:
        self.looks = looks
        self.ends = ends
        self.position = 0

    def poll(self, handle: Any) -> Status:
        return Status("ended" if self.ends and self.position >= len(self.looks) - 1 else "running")

    def logs(self, handle: Any, position: Any) -> Lines:
        self.position = position or 0
        if self.position >= len(self.looks):
            return Lines([], self.position)
        return Lines(self.looks[self.position], self.position + 1)


class Log:
    def __init__(self) -> None:
        self.lines: list[tuple[int, str]] = []

    def log(self, level: int, text: str, *values: Any) -> None:
        self.lines.append((level, text % values))


def follow(monkeypatch: pytest.MonkeyPatch, place: Place, **options: Any) -> tuple[Any, Log]:
    log = Log()
    monkeypatch.setattr(WorkTrigger, "log", log)
    monkeypatch.setattr(WorkTrigger, "_backend", lambda self: place)
    trigger = WorkTrigger(
        {"type": "any", "with_": {}}, {"id": "1", "name": "one"}, poll_interval=0, **options
    )

    async def first() -> Any:
        return await asyncio.wait_for(anext(trigger.run()), 30)

    return asyncio.run(first()).payload, log


def test_lines_have_their_level(monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place([["one", "::error::two"], ["::warning::three", "::info::::error::mine", "::group::four"]])
    payload, log = follow(monkeypatch, place)
    assert payload == {"position": 2, "timeout": False}
    assert log.lines == [
        (logging.INFO, "one"),
        (logging.ERROR, "two"),
        (logging.WARNING, "three"),
        (logging.INFO, "::error::mine"),
        (logging.INFO, "::group::four"),
    ]


def test_it_goes_on_from_a_position(monkeypatch: pytest.MonkeyPatch) -> None:
    _, log = follow(monkeypatch, Place([["one"], ["two"]]), position=1)
    assert log.lines == [(logging.INFO, "two")]


def test_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    payload, _ = follow(monkeypatch, Place([["one"]], ends=False), deadline=time.time() - 1)
    assert payload["timeout"] is True
