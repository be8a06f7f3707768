"""Jobs in containers of the runner's Docker daemon.

A container is made and followed by the backend ``docker``, as for ``runs-on: docker``; only what goes into it
came with the job. Output and result are taken out of it into the job's folder, where whoever asks the
runner gets them from. Then the container goes.

``launched``     the container has got all that it needs: from here on it may run
``archive.tar``  what came with the job, until then
``log``          the output
``ending``       how it ended; output and result are complete
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
import signal as signals
import threading
import uuid
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from airflow_stagecoach.backends._docker_connection import host_of
from airflow_stagecoach.backends.docker import DockerBackend
from airflow_stagecoach.backends.failures import BackendFailure
from airflow_stagecoach.backends.ownership import OWNER, owner
from airflow_stagecoach.backends.work import Handle, Work, failed
from airflow_stagecoach.engine.transport import dump
from airflow_stagecoach.runner.places import Place, Seen
from airflow_stagecoach.runner.settings import RunnerError
from airflow_stagecoach.runner.shipment import RESULT, read_unit

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from docker import APIClient

    from airflow_stagecoach.engine.contract import Identity, Unit
    from airflow_stagecoach.runner.settings import Containers as Settings
    from airflow_stagecoach.runner.store import Job

log = logging.getLogger(__name__)

#: Label of every container, with the id of the runner that made it.
_RUNNER = "stagecoach.runner"


class Containers(Place):
    """Jobs in containers.

    :param folder: of the runner; a file there says which runner it is
    :param home: of the folders of jobs
    :raises RunnerError: Docker's SDK is not installed
    """

    def __init__(self, settings: Settings, folder: str, home: str) -> None:
        try:
            import docker  # noqa: F401  # only whether it is there
        except ImportError:
            raise RunnerError(
                "--isolation docker needs Docker's SDK: "
                "pip install 'airflow-provider-stagecoach[runner,docker]'"
            ) from None
        self._settings = settings
        self._home = home
        self._id = _runner_id(os.path.join(folder, "id"))
        self._followed: dict[str, _Container] = {}

    def prepare(self, archive: str, folder: str, home: str, shared: str | None) -> None:
        read_unit(archive)
        shutil.copyfile(archive, os.path.join(folder, "archive.tar"))

    def has_started(self, job: Job) -> bool:
        return os.path.exists(os.path.join(self._home, job.name, "launched"))

    def start(self, job: Job) -> str:
        self._followed[job.name] = container = self._container(job)
        container.launch()
        return f"image {job.image}"

    def look(self, job: Job) -> Seen:
        container = self._followed.get(job.name)
        if container is None:
            self._followed[job.name] = container = self._container(job)
        return container.look()

    def signal(self, job: Job, number: int) -> None:
        container = self._followed.get(job.name)
        if container is not None:
            container.signal(number)

    def forget(self, job: Job) -> None:
        (self._followed.pop(job.name, None) or self._container(job)).clean()

    def remove_leg(self, key: str) -> None:
        with self._daemon() as backend:
            backend.clean_leg(key)

    def sweep(self, known: Collection[str]) -> None:
        """Remove the containers of this runner whose jobs are forgotten, as far as the daemon answers.

        :param known: names of jobs
        """
        with self._daemon() as backend:
            try:
                for found in backend.client.containers(all=True, filters={"label": f"{_RUNNER}={self._id}"}):
                    name = found["Names"][0].lstrip("/")
                    if name not in known:
                        log.info("%s is removed: its job is forgotten", name)
                        backend.clean({"id": found["Id"], "name": name})
            except Exception as error:
                log.warning("%s", backend.explain(error)["message"])

    def check(self) -> str:
        """What answers, such as ``Docker 28.2``, or why nothing does."""
        with self._daemon() as backend:
            try:
                return backend.check()
            except Exception as error:
                return backend.explain(error)["message"]

    @contextlib.contextmanager
    def _daemon(self) -> Iterator[_Backend]:
        backend = _Backend(self._id, self._config("none"))
        try:
            yield backend
        finally:
            backend.close()

    def _container(self, job: Job) -> _Container:
        # Not the task's own key: the same daemon may serve `runs-on: docker`, which must not find this one.
        key = hashlib.sha256(f"runner\0{self._id}\0{job.name}".encode()).hexdigest()[:20]
        assert job.image is not None, "a job without an image is a process"
        folder = os.path.join(self._home, job.name)
        return _Container(job, folder, key, _Backend(self._id, self._config(job.image), folder))

    def _config(self, image: str) -> dict[str, Any]:
        settings = self._settings
        return {
            "image": image,
            "host": settings.host,
            "network": settings.network,
            "volumes": list(settings.volumes),
        }


class _Backend(DockerBackend):
    """The backend without Airflow: no connections, and what is sent is there already.

    :param runner: its id
    :param folder: of the job
    """

    def __init__(self, runner: str, config: dict[str, Any], folder: str = "") -> None:
        super().__init__(config)
        self._runner = runner
        self._folder = folder

    @cached_property
    def client(self) -> APIClient:
        """The daemon's API."""
        from docker import APIClient
        from docker.utils import kwargs_from_env

        host = self.settings.host
        # Where the environment names the daemon, it may name certificates, too.
        place: dict[str, Any] = (
            {"base_url": host_of(None), **kwargs_from_env()} if host is None else {"base_url": host}
        )
        return APIClient(version="auto", **place)

    @property
    def stopped(self) -> bool:
        """Whether somebody wants the work no more."""
        return self._stopped.is_set()

    def close(self) -> None:
        """Let go of the daemon."""
        if "client" in self.__dict__:
            self.client.close()

    def _request(self, work: Work) -> dict[str, Any]:
        request = super()._request(work)
        return {**request, "labels": {**request["labels"], _RUNNER: self._runner}}

    def pack(self, work: Work) -> bytes:
        if self.stopped:
            message = "the job was stopped before it began"
            raise BackendFailure(message, category="cancelled", reason="Stopped")
        with open(os.path.join(self._folder, "archive.tar"), "rb") as file:
            return file.read()

    def _put(self, container: str, archive: bytes, *, shared: bool) -> None:
        super()._put(container, archive, shared=shared)
        with open(os.path.join(self._folder, "launched"), "w", encoding="ascii") as file:
            file.write(container)


