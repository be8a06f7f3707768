"""One real Airflow for the whole session, started by the code of ``stagecoach demo``.

Its dags folder is empty at first. Tests share it, so each takes names of its own.
On failure, what the components printed is in the folder that pytest names.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from e2e_client import Client

from airflow_stagecoach.cli.local_airflow import LocalAirflow

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAirflow]:
    """A running Airflow with an empty dags folder; everything is stopped at the end."""
    root = tmp_path_factory.mktemp("airflow")
    dags = root / "dags"
    dags.mkdir()
    running = LocalAirflow(
        root / "home",
        dags,
        options={
            "core.parallelism": "4",
            "dag_processor.parsing_processes": "1",
            "dag_processor.min_file_process_interval": "2",
        },
    )
    running.start()
    yield running
    running.stop()
    assert list(running.find_processes()) == [], "processes of the test's Airflow are left"


@pytest.fixture(scope="session")
def client(airflow: LocalAirflow) -> Client:
    """A client of the running Airflow."""
    return Client(airflow.url, airflow.dags_folder)
