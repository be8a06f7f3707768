"""A real runner for tests: ``stagecoach runner serve`` as a process on loopback."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = "a-token-of-the-tests-only"


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


class Server:
    """Start it by ``with``; what its jobs leave running is stopped with it.

    :param options: of ``stagecoach runner serve``
    """

    def __init__(self, folder: Path, *options: str, certificate: Path | None = None) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{self.port}"
        self.options = list(options)
        self.certificate = certificate
        if certificate:
            self.options += ["--certificate", str(certificate), "--key", str(certificate.with_suffix(".key"))]
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill(signal.SIGTERM)
        for identity in self.folder.glob("jobs/*/process"):
            try:
                os.killpg(int(identity.read_text().split()[0]), signal.SIGKILL)
            except (OSError, ValueError):
                continue

    def start(self) -> None:
        self.folder.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "airflow_stagecoach.cli.main", "runner", "serve"]
        command += ["--port", str(self.port), "--dir", str(self.folder), *self.options]
        with open(f"{self.folder}.log", "ab") as log:
            self.process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "STAGECOACH_RUNNER_TOKEN": TOKEN},
            )
        until = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"{self.url}/health", timeout=10, context=self._trust()).close()
                return
            except (urllib.error.URLError, OSError):
                assert self.process.poll() is None, self.log()
                assert time.monotonic() < until, self.log()
                time.sleep(0.05)

    def kill(self, number: signal.Signals) -> None:
        """End the runner, not its jobs."""
        if self.process is not None and self.process.poll() is None:
            os.kill(self.process.pid, number)
            self.process.wait(60)

    def log(self) -> str:
        with open(f"{self.folder}.log") as log:
            return log.read()

    def _trust(self) -> ssl.SSLContext | None:
        return ssl.create_default_context(cafile=str(self.certificate)) if self.certificate else None
