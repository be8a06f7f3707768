"""The cache of plans: whole or not at all, private, and never in the way."""

from __future__ import annotations

import multiprocessing
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_stagecoach.importer import cache as cache_module
from airflow_stagecoach.importer.cache import MAX_AGE, PlanCache, cache_key, clean_up

KEY = "ab" + "0" * 62
ENTRY = {"plans": [{"dag_id": "é"}], "diagnostics": [], "ours": True}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "not" / "there" / "yet"


def entry_file(folder: Path, key: str = KEY) -> Path:
    return folder / key[:2] / f"{key[2:]}.json"


def test_what_was_put_is_found_by_another_cache(folder: Path) -> None:
    PlanCache(folder).put(KEY, ENTRY)
    assert PlanCache(folder).get(KEY) == ENTRY
    assert PlanCache(folder).get("cd" + KEY[2:]) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(entry=st.dictionaries(st.text(), json_values, max_size=4), data=st.binary(max_size=50))
def test_every_json_entry_comes_back(
    tmp_path_factory: pytest.TempPathFactory, entry: dict[str, Any], data: bytes
) -> None:
    cache = PlanCache(tmp_path_factory.getbasetemp() / "property")
    cache.put(cache_key(data), entry)
    assert cache.get(cache_key(data)) == entry


def test_modes_are_private(folder: Path) -> None:
    previous = os.umask(0o000)
    try:
        PlanCache(folder).put(KEY, ENTRY)
    finally:
        os.umask(previous)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(entry_file(folder).parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(entry_file(folder).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:-1],
        lambda data: data[:40],
        lambda data: data.replace(b"dag_id", b"gad_id"),
        lambda data: data + b"x",
        lambda data: b"\n" + data,
        lambda data: b"\xff\xfe" + data,
    ],
)
def test_damaged_entry_is_a_miss_and_is_written_again(folder: Path, damage: Any) -> None:
    cache = PlanCache(folder)
    cache.put(KEY, ENTRY)
    file = entry_file(folder)
    file.write_bytes(damage(file.read_bytes()))
    assert cache.get(KEY) is None
    cache.put(KEY, ENTRY)
    assert cache.get(KEY) == ENTRY


def test_wiped_folder_is_made_again(folder: Path) -> None:
    import shutil

    cache = PlanCache(folder)
    cache.put(KEY, ENTRY)
    shutil.rmtree(folder)
    assert cache.get(KEY) is None
    cache.put(KEY, ENTRY)
    assert cache.get(KEY) == ENTRY


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_folder_that_others_may_write_to_is_not_used(folder: Path, mode: int) -> None:
    PlanCache(folder).put(KEY, ENTRY)
    folder.chmod(mode)
    cache = PlanCache(folder)
    assert cache.get(KEY) is None
    cache.put("cd" + KEY[2:], ENTRY)
    assert not entry_file(folder, "cd" + KEY[2:]).exists()
    assert not cache.write("ids/x.json", b"{}")
    assert cache.read("ids/x.json") is None


def test_folder_of_another_user_is_not_used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    PlanCache(folder).put(KEY, ENTRY)
    uid = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: uid + 1)
    assert PlanCache(folder).get(KEY) is None


