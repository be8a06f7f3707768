"""Container images made of what this machine has, because no registry can be reached.

``python`` is the interpreter that runs the tests, with the shared libraries it loads and
busybox as ``/bin/sh``; ``busybox`` is busybox alone: an image without Python.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

PYTHON, BUSYBOX = "stagecoach-test/python:1", "stagecoach-test/busybox:1"

#: Parts of the standard library that no test needs.
_LEFT_OUT = {
    "test",
    "idlelib",
    "ensurepip",
    "lib2to3",
    "pydoc_data",
    "turtledemo",
    "tkinter",
    "site-packages",
}

#: What tells where a Python lies.
_ASK = """
import sys, sysconfig
print("%d.%d" % sys.version_info[:2], sys.base_prefix, sysconfig.get_path("stdlib"), sep="\\n")
"""

PYTHON_CHANGES = [
    "ENV PATH=/usr/local/bin:/usr/bin:/bin",
    "ENV LD_LIBRARY_PATH=/usr/local/lib",
    "ENV PYTHONHOME=/usr/local",
    "ENV LANG=C.UTF-8",
]
BUSYBOX_CHANGES = ["ENV PATH=/bin"]


def busybox_layer(mark: str = "") -> bytes:
    """A root file system with nothing but a shell and its commands.

    :param mark: stands in /etc/mark
    """
    with _Layer() as layer:
        layer.add_shell()
        layer.write("etc/mark", mark)
    return layer.data()


def python_layer(interpreter: str = sys.executable) -> bytes:
    """A root file system with a shell and a Python.

    :param interpreter: of this machine
    """
    asked = [interpreter, "-c", _ASK]
    told = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    version, prefix, library = told.splitlines()
    stdlib = Path(library)
    binary = Path(prefix, "bin", f"python{version}").resolve()
    libraries = _libraries([binary, *stdlib.glob("lib-dynload/*.so")])
    with _Layer() as layer:
        layer.add_shell()
        layer.add(binary, f"usr/local/bin/python{version}")
        layer.link("usr/local/bin/python3", f"python{version}")
        for path in sorted(stdlib.rglob("*")):
            inside = path.relative_to(stdlib)
            left_out = _LEFT_OUT & set(inside.parts) or inside.parts[0].startswith("config-")
            if not left_out and path.is_file():
                layer.add(path, f"usr/local/lib/python{version}/{inside}")
        for path in libraries:
            # The loader itself stays where the binaries name it.
            there = str(path)[1:] if "ld-linux" in path.name else f"usr/local/lib/{path.name}"
            layer.add(path, there)
    return layer.data()


def _libraries(binaries: list[Path]) -> list[Path]:
    """Every shared library that they load."""
    found: dict[str, Path] = {}
    for binary in binaries:
        told = subprocess.run(["ldd", binary], capture_output=True, text=True, check=False).stdout
        for path in re.findall(r"(?:=> |^\t)(/\S+)", told, re.MULTILINE):
            found.setdefault(os.path.basename(path), Path(path))
    # The C library loads it by itself when a thread ends in the middle.
    beside = found["libc.so.6"].with_name("libgcc_s.so.1")
    return [*found.values(), *([beside] if beside.exists() else [])]


class _Layer:
    """A tar archive that is written while the block runs."""

    def __init__(self) -> None:
        self._buffer = io.BytesIO()
        self._tar = tarfile.TarFile(fileobj=self._buffer, mode="w")

    def __enter__(self) -> _Layer:
        for folder, mode in (("tmp", 0o1777), ("etc", 0o755), ("root", 0o700), ("bin", 0o755)):
            info = tarfile.TarInfo(folder)
            info.type, info.mode = tarfile.DIRTYPE, mode
            self._tar.addfile(info)
        self.write("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/tmp:/bin/sh\n")
        self.write("etc/group", "root:x:0:\nuser:x:1000:\n")
        return self

    def __exit__(self, *_: object) -> None:
        self._tar.close()

    def data(self) -> bytes:
        return self._buffer.getvalue()

    def add_shell(self) -> None:
        busybox = Path(shutil.which("busybox") or "/bin/busybox")
        self.add(busybox, "bin/busybox")
        applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout
        for name in applets.split():
            if name != "busybox":
                self.link(f"bin/{name}", "busybox")

    def add(self, path: Path, name: str) -> None:
        info = self._tar.gettarinfo(path.resolve(), name)
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        with path.open("rb") as file:
            self._tar.addfile(info, file)

    def link(self, name: str, target: str) -> None:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = tarfile.SYMTYPE, target
        self._tar.addfile(info)

    def write(self, name: str, text: str) -> None:
        info = tarfile.TarInfo(name)
        info.size = len(text)
        self._tar.addfile(info, io.BytesIO(text.encode()))
