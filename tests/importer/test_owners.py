"""A DAG id belongs to the document that came first, for as long as that has it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from importer_documents import workflow

from airflow_stagecoach.importer.cache import PlanCache
from airflow_stagecoach.importer.owners import VALID, Owner, find_other_owner

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def first(folder: Path) -> Owner:
    (folder / "first.yaml").write_text(workflow("same"))
    return Owner("bundle", str(folder), str(folder / "first.yaml"))


@pytest.fixture
def second(folder: Path) -> Owner:
    (folder / "second.yaml").write_text(workflow("same"))
    return Owner("bundle", str(folder), str(folder / "second.yaml"))


def note(cache: PlanCache) -> Path:
    assert cache.folder is not None
    (found,) = (cache.folder / "ids").iterdir()
    return found


def test_first_keeps_the_id_and_second_is_told(first: Owner, second: Owner, cache: PlanCache) -> None:
    assert find_other_owner("same", first, cache) is None
    assert find_other_owner("same", second, cache) == first.path
    assert find_other_owner("same", first, cache) is None
    assert find_other_owner("other", second, cache) is None


@pytest.mark.parametrize("change", ["deleted", "renamed", "broken", "old"])
def test_second_takes_over_when_the_first_has_it_no_more(
    first: Owner, second: Owner, cache: PlanCache, folder: Path, change: str
) -> None:
    find_other_owner("same", first, cache)
    path = folder / "first.yaml"
    if change == "deleted":
        path.unlink()
    elif change == "renamed":
        path.write_text(workflow("another"))
    elif change == "broken":
        path.write_text(workflow("same", bad=True))
    else:
        os.utime(note(cache), (0, os.stat(note(cache)).st_mtime - VALID - 1))
    assert find_other_owner("same", second, cache) is None
    if change == "old":
        assert find_other_owner("same", first, cache) == second.path


def test_first_renews_its_note(first: Owner, cache: PlanCache) -> None:
    find_other_owner("same", first, cache)
    os.utime(note(cache), (0, os.stat(note(cache)).st_mtime - 1000))
    before = os.stat(note(cache))
    find_other_owner("same", first, cache)
    after = os.stat(note(cache))
    assert after.st_mtime > before.st_mtime + 900
    assert after.st_ino == before.st_ino  # not written again


def test_another_bundle_is_another_document(first: Owner, second: Owner, cache: PlanCache) -> None:
    elsewhere = Owner("other-bundle", second.root, second.path)
    find_other_owner("same", first, cache)
    assert find_other_owner("same", elsewhere, cache) == first.path


def test_bundle_that_moved_is_no_other_document(
    first: Owner, second: Owner, cache: PlanCache, tmp_path: Path
) -> None:
    find_other_owner("same", first, cache)
    moved = Owner("bundle", str(tmp_path), second.path)
    assert find_other_owner("same", moved, cache) is None


def test_one_file_in_two_bundles_is_no_other_document(first: Owner, cache: PlanCache, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(first.root)
    find_other_owner("same", first, cache)
    linked = Owner("other-bundle", str(link), str(link / "first.yaml"))
    assert find_other_owner("same", linked, cache) is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"bundle": 1}', "null"])
def test_damaged_note_is_replaced(first: Owner, second: Owner, cache: PlanCache, content: str) -> None:
    find_other_owner("same", first, cache)
    note(cache).write_text(content)
    assert find_other_owner("same", second, cache) is None
    assert find_other_owner("same", first, cache) == second.path


def test_without_a_cache_nothing_is_noticed(first: Owner, second: Owner) -> None:
    cache = PlanCache(None)
    assert find_other_owner("same", first, cache) is None
    assert find_other_owner("same", second, cache) is None
