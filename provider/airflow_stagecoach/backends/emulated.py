"""``runs-on: {type: ..., emulate: true}``: what would travel to a backend, run on this machine.

The same zip app, unit and environment as in a container, but in a process of its
own and a folder of its own, so that an author can try a document without the
place that it is for. Nothing of the worker's environment is there but ``PATH``,
``HOME`` and the language.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from glob import escape, glob
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_stagecoach.backends.remote import RemoteBackend
from airflow_stagecoach.backends.shipment import unpack_unit
from airflow_stagecoach.backends.work import Handle, Lines, Status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_stagecoach.backends.work import Work

#: What the process has of the worker's environment.
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ")

#: Its exit code is written last: who sees it knows that the log is complete.
_SCRIPT = '"$0" stagecoach.pyz unit.json result.json >log 2>&1; echo $? >exit.part; mv exit.part exit'

_CHUNK = 1024 * 1024


class EmulatedBackend(RemoteBackend):
    """Runs work in a process that outlives the worker, as a container would.

    :param emulates: the type that the document names
    :param settings: the checked settings of that backend; ``ship`` counts here too
    :param folder: where the folders of all work lie
    """

    type: ClassVar[str] = "emulated"
    interval: ClassVar[float] = 0.2

    def __init__(
        self,
        config: dict[str, Any] | None = None,
        *,
        emulates: str = "emulated",
        settings: Any = None,
        folder: str | None = None,
    ) -> None:
        super().__init__(config)
        self._emulates = emulates
        self._ship = getattr(settings, "ship", ())
        self._base = folder or os.path.join(tempfile.gettempdir(), f"stagecoach-{os.getuid()}", "emulated")

    def render(self, work: Work) -> Mapping[str, Any]:
        command = [sys.executable, "stagecoach.pyz", "unit.json", "result.json"]
        return {"emulates": self._emulates, "command": command, "name": work.name}

    def start(self, work: Work) -> Handle:
        os.makedirs(self._base, mode=0o700, exist_ok=True)
        folder = os.path.join(self._base, work.name)
        os.mkdir(folder, 0o700)  # fails when this try was started before
        unpack_unit(work.unit, folder, ship=self._ship)
        process = subprocess.Popen(  # noqa: S603  # our own engine, by the interpreter that runs this
            ["/bin/sh", "-c", _SCRIPT, sys.executable],
            cwd=folder,
            env={name: os.environ[name] for name in _INHERITED if name in os.environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        born = _born(process.pid)
        _write(os.path.join(folder, "process"), json.dumps([process.pid, born]))
        return {"id": str(process.pid), "name": work.name}

    def find(self, work: Work) -> Handle | None:
        folders = glob(os.path.join(escape(self._base), f"*-{work.key[:10]}-t*"))
        for folder in sorted(folders, key=os.path.getmtime, reverse=True):
            process = _read_json(os.path.join(folder, "process"))
            if process is not None:
                return {"id": str(process[0]), "name": os.path.basename(folder)}
        return None

    def poll(self, handle: Handle) -> Status:
        try:
            with open(self._path(handle, "exit"), encoding="ascii") as file:
                return Status("ended", exit_code=int(file.read()))
        except FileNotFoundError:
            pass
        if self._alive(handle):
            return Status("running")
        # It may have ended between the two looks.
        return self.poll(handle) if os.path.exists(self._path(handle, "exit")) else Status("lost")

    def logs(self, handle: Handle, position: Any) -> Lines:
        start = int(position or 0)
        complete = os.path.exists(self._path(handle, "exit"))
        try:
            with open(self._path(handle, "log"), "rb") as file:
                file.seek(start)
                data = file.read(_CHUNK)
        except FileNotFoundError:
            return Lines([], position)
        if not complete or (len(data) == _CHUNK and b"\n" in data):
            data = data[: data.rfind(b"\n") + 1]
        return Lines(data.decode("utf-8", "replace").splitlines(), start + len(data))

    def result(self, handle: Handle) -> bytes | None:
        try:
            with open(self._path(handle, "result.json"), "rb") as file:
                return file.read()
        except FileNotFoundError:
            return None

    def stop(self, handle: Handle) -> None:
        until = time.monotonic() + self.grace
        number = signal.SIGTERM
        while self._alive(handle):
            try:
                os.killpg(int(handle["id"]), number)
            except ProcessLookupError:
                return
            if time.monotonic() > until:
                number = signal.SIGKILL
            time.sleep(0.1)

    def clean(self, handle: Handle) -> None:
        shutil.rmtree(self._path(handle), ignore_errors=True)

    def _path(self, handle: Handle, *names: str) -> str:
        return os.path.join(self._base, handle["name"], *names)

    def _alive(self, handle: Handle) -> bool:
        process = _read_json(self._path(handle, "process"))
        if process is None:
            return False
        pid, born = process
        return born is not None and _born(pid) == born


def _born(pid: int) -> str | None:
    """When a living process was started, in the kernel's count; tells two with one pid apart."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            state, *fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state == "Z" else fields[18]


def _write(path: str, text: str) -> None:
    part = f"{path}.part"
    with open(part, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(part, path)


def _read_json(path: str) -> Any:
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError):
        return None
