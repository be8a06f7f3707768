"""Process 1 of the cluster's namespaces: network, mounts and processes of its own.

It prepares them, says ``ready``, collects whoever ends there, and ends with its standard input, which whoever
started it holds open. The kernel then ends every other process in there; mounts and network devices go with them. So
nothing of a cluster outlives the tests, whatever becomes of those.

    unshare --mount --net --pid --fork --kill-child --mount-proc python init.py FOLDER
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

#: Of the node, in a network that nobody else sees.
ADDRESS = "10.99.0.1"

#: Settings of the kernel, thus of the whole machine, that a kubelet writes.
_TUNABLES = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)


def prepare(folder: Path) -> None:
    """Mount and configure what the cluster's programs expect on a node.

    :raises subprocess.CalledProcessError: it is not allowed here
    """
    (folder / "kernel").mkdir()
    for name in _TUNABLES:
        setting, ours = Path("/proc/sys", name), folder / "kernel" / Path(name).name
        ours.write_text(setting.read_text())
        _run("mount", "--bind", str(ours), str(setting))
    for name in ("var", "var.work"):
        (folder / name).mkdir()
    # Sockets, logs and leases stand at paths that no option changes: they are not written to the machine's own.
    _run("mount", "-t", "tmpfs", "tmpfs", "/run")
    layers = f"lowerdir=/var,upperdir={folder}/var,workdir={folder}/var.work"
    _run("mount", "-t", "overlay", "overlay", "-o", layers, "/var")
    _run("ip", "link", "set", "lo", "up")
    # A bridge without ports, because not every kernel has `dummy` devices.
    _run("ip", "link", "add", "node0", "type", "bridge")
    _run("ip", "addr", "add", f"{ADDRESS}/24", "dev", "node0")
    _run("ip", "link", "set", "node0", "up")
    _run("ip", "route", "add", "default", "dev", "node0")


def _run(*command: str) -> None:
    subprocess.run(command, check=True)


def _collect(*_: object) -> None:
    """Take note of processes whose parents have ended before them."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


if __name__ == "__main__":
    prepare(Path(sys.argv[1]))
    signal.signal(signal.SIGCHLD, _collect)
    print("ready", flush=True)
    while sys.stdin.buffer.read(1):
        pass
