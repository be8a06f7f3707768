"""``runs-on: {type: ..., emulate: true}``: what would travel to a backend, run on this machine.

The same zip app, unit and environment as in a container, but in a process of its
own and a folder of its own, so that an author can try a document without the
place that it is for. Nothing of the worker's environment is there but ``PATH``,
``HOME`` and the language.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import tempfile
from glob import escape, glob
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_stagecoach.backends.detached import Detached
from airflow_stagecoach.backends.ownership import Leftover, owner, owner_labels
from airflow_stagecoach.backends.remote import RemoteBackend
from airflow_stagecoach.backends.shipment import unpack_unit
from airflow_stagecoach.backends.work import Handle, Lines, Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_stagecoach.backends.work import Work

#: Of the interpreter, in the folder of the work.
_ARGUMENTS = ("stagecoach.pyz", "unit.json", "result.json")

#: Whose work it is: the first file that its folder gets, for whoever sweeps.
_OWNER = "owner.json"


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
        return {"emulates": self._emulates, "command": self._command(work.name), "name": work.name}

    def start(self, work: Work) -> Handle:
        os.makedirs(self._base, mode=0o700, exist_ok=True)
        folder = os.path.join(self._base, work.name)
        if not os.path.exists(os.path.join(folder, "claimed")):
            # Whoever made it died before the start.
            shutil.rmtree(folder, ignore_errors=True)
        os.mkdir(folder, 0o700)  # fails when this try was started before
        _write(os.path.join(folder, _OWNER), owner_labels(work.identity))
        leg = work.unit.get("leg")
        workdir = None if leg is None else self._folder_of_leg(leg["key"])
        if workdir is not None and leg is not None and not leg["keep"]:
            _write(f"{workdir}.owner", owner_labels(work.identity))
        try:
            unpack_unit(work.unit, folder, workdir=workdir, ship=self._ship)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        pid = Detached(folder).start(self._command(work.name))
        return {"id": str(pid), "name": work.name}

    def find(self, work: Work) -> Handle | None:
        folders = glob(os.path.join(escape(self._base), f"*-{work.key[:10]}-t*"))
        for folder in sorted(folders, key=os.path.getmtime, reverse=True):
            pid = Detached(folder).pid
            if pid is not None:
                return {"id": str(pid), "name": os.path.basename(folder)}
        return None

    def poll(self, handle: Handle) -> Status:
        process = self._process(handle)
        return Status(process.state, exit_code=process.exit_code)

    def logs(self, handle: Handle, position: Any) -> Lines:
        data, position = self._process(handle).output(int(position or 0))
        return Lines(data.decode("utf-8", "replace").splitlines(), position)

    def result(self, handle: Handle) -> bytes | None:
        try:
            with open(self._process(handle).path("result.json"), "rb") as file:
                return file.read()
        except FileNotFoundError:
            return None

    def stop(self, handle: Handle) -> None:
        self._process(handle).stop(self.grace)

    def clean(self, handle: Handle) -> None:
        shutil.rmtree(self._process(handle).folder, ignore_errors=True)

    def clean_leg(self, key: str) -> None:
        self._remove_shared(self._folder_of_leg(key))

    def leg_name(self, key: str) -> str:
        return f"folder {self._folder_of_leg(key)}"

    def leftovers(self) -> Iterator[Leftover]:
        for path in glob(os.path.join(escape(self._base), "*", _OWNER)):
            name, identity = os.path.basename(os.path.dirname(path)), owner(_read(path))
            if identity is not None:
                yield Leftover("process", name, name, identity, shared=False)
        for path in glob(os.path.join(escape(self._base), "leg-*.owner")):
            folder, identity = path.removesuffix(".owner"), owner(_read(path))
            if identity is not None:
                yield Leftover("folder", folder, os.path.basename(folder), identity, shared=True)

    def discard(self, leftover: Leftover) -> None:
        if leftover.shared:
            self._remove_shared(leftover.id)
            return
        process = Detached(os.path.join(self._base, leftover.id))
        process.stop(0)
        shutil.rmtree(process.folder, ignore_errors=True)

    def _remove_shared(self, folder: str) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            os.remove(f"{folder}.owner")

    def _folder_of_leg(self, key: str) -> str:
        return os.path.join(self._base, f"leg-{key}")

    def _command(self, name: str) -> list[str]:
        folder = os.path.join(self._base, name)
        return [sys.executable, *(os.path.join(folder, file) for file in _ARGUMENTS)]

    def _process(self, handle: Handle) -> Detached:
        return Detached(os.path.join(self._base, handle["name"]))


def _write(path: str, value: Any) -> None:
    with open(path, "w", encoding="utf-8") as file:
        json.dump(value, file)


def _read(path: str) -> Any:
    """What a JSON file holds, ``None`` when it is gone or damaged."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError):
        return None
