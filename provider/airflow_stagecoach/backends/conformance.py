"""Tests that every remote backend has to pass; for authors of backends.

Subclass :class:`BackendConformance` in a test module of yours, and say how to make
your backend::

    class TestMine(BackendConformance):
        def backend(self):
            return MyBackend({"host": "localhost"})

pytest runs the rest. Each test starts real work in the place that the backend is for.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from typing import TYPE_CHECKING, Any, cast

from airflow_stagecoach.backends.remote import RemoteBackend
from airflow_stagecoach.backends.work import StillRunning, Work
from airflow_stagecoach.engine import Hooks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_stagecoach.engine.contract import Identity, Result, Unit

_runs = itertools.count(1)


class Log:
    """Lines as they come, with the level and the time of each."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.levels: list[str] = []
        self.times: list[float] = []
        self.hooks = Hooks(log=self._write)

    def _write(self, text: str, level: str) -> None:
        self.lines.append(text)
        self.levels.append(level)
        self.times.append(time.monotonic())

    def wait_for(self, text: str, timeout: float = 60) -> None:
        """Wait until a line holds ``text``.

        :raises AssertionError: it did not come
        """
        until = time.monotonic() + timeout
        while not any(text in line for line in self.lines):
            assert time.monotonic() < until, f"no line with {text!r} came: {self.lines}"
            time.sleep(0.05)


