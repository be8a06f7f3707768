"""Runners that tests share or make."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.backends.conftest import engine
from tests.runner.server import TOKEN, Server

if TYPE_CHECKING:
    from collections.abc import Iterator


__all__ = ["conn", "engine", "shared"]


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One runner with the label ``gpu`` for every test that leaves it as it is."""
    with Server(tmp_path_factory.mktemp("shared") / "runner", "--label", "gpu", "--jobs", "4") as server:
        yield server


@pytest.fixture
def conn(shared: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """An Airflow connection of that runner."""
    connection = {"conn_type": "http", "host": "127.0.0.1", "port": shared.port}
    text = json.dumps({**connection, "schema": "http", "password": TOKEN})
    monkeypatch.setenv("AIRFLOW_CONN_THE_RUNNER", text)
    return "the_runner"
