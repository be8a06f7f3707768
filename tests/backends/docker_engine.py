"""A Docker engine of the tests' own: its socket and data in a folder, nothing of the machine's touched."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.backends import images

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def why_not() -> str | None:
    """Why no engine can run here; ``None`` when it can."""
    if os.getuid() != 0:
        return "needs root"
    if shutil.which("dockerd", path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None:
        return "needs the Docker engine (docker.io)"
    if shutil.which("busybox") is None:
        return "needs busybox (busybox-static)"
    try:
        import docker  # noqa: F401  # only whether it is there
    except ImportError:
        return "needs apache-airflow-providers-docker"
    return None


class DockerEngine:
    """Start it by ``with``; has the images of :mod:`tests.backends.images`.

    :param folder: for its data; its path is short, because the socket stands in it
    :param options: of dockerd, beside our own
    """

    def __init__(self, folder: Path, options: Sequence[str] = ()) -> None:
        self.folder = folder
        self.options = options
        self.url = f"unix://{folder}/docker.sock"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> DockerEngine:
        try:
            self.start()
        except RuntimeError as error:
            # A machine where containers are forbidden, say. That it stops answering later is no skip.
            self.stop()
            shutil.rmtree(self.folder, ignore_errors=True)
            pytest.skip(f"no Docker engine starts here: {error}")
        self.client.import_image_from_data(
            images.busybox_layer(), *images.BUSYBOX.split(":"), changes=images.BUSYBOX_CHANGES
        )
        self.client.import_image_from_data(
            images.python_layer(), *images.PYTHON.split(":"), changes=images.PYTHON_CHANGES
        )
        return self

    def __exit__(self, *_: object) -> None:
        for container in self.client.containers(all=True):
            self.client.remove_container(container["Id"], force=True, v=True)
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def client(self) -> Any:
        """The engine's API."""
        import docker

        return docker.APIClient(base_url=self.url, timeout=120)

    def start(self) -> None:
        """Start the daemon, or start it again.

        :raises RuntimeError: it does not answer
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
        command = [str(shutil.which("dockerd", path=path)), "-H", self.url]
        command += ["--data-root", f"{self.folder}/data", "--exec-root", f"{self.folder}/exec"]
        command += ["--pidfile", f"{self.folder}/dockerd.pid", "--host-gateway-ip=127.0.0.1"]
        # No bridge and no rules: the network of the machine stays as it is.
        command += ["--iptables=false", "--ip6tables=false", "--bridge=none", *self.options]
        with open(self.folder / "log", "ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True, env={**os.environ, "PATH": path}
            )
        until = time.monotonic() + 60
        while time.monotonic() < until and self._process.poll() is None:
            try:
                if self.client.ping():
                    return
            except Exception:
                time.sleep(0.1)
        raise RuntimeError(f"dockerd does not answer: {(self.folder / 'log').read_text()[-2000:]}")

    def stop(self) -> None:
        """Stop the daemon and its containers, and wait for its end."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait(10)

    def containers(self) -> list[dict[str, Any]]:
        """Every container there is, ended ones too."""
        found: list[dict[str, Any]] = self.client.containers(all=True)
        return found
