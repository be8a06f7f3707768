"""Two real Airflows for the whole session, started by the code of ``stagecoach demo``.

One with SQLite, as the demo has it. One with PostgreSQL and room for more tasks, for all that is about
many tasks at once, or about what is killed. Each starts when a test first asks for it. Their dags
folders are empty at first. Tests share them, so each takes names of its own.
On failure, what the components printed is in the folder that pytest names.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from e2e_client import Client, Installation

from airflow_stagecoach.cli.local_airflow import LocalAirflow, end_with_parent, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent

REPOSITORY = HERE.parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str | None]:
    """The address of a Redis for Celery; ``None`` where that is not installed."""
    server = shutil.which("redis-server")
    if server is None or find_spec("airflow.providers.celery") is None:
        yield None
        return
    folder, port = tmp_path_factory.mktemp("redis"), free_port()
    command = [server, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    command += ["--save", "", "--appendonly", "no"]
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=end_with_parent)
    yield f"redis://127.0.0.1:{port}"
    process.terminate()
    process.wait(30)


@pytest.fixture(scope="session")
def airflow(tmp_path_factory: pytest.TempPathFactory, broker: str | None) -> Iterator[LocalAirflow]:
    """A running Airflow with an empty dags folder; everything is stopped at the end."""
    root = tmp_path_factory.mktemp("airflow")
    dags = root / "dags"
    dags.mkdir()
    queues = {}
    if broker is not None:
        # Tasks still go to the first executor, but those that ask for a queue.
        queues["core.executor"] = "LocalExecutor,CeleryExecutor"
        queues["celery.broker_url"] = queues["celery.result_backend"] = f"{broker}/0"
    running = LocalAirflow(
        root / "home",
        dags,
        options={
            **queues,
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


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A running Airflow on PostgreSQL, with room for many tasks. Tests may kill what is part of it."""
    pytest.importorskip("psycopg2")
    pytest.importorskip("asyncpg")
    # Not pytest's own folder: PostgreSQL runs as another user, who may not enter that one.
    root = Path(tempfile.mkdtemp(prefix="stagecoach-postgres-"))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(REPOSITORY))
        patch.setenv("PYTHONPATH", str(REPOSITORY))
        from benchmarks import postgres

        try:
            with postgres.server(root) as options:
                if options is None:
                    pytest.skip("there is no PostgreSQL on this machine")
                dags = root / "dags"
                dags.mkdir()
                airflow = LocalAirflow(
                    root / "home",
                    dags,
                    options={
                        "core.parallelism": "28",
                        "core.max_active_tasks_per_dag": "64",
                        "dag_processor.parsing_processes": "1",
                        # Who gives no sign is taken for dead sooner than after minutes.
                        "scheduler.task_instance_heartbeat_timeout": "20",
                        "scheduler.task_instance_heartbeat_timeout_detection_interval": "3",
                        "scheduler.scheduler_health_check_threshold": "20",
                        "scheduler.orphaned_tasks_check_interval": "5",
                        "triggerer.triggerer_health_check_threshold": "20",
                        **options,
                    },
                )
                airflow.start()
                try:
                    yield Installation(airflow, Client(airflow.url, dags), root)
                finally:
                    airflow.stop()
                    shutil.copytree(
                        root / "home" / "components",
                        tmp_path_factory.mktemp("components"),
                        dirs_exist_ok=True,
                    )
        finally:
            shutil.rmtree(root, ignore_errors=True)
