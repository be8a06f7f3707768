"""Starts and stops a Kubernetes cluster of the tests' own.

By hand, ``python -m tests.backends.cluster.cluster`` starts one, prints the path of its kubeconfig, and stops it on
Ctrl-C.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import os
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.backends import images
from tests.backends.cluster import configuration
from tests.backends.cluster.image_archive import Image, write_archive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).resolve().parent

PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet")

#: Program -> what brings it.
TOOLS = {
    "etcd": "etcd-server",
    "containerd": "containerd",
    "ctr": "containerd",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "mount": "mount",
    "ip": "iproute2",
    "openssl": "openssl",
    "busybox": "busybox-static",
}

#: Seconds until each step has to be done: some on a quiet machine.
PATIENCE = 180.0

#: Seconds for which a build that runs is waited for.
BUILD_PATIENCE = 1200.0

#: Runs until its standard input ends, as the namespaces do, then removes what the kernel does not. It is in a session of
#: its own, so that it hears nothing of signals to the tests.
_KEEPER = """
unshare --mount --net --pid --fork --kill-child --mount-proc "$1" "$2" "$3"
exec >/dev/null 2>&1
cat
for task in "$3"/containerd-state/io.containerd.runtime.v2.task/k8s.io/*; do
    rmdir /sys/fs/cgroup/*/k8s.io/"${task##*/}"
