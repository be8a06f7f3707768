"""Two documents with one DAG id, found although each is parsed in a process of its own.

Airflow does not notice: the file that was parsed last owns the DAG, until the
other is parsed again. So each DAG id has a small note in the cache folder that
names the document that came first. A later document is refused, and its
error names both. The first one keeps its DAG.

A note counts only while it is true: its document exists, still has that
workflow, and was seen not long ago (a bundle may be taken out of the
configuration and its folder stay). Without a cache folder nothing is noticed.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_stagecoach.importer.documents import load_document

if TYPE_CHECKING:
    from airflow_stagecoach.importer.cache import PlanCache

#: Seconds after which a note that its document did not renew is void, at least. A document renews
#: its notes whenever it is parsed, every 30 seconds unless configured otherwise.
VALID = 3600


@dataclass(frozen=True)
class Owner:
    """Where a DAG id stands: a file in a bundle. ``bundle`` is its name, ``root`` its folder."""

    bundle: str
    root: str
    path: str


def find_other_owner(dag_id: str, owner: Owner, cache: PlanCache) -> str | None:
    """Claim a DAG id for a document, unless another document has it.

    :return: the path of the other document, or None when ``owner`` has the id now
    """
    relative = f"ids/{hashlib.sha256(dag_id.encode()).hexdigest()}.json"
    note = _read(relative, cache)
    if note is not None and note != owner and _holds(note, owner, dag_id, cache):
        return note.path
    if note == owner and _renew(relative, cache):
        return None
    cache.write(relative, json.dumps(asdict(owner)).encode())
    return None


def _read(relative: str, cache: PlanCache) -> Owner | None:
    data = cache.read(relative)
    if data is None or cache.folder is None:
        return None
    try:
        age = time.time() - (cache.folder / relative).stat().st_mtime
        return Owner(**json.loads(data)) if age < _validity() else None
    except (OSError, ValueError, TypeError):
        return None


def _holds(note: Owner, owner: Owner, dag_id: str, cache: PlanCache) -> bool:
    """Whether the note's document is another one than ``owner``'s and still has the workflow."""
    if note.bundle == owner.bundle and note.root != owner.root:
        return False  # a bundle that moved, or another Airflow's view of it
    if os.path.realpath(note.path) == os.path.realpath(owner.path):
        return False  # one file, reached by two bundles
    try:
        document = load_document(Path(note.path), cache=cache)
    except OSError:
        return False
    return any(plan["dag_id"] == dag_id for plan in document.plans)


def _renew(relative: str, cache: PlanCache) -> bool:
    assert cache.folder is not None
    try:
        os.utime(cache.folder / relative)
    except OSError:
        return False
    return True


def _validity() -> float:
    from airflow.configuration import conf

    interval: float = conf.getfloat("dag_processor", "min_file_process_interval", fallback=30)
    return max(VALID, 3 * interval)