class _Container:
    """The container of one job.

    :param folder: of the job
    :param key: by which the container is found
    """

    def __init__(self, job: Job, folder: str, key: str, backend: _Backend) -> None:
        self._job = job
        self._folder = folder
        self._key = key
        self._backend = backend
        self._launching: threading.Thread | None = None
        self._handle: Handle | None = None
        self._position: Any = None
        self._has_log = False
        self._asked = False
        self._told = ""
        self._is_clean = False

    def launch(self) -> None:
        """Make the container and start it; pulling the image may take minutes, so nobody waits."""
        self._launching = threading.Thread(target=self._launch, name=self._job.name, daemon=True)
        self._launching.start()

    def _launch(self) -> None:
        unit: Any = None
        try:
            unit = read_unit(self._path("archive.tar"))
            work = self._work(unit)
            self._backend.find(work)  # Removes what a runner made that was killed before it could start it.
            self._handle = self._backend.start(work)
        except Exception as error:
            explained = self._backend.explain(error)
            log.warning("%s cannot be started: %s", self._job.name, explained["message"])
            outcome = "cancelled" if self._backend.stopped else "failure"
            try:
                if unit is not None:
                    self._write(RESULT, dump(failed(unit, explained, outcome)))
                seen = Seen("ended", reason=explained.get("reason"), message=explained["message"])
                self._write("ending", json.dumps(seen))
            except OSError:
                # A full disk, say. Nothing is there to be followed: the job counts as lost.
                log.exception("%s: why it cannot be started cannot be written down", self._job.name)
        else:
            # What a job was given need not lie here longer than it must.
            with contextlib.suppress(OSError):
                os.unlink(self._path("archive.tar"))

    def look(self) -> Seen:
        """Take over what is new, and tell how the container is."""
        if self._launching is not None and self._launching.is_alive():
            return Seen("running")
        seen = self._ending()
        if seen is None:
            try:
                seen = self._look()
            except Exception as error:
                # The daemon is away: nothing can be said of the container, which may go on.
                seen, told = Seen("running"), self._backend.explain(error)["message"]
                if told != self._told:
                    log.warning("%s: %s", self._job.name, told)
                self._told = told
            else:
                self._told = ""
        if seen.state == "ended":
            self.clean()
        return seen

    def _look(self) -> Seen:
        if self._handle is None:
            self._handle = self._find()
            if self._handle is None:
                return Seen("lost", message="its container is gone and left no result")
        status = self._backend.poll(self._handle)
        if status.state == "lost":
            return Seen("lost", message=status.message)
        self._take_output(self._handle)
        if status.state == "running":
            return Seen("running")
        result = self._backend.result(self._handle)
        if result is not None:
            self._write(RESULT, result)
        seen = Seen("ended", status.exit_code, status.reason, status.message)
        self._write("ending", json.dumps(seen))
        return seen

    def _find(self) -> Handle | None:
        """The container. Started, if the runner before died just then: that does nothing to one that runs."""
        for found in self._containers():
            if found["State"] == "created":
                self._backend.client.start(found["Id"])
            return {"id": found["Id"][:12], "name": self._job.name}
        return None

    def _containers(self) -> list[Mapping[str, Any]]:
        filters = {"label": f"stagecoach.key={self._key}"}
        found: list[Mapping[str, Any]] = self._backend.client.containers(all=True, filters=filters)
        return found

    def _take_output(self, handle: Handle) -> None:
        """Append the new lines to the log; the first time all there are, in place of what is there."""
        first = not self._has_log
        position = None if first else self._position
        path = self._path("log.part" if first else "log")
        with open(path, "wb" if first else "ab") as file:
            done = False
            while not done:
                found = self._backend.logs(handle, position)
                file.writelines(f"{line}\n".encode() for line in found.lines)
                done = not found.lines or found.position == position
                self._position = position = found.position
        if first:
            os.replace(path, self._path("log"))
            self._has_log = True

    def signal(self, number: int) -> None:
        """Send a signal, if it runs; an image that is being pulled is not waited for by its container."""
        self._backend.cancel()
        if self._handle is None or (self._asked and number == signals.SIGTERM):
            return
        try:
            self._backend.client.kill(self._handle["id"], signal=signals.Signals(number).name)
            self._asked = True
        except Exception as error:
            # It has ended, which the next look shows, or the daemon is away, which ends, too.
            log.debug("%s: %s", self._job.name, error)

    def clean(self) -> None:
        """Remove the container, whatever it does. What cannot be removed now, the next runner sweeps."""
        if self._is_clean:
            return
        try:
            for found in self._containers():
                self._backend.clean({"id": found["Id"], "name": self._job.name})
            self._is_clean = True
        except Exception as error:
            log.warning("%s: %s", self._job.name, self._backend.explain(error)["message"])
        self._backend.close()

    def _ending(self) -> Seen | None:
        try:
            with open(self._path("ending"), encoding="utf-8") as file:
                return Seen(*json.load(file))
        except FileNotFoundError:
            return None

    def _work(self, unit: Any) -> Work:
        leg = None
        if self._job.leg is not None:
            leg = {"key": self._job.leg, "keep": bool((unit.get("leg") or {}).get("keep"))}
        return Work(self._key, self._job.name, _identity(self._job), cast("Unit", {**unit, "leg": leg}))

    def _write(self, name: str, data: bytes | str) -> None:
        path = self._path(name)
        with open(f"{path}.part", "wb") as file:
            file.write(data.encode("utf-8") if isinstance(data, str) else data)
        os.replace(f"{path}.part", path)

    def _path(self, name: str) -> str:
        return os.path.join(self._folder, name)


def _identity(job: Job) -> Identity:
    """The task that the job belongs to, which labels name; a job that names none is one by itself."""
    unknown: Identity = {"dag_id": job.name, "run_id": "", "task_id": "", "map_index": -1, "try_number": 1}
    return owner({OWNER: job.owner}) or unknown


def _runner_id(path: str) -> str:
    """Which runner this is, whatever its folder is called."""
    try:
        with open(path, encoding="ascii") as file:
            return file.read()
    except FileNotFoundError:
        with open(path, "x", encoding="ascii") as file:
            file.write(uuid.uuid4().hex)
        return _runner_id(path)
