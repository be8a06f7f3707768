"""From a file to its plans and errors, by way of the cache.

pydantic and YAML are imported on a miss only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_stagecoach.importer.cache import PlanCache, cache_key, default_cache

if TYPE_CHECKING:
    import os

    from airflow_stagecoach.document.diagnostics import Diagnostic
    from airflow_stagecoach.document.plan import WorkflowPlan


@dataclass(frozen=True)
class Document:
    """What a file says.

    ``plans`` are its good workflows, in document order; ``diagnostics`` tell what is wrong with the
    others. ``ours`` is False for YAML that only looked like a document: it is to be left alone.
    """

    path: Path
    plans: list[WorkflowPlan] = field(default_factory=list)
    diagnostics: list[Diagnostic] = field(default_factory=list)
    ours: bool = True

    @property
    def report(self) -> str:
        """All diagnostics as text for people; empty when nothing is wrong."""
        if not self.diagnostics:
            return ""
        from airflow_stagecoach.document import render_diagnostics

        return render_diagnostics(self.diagnostics)


def load_document(
    path: str | os.PathLike[str],
    *,
    file: str | None = None,
    data: bytes | None = None,
    cache: PlanCache | None = None,
) -> Document:
    """Read a document, or take from the cache what an earlier reading of the same content gave.

    :param file: the document's name in messages, else its path
    :param data: the content, where it was read already
    :param cache: where to look, else the cache of this Airflow
    :raises OSError: the file cannot be read
    """
    path = Path(path)
    name = file or str(path)
    if data is None:
        data = path.read_bytes()
    if cache is None:
        cache = default_cache()
    max_legs = allowed_legs()
    key = cache_key(data, max_legs)
    entry = cache.get(key)
    if entry is None:
        entry = _check(data, name, max_legs)
        cache.put(key, entry)
    diagnostics = []
    if entry["diagnostics"]:
        from airflow_stagecoach.document import Diagnostic

        # Equal content under another name shares the entry, so the name is filled in here.
        diagnostics = [Diagnostic.from_json(one).in_file(name) for one in entry["diagnostics"]]
    return Document(path, entry["plans"], diagnostics, entry["ours"])


def _check(data: bytes, name: str, max_legs: int) -> dict[str, Any]:
    """Load a document without the cache; the outcome as an entry of it."""
    from airflow_stagecoach.document import diagnostics_to_json, load
    from airflow_stagecoach.importer.backends import InstalledBackends

    loaded = load(data, name, backends=InstalledBackends(), max_legs=max_legs)
    return {
        "plans": loaded.plans,
        "diagnostics": diagnostics_to_json(loaded.diagnostics),
        "ours": loaded.ours,
    }


def allowed_legs() -> int:
    """The most legs of a matrix that this Airflow allows."""
    from airflow.configuration import conf

    legs: int = conf.getint("core", "max_map_length", fallback=1024)
    return legs
