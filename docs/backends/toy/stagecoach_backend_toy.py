"""A backend in one page: work runs as a process in a folder."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from airflow_stagecoach.backends import Handle, Lines, RemoteBackend, Status, unpack_unit


class ToyConfig(BaseModel):
    """Settings under ``runs-on: {type: toy, with: ...}``."""

    model_config = ConfigDict(extra="forbid")

    folder: Path
    niceness: int = 0


class ToyBackend(RemoteBackend):
    type = "toy"
    Config = ToyConfig

    def render(self, work):
        return {"folder": str(self._folder(work.name)), "niceness": self.settings.niceness}

    def start(self, work):
        folder = self._folder(work.name)
        folder.mkdir(parents=True)  # fails when this try was started before
        unpack_unit(work.unit, folder)
        Path(folder, "key").write_text(work.key)
        command = f"nice -n {self.settings.niceness} {sys.executable} stagecoach.pyz unit.json result.json"
        process = subprocess.Popen(
            ["sh", "-c", f"echo $$ >pid; {command} >log 2>&1; echo $? >code.part; mv code.part code"],
            cwd=folder,
            start_new_session=True,
        )
        return {"id": str(process.pid), "name": work.name}

    def find(self, work):
        for key in self.settings.folder.glob("*/key"):
            if key.read_text() == work.key:
                return Handle(id=Path(key.parent, "pid").read_text().strip(), name=key.parent.name)
        return None

    def poll(self, handle):
        code = self._folder(handle["name"]) / "code"
        if code.exists():
            return Status("ended", exit_code=int(code.read_text()))
        return Status("running" if Path("/proc", handle["id"]).exists() else "lost")

    def logs(self, handle, position):
        with open(self._folder(handle["name"]) / "log", "rb") as log:
            log.seek(position or 0)
            data = log.read(1_000_000)
        if self.poll(handle).state == "running":
            data = data[: data.rfind(b"\n") + 1]
        return Lines(data.decode(errors="replace").splitlines(), (position or 0) + len(data))

    def result(self, handle):
        result = self._folder(handle["name"]) / "result.json"
        return result.read_bytes() if result.exists() else None

    def stop(self, handle):
        subprocess.run(["pkill", "-TERM", "-s", handle["id"]], check=False)

    def clean(self, handle):
        shutil.rmtree(self._folder(handle["name"]), ignore_errors=True)

    def check(self):
        if not os.access(self.settings.folder, os.W_OK):
            raise OSError(f"{self.settings.folder} is not writable")
        return f"folder {self.settings.folder}"

    def _folder(self, name):
        return self.settings.folder.resolve() / name
