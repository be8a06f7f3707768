"""A whole backend on one page: work runs as a process of its own, in a folder of its own."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from airflow_stagecoach.backends import Handle, Lines, RemoteBackend, Status, Work, unpack_unit
from airflow_stagecoach.backends.detached import Detached
from airflow_stagecoach.backends.ownership import Leftover


class ToyConfig(BaseModel):
    """Settings under ``runs-on: {type: toy, with: ...}``."""

    model_config = ConfigDict(extra="forbid")

    folder: Path = Field(description="where the folders of all work lie")
    niceness: int = Field(0, ge=0, le=19, description="19 gives way to everything else")
    env: dict[str, str] = Field(default_factory=dict, description="environment of the stages")
    ship: list[str] = Field(default_factory=list, description="patterns of files beside the document")


class ToyBackend(RemoteBackend):
    """Runs work in a process that outlives the worker."""

    type: ClassVar[str] = "toy"
    capabilities: ClassVar[frozenset[str]] = frozenset()
    Config: ClassVar[Any] = ToyConfig
    interval: ClassVar[float] = 0.2

    settings: ToyConfig

    # What would be sent, for people.

    def render(self, work: Work) -> dict[str, Any]:
        return {"folder": str(self._folder(work.name)), "command": self._command(work.name)}

    # Starting, and finding what was started.

    def start(self, work: Work) -> Handle:
        folder = self._folder(work.name)
        self.settings.folder.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700)  # fails when this try was started before
        leg = work.unit.get("leg")
        workdir = str(self._folder(f"leg-{leg['key']}")) if leg else None
        unpack_unit(work.unit, folder, workdir=workdir, ship=self.settings.ship)
        (folder / "work.json").write_text(json.dumps({"key": work.key, "identity": work.identity}))
        pid = self._process(work.name).start(self._command(work.name))
        return {"id": str(pid), "name": work.name}

    def find(self, work: Work) -> Handle | None:
        for name, told in self._all():
            pid = self._process(name).pid
            if told["key"] == work.key and pid is not None:
                return {"id": str(pid), "name": name}
        return None

    # Following it.

    def poll(self, handle: Handle) -> Status:
        process = self._process(handle["name"])
        return Status(process.state, exit_code=process.exit_code)

    def logs(self, handle: Handle, position: Any) -> Lines:
        data, position = self._process(handle["name"]).output(position or 0)
        return Lines(data.decode("utf-8", "replace").splitlines(), position)

    def result(self, handle: Handle) -> bytes | None:
        file = self._folder(handle["name"]) / "result.json"
        return file.read_bytes() if file.exists() else None

    # Ending it.

    def stop(self, handle: Handle) -> None:
        self._process(handle["name"]).stop(self.grace)

    def clean(self, handle: Handle) -> None:
        shutil.rmtree(self._folder(handle["name"]), ignore_errors=True)

    def clean_leg(self, key: str) -> None:
        shutil.rmtree(self._folder(f"leg-{key}"), ignore_errors=True)

    # What tasks have left whose worker died.

    def leftovers(self) -> Iterator[Leftover]:
        for name, told in self._all():
            yield Leftover("folder", name, name, told["identity"], shared=False)

    def discard(self, leftover: Leftover) -> None:
        self._process(leftover.name).stop(grace=0)
        shutil.rmtree(self._folder(leftover.name), ignore_errors=True)

    # For `stagecoach backends --check`.

    def check(self) -> str:
        folder = self.settings.folder
        if not os.access(folder, os.W_OK):
            raise OSError(f"the folder {folder} is not there, or not writable")
        return f"the folder {folder} is writable"

    # The place itself.

    def _folder(self, name: str) -> Path:
        return self.settings.folder.resolve() / name

    def _all(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for file in self.settings.folder.glob("*/work.json"):
            yield file.parent.name, json.loads(file.read_text())

    def _process(self, name: str) -> Detached:
        return Detached(str(self._folder(name)))

    def _command(self, name: str) -> list[str]:
        folder = self._folder(name)
        files = [str(folder / file) for file in ("stagecoach.pyz", "unit.json", "result.json")]
        return ["nice", "-n", str(self.settings.niceness), sys.executable, *files]