class BackendConformance:
    """The tests.

    ``seconds_to_stop`` is how long a stop may take, ``shares_folders`` whether stages that are tasks of their
    own have a folder in common.
    """

    seconds_to_stop = 10.0
    shares_folders = True

    def backend(self) -> RemoteBackend:
        """Make the backend, anew for every call."""
        raise NotImplementedError("give the backend that is to be tested")

    # -- helpers ----------------------------------------------------------------------------

    def unit(self, *stages: Mapping[str, Any], run_id: str | None = None, **more: Any) -> Unit:
        """A unit of a task that nobody else has."""
        identity: Identity = {
            "dag_id": "Conformance of Backends",
            "run_id": run_id or f"run {time.time_ns()} {next(_runs)}",
            "task_id": "job.stage",
            "map_index": -1,
            "try_number": 1,
        }
        unit: Any = {"stages": list(stages), "identity": identity, **more}
        return cast("Unit", unit)

    @staticmethod
    def next_try(unit: Unit) -> Unit:
        """The same unit in the task's next try."""
        number = unit["identity"]["try_number"] + 1
        return {**unit, "identity": {**unit["identity"], "try_number": number}}

    def run(self, unit: Unit, log: Log | None = None) -> Result:
        """Run a unit and see that nothing is left of it."""
        backend = self.backend()
        result = backend.run(unit, (log or Log()).hooks)
        assert self.backend().find(self.work(unit)) is None, "something is left of the work"
        return result

    @staticmethod
    def work(unit: Unit) -> Work:
        """The work of a unit."""
        return Work.of(unit["identity"], unit)

    # -- results ----------------------------------------------------------------------------

    def test_bash(self) -> None:
        script = 'echo out; echo err >&2; echo "name=value" >>"$STAGE_OUTPUT"; echo "$GREETING"'
        result = self.run(
            self.unit({"kind": "bash", "id": "a", "bash": script, "env": {"GREETING": "hello"}})
        )
        stage = result["stages"]["a"]
        assert (result["state"], stage["state"]) == ("success", "success")
        assert stage["outputs"] == {
            "return_code": 0,
            "stdout": "out\nhello",
            "stderr": "err",
            "name": "value",
        }

    def test_python(self) -> None:
        code = "import os\nvalue = params['n'] + ${{ matrix.m }}\ntext = 'ä→😀'\nhome = bool(os.getcwd())"
        contexts = {"params": {"n": 1}, "matrix": {"m": 2}}
        result = self.run(self.unit({"kind": "python", "id": "p", "run": code}, contexts=contexts))
        assert result["stages"]["p"]["outputs"] == {"value": 3, "text": "ä→😀", "home": True}

    def test_stages_after_each_other_share_a_folder(self) -> None:
        result = self.run(
            self.unit(
                {"kind": "bash", "id": "write", "bash": "echo 42 >number"},
                {"kind": "python", "id": "read", "run": "n = int(open('number').read())"},
                {"kind": "bash", "id": "not", "if": "stages.read.outputs.n != 42", "bash": "exit 1"},
            )
        )
        assert {name: stage["state"] for name, stage in result["stages"].items()} == {
            "write": "success",
            "read": "success",
            "not": "skipped",
        }
        assert result["stages"]["read"]["outputs"] == {"n": 42}

    def test_nested(self) -> None:
        inner = {"kind": "bash", "id": "i", "bash": "echo item ${{ item }}"}
        spec = {"kind": "foreach", "id": "each", "foreach": [1, 2, 3], "concurrent": 3, "stages": [inner]}
        result = self.run(self.unit(spec))
        each = result["stages"]["each"]["outputs"]["foreach"]
        assert {key: value["stages"]["i"]["outputs"]["stdout"] for key, value in each.items()} == {
            "1": "item 1",
            "2": "item 2",
            "3": "item 3",
        }

    def test_a_failing_script(self) -> None:
        result = self.run(self.unit({"kind": "bash", "id": "a", "bash": "exit 3"}))
        error = result["stages"]["a"]["error"]
        assert (result["state"], error and error.get("exit_code")) == ("failed", 3)

    def test_an_exception(self) -> None:
        result = self.run(self.unit({"kind": "python", "id": "a", "run": "raise ConnectionError('gone')"}))
        error = result["stages"]["a"]["error"]
        assert error is not None
        assert "builtins.ConnectionError" in error["classes"]

    def test_a_timeout(self) -> None:
        result = self.run(self.unit({"kind": "bash", "id": "a", "bash": "sleep 60", "timeout": 1}))
        error = result["stages"]["a"]["error"]
        assert error is not None
        assert error["type"] == "TimedOut"

    def test_outputs_of_some_megabytes(self) -> None:
        code = "text = 'x' * (5 * 1024 * 1024)"
        result = self.run(self.unit({"kind": "python", "id": "a", "run": code}))
        assert len(result["stages"]["a"]["outputs"].get("text", "")) == 5 * 1024 * 1024

    def test_outputs_that_are_too_large(self) -> None:
        code = "text = 'x' * (11 * 1024 * 1024)"
        result = self.run(self.unit({"kind": "python", "id": "a", "run": code}))
        stage = result["stages"]["a"]
        assert stage["state"] == "failed" or "text" in stage.get("omitted", {}), stage["state"]

    # -- output -----------------------------------------------------------------------------

    def test_output_comes_while_it_is_written(self) -> None:
        log = Log()
        self.run(self.unit({"kind": "bash", "id": "a", "bash": "echo first; sleep 4; echo second"}), log)
        times = dict(zip(log.lines, log.times, strict=True))
        assert times["second"] - times["first"] > 1

    def test_every_line_once_and_in_order(self) -> None:
        log = Log()
        self.run(self.unit({"kind": "bash", "id": "a", "bash": "seq 1 20000"}), log)
        numbers = [line for line in log.lines if line.isdigit()]
        assert numbers == [str(number) for number in range(1, 20001)]

    def test_binary_output_and_a_last_line_without_an_end(self) -> None:
        log = Log()
        script = r"printf '\377\376\000x\n'; printf 'the end'"
        result = self.run(self.unit({"kind": "bash", "id": "a", "bash": script}), log)
        assert result["state"] == "success"
        assert log.lines[-1] == "the end"

    def test_levels_of_lines(self) -> None:
        log = Log()
        code = "logger.warning('careful')\nprint('::error::it is but text')"
        self.run(self.unit({"kind": "python", "id": "a", "run": code}), log)
        found = list(zip(log.lines, log.levels, strict=True))
        assert ("careful", "warning") in found, found
        assert ("::error::it is but text", "info") in found, found

    # -- stopping, and being left -----------------------------------------------------------

    def test_stop(self) -> None:
        backend, log, results = self.backend(), Log(), []
        unit = self.unit(
            {"kind": "bash", "id": "a", "bash": "trap '' TERM; echo up; while :; do sleep 1; done"}
        )

        def work() -> None:
            results.append(backend.run(unit, log.hooks))

        thread = threading.Thread(target=work)
        thread.start()
        log.wait_for("up")
        asked = time.monotonic()
        backend.cancel()
        thread.join(60)
        assert results
        assert results[0]["outcome"] == "cancelled"
        # What stops is given the time of its grace before it is killed.
        assert time.monotonic() - asked < self.seconds_to_stop + backend.grace
        assert self.backend().find(self.work(unit)) is None

    def test_the_next_try_finds_what_runs(self) -> None:
        unit = self.unit({"kind": "bash", "id": "a", "bash": "echo one start; sleep 3; echo done"})
        first = Log()
        handle = None
        try:
            self.backend().run(unit, first.hooks, wait=0.5)
        except StillRunning as still:
            handle = still.handle
        assert handle is not None, "it ended too soon"
        assert json.loads(json.dumps(handle)) == handle, "a trigger carries the handle as JSON"
        again = self.next_try(unit)
        second = Log()
        result = self.run(again, second)
        assert result["state"] == "success"
        assert result["stages"]["a"]["outputs"]["stdout"] == "one start\ndone"

    def test_the_next_try_takes_the_result_of_what_has_ended(self) -> None:
        unit = self.unit({"kind": "python", "id": "a", "run": "import time\nended = time.time()"})
        backend = self.backend()
        handle = backend.start(self.work(unit))
        until = time.monotonic() + 60
        while backend.poll(handle).state != "ended":
            assert time.monotonic() < until
            time.sleep(0.2)
        now = time.time()
        again = self.next_try(unit)
        result = self.run(again)
        assert result["stages"]["a"]["outputs"]["ended"] < now

    def test_one_try_is_never_started_twice(self) -> None:
        unit = self.unit({"kind": "bash", "id": "a", "bash": "sleep 2"})
        backend = self.backend()
        handle = backend.start(self.work(unit))
        try:
            second = backend.start(self.work(unit))
        except Exception:
            second = handle
        assert second["id"] == handle["id"]
        backend.stop(handle)
        backend.clean(handle)

    def test_stopping_and_cleaning_again_is_harmless(self) -> None:
        unit = self.unit({"kind": "bash", "id": "a", "bash": "sleep 30"})
        backend = self.backend()
        handle = backend.start(self.work(unit))
        for _ in range(2):
            backend.stop(handle)
        for _ in range(2):
            backend.clean(handle)
        assert backend.find(self.work(unit)) is None
        assert backend.poll(handle).state in ("lost", "ended")

    def test_tasks_of_a_leg_share_a_folder(self) -> None:
        if not self.shares_folders:
            return
        key = f"{time.time_ns():020x}"
        leg = {"key": key, "keep": False}
        write = self.unit({"kind": "bash", "id": "a", "bash": "echo 42 >number"}, leg=leg)
        read = self.unit({"kind": "bash", "id": "b", "bash": "cat number"}, leg=leg)
        read["identity"] = {**write["identity"], "task_id": "job.other"}
        assert self.run(write)["state"] == "success"
        assert self.run(read)["stages"]["b"]["outputs"].get("stdout") == "42"
        for _ in range(2):
            self.backend().clean_leg(key)
        left = [one.name for one in self.backend().leftovers() if one.identity == write["identity"]]
        assert left == []

    def test_what_a_dead_worker_leaves_can_be_removed(self) -> None:
        unit = self.unit({"kind": "bash", "id": "a", "bash": "sleep 60"})
        backend = self.backend()
        handle = backend.start(self.work(unit))
        if type(backend).leftovers is RemoteBackend.leftovers:
            backend.stop(handle)
            backend.clean(handle)
            return
        swept = backend.sweep(lambda one: one.identity != unit["identity"])
        assert [one.identity for one in swept] == [unit["identity"]]
        assert backend.find(self.work(unit)) is None
        backend.discard(swept[0])
        # A place may take its time to end what it was told to remove.
        until = time.monotonic() + self.seconds_to_stop + backend.grace
        while any(one.identity == unit["identity"] for one in backend.leftovers()):
            assert time.monotonic() < until, "something is left of the work"
            time.sleep(0.2)

    def test_what_is_shown_holds_no_secret(self) -> None:
        contexts = {"secrets": {"TOKEN": "hunter2-hunter2"}}
        spec = {"kind": "bash", "id": "a", "bash": 'echo "$T"', "env": {"T": "${{ secrets.TOKEN }}"}}
        unit = self.unit(spec, contexts=contexts)
        assert "hunter2" not in json.dumps(self.backend().render(self.work(unit)), default=str)
