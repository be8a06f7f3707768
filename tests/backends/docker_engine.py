"""A Docker engine of the tests' own: its socket and data in a folder, nothing of the machine's touched.

Where the machine lets it, the engine lives in a network namespace of its own. Only there it may make
networks: bridges and rules are then those of the namespace, which goes with the engine.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
import uuid
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
    :param isolated: whether it lives in a network namespace of its own, where it does not reach the loopback
    :ivar namespace: name of its network namespace; ``None`` where it has none, and containers no networks
    """

    def __init__(self, folder: Path, options: Sequence[str] = (), *, isolated: bool = True) -> None:
        self.folder = folder
        self.options = options
        self.isolated = isolated
        self.url = f"unix://{folder}/docker.sock"
        self.namespace: str | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._started: list[dict[str, str]] = []

    def __enter__(self) -> DockerEngine:
        self.namespace = _new_namespace() if self.isolated else None
        try:
            try:
                self.start()
            except RuntimeError:
                if self.namespace is None:
                    raise
                self._leave_namespace()
                self.start()
        except RuntimeError as error:
            # A machine where containers are forbidden, say. That it stops answering later is no skip.
            self._remove()
            pytest.skip(f"no Docker engine starts here: {error}")
        threading.Thread(target=self._watch, daemon=True).start()
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
        self._remove()

    def _remove(self) -> None:
        self._leave_namespace()
        # What a daemon leaves that was killed, or that lets its containers go on.
        with open("/proc/mounts", encoding="utf-8") as mounts:
            left = [line.split()[1] for line in mounts if f" {self.folder}/" in line]
        for path in reversed(left):
            subprocess.run(["umount", "-l", path], capture_output=True, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _leave_namespace(self) -> None:
        self.stop()
        if self.namespace is not None:
            _ip("netns", "delete", self.namespace)
            self.namespace = None

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
        # No bridge, and without a namespace no rules: the network of the machine stays as it is.
        command += ["--ip6tables=false", "--bridge=none", *self.options]
        if self.namespace is None:
            command += ["--iptables=false"]
        else:
            # `ip netns exec` would mount another /sys, and the control groups would be gone.
            command = ["nsenter", f"--net=/run/netns/{self.namespace}", *command]
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

    @property
    def pid(self) -> int:
        """Of the daemon's process."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """End the daemon at once, as a crash does; its containers go on, if it was told to let them."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(10)
        # Its containerd ends with it. Where nobody reaps that, a next daemon would take it for a living one.
        (self.folder / "exec/containerd/containerd.pid").unlink(missing_ok=True)

    def need_networks(self) -> None:
        """Skip the test where containers can have no networks."""
        if self.namespace is None:
            pytest.skip("no network namespace can be made here, so containers have no networks")

    def networks(self) -> list[str]:
        """Names of the networks that somebody made."""
        found = self.client.networks(filters={"type": "custom"})
        return [network["Name"] for network in found]

    def starts(self, label: str) -> list[dict[str, str]]:
        """Name and labels of containers with a label, ``KEY`` or ``KEY=VALUE``: one for each time that one started."""
        key, _, value = label.partition("=")
        return [one for one in list(self._started) if key in one and value in ("", one[key])]

    def _watch(self) -> None:
        """Note every start. The engine itself keeps 256 events, and a check of a container's health is three."""
        filters = {"type": "container", "event": "start"}
        # Until the engine is stopped.
        with contextlib.suppress(Exception):
            client = self.client
            client.timeout = None
            for event in client.events(filters=filters, decode=True):
                self._started.append(event["Actor"]["Attributes"])

    def containers(self) -> list[dict[str, Any]]:
        """Every container there is, ended ones too."""
        found: list[dict[str, Any]] = self.client.containers(all=True)
        return found


def _new_namespace() -> str | None:
    """Make a network namespace; ``None`` where that cannot be."""
    name = f"sc-docker-{uuid.uuid4().hex[:12]}"
    if shutil.which("nsenter") is None or not _ip("netns", "add", name):
        return None
    if not _ip("-n", name, "link", "set", "lo", "up"):
        _ip("netns", "delete", name)
        return None
    return name


def _ip(*arguments: str) -> bool:
    """Run ``ip``; whether it worked."""
    command = shutil.which("ip", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if command is None:
        return False
    return subprocess.run([command, *arguments], capture_output=True, check=False).returncode == 0
