"""What the stages of a leg share in Docker, and what is left of tasks that nobody looks after."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from airflow_stagecoach.backends.conformance import Log
from airflow_stagecoach.backends.docker import DockerBackend
from airflow_stagecoach.backends.ownership import Leftover, leg_key, owner, owner_labels
from airflow_stagecoach.backends.work import Work, work_key
from tests.backends import images

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.backends.docker_engine import DockerEngine

needs_engine = pytest.mark.runs


def identity(task: str = "job.a", run: str = "r", index: int = -1) -> Any:
    return {"dag_id": "d", "run_id": run, "task_id": task, "map_index": index, "try_number": 1}


def unit(script: str, of: Any, *, keep: bool = False) -> Any:
    stage = {"kind": "bash", "id": "a", "bash": script}
    return {"stages": [stage], "identity": of, "leg": {"key": leg_key(of), "keep": keep}}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (identity("job.a"), identity("job.b"), True),
        (identity("job.a"), {**identity("job.b"), "try_number": 7}, True),
        (identity("job.a"), identity("other.a"), False),
        (identity("job.a", index=1), identity("job.b", index=1), True),
        (identity("job.a", index=1), identity("job.b", index=2), False),
        (identity("job.a", run="1"), identity("job.a", run="2"), False),
    ],
)
def test_keys_of_legs(one: Any, other: Any, same: bool) -> None:
    assert (leg_key(one) == leg_key(other)) is same
    assert leg_key(one) != work_key(one)


def test_labels_name_their_owner() -> None:
    of = identity("job.ä", run='scheduled "x"', index=3)
    assert owner(owner_labels(of)) == of


@pytest.mark.parametrize("labels", [None, {}, {"stagecoach.owner": "{"}, {"stagecoach.owner": "[1]"}])
def test_labels_of_others_name_none(labels: Any) -> None:
    assert owner(labels) is None


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({}, "/stagecoach/work"),
        ({"working-dir": "/data"}, "/data"),
        ({"working-dir": "/"}, None),
        ({"working-dir": "/data/in", "volumes": ["mine:/data"]}, None),
        ({"working-dir": "/data", "volumes": ["mine:/data/:ro"]}, None),
        ({"working-dir": "/data", "volumes": ["mine:/data/in", "other:/dat"]}, "/data"),
    ],
)
def test_where_the_volume_is_mounted(settings: dict[str, Any], path: str | None) -> None:
    of = identity()
    rendered = DockerBackend({"image": "x", **settings}).render(Work.of(of, unit("", of)))
    binds = [bind for bind in rendered["host_config"].get("binds", []) if bind.startswith("stagecoach-")]
    assert binds == ([] if path is None else [f"stagecoach-{leg_key(of)}:{path}"])


def test_settings_that_hold_a_secret_are_not_shown() -> None:
    of = identity()
    the_unit: Any = {**unit("", of), "contexts": {"secrets": {"T": "hunter2-hunter2"}}}
    backend = DockerBackend({"image": "x", "env": {"TOKEN": "Bearer hunter2-hunter2"}})
    rendered = backend.render(Work.of(of, the_unit))
    assert rendered["environment"] == {"TOKEN": "Bearer ***"}


@needs_engine
class TestVolumes:
    @pytest.fixture(autouse=True)
    def nothing_is_left(self, engine: DockerEngine) -> Iterator[None]:
        self.engine = engine
        self.run_id = f"run {time.time_ns()}"
        yield
        assert engine.containers() == []
        assert self.volumes() == []

    def volumes(self) -> list[str]:
        return [found["Name"] for found in self.engine.client.volumes()["Volumes"] or ()]

    def backend(self, **settings: Any) -> DockerBackend:
        return DockerBackend({"image": images.PYTHON, "host": self.engine.url, "pull": "never", **settings})

    def output(self, backend: DockerBackend, the_unit: Any) -> Any:
        stage = backend.run(the_unit, Log().hooks)["stages"]["a"]
        assert stage["state"] == "success", stage["error"]
        return stage["outputs"]["stdout"]

    @pytest.mark.parametrize(
        "settings", [{}, {"user": "1000:1000"}, {"user": "1000", "working-dir": "/data/in"}]
    )
    def test_stages_of_a_leg_share_files(self, settings: dict[str, Any]) -> None:
        first, second = identity("job.a", self.run_id), identity("job.b", self.run_id)
        self.output(self.backend(**settings), unit("echo x >f", first))
        assert self.output(self.backend(**settings), unit("cat f", second)) == "x"
        self.backend().clean_leg(leg_key(first))
        self.backend().clean_leg(leg_key(first))

    def test_legs_do_not(self) -> None:
        first, second = identity("job.a", self.run_id, 0), identity("job.a", self.run_id, 1)
        self.output(self.backend(), unit("echo x >f", first))
        assert self.output(self.backend(), unit("ls", second)) is None
        for one in (first, second):
            self.backend().clean_leg(leg_key(one))

    def test_a_volume_that_a_kept_container_has_stays(self) -> None:
        of = identity("job.a", self.run_id)
        self.output(self.backend(**{"auto-remove": "never"}), unit("echo x", of))
        self.backend().clean_leg(leg_key(of))
        assert len(self.volumes()) == 1
        (container,) = self.engine.containers()
        self.engine.client.remove_container(container["Id"])
        self.backend().clean_leg(leg_key(of))

    def test_sweep(self) -> None:
        live, dead = identity("job.a", f"{self.run_id} live"), identity("job.a", f"{self.run_id} dead")
        units = {one["run_id"]: unit("sleep 60", one) for one in (live, dead)}
        for one in (live, dead):
            self.backend().start(Work.of(one, units[one["run_id"]]))
        asked: list[Leftover] = []

        def is_needed(leftover: Leftover) -> bool:
            asked.append(leftover)
            return leftover.identity["run_id"] == str(live["run_id"])

        removed = self.backend().sweep(is_needed)
        assert [(one.kind, one.shared, one.identity) for one in removed] == [
            ("container", False, dead),
            ("volume", True, dead),
        ]
        assert sorted((one.kind, one.identity["run_id"]) for one in asked) == sorted(
            (kind, one["run_id"]) for kind in ("container", "volume") for one in (live, dead)
        )
        assert self.backend().find(Work.of(live, units[live["run_id"]])) is not None
        assert len(self.backend().sweep(lambda _: False)) == 2
        assert self.backend().sweep(lambda _: False) == []

    def test_a_sweep_leaves_what_shall_stay(self) -> None:
        of = identity("job.a", self.run_id)
        self.output(self.backend(**{"auto-remove": "never"}), unit("echo x", of, keep=True))
        assert self.backend().sweep(lambda _: False) == []
        (container,) = self.engine.containers()
        assert container["Names"][0].endswith("-t1-done")
        self.engine.client.remove_container(container["Id"])
        self.backend().clean_leg(leg_key(of))

    @pytest.mark.parametrize(
        ("policy", "script", "stays"),
        [
            ("always", "exit 1", False),
            ("on-success", "exit 1", True),
            ("on-success", "exit 0", False),
            ("never", "exit 0", True),
        ],
    )
    def test_auto_remove(self, policy: str, script: str, stays: bool) -> None:
        of = identity("job.a", self.run_id)
        the_unit: Any = {**unit(script, of), "leg": None}
        self.backend(**{"auto-remove": policy}).run(the_unit, Log().hooks)
        containers = self.engine.containers()
        assert bool(containers) is stays
        for container in containers:
            self.engine.client.remove_container(container["Id"])