@pytest.mark.parametrize("broken", ["file-in-the-way", "null-device", "no-folder", "cannot-write"])
def test_works_without_a_folder(folder: Path, broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where: Path | None = folder
    if broken == "file-in-the-way":
        folder.parent.mkdir(parents=True)
        folder.write_text("")
    elif broken == "null-device":
        where = Path("/dev/null/cache")
    elif broken == "no-folder":
        where = None
    else:
        # Modes do not stop root, so the system's refusal is played.
        def refuse(*args: Any, **kwargs: Any) -> Any:
            raise OSError(30, "Read-only file system")

        monkeypatch.setattr("tempfile.mkstemp", refuse)
    cache = PlanCache(where)
    cache.put(KEY, ENTRY)
    assert cache.get(KEY) is None
    assert cache.read("ids/x.json") is None
    assert not cache.write("ids/x.json", b"{}")


def test_failed_write_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    PlanCache(folder).put(KEY, ENTRY)
    assert list(entry_file(folder).parent.iterdir()) == []


def hammer(folder: Path, seed: int, done: Any) -> None:
    """Write, read, damage and delete the same few entries as fast as possible."""
    cache = PlanCache(folder)
    good = True
    for turn in range(120):
        key = f"{(turn + seed) % 3:02d}" + "0" * 62
        content = {"plans": ["x" * 5000], "turn": key}
        cache.put(key, content)
        if turn % 17 == seed % 17:
            entry_file(folder, key).unlink(missing_ok=True)
        found = cache.get(key)
        good = good and found in (None, content)
    done.put(good)


def test_many_processes_at_once(folder: Path) -> None:
    context = multiprocessing.get_context("fork")
    done = context.SimpleQueue()
    workers = [context.Process(target=hammer, args=(folder, seed, done)) for seed in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert [done.get() for _ in workers] == [True] * 8
    assert not list(folder.rglob(".new-*"))


def test_clean_up_by_age_and_number(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "MAX_ENTRIES", 3)
    now = 2_000_000_000.0
    ages = {"a0": 10, "a1": 20, "a2": 30, "a3": 40, "a4": MAX_AGE + 1}
    for prefix, age in ages.items():
        file = entry_file(folder, prefix + KEY[2:])
        file.parent.mkdir(parents=True)
        file.write_text("")
        os.utime(file, (now - age, now - age))
    abandoned = folder / "a0" / ".new-abc"
    abandoned.write_text("")
    os.utime(abandoned, (now - 7200, now - 7200))
    assert clean_up(folder, now) == 3
    assert sorted(file.parent.name for file in folder.rglob("*.json")) == ["a0", "a1", "a2"]
    assert not abandoned.exists()


def test_clean_up_runs_rarely_and_only_after_a_write(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Path] = []
    monkeypatch.setattr(cache_module, "clean_up", lambda folder, now: calls.append(folder))
    cache = PlanCache(folder)
    cache.put(KEY, ENTRY)
    cache.put(KEY, ENTRY)
    cache.get(KEY)
    assert calls == [folder]
    os.utime(folder / ".cleaned", (0, 0))
    cache.get(KEY)
    assert calls == [folder]
    cache.put(KEY, ENTRY)
    assert calls == [folder, folder]


def test_key_depends_on_content_and_meaning(monkeypatch: pytest.MonkeyPatch) -> None:
    cache_module._meaning.cache_clear()
    key = cache_key(b"text")
    assert key == cache_key(b"text")
    assert key != cache_key(b"text ")
    assert len({key, cache_key(b"text", 1), cache_key(b"text", 2), cache_key(b"text", "1")}) == 4
    assert len(key) == 64
    for name, value in (("PLAN_FORMAT", 999), ("__version__", "999")):
        with monkeypatch.context() as patch:
            patch.setattr(cache_module, name, value)
            cache_module._meaning.cache_clear()
            assert cache_key(b"text") != key
    cache_module._meaning.cache_clear()
    assert cache_key(b"text") == key


@pytest.mark.parametrize(
    ("option", "expected"),
    [("", "HOME/cache/stagecoach"), ("off", None), ("/a/b", "/a/b"), ("$WHERE/plans", "/somewhere/plans")],
)
def test_folder_as_configured(option: str, expected: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.configuration import AIRFLOW_HOME

    monkeypatch.setenv("WHERE", "/somewhere")
    monkeypatch.setenv("AIRFLOW__STAGECOACH__CACHE_FOLDER", option)
    cache_module.default_cache.cache_clear()
    try:
        folder = cache_module.default_cache().folder
    finally:
        cache_module.default_cache.cache_clear()
    assert (folder and str(folder)) == (expected and expected.replace("HOME", AIRFLOW_HOME))


def test_key_changes_when_a_package_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    cache_module._meaning.cache_clear()
    before = cache_key(b"text")
    (tmp_path / "plugin-1.0.dist-info").mkdir()
    os.utime(tmp_path, (1, 1))
    cache_module._meaning.cache_clear()
    assert cache_key(b"text") != before
    cache_module._meaning.cache_clear()
