"""The jobs of a runner: taken in, started when there is room, watched, stopped, cleaned away.

Every job has a folder of its own, and a :class:`~.places.Place` that runs it. The table says what
shall be, the folder and the place what is: a runner that was killed reads them and goes on. A job is
never run twice, because its folder is started once.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import shutil
import signal
import tempfile
import threading
import time
from typing import TYPE_CHECKING

from airflow_stagecoach.backends.detached import Detached
from airflow_stagecoach.runner.places import Place, Processes
from airflow_stagecoach.runner.settings import RunnerError
from airflow_stagecoach.runner.shipment import RESULT
from airflow_stagecoach.runner.store import ENDED, LOST, QUEUED, RUNNING, Job, Leg, Order, Store

if TYPE_CHECKING:
    from typing import TextIO

    from airflow_stagecoach.runner.containers import Containers
    from airflow_stagecoach.runner.settings import Settings

log = logging.getLogger(__name__)

#: Names of jobs, which become names of folders.
NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")

#: Keys of legs, which become names of folders, too.
KEY = re.compile(r"[a-z0-9]{1,64}")

#: Reasons why the runner stopped a job. The classification of failures knows the second.
STOPPED, TOO_LONG = "Stopped", "DeadlineExceeded"

_NO_IMAGES = (
    "this runner runs jobs as processes, in no image: remove image, "
    "or name a runner that was started with --isolation docker"
)

#: Seconds between two looks while jobs run, and while none does.
_BUSY, _IDLE = 0.2, 30.0


class Refused(Exception):
    """A job is not taken in. ``status`` is the HTTP status that says so."""

    def __init__(self, status: int, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


class Jobs:
    """All jobs of one runner. Safe for threads.

    :param settings: ``folder`` is made if it is not there
    :raises RunnerError: another runner works in that folder, or what it needs is not here
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.draining = False
        #: Since this runner was started: what became of jobs, and how many were refused.
        self.counts = {"accepted": 0, "refused": 0, "ended": 0, "stopped": 0, "lost": 0}
        self._home = os.path.join(settings.folder, "jobs")
        self._legs = os.path.join(settings.folder, "legs")
        self._incoming = os.path.join(settings.folder, "incoming")
        for folder in (settings.folder, self._home, self._legs):
            os.makedirs(folder, mode=0o700, exist_ok=True)
        self._guard = _only_one(os.path.join(settings.folder, "lock"))
        shutil.rmtree(self._incoming, ignore_errors=True)
        os.mkdir(self._incoming, 0o700)
        self._processes = Processes(self._home, self._legs)
        self._containers: Containers | None = None
        if settings.containers is not None:
            # Not before: most runners need no Docker.
            from airflow_stagecoach.runner.containers import Containers

            self._containers = Containers(settings.containers, settings.folder, self._home)
        self._store = Store(os.path.join(settings.folder, "jobs.sqlite"))
        self._lock = threading.RLock()
        self._wake = threading.Event()
        self._closed = False
        try:
            self._recover()
        except BaseException:
            self._store.close()
            self._guard.close()
            raise
        self._thread = threading.Thread(target=self._supervise, name="jobs", daemon=True)
        self._thread.start()

    # -- what requests ask for --------------------------------------------------------------

    def admit(self, order: Order) -> Job | None:
        """Whether a job would be taken in.

        :return: the job, when it was taken in before
        :raises Refused: it would not
        """
        with self._lock:
            job = self._store.get(order.name)
            if job is not None:
                if job.deleted:
                    raise Refused(409, f"{order.name} is being removed")
                return job
            try:
                self._refuse(order)
            except Refused:
                self.counts["refused"] += 1
                raise
        return None

    def accept(self, order: Order, archive: str) -> tuple[Job, bool]:
        """Take a job in.

        :param archive: path of what came with it
        :return: the job, and whether it is new
        :raises Refused: there is no room, or it asks for what this runner is not
        :raises BadShipment: see :func:`~airflow_stagecoach.runner.shipment.unpack`
        """
        folder = self.folder(order.name)
        shared = None if order.leg is None else os.path.join(self._legs, order.leg)
        unpacked = tempfile.mkdtemp(dir=self._incoming)
        if self.settings.containers is not None:
            order = order._replace(image=order.image or self.settings.containers.image)
        try:
            self._place(order.image).prepare(archive, unpacked, folder, shared)
            with self._lock:
                known = self.admit(order)
                if known is not None:
                    return known, False
                # What lies there belongs to nobody: it has no row.
                shutil.rmtree(folder, ignore_errors=True)
                if shared is not None:
                    self._store.use_leg(order, time.time())
                os.rename(unpacked, folder)
                job = self._store.add(order, time.time())
                self.counts["accepted"] += 1
        finally:
            shutil.rmtree(unpacked, ignore_errors=True)
        self._wake.set()
        return job, True

    def incoming(self) -> str:
        """Path of a new file for what comes with a request."""
        descriptor, path = tempfile.mkstemp(dir=self._incoming)
        os.close(descriptor)
        return path

    def get(self, name: str) -> Job | None:
        """A job by its name."""
        return self._store.get(name)

    def of_key(self, key: str) -> list[Job]:
        """The jobs of a task that are not being removed, the latest first."""
        return [job for job in self._store.of_key(key) if not job.deleted]

    def all(self) -> list[Job]:
        """Every job, in the order in which they came."""
        return self._store.all()

    def output(self, name: str, start: int) -> tuple[bytes, int]:
        """Whole lines of output from a position, in bytes, and where the next begin."""
        return Detached(self.folder(name)).output(start)

    def result(self, job: Job) -> str | None:
        """Path of the result; ``None`` when it has none, or ran too long: that is told, not what it left."""
        path = os.path.join(self.folder(job.name), RESULT)
        return path if job.state == ENDED and job.reason != TOO_LONG and os.path.isfile(path) else None

    def stop(self, name: str) -> Job | None:
        """Ask a job to end, and kill it after the grace; one that waits ends at once."""
        with self._lock:
            job = self._store.get(name)
            if job is not None:
                self._stop(job, STOPPED, "the job was stopped")
        self._wake.set()
        return self._store.get(name)

    def delete(self, name: str) -> bool:
        """Remove a job with all that belongs to it; one that runs is stopped first.

        :return: whether it is gone already
        """
        with self._lock:
            job = self.stop(name)
            if job is None:
                return True
            self._store.change(name, deleted=1)
            if job.over:
                self._remove(job)
        return job.over

    def legs(self) -> list[Leg]:
        """The legs whose jobs share a folder here."""
        return self._store.legs()

    def delete_leg(self, key: str) -> None:
        """Remove what the jobs of a leg share."""
        assert KEY.fullmatch(key), "keys are checked where they come in"
        self._processes.remove_leg(key)
        if self._containers is not None:
            self._containers.remove_leg(key)
        self._store.remove_leg(key)

    def drain(self) -> None:
        """Take no new jobs from now on."""
        self.draining = True
        self._wake.set()

    def engine(self) -> str | None:
        """What answers where jobs run in containers, or why nothing does; ``None`` without containers."""
        return None if self._containers is None else self._containers.check()

    @property
    def drained(self) -> bool:
        """Whether a draining runner may end: all jobs are over, and their results taken or old enough."""
        if not self.draining:
            return False
        recently = time.time() - self.settings.linger
        return all(job.over and (job.ended or 0) < recently for job in self._store.all())

    def close(self) -> None:
        """Stop watching. What runs goes on, for the next runner in this folder."""
        self._closed = True
        self._wake.set()
        self._thread.join()
        self._store.close()
        self._guard.close()

    def folder(self, name: str) -> str:
        """The folder of a job."""
        assert NAME.fullmatch(name), "names are checked where they come in"
        return os.path.join(self._home, name)

    # -- the supervisor ---------------------------------------------------------------------

    def _supervise(self) -> None:
        while not self._closed:
            busy = True
            try:
                busy = self._look()
            except Exception:
                # A full disk, say. What runs goes on; the next look may work.
                log.exception("Looking after the jobs failed")
            self._wake.wait(_BUSY if busy else _IDLE)
            self._wake.clear()

    def _look(self) -> bool:
        """Look at every job, once.

        :return: whether there is one to look at soon
        """
        for job in self._store.in_state(RUNNING):
            self._watch(job)
        room = self.settings.jobs - len(self._store.in_state(RUNNING))
        for job in self._store.in_state(QUEUED)[: max(room, 0)]:
            self._start(job)
        self._sweep()
        return bool(self._store.in_state(QUEUED, RUNNING))

    def _start(self, job: Job) -> None:
        with self._lock:
            found = self._store.get(job.name)
            if found is None or found.state != QUEUED:
                return
            self._store.change(job.name, state=RUNNING, started=time.time())
        try:
            started = self._place(job.image).start(job)
        except (OSError, RuntimeError, ValueError) as error:
            self._end(job, LOST, message=f"the runner could not start it: {error}")
        else:
            log.info("%s started, %s", job.name, started)

    def _watch(self, job: Job) -> None:
        place = self._place(job.image)
        seen = place.look(job)
        if seen.state == "running":
            now = time.time()
            if job.stopping is not None:
                gently = now < job.stopping + self.settings.grace
                place.signal(job, signal.SIGTERM if gently else signal.SIGKILL)
            elif now > (job.started or now) + self.settings.longest_run:
                minutes = self.settings.longest_run / 60
                self._stop(job, TOO_LONG, f"the runner stopped it after {minutes:g} minutes, its limit")
        elif seen.state == "ended" or job.stopping is not None:
            self._end(job, ENDED, exit_code=seen.exit_code, reason=seen.reason, message=seen.message)
        else:
            self._end(job, LOST, message=seen.message)

    def _stop(self, job: Job, reason: str, message: str) -> None:
        with self._lock:
            found = self._store.get(job.name)
            if found is None or found.over or found.stopping is not None:
                return
            log.info("%s: %s", job.name, message)
            self._store.change(job.name, stopping=time.time(), reason=reason, message=message)
            if found.state == QUEUED:
                self._end(found, ENDED)

    def _end(self, job: Job, state: str, **values: object) -> None:
        with self._lock:
            found = self._store.get(job.name)
            if found is not None and found.stopping is not None:
                # Why it was stopped is known already.
                values = {key: value for key, value in values.items() if key == "exit_code"}
            self._store.change(job.name, state=state, ended=time.time(), **values)
            found = self._store.get(job.name)
            assert found is not None, "only jobs that are over are removed"
            log.info("%s %s %s", job.name, state, found.message or "")
            stopped = found.stopping is not None
            self.counts["lost" if state == LOST else "stopped" if stopped else "ended"] += 1
            if found.deleted:
                self._remove(found)

    def _sweep(self) -> None:
        """Remove what nobody came for."""
        old = time.time() - self.settings.keep
        for job in self._store.in_state(ENDED, LOST):
            if (job.ended or 0) < old:
                log.info("%s is removed: nobody took its result", job.name)
                self._remove(job)
        in_use = {job.leg for job in self._store.in_state(QUEUED, RUNNING)}
        for leg in self._store.legs():
            if leg.used < old and not leg.keep and leg.key not in in_use:
                try:
                    self.delete_leg(leg.key)
                except Exception as error:
                    # Docker is away, say: it is tried again when as much time has passed once more.
                    log.warning("What leg %s shared cannot be removed: %s", leg.key, error)
                    self._store.touch_leg(leg.key, time.time())

    def _place(self, image: str | None) -> Place:
        """Where a job runs.

        :param image: of its container, ``None`` for a process
        """
        if image is None:
            return self._processes
        assert self._containers is not None, "a runner without containers does not start with jobs in them"
        return self._containers

    def _remove(self, job: Job) -> None:
        self._place(job.image).forget(job)
        # The row goes last: a folder without one is taken for rubbish, a row without a folder for a lost job.
        shutil.rmtree(self.folder(job.name), ignore_errors=True)
        self._store.remove(job.name)

    def _refuse(self, order: Order) -> None:
        missing = sorted(order.labels - self.settings.labels)
        if missing:
            has = ", ".join(sorted(self.settings.labels)) or "none"
            raise Refused(422, f"this runner has no label {', '.join(missing)}; its labels: {has}")
        objection = _NO_IMAGES if order.image is not None else None
        if self.settings.containers is not None:
            objection = self.settings.containers.objection(order.image)
        if objection is not None:
            raise Refused(422, objection)
        if self.draining:
            raise Refused(503, "this runner is draining and takes no new jobs", 30)
        if len(self._store.in_state(QUEUED, RUNNING)) >= self.settings.jobs + self.settings.queue:
            raise Refused(
                429, f"this runner is full: {self.settings.jobs} jobs run, {self.settings.queue} wait", 5
            )

    def _recover(self) -> None:
        """Make sense of what the runner before left."""
        inside = [job.name for job in self._store.all() if job.image is not None]
        if inside and self._containers is None:
            raise RunnerError(
                f"jobs of {self.settings.folder} are in containers ({', '.join(inside[:3])}): "
                "start it with --isolation docker, and drain it before you change that"
            )
        names = set()
        for job in self._store.all():
            names.add(job.name)
            if job.over and job.deleted:
                self._remove(job)
            elif job.state == RUNNING and not self._place(job.image).has_started(job):
                # It was about to be started. Should that still happen, the second start does nothing.
                self._store.change(job.name, state=QUEUED, started=None)
            elif job.state == RUNNING:
                log.info("%s runs since before this start: watching it", job.name)
        legs = {leg.key for leg in self._store.legs()}
        for folder, known in ((self._home, names), (self._legs, legs)):
            for name in set(os.listdir(folder)) - known:
                shutil.rmtree(os.path.join(folder, name), ignore_errors=True)
        if self._containers is not None:
            self._containers.sweep(names)


def _only_one(path: str) -> TextIO:
    """Hold the folder as long as the file is open."""
    file = open(path, "w")  # noqa: SIM115  # it is held until the runner ends
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise RunnerError(f"another runner works in {os.path.dirname(path)}; name another --dir") from None
    return file
