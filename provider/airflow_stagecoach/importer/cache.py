"""Plans kept by content, so that a version of a document is checked once on a machine.

An entry is one file, named after everything that its content depends on (see
``cache_key``), so an entry is never out of date and never changed: processes
need no locks. A reader sees an entry whole or not at all (it is written beside
and renamed), and checks its digest, so a damaged one is a miss. Without a
usable folder everything works, only slower.

The folder is private to its user. Somebody who could write there could put
tasks into DAGs, so a folder that others own or may write to is not used.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

from airflow_stagecoach import __version__
from airflow_stagecoach.document.plan import PLAN_FORMAT

#: Entries unused since they were written, in seconds: 30 days.
MAX_AGE = 30 * 24 * 3600
#: More entries than this: the oldest go first.
MAX_ENTRIES = 10_000
#: Seconds between two clean-ups of one folder, by whichever process writes then.
CLEAN_UP_INTERVAL = 3600

_STAMP = ".cleaned"


class PlanCache:
    """A folder of JSON entries. ``None`` as folder: nothing is found and nothing is kept."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._trusted: bool | None = None

    def get(self, key: str) -> dict[str, Any] | None:
        """Give the entry of ``key``, or None when there is none that can be read and trusted."""
        if self.folder is None or not self._is_trusted():
            return None
        try:
            data = self._entry(key).read_bytes()
        except OSError:
            return None
        digest, _, body = data.partition(b"\n")
        if digest != hashlib.sha256(body).hexdigest().encode():
            return None
        entry = json.loads(body)
        return entry if isinstance(entry, dict) else None

    def put(self, key: str, entry: dict[str, Any]) -> None:
        """Keep a JSON-able entry. A folder that cannot be written to is no error."""
        body = json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode()
        self.write(self._relative(key), hashlib.sha256(body).hexdigest().encode() + b"\n" + body)

    def write(self, relative: str, data: bytes) -> bool:
        """Write a file of the folder in one step, readable by its user only; tell whether it stands."""
        if self.folder is None:
            return False
        target = self.folder / relative
        temporary = ""
        try:
            # makedirs gives the mode to the last folder only, and the first is the one that counts.
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self._is_trusted():
                return False
            target.parent.mkdir(mode=0o700, exist_ok=True)
            # mkstemp creates with mode 0600.
            descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=".new-")
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            os.replace(temporary, target)
        except OSError:
            if temporary:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
            return False
        self._clean_up_now_and_then()
        return True

    def read(self, relative: str) -> bytes | None:
        """Read a file of the folder, or give None."""
        if self.folder is None or not self._is_trusted():
            return None
        try:
            return (self.folder / relative).read_bytes()
        except OSError:
            return None

    def _relative(self, key: str) -> str:
        # 256 folders keep listings short.
        return f"{key[:2]}/{key[2:]}.json"

    def _entry(self, key: str) -> Path:
        assert self.folder is not None
        return self.folder / self._relative(key)

    def _is_trusted(self) -> bool:
        """Whether the folder is ours alone. Asked of the system once per process, when it exists."""
        if self._trusted is None:
            assert self.folder is not None
            try:
                found = os.stat(self.folder)
            except OSError:
                return False
            self._trusted = found.st_uid == os.geteuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        return self._trusted

    def _clean_up_now_and_then(self) -> None:
        """Clean up when the last time is long ago. Runs after a write, so never where an entry was found."""
        assert self.folder is not None
        stamp = self.folder / _STAMP
        now = time.time()
        try:
            if now - stamp.stat().st_mtime < CLEAN_UP_INTERVAL:
                return
        except OSError:
            pass
        with contextlib.suppress(OSError):
            stamp.touch(mode=0o600)
            clean_up(self.folder, now)


def clean_up(folder: Path, now: float) -> int:
    """Remove entries that are too old or too many, and what interrupted writers left.

    :param now: the time to compare with, seconds since the epoch
    :return: how many files were removed
    """
    entries: list[tuple[float, str]] = []
    for group in os.scandir(folder):
        if not group.is_dir(follow_symlinks=False):
            continue
        with contextlib.suppress(OSError):
            entries += [(file.stat().st_mtime, file.path) for file in os.scandir(group.path)]
    entries.sort()
    surplus = len(entries) - MAX_ENTRIES
    removed = 0
    for index, (changed, path) in enumerate(entries):
        abandoned = os.path.basename(path).startswith(".new-") and now - changed > CLEAN_UP_INTERVAL
        if index < surplus or now - changed > MAX_AGE or abandoned:
            with contextlib.suppress(OSError):
                os.unlink(path)
                removed += 1
    return removed


def cache_key(data: bytes, *settings: object) -> str:
    """Name the entry of a document: 64 hexadecimal digits.

    :param data: the content of the document
    :param settings: what else its check was told, as values with a short text
    """
    digest = hashlib.sha256(_meaning())
    digest.update(repr(settings).encode())
    digest.update(data)
    return digest.hexdigest()


@cache
def _meaning() -> bytes:
    """What else the outcome of a check depends on: this package, and which others are installed.

    The version alone would do for releases. The code's sizes and times make a
    change in a checkout count; the time of the folder of installed packages
    changes with every (un)installation, hence with every backend plug-in.
    """
    parts = [f"{PLAN_FORMAT} {__version__}"]
    package = Path(__file__).parent.parent
    for folder in (package / "document", package / "expressions", package / "importer"):
        with contextlib.suppress(OSError):
            for file in sorted(os.scandir(folder), key=lambda file: file.name):
                if file.name.endswith(".py"):
                    found = file.stat()
                    parts.append(f"{file.name} {found.st_size} {found.st_mtime_ns}")
    import sysconfig

    with contextlib.suppress(OSError):
        parts.append(str(os.stat(sysconfig.get_path("purelib")).st_mtime_ns))
    return hashlib.sha256("\n".join(parts).encode()).digest()


@cache
def default_cache() -> PlanCache:
    """Give the cache of this Airflow: ``[stagecoach] cache_folder``, else a folder in AIRFLOW_HOME.

    AIRFLOW_HOME rather than the user's cache folder, because what stands there (which
    document owns which DAG id) belongs to one installation of Airflow.
    """
    from airflow.configuration import AIRFLOW_HOME, conf

    configured = conf.get("stagecoach", "cache_folder", fallback="")
    if configured.lower() == "off":
        return PlanCache(None)
    if configured:
        return PlanCache(Path(os.path.expandvars(configured)).expanduser())
    return PlanCache(Path(AIRFLOW_HOME, "cache", "stagecoach"))
