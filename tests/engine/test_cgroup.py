"""Groups of cgroup version 2, on a folder that looks like one."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

import pytest

from airflow_stagecoach.engine import cgroup, limits
from airflow_stagecoach.engine.errors import StageError
from tests.engine.harness import bash, python, read, run

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1024 * 1024


_real_rmdir = os.rmdir


class Hierarchy:
    """A mounted hierarchy with one process in it: this one."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.mount = folder / "cgroup"
        self.own = folder / "own"
        self.marked: set[str] = set()
        self.mount.mkdir()
        (self.mount / "cgroup.controllers").write_text("cpu memory pids\n")
        monkeypatch.setattr(cgroup, "MOUNTS", (str(self.mount),))
        monkeypatch.setattr(cgroup, "_OWN", str(self.own))
        self.refusals: list[OSError] = []
        monkeypatch.setattr(os, "rmdir", self._rmdir)
        monkeypatch.setattr(cgroup, "_has_mark", lambda path, mark: path in self.marked)

    def _rmdir(self, path: str, **options: Any) -> None:
        """As the kernel does: the files of a group do not hinder it."""
        if str(path).startswith(str(self.mount)):
            if self.refusals:
                raise self.refusals.pop()
            for name in os.listdir(path):
                os.remove(os.path.join(path, name))
        _real_rmdir(path, **options)

    def group(self, path: str, control: str = "", marked: bool = True, root: bool = False) -> str:
        folder = self.mount / path
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cgroup.subtree_control").write_text(control + "\n")
        (folder / "cgroup.procs").write_text("")
        if not root:
            (folder / "cgroup.events").write_text("populated 1\n")
        if marked:
            self.marked.add(str(folder))
        return str(folder)

    def enter(self, path: str) -> None:
        self.own.write_text(f"12:memory:/other\n0::/{path}\n")


@pytest.fixture
def hierarchy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hierarchy:
    return Hierarchy(tmp_path, monkeypatch)


def test_the_own_group_or_the_one_above(hierarchy: Hierarchy) -> None:
    above = hierarchy.group("user/app", "cpu memory")
    own = hierarchy.group("user/app/worker")
    hierarchy.enter("user/app/worker")
    assert cgroup.delegated(["memory"]) == above
    assert cgroup.delegated(["memory", "cpu"]) == above
    hierarchy.group("user/app/worker", "memory")
    assert cgroup.delegated(["memory"]) == own
    assert cgroup.delegated(["memory", "cpu"]) == above
    assert cgroup.delegated(["io"]) is None


def test_only_what_is_delegated(hierarchy: Hierarchy) -> None:
    hierarchy.group("system/worker", "cpu memory", marked=os.geteuid() != 0)
    hierarchy.enter("system/worker")
    if os.geteuid() == 0:
        assert cgroup.delegated(["memory"]) is None, "root may write everywhere, which says nothing"
    else:
        os.chmod(hierarchy.mount / "system/worker/cgroup.procs", 0o444)
        assert cgroup.delegated(["memory"]) is None


def test_never_the_root(hierarchy: Hierarchy) -> None:
    hierarchy.group(".", "cpu memory", root=True)
    hierarchy.group("worker")
    hierarchy.marked.add(str(hierarchy.mount))
    hierarchy.enter("worker")
    assert cgroup.delegated(["memory"]) is None
    hierarchy.enter("")
    assert cgroup.delegated(["memory"]) is None


@pytest.mark.parametrize("text", ["", "0::/gone\n", "4:memory:/x\n", "0::/../..\n"])
def test_no_group_at_all(hierarchy: Hierarchy, text: str) -> None:
    hierarchy.own.write_text(text)
    assert cgroup.delegated(["memory"]) is None
    hierarchy.own.unlink()
    assert cgroup.delegated(["memory"]) is None


def test_a_group(hierarchy: Hierarchy) -> None:
    parent = hierarchy.group("app", "cpu memory")
    group = cgroup.Group(parent, 64 * MIB, 0.5)
    assert {name: read(os.path.join(group.path, name)) for name in os.listdir(group.path)} == {
        "memory.max": str(64 * MIB),
        "memory.swap.max": "0",
        "cpu.max": "50000 100000",
    }
    assert group.entrance == os.path.join(group.path, "cgroup.procs")
    assert group.out_of_memory() is False
    assert group.peak_memory() == 0
    for text, expected in (("oom 0\noom_kill 0\n", False), ("oom 2\noom_kill 1\n", True)):
        with open(os.path.join(group.path, "memory.events"), "w") as file:
            file.write(text)
        assert group.out_of_memory() is expected
    with open(os.path.join(group.path, "memory.peak"), "w") as file:
        file.write("123\n")
    assert group.peak_memory() == 123


