"""Work that runs outside of the worker's process: in a container, a pod, a batch job, on another machine.

A backend of that sort writes the few methods of :class:`RemoteBackend` that talk to
its place. How a task follows its work is the same everywhere and stands here:
start it or find what an earlier try started, pass its output on as it comes,
take its result, stop it when asked, clean up.
"""

from __future__ import annotations

import contextlib
import threading
import time
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, cast

from airflow_stagecoach.backends import _endings
from airflow_stagecoach.backends.base import Backend
from airflow_stagecoach.backends.failures import BackendFailure
from airflow_stagecoach.backends.settings import check_config
from airflow_stagecoach.backends.shipment import FOLDER, ShipmentError
from airflow_stagecoach.backends.work import Handle, Lines, Status, StillRunning, Work, failed, is_image
from airflow_stagecoach.engine.log_levels import unmarked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from airflow_stagecoach.backends._image_stage import Ended, Prepared
    from airflow_stagecoach.backends.ownership import Leftover
    from airflow_stagecoach.engine import Hooks
    from airflow_stagecoach.engine.contract import Error, Result, Unit

#: A place that does not answer is asked again for so many seconds, then the try fails. Its work is left
#: alone: the next try finds it.
PATIENCE = 60.0

#: Output that does not end is passed on for so many seconds before somebody looks at the work again.
LONGEST_LOOK = 2.0


