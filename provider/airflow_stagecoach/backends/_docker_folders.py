"""A folder of the worker that goes into a container and comes back, as an archive: nothing is mounted.

The daemon may be on another machine, where the worker's folders are not.
"""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
from typing import TYPE_CHECKING

from airflow_stagecoach.backends._docker_files import get

if TYPE_CHECKING:
    from docker import APIClient


def put_folder(client: APIClient, container: str, folder: str, there: str) -> None:
    """Copy what is in a folder of this machine into one of a container, which is not started yet.

    Any user of the image may change it there. What is neither a file nor a folder nor a link stays here.

    :param folder: may be missing, then nothing is copied
    """
    if not os.path.isdir(folder):
        return
    with tempfile.TemporaryFile() as spool:
        with tarfile.open(fileobj=spool, mode="w") as archive:
            archive.add(folder, ".", filter=_for_anybody)
        spool.seek(0)
        # As a stream: it may be larger than memory.
        client.put_archive(container, there, spool)


def fetch_folder(client: APIClient, container: str, there: str, folder: str) -> None:
    """Let a folder of this machine hold what one of a container holds.

    Links that lead out of it, and devices, are left out.

    :param folder: replaced; left as it is when the container has no such folder
    """
    from docker.errors import NotFound

    parent, name = os.path.dirname(folder), os.path.basename(there)
    os.makedirs(parent, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent, prefix=".fetched-") as fresh:
        try:
            with (
                get(client, f"/containers/{container}/archive", {"path": there}) as response,
                tarfile.open(fileobj=response.raw, mode="r|") as archive,
            ):
                for member in archive:
                    archive.extract(member, fresh, filter=_harmless)
        except NotFound:
            return
        if os.path.isdir(folder):
            os.rename(folder, os.path.join(fresh, ".before"))
        os.rename(os.path.join(fresh, name), folder)
        shutil.rmtree(os.path.join(fresh, ".before"), ignore_errors=True)


def _for_anybody(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
    if not (info.isfile() or info.isdir() or info.issym() or info.islnk()):
        return None
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mode |= 0o777 if info.isdir() else 0o666
    return info


def _harmless(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo | None:
    try:
        return tarfile.data_filter(member, path)
    except tarfile.FilterError:
        return None