def test_it_is_taken_away_once_its_processes_have_left(hierarchy: Hierarchy) -> None:
    group = cgroup.Group(hierarchy.group("app", "cpu memory"), None, None)
    hierarchy.refusals = [OSError(errno.EBUSY, "busy")] * 3
    with cgroup.removed_at_the_end(group):
        assert os.path.isdir(group.path)
    assert not os.path.exists(group.path)
    group.remove()
    with cgroup.removed_at_the_end(None):
        pass


def test_what_cannot_be_set_leaves_nothing(hierarchy: Hierarchy, monkeypatch: pytest.MonkeyPatch) -> None:
    parent = hierarchy.group("app", "cpu memory")
    monkeypatch.setattr(cgroup.Group, "_write", lambda *_: (_ for _ in ()).throw(OSError(errno.EACCES, "no")))
    with pytest.raises(OSError, match="no"):
        cgroup.Group(parent, 64 * MIB, None)
    assert groups_in(hierarchy) == []


def groups_in(hierarchy: Hierarchy) -> list[str]:
    return [name for name in os.listdir(hierarchy.mount / "app") if name.startswith("stagecoach-")]


def prepared(hierarchy: Hierarchy, resources: Any) -> limits.Limits:
    hierarchy.group("app", "cpu memory")
    hierarchy.enter("app")
    return limits.prepare(resources)


def test_a_group_holds_what_else_could_not_be_enforced(hierarchy: Hierarchy) -> None:
    limit = prepared(hierarchy, {"memory": 8 * MIB, "cpu": 0.25})
    assert limit.group is not None
    assert limit[1:] == (None, None, [])


def test_what_no_group_can_hold_is_refused_and_leaves_no_group(hierarchy: Hierarchy) -> None:
    with pytest.raises(StageError, match="gpu"):
        prepared(hierarchy, {"memory": 64 * MIB, "gpu": 1})
    assert groups_in(hierarchy) == []


@pytest.mark.parametrize(
    "stage",
    [
        python("import os\nos.kill(os.getpid(), 9)"),
        bash("kill -9 $$"),
        bash("bash -c 'kill -9 $$'"),
        {"kind": "foreach", "foreach": [1], "stages": [bash("kill -9 $$", id="i")]},
        {"kind": "foreach", "foreach": [1], "stages": [python("import os\nos.kill(os.getpid(), 9)", id="i")]},
    ],
    ids=["python", "bash", "inside bash", "nested bash", "nested"],
)
@pytest.mark.parametrize("killed", [True, False], ids=["by the kernel", "by another"])
def test_a_process_that_the_kernel_ended_ran_out_of_memory(
    hierarchy: Hierarchy, monkeypatch: pytest.MonkeyPatch, stage: Any, killed: bool
) -> None:
    hierarchy.group("app", "cpu memory")
    hierarchy.enter("app")
    monkeypatch.setattr(cgroup.Group, "out_of_memory", lambda self: killed)
    error = run({**stage, "resources": {"memory": 64 * MIB}}, enforce_resources=True).error
    if killed:
        assert (error["category"], error["reason"], error["oom"]) == ("resource", "OOMKilled", True)
    else:
        assert (error["category"], error["reason"]) == ("system", "killed")
        assert "oom" not in error


def test_the_stage_enters_its_group(hierarchy: Hierarchy, monkeypatch: pytest.MonkeyPatch) -> None:
    hierarchy.group("app", "cpu memory")
    hierarchy.enter("app")
    entered: list[str] = []

    def remove(group: cgroup.Group) -> None:
        with open(group.entrance) as file:
            entered.append(file.read())

    monkeypatch.setattr(cgroup.Group, "remove", remove)
    monkeypatch.setattr(cgroup.Group, "peak_memory", lambda self: 3 << 30)
    ran = run(python("x = 1", resources={"memory": 64 * MIB}), enforce_resources=True)
    assert ran.state == "success"
    assert entered == ["0"]
    assert ran.only["peak_memory"] == 3 << 30
