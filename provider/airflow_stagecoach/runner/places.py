"""Where the jobs of a runner run: each as a process of this machine, or in a container of its own."""

from __future__ import annotations

import os
import shutil
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple

from airflow_stagecoach.backends.detached import Detached
from airflow_stagecoach.runner.shipment import command, unpack

if TYPE_CHECKING:
    from airflow_stagecoach.runner.store import Job


class Seen(NamedTuple):
    """What one look at a started job shows.

    ``state`` is ``running``, ``ended`` (all of its output and its result are in its folder) or ``lost``.
    ``reason`` is one word that the classification of failures may know, such as ``OOMKilled``.
    """

    state: str
    exit_code: int | None = None
    reason: str | None = None
    message: str | None = None


class Place(ABC):
    """Runs jobs. Whatever a job gives ends up in its folder: ``log``, and ``result.json``.

    A place is asked about a job again after the runner was killed and started anew, and knows then what it
    did; no job is started twice.
    """

    @abstractmethod
    def prepare(self, archive: str, folder: str, home: str, shared: str | None) -> None:
        """Put what came with a job into its folder.

        :param archive: path of what came
        :param folder: exists and is empty
        :param home: the path that the folder will have when the job runs
        :param shared: of the folder of its leg, where it has one
        :raises BadShipment: see :func:`~airflow_stagecoach.runner.shipment.unpack`
        """

    @abstractmethod
    def has_started(self, job: Job) -> bool:
        """Whether the job may have run already, if only for a moment."""

    @abstractmethod
    def start(self, job: Job) -> str:
        """Start the job, or begin to.

        :return: what it is here, for the log of the runner
        :raises OSError, RuntimeError, ValueError: it cannot be started
        """

    @abstractmethod
    def look(self, job: Job) -> Seen:
        """Look at a job that was started."""

    @abstractmethod
    def signal(self, job: Job, number: int) -> None:
        """Send a signal to a job, if it runs."""

    @abstractmethod
    def forget(self, job: Job) -> None:
        """Remove what is left of a job that is over, outside of its folder."""

    @abstractmethod
    def remove_leg(self, key: str) -> None:
        """Remove what the jobs of a leg shared."""


class Processes(Place):
    """Jobs as processes of the runner's user.

    :param home: of the folders of jobs
    :param legs: of the folders that jobs share
    """

    def __init__(self, home: str, legs: str) -> None:
        self._home = home
        self._legs = legs

    def prepare(self, archive: str, folder: str, home: str, shared: str | None) -> None:
        unpack(archive, folder, home, shared or os.path.join(home, "work"))
        if shared is not None:
            os.makedirs(shared, mode=0o700, exist_ok=True)

    def has_started(self, job: Job) -> bool:
        return os.path.exists(self._process(job).path("claimed"))

    def start(self, job: Job) -> str:
        process = self._process(job)
        return f"process {process.start(command(process.folder))}"

    def look(self, job: Job) -> Seen:
        process = self._process(job)
        state = process.state
        if state == "lost":
            return Seen(state, message="its process is gone and did not say how it ended")
        return Seen(state, process.exit_code)

    def signal(self, job: Job, number: int) -> None:
        self._process(job).send(number)

    def forget(self, job: Job) -> None:
        """All that a process leaves is in its folder."""

    def remove_leg(self, key: str) -> None:
        shutil.rmtree(os.path.join(self._legs, key), ignore_errors=True)

    def _process(self, job: Job) -> Detached:
        return Detached(os.path.join(self._home, job.name))