done
rmdir /sys/fs/cgroup/*/k8s.io
rm -rf "$3"
"""


def build_folder() -> Path:
    """Where ``build.sh`` puts the programs."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "stagecoach" / "kubernetes-1.20.2"


def why_not() -> str | None:
    """Why no cluster can run here; ``None`` when it can. Waits for a build that runs."""
    if sys.platform != "linux" or os.getuid() != 0:
        return "needs root on Linux"
    try:
        import kubernetes  # noqa: F401  # only whether it is there
    except ImportError:
        return "needs apache-airflow-providers-cncf-kubernetes"
    folder = build_folder()
    if not _is_built(folder) and not _wait_for_build(folder):
        return f"the build of Kubernetes has not ended within {BUILD_PATIENCE:.0f} s"
    if not _is_built(folder):
        failed = folder.with_name(f"{folder.name}.failed")
        why = failed.read_text().strip() if failed.exists() else "tests/backends/cluster/build.sh does it"
        return f"Kubernetes is not built: {why}"
    path = _search_path()
    missing = {package for program, package in TOOLS.items() if shutil.which(program, path=path) is None}
    if not Path(configuration.NETWORK_PLUGINS, "bridge").exists():
        missing.add("containernetworking-plugins")
    return f"needs {', '.join(sorted(missing))}" if missing else None


def _is_built(folder: Path) -> bool:
    return all(os.access(folder / "bin" / program, os.X_OK) for program in PROGRAMS)


def _wait_for_build(folder: Path) -> bool:
    """Wait until nobody builds: whoever does holds the lock.

    :return: whether it has ended in time
    """
    lock = folder.with_name(f"{folder.name}.lock")
    if not lock.exists():
        return True
    until = time.monotonic() + BUILD_PATIENCE
    with lock.open() as file:
        while time.monotonic() < until:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                time.sleep(2)
            else:
                return True
    return False


def _search_path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


class Cluster:
    """Start it by ``with``; one node, with the images of :mod:`tests.backends.images`.

    :param programs: folder of what :func:`build_folder` holds
    :ivar kubeconfig: of one who may do everything
    :raises RuntimeError: it does not start
    """

    def __init__(self, programs: Path | None = None) -> None:
        self.programs = (programs or build_folder()) / "bin"
        # Not the folder of pytest, and not below /var: sockets have short paths, and /var is covered in there.
        self.folder = Path(tempfile.mkdtemp(prefix="sc-kubernetes-", dir="/tmp"))
        self.kubeconfig = str(self.folder / "kubeconfig")
        self._tokens = {"admin": (secrets.token_hex(16), "system:masters")}
        self._tokens["nobody"] = (secrets.token_hex(16), "strangers")
        self._listener: socket.socket | None = None
        self._keeper: subprocess.Popen[bytes] | None = None
        self._init = 0
        self._parts: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Cluster:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # -- starting and stopping --------------------------------------------------------------

    def start(self) -> None:
        """Start every part, in the order in which they need each other."""
        configuration.write_credentials(self.folder, self._tokens)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        self.kubeconfig = self.kubeconfig_of("admin")
        certificate, (token, _) = self.folder / "api.crt", self._tokens["admin"]
        server = f"https://127.0.0.1:{configuration.API[1]}"
        configuration.write_kubeconfig(self.folder / "inner.kubeconfig", server, certificate, token)
        (self.folder / "log").mkdir()
        self._enter()
        self._part("etcd", configuration.etcd(self.folder))
        self._part("containerd", configuration.containerd(self.folder))
        self.connect()
        self._part("apiserver", configuration.apiserver(self.programs, self.folder))
        self._import_images()
        self._wait("the API is not ready", lambda: self._get("/readyz") == b"ok")
        self._part("controllers", configuration.controller_manager(self.programs, self.folder))
        self._part("scheduler", configuration.scheduler(self.programs, self.folder))
        self._part("kubelet", configuration.kubelet(self.programs, self.folder))
        self._wait("the node is not ready", self._node_is_ready)
        self._wait("there is no service account", lambda: self._has_account("default"))

    def stop(self) -> None:
        """Stop everything and remove what it has written."""
        if self._listener is not None:
            self._listener.close()
        if self._keeper is None:
            shutil.rmtree(self.folder, ignore_errors=True)
            return
        assert self._keeper.stdin is not None
        self._keeper.stdin.close()
        self._keeper.wait(120)
        for part in self._parts.values():
            part.wait(30)

    def _enter(self) -> None:
        """Make the namespaces."""
        with (self.folder / "log" / "init").open("wb") as log:
            self._keeper = subprocess.Popen(
                ["/bin/sh", "-c", _KEEPER, "sh", sys.executable, str(HERE / "init.py"), str(self.folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self._environment(),
                start_new_session=True,
            )
        assert self._keeper.stdout is not None
        if self._keeper.stdout.readline() != b"ready\n":
            raise RuntimeError(f"namespaces cannot be made: {self._log('init')}")
        self._init = _child_of(_child_of(self._keeper.pid))

    def _part(self, name: str, command: list[str], descriptors: tuple[int, ...] = ()) -> None:
        """Start one program in the namespaces."""
        with (self.folder / "log" / name).open("ab") as log:
            self._parts[name] = subprocess.Popen(
                [*self._inside(), *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment(),
                pass_fds=descriptors,
                start_new_session=True,
            )

    def _inside(self) -> list[str]:
        return ["nsenter", f"--target={self._init}", "--mount", "--net", "--pid", "--"]

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "PATH": _search_path(), "TMPDIR": str(self.folder)}

    def _import_images(self) -> None:
        archive = self.folder / "images.tar"
        shell, python = images.busybox_layer(), images.python_layer()
        env = [change.removeprefix("ENV ") for change in images.BUSYBOX_CHANGES]
        python_env = [change.removeprefix("ENV ") for change in images.PYTHON_CHANGES]
        write_archive(
            archive,
            [
                Image(configuration.PAUSE, shell, env, ["/bin/sleep", "1000000000"]),
                Image(images.BUSYBOX, shell, env, ["/bin/sh"]),
                Image(images.PYTHON, python, python_env, ["python3"]),
            ],
        )
        self._wait("containerd does not answer", lambda: self._ctr("version").returncode == 0)
        done = self._ctr("--namespace=k8s.io", "images", "import", str(archive))
        archive.unlink()
        if done.returncode:
            raise RuntimeError(f"the images cannot be imported: {done.stderr}")

    def _ctr(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*self._inside(), "ctr", f"--address={self.folder}/containerd.sock", *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE, check=False, env=self._environment()
        )

    def _node_is_ready(self) -> bool:
        node = json.loads(self._get(f"/api/v1/nodes/{configuration.NODE}"))
        ready = {one["type"]: one["status"] for one in node["status"].get("conditions", ())}.get("Ready")
        return ready == "True" and not node["spec"].get("taints")

    def _has_account(self, namespace: str) -> bool:
        account = json.loads(self._get(f"/api/v1/namespaces/{namespace}/serviceaccounts/default"))
        return bool(account.get("secrets"))

    def _get(self, path: str) -> bytes:
        """Ask the API, once."""
        request = urllib.request.Request(self.url + path)
        request.add_header("Authorization", f"Bearer {self._tokens['admin'][0]}")
        context = ssl.create_default_context(cafile=self.folder / "api.crt")
        handlers = (urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
        opener = urllib.request.build_opener(*handlers)
        with opener.open(request, timeout=10) as answer:
            found: bytes = answer.read()
            return found

    def _wait(self, complaint: str, look: Callable[[], bool]) -> None:
        until = time.monotonic() + PATIENCE
        why = ""
        while time.monotonic() < until:
            for name, part in self._parts.items():
                if part.poll() is not None:
                    raise RuntimeError(f"{name} has ended: {self._log(name)}")
            try:
                if look():
                    return
            except Exception as error:
                why = str(error)
            time.sleep(0.2)
        raise RuntimeError(f"{complaint} after {PATIENCE:.0f} s: {why}")

    def _log(self, name: str) -> str:
        """The end of what a part has printed."""
        return (self.folder / "log" / name).read_text(errors="replace")[-3000:]

    # -- for tests --------------------------------------------------------------------------

    def kubeconfig_of(self, user: str, *, token: str | None = None, server: str | None = None) -> str:
        """The path of a kubeconfig.

        :param user: ``admin``, or ``nobody``, who may do nothing unless a role says so
        :param token: another than that user's
        :param server: another address than the cluster's
        """
        path = self.folder / f"kubeconfig-{secrets.token_hex(4)}"
        token = self._tokens[user][0] if token is None else token
        configuration.write_kubeconfig(path, server or self.url, self.folder / "api.crt", token)
        return str(path)

    @functools.cached_property
    def core(self) -> Any:
        """Pods, secrets, namespaces: a ``CoreV1Api`` of the admin."""
        return self.api("CoreV1Api")

    @functools.cached_property
    def batch(self) -> Any:
        """Jobs: a ``BatchV1Api`` of the admin."""
        return self.api("BatchV1Api")

    def api(self, name: str) -> Any:
        """A class of the SDK, for the admin."""
        from kubernetes import client, config

        return getattr(client, name)(config.new_client_from_config(self.kubeconfig))

    def make_namespace(self, name: str) -> str:
        """Make a namespace in which pods can start."""
        self.core.create_namespace({"metadata": {"name": name}})
        self._wait(f"{name} has no service account", lambda: self._has_account(name))
        return name

    def left(self, namespace: str) -> list[str]:
        """What a backend has made there and not removed; waits a little for what is being ended."""
        until = time.monotonic() + 60
        lists = (
            self.core.list_namespaced_pod,
            self.core.list_namespaced_secret,
            self.batch.list_namespaced_job,
        )
        while True:
            found = [one for make in lists for one in make(namespace, label_selector="stagecoach.key").items]
            if not found or time.monotonic() > until:
                return [f"{type(one).__name__} {one.metadata.name}" for one in found]
            time.sleep(0.5)

    @contextlib.contextmanager
    def counting(self, namespace: str) -> Iterator[Counter[str]]:
        """Count the pods that are made in a namespace while the block runs, by the label of their task."""
        from kubernetes.watch import Watch

        made: Counter[str] = Counter()
        watch = Watch()
        since = self.core.list_namespaced_pod(namespace).metadata.resource_version

        def follow() -> None:
            # It ends with the block, or with a connection that is broken on purpose.
            with contextlib.suppress(Exception):
                for event in watch.stream(self.core.list_namespaced_pod, namespace, resource_version=since):
                    if event["type"] == "ADDED":
                        made[(event["object"].metadata.labels or {}).get("stagecoach.task", "")] += 1

        threading.Thread(target=follow, daemon=True).start()
        yield made
        watch.stop()

    def serve(self, name: str, command: list[str]) -> None:
        """Run a program beside the cluster, in its network."""
        self._part(name, command)

    def connect(self) -> None:
        """Let the machine reach the API."""
        assert self._listener is not None
        host, port = configuration.API
        descriptor = self._listener.fileno()
        command = [sys.executable, str(HERE / "relay.py"), str(descriptor), host, str(port)]
        self._part("relay", command, (descriptor,))

    @contextlib.contextmanager
    def disconnected(self) -> Iterator[None]:
        """While the block runs connections break, and new ones get no answer."""
        relay = self._parts.pop("relay")
        os.kill(_child_of(relay.pid), signal.SIGKILL)
        relay.wait(30)
        try:
            yield
        finally:
            self.connect()


def _child_of(pid: int) -> int:
    """The only child of a process."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                if int(fields[1]) == pid:
                    return int(folder.name)
        time.sleep(0.1)
    raise RuntimeError(f"process {pid} has no child")


def main() -> None:
    """Run a cluster until Ctrl-C or SIGTERM."""
    reason = why_not()
    if reason is not None:
        raise SystemExit(reason)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with Cluster() as cluster:
        print(cluster.kubeconfig, flush=True)
        ended.wait()


if __name__ == "__main__":
    main()
