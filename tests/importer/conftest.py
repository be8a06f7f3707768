"""A dags folder and a cache of the test's own, and what the importer did with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_stagecoach.importer import build, dags, documents
from airflow_stagecoach.importer.cache import PlanCache

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PlanCache:
    """The cache that the importer uses in this test."""
    found = PlanCache(tmp_path / "plan-cache")
    for module in (build, dags, documents):
        monkeypatch.setattr(module, "default_cache", lambda: found)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A dags folder."""
    folder = tmp_path / "dags"
    folder.mkdir()
    return folder


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the documents that were read and checked, rather than found in the cache."""
    names: list[str] = []
    original: Callable[..., dict[str, object]] = documents._check

    def check(data: bytes, name: str, max_legs: int) -> dict[str, object]:
        names.append(name)
        return original(data, name, max_legs)

    monkeypatch.setattr(documents, "_check", check)
    return names


@pytest.fixture
def parse_for(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Parse as a worker does for a task of the DAG that is named."""
    return lambda dag_id: monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", dag_id)
