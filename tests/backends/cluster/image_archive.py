"""Images as one archive that containerd imports: made of layers, without a daemon and without a registry."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class Image(NamedTuple):
    """An image of one layer.

    :ivar layer: a tar archive
    :ivar env: ``NAME=value``
    """

    name: str
    layer: bytes
    env: Sequence[str] = ()
    command: Sequence[str] = ()


def write_archive(path: Path, images: Iterable[Image]) -> None:
    """Write an archive in the form of ``docker save``."""
    manifest = []
    with tarfile.open(path, "w") as archive:

        def add(name: str, data: bytes) -> None:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))

        written = set()
        for image in images:
            digest = hashlib.sha256(image.layer).hexdigest()
            layer = f"{digest}/layer.tar"
            if layer not in written:
                add(layer, image.layer)
                written.add(layer)
            config = json.dumps(_config(image, digest)).encode()
            config_name = f"{hashlib.sha256(config).hexdigest()}.json"
            add(config_name, config)
            manifest.append({"Config": config_name, "RepoTags": [image.name], "Layers": [layer]})
        add("manifest.json", json.dumps(manifest).encode())


def _config(image: Image, digest: str) -> dict[str, object]:
    made = "2026-01-01T00:00:00Z"
    machine = platform.machine()
    return {
        "architecture": _ARCHITECTURES.get(machine, machine),
        "os": "linux",
        "created": made,
        "config": {"Env": list(image.env), "Cmd": list(image.command)},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        "history": [{"created": made, "created_by": "tests"}],
    }
