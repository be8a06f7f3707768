"""Tests of airflow_stagecoach.runner.jobs: what a runner makes of what it finds, without HTTP."""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING, Any

import pytest

from airflow_stagecoach.backends.shipment import pack_unit
from airflow_stagecoach.runner.jobs import Jobs, Refused
from airflow_stagecoach.runner.metrics import metrics
from airflow_stagecoach.runner.settings import RunnerError, Settings
from airflow_stagecoach.runner.store import Order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ARCHIVE = pack_unit({"stages": [{"kind": "bash", "id": "a", "bash": "echo x >>../../../count"}]})


class Runners:
    """Runners after each other in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.jobs: Jobs | None = None

    def start(self, **settings: Any) -> Jobs:
        self.close()
        self.jobs = Jobs(Settings(str(self.folder / "runner"), ("t" * 16,), **settings))
        return self.jobs

    def close(self) -> None:
        if self.jobs is not None:
            self.jobs.close()
            self.jobs = None

    def database(self, statement: str) -> None:
        """Change the table while no runner is there."""
        self.close()
        with sqlite3.connect(self.folder / "runner" / "jobs.sqlite") as connection:
            connection.execute(statement)
        connection.close()

    def accept(self, name: str, **order: Any) -> None:
        assert self.jobs is not None
        archive = self.folder / "archive"
        archive.write_bytes(ARCHIVE)
        self.jobs.accept(Order(name, "k", **order), str(archive))

    def wait(self, condition: Callable[[], Any]) -> None:
        until = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < until
            time.sleep(0.02)

    @property
    def names(self) -> list[str]:
        assert self.jobs is not None
        return [job.name for job in self.jobs.all()]

    @property
    def count(self) -> int:
        path = self.folder / "runner" / "count"
        return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.fixture
def runners(tmp_path: Path) -> Iterator[Runners]:
    made = Runners(tmp_path)
    yield made
    made.close()


def test_one_that_was_about_to_be_started_is_started(runners: Runners) -> None:
    runners.start()
    runners.accept("a")
    runners.wait(lambda: runners.jobs.get("a").state == "ended")  # type: ignore[union-attr]  # they are there
    runners.database("UPDATE jobs SET state = 'running', ended = NULL")
    (runners.folder / "runner" / "jobs" / "a" / "exit").unlink()
    (runners.folder / "runner" / "jobs" / "a" / "claimed").rmdir()
    assert runners.count == 1
    jobs = runners.start()
    runners.wait(lambda: jobs.get("a").state == "ended")  # type: ignore[union-attr]  # it is there
    assert runners.count == 2


@pytest.mark.parametrize("state", ["running", "queued"])
def test_one_that_was_started_is_not_started_again(state: str, runners: Runners) -> None:
    runners.start()
    runners.accept("a")
    runners.wait(lambda: runners.jobs.get("a").state == "ended")  # type: ignore[union-attr]  # they are there
    runners.database(f"UPDATE jobs SET state = '{state}', ended = NULL, exit_code = NULL")
    jobs = runners.start()
    runners.wait(lambda: jobs.get("a").state == "ended")  # type: ignore[union-attr]  # it is there
    assert (jobs.get("a").exit_code, runners.count) == (0, 1)  # type: ignore[union-attr]  # it is there


def test_what_was_being_removed_goes(runners: Runners) -> None:
    runners.start()
    runners.accept("a")
    runners.wait(lambda: runners.jobs.get("a").state == "ended")  # type: ignore[union-attr]  # they are there
    runners.database("UPDATE jobs SET deleted = 1")
    runners.start()
    assert runners.names == []
    assert list((runners.folder / "runner" / "jobs").iterdir()) == []


def test_a_table_from_before_there_were_containers(runners: Runners) -> None:
    runners.start()
    runners.accept("a")
    runners.wait(lambda: runners.jobs.get("a").state == "ended")  # type: ignore[union-attr]  # they are there
    runners.database("ALTER TABLE jobs DROP COLUMN image")
    jobs = runners.start()
    assert jobs.get("a").image is None  # type: ignore[union-attr]  # it is there
    runners.accept("b")
    runners.wait(lambda: jobs.get("b").state == "ended")  # type: ignore[union-attr]  # it is there


def test_folders_that_belong_to_nobody_go(runners: Runners) -> None:
    runners.start()
    runners.close()
    for name in ("jobs/a", "legs/b", "incoming/c"):
        (runners.folder / "runner" / name).mkdir()
    runners.start()
    assert sorted(path.name for path in (runners.folder / "runner").glob("*/*")) == []


def test_what_nobody_takes_goes_after_a_while(runners: Runners, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_stagecoach.runner.jobs._IDLE", 0.2)
    jobs = runners.start(keep=0.5)
    runners.accept("a", leg="gone")
    runners.accept("b", leg="kept", keep=True)
    runners.wait(lambda: not runners.names)
    runners.wait(lambda: [leg.key for leg in jobs.legs()] == ["kept"])
    left = sorted(path.name for path in (runners.folder / "runner").glob("*/*"))
    assert left == ["kept"]


def test_room_that_is_gone_when_the_files_are_here(runners: Runners) -> None:
    jobs = runners.start(jobs=1, queue=0)
    order = Order("b", "k")
    assert jobs.admit(order) is None
    jobs.drain()
    archive = runners.folder / "archive"
    archive.write_bytes(ARCHIVE)
    with pytest.raises(Refused) as refused:
        jobs.accept(order, str(archive))
    assert refused.value.status == 503
    assert list((runners.folder / "runner" / "incoming").iterdir()) == []
    assert jobs.drained
    assert "stagecoach_runner_draining 1\n" in metrics(jobs)


def test_one_runner_per_folder(runners: Runners) -> None:
    jobs = runners.start()
    with pytest.raises(RunnerError, match="another runner works in"):
        Jobs(jobs.settings)