class RemoteBackend(Backend):
    """Runs work somewhere else.

    Every method may be called from another process than the one that started the
    work, with nothing but the handle. Each but :meth:`start` may be called again
    with the same effect.

    :param config: what stands under ``runs-on: {with: ...}``, evaluated
    :raises BackendConfigError: it does not fit the model
    """

    #: What it can do beyond running a unit: ``gpu``, ``volumes``, ``services``, ``image``; ``memory``: the
    #: memory in the unit's ``resources`` is its limit; ``memory-of-stages``: also of each of several stages.
    capabilities: ClassVar[frozenset[str]] = frozenset()

    #: The pydantic model of ``with``, which becomes :attr:`settings`.
    Config: ClassVar[Any] = None

    #: Settings that may hold no expression, because Airflow must know them before anything runs.
    known_at_load: ClassVar[tuple[str, ...]] = ()

    #: What else may be written where a setting is missing.
    instead_of: ClassVar[Mapping[str, str]] = {}

    #: Settings that every stage needs but an ``image:`` stage, which has its own: each with those that may
    #: stand in its place.
    needed_without_image: ClassVar[tuple[tuple[str, ...], ...]] = ()

    #: Seconds between two looks at work that runs for a while; the first ones follow each other faster.
    interval: ClassVar[float] = 1.0

    #: Seconds that a stopped work has to write its result before it is cleaned away.
    grace: ClassVar[float] = 10.0

    def __init__(self, config: dict[str, Any] | None = None) -> None:
        super().__init__(config)
        self.settings: Any = check_config(type(self), self.config)
        self._stopped = threading.Event()
        self._taken_away = False
        #: The work, once :meth:`run` or :meth:`follow` knows it.
        self.handle: Handle | None = None
        self._hooks: Hooks | None = None

    @classmethod
    def setting_names(cls) -> list[str]:
        """What may stand under ``with``, as documents spell it."""
        return [field.alias or name for name, field in cls.Config.model_fields.items()] if cls.Config else []

    # -- what a backend writes --------------------------------------------------------------

    @abstractmethod
    def render(self, work: Work) -> Mapping[str, Any]:
        """What :meth:`start` would send, without secret values: for people."""

    @abstractmethod
    def start(self, work: Work) -> Handle:
        """Start the work. Never twice under one name: what exists already is an error or is taken over."""

    @abstractmethod
    def find(self, work: Work) -> Handle | None:
        """Work of this task (``work.key``) that runs or has ended, and whose result nobody has taken yet."""

    @abstractmethod
    def poll(self, handle: Handle) -> Status:
        """Look at the work, once. What it raises counts as a place that does not answer."""

    def pause(self, handle: Handle, seconds: float) -> None:
        """Wait until the next look; less than that where the place tells at once that the work has ended."""
        self._stopped.wait(seconds)

    @abstractmethod
    def logs(self, handle: Handle, position: Any) -> Lines:
        """The whole lines of output since a position; ``None`` is the beginning."""

    @abstractmethod
    def result(self, handle: Handle) -> bytes | None:
        """The result document that ended work has left, if it has."""

    @abstractmethod
    def stop(self, handle: Handle) -> None:
        """Tell the work to end, and see to it that it does within :attr:`grace` seconds."""

    @abstractmethod
    def clean(self, handle: Handle) -> None:
        """Remove everything that was made for the work; after this :meth:`find` does not give it."""

    def ended(self, handle: Handle) -> Ended:
        """What the container of an ``image:`` stage has left, once it has ended; in place of :meth:`result`.

        Only of a place with the capability ``image``: there :meth:`start` finds in the unit what is to be
        run, ``work.unit["container"]``.
        """
        raise NotImplementedError(f"{self.type} runs no containers of their own")

    def fetch_files(self, handle: Handle, folder: str) -> None:
        """Copy the scratch folder of an ended container back to the worker, whose own stages go on with it.

        Only of the place that runs containers beside a worker, see ``files`` of a unit.
        """

    @property
    def workdir(self) -> str:
        """The scratch folder of a leg, as an ``image:`` stage sees it."""
        return f"{FOLDER}/work"

    def clean_leg(self, key: str) -> None:
        """Remove what the tasks of a leg shared, such as a volume; nothing where they share nothing.

        :param key: of the unit's ``leg``
        """

    def leg_name(self, key: str) -> str:
        """What :meth:`clean_leg` removes, for a person who looks for it."""
        return f"what the tasks of leg {key} share"

    def service_logs(self, handle: Handle) -> Mapping[str, list[str]]:
        """The last lines that each service of the work wrote, asked when it has failed.

        :return: what is told above the lines -> the lines
        """
        return {}

    def leftovers(self) -> Iterable[Leftover]:
        """What tasks made there and have not removed, but for what their documents want to stay."""
        return ()

    def discard(self, leftover: Leftover) -> None:
        """Stop and remove a leftover at once. Harmless when it is gone already."""

    def reach(self) -> dict[str, Any]:
        """The settings by which started work is reached again, in the shape of ``with``.

        They are stored while a task is deferred: leave out what may be secret and is not needed for that.
        """
        return dict(self.config)

    def check(self) -> str:
        """Reach out to the place.

        :return: what answered, for people, such as ``Docker 28.2``
        :raises Exception: it cannot be reached; the text says why
        """
        return "ok"

    def explain(self, error: Exception) -> Error:
        """What an exception of :meth:`start`, :meth:`find` or :meth:`poll` means.

        :return: as :class:`BackendFailure` has it; a backend adds what exceptions of its SDK mean
        """
        if isinstance(error, BackendFailure):
            return error.error
        if isinstance(error, ShipmentError):
            return {"type": "ShipmentError", "message": str(error), "category": "configuration"}
        from airflow.sdk.exceptions import AirflowNotFoundException

        if isinstance(error, AirflowNotFoundException):
            message = f"an Airflow connection is missing: {error}; make it, or correct its name"
            return BackendFailure(message, category="configuration", reason="connection-missing").error
        from airflow_stagecoach.engine.failures import error_of

        return error_of(error)

    # -- what a backend may use -------------------------------------------------------------

    @property
    def is_cancelled(self) -> bool:
        """Whether somebody wants the work to end: a :meth:`start` that takes its time then gives up."""
        return self._stopped.is_set()

    def say(self, text: str, level: str = "info") -> None:
        """Write a line to the task's log, as long as a worker follows the work."""
        if self._hooks is not None:
            self._hooks.log(text, level)

    def say_lines(self, title: str, lines: Iterable[str]) -> None:
        """Write lines to the task's log, folded under a title."""
        self.say(f"::group::{title}")
        for line in lines:
            self.say(line)
        self.say("::endgroup::")

    # -- what tasks and triggers use --------------------------------------------------------

    def run(self, unit: Unit, hooks: Hooks, *, wait: float | None = None) -> Result:
        """Run a unit to its end.

        :param unit: with its ``identity``
        :param wait: seconds until the caller wants to leave the wait to a trigger
        :raises StillRunning: after ``wait`` seconds
        """
        self._hooks = hooks
        work = Work.of(unit["identity"], unit)
        try:
            earlier = self.find(work)
        except Exception as error:
            return failed(unit, {**self.explain(error), "began": False})
        if earlier is not None:
            hooks.log(f"{earlier['name']} is there already, started by an earlier try: following it")
            result = self.follow(earlier, unit, hooks, wait=wait)
            if not self._taken_away:
                return result
            # Whoever cleared the task stopped the work of the earlier try, and wants it done again.
            hooks.log(f"{earlier['name']} was stopped from outside: starting anew", "warning")
        if is_image(unit):
            prepared = self._prepared(unit, hooks)
            if prepared.container is None:
                return cast("Result", prepared.result)
            unit = {**unit, "container": prepared.container}
            work = work._replace(unit=unit)
        try:
            handle = self.start(work)
        except Exception as error:
            if self.is_cancelled:
                return _endings.cancelled(unit)
            return failed(unit, {**self.explain(error), "began": False})
        hooks.log(f"Started {handle['name']} ({self.type} {handle['id']})")
        return self.follow(handle, unit, hooks, wait=wait)

    def follow(
        self, handle: Handle, unit: Unit, hooks: Hooks, *, position: Any = None, wait: float | None = None
    ) -> Result:
        """Pass on the output of started work until it ends, then take its result and clean up.

        :param position: where the output was left
        :param wait: seconds, see :meth:`run`
        :raises StillRunning: after ``wait`` seconds
        """
        self.handle, self._hooks = handle, hooks
        try:
            return self._follow(handle, unit, hooks, position, wait)
        except StillRunning:
            raise
        except BaseException:
            # A timeout, or the end of the worker: nobody would look for the work any more.
            with contextlib.suppress(Exception):
                self._end_stopped(handle, unit)
            raise

    def _follow(self, handle: Handle, unit: Unit, hooks: Hooks, position: Any, wait: float | None) -> Result:
        until = None if wait is None else time.monotonic() + wait
        answered = time.monotonic()
        pause = min(0.05, self.interval)
        told = ""
        while True:
            if self._stopped.is_set():
                return self._end_stopped(handle, unit)
            try:
                status = self.poll(handle)
                look = time.monotonic() + LONGEST_LOOK
                # What was passed on stays so when the next look fails.
                for reached in self._pass_on(handle, position, hooks):
                    position = reached
                    # Work that writes without a pause shall be stopped, left and looked at like any other.
                    if self._stopped.is_set() or (status.state == "running" and time.monotonic() > look):
                        break
                result = self._ended(handle, unit, status)
            except Exception as error:
                explained = self.explain(error)
                if time.monotonic() - answered > PATIENCE:
                    return failed(unit, _endings.unreachable(self.type, handle, PATIENCE, explained))
                if explained["message"] != told:
                    told = explained["message"]
                    hooks.log(f"{self.type} does not answer, trying again: {told}", "warning")
            else:
                answered, told = time.monotonic(), ""
                if result is not None:
                    if result["state"] == "failed":
                        self._tell_services(handle)
                    self._clean_up(handle, hooks)
                    return result
            if until is not None and time.monotonic() >= until:
                raise StillRunning(handle, position)
            self.pause(handle, pause)
            pause = min(pause * 1.5, self.interval)

    def sweep(self, is_needed: Callable[[Leftover], bool]) -> list[Leftover]:
        """Remove what nobody needs any more.

        :param is_needed: whether a leftover belongs to a task that has not ended; one that is
            ``shared`` is needed while its run goes on
        :return: what was removed
        """
        found = [leftover for leftover in self.leftovers() if not is_needed(leftover)]
        # A volume cannot go before the containers that use it.
        for leftover in sorted(found, key=lambda one: one.shared):
            self.discard(leftover)
        return found

    def cancel(self) -> None:
        """Stop the work; :meth:`run` and :meth:`follow` then end. Safe from a signal handler."""
        self._stopped.set()

    # ---------------------------------------------------------------------------------------

    def _prepared(self, unit: Unit, hooks: Hooks) -> Prepared:
        """What an ``image:`` stage runs, or its result if it does not run at all."""
        from airflow_stagecoach.backends._image_stage import Prepared, prepare

        if "image" not in self.capabilities:
            message = f"runs-on: {self.type} runs no `image:` stages; runs-on: docker does"
            error: Error = {"type": "UnknownKind", "message": message, "category": "configuration"}
            return Prepared(None, failed(unit, error))
        prepared = prepare(unit, FOLDER, self.workdir)
        if prepared.result is not None and prepared.result["state"] == "skipped":
            hooks.log("Skipped: its `if` is false")
        return prepared

    def _pass_on(self, handle: Handle, position: Any, hooks: Hooks) -> Iterator[Any]:
        """Pass on all output that is there; gives the position after each part."""
        while True:
            found = self.logs(handle, position)
            for line in found.lines:
                hooks.log(*unmarked(line))
            yield found.position
            if not found.lines or found.position == position:
                return
            position = found.position

    def _ended(self, handle: Handle, unit: Unit, status: Status) -> Result | None:
        """The result of work that has ended or is lost, ``None`` while it runs."""
        if status.state == "lost":
            self._taken_away = True
            return failed(unit, _endings.lost(handle, status))
        if status.state != "ended":
            return None
        if is_image(unit):
            from airflow_stagecoach.backends._image_stage import compose

            if "files" in unit:
                self.fetch_files(handle, unit["files"])
            return compose(unit, status, self.ended(handle))
        result = _endings.read(unit, handle, status, self.result(handle))
        if result["outcome"] == "cancelled":
            # Not by us: then nobody would ask for its result.
            self._taken_away = True
            return _endings.stopped_from_outside(result, handle, status)
        return result

    def _clean_up(self, handle: Handle, hooks: Hooks) -> None:
        """Clean up after a result that is here: nothing may lose it now."""
        try:
            self.clean(handle)
        except Exception as error:
            hooks.log(f"{handle['name']} could not be removed: {self.explain(error)['message']}", "warning")

    def _tell_services(self, handle: Handle) -> None:
        """What services wrote may say why the work failed; that it cannot be had is no further trouble."""
        with contextlib.suppress(Exception):
            for title, lines in self.service_logs(handle).items():
                self.say_lines(title, lines)

    def _end_stopped(self, handle: Handle, unit: Unit) -> Result:
        until, told = time.monotonic() + PATIENCE, ""
        while True:
            try:
                self.stop(handle)
                break
            except Exception as error:
                # Nobody comes after us to stop it.
                why = self.explain(error)["message"]
                if time.monotonic() > until:
                    self.say(f"{handle['name']} could not be stopped: {why}", "error")
                    return _endings.cancelled(unit)
                if why != told:
                    told = why
                    self.say(f"{self.type} does not answer, trying again to stop the work: {why}", "warning")
                time.sleep(self.interval)
        self._tell_services(handle)
        self.clean(handle)
        return _endings.cancelled(unit)
