"""Tests of airflow_stagecoach.operators._image_stage, and of what operators do with it."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from airflow_stagecoach.backends.emulated import EmulatedBackend
from airflow_stagecoach.engine import Hooks
from airflow_stagecoach.operators import _remote
from airflow_stagecoach.operators._image_stage import copies_files, is_worker, needs_worker, stage_place
from airflow_stagecoach.operators.stage import StageOperator

from ..factory.plans import job, stage, workflow
from .fakes import FakeTask, make_operator

DOCKER = {"type": "docker", "with_": {"image": "python"}}
QUEUE = {"type": "self-hosted", "with_": {"queue": "containers"}}
RUNNER = {"type": "self-hosted", "with_": {"host": "https://h"}}
IMAGE = stage("i", kind="image", image="alpine")
BASH = stage("b")


@pytest.mark.parametrize(
    ("kind", "runs_on", "place"),
    [
        ("image", {"type": "local"}, {"type": "docker"}),
        ("image", QUEUE, {"type": "docker"}),
        ("image", DOCKER, DOCKER),
        ("image", RUNNER, RUNNER),
        ("bash", {"type": "local"}, {"type": "local"}),
        ("bash", QUEUE, QUEUE),
        ("bash", DOCKER, DOCKER),
    ],
)
def test_places(kind: str, runs_on: Any, place: Any) -> None:
    assert stage_place({"kind": kind}, runs_on) == place


@pytest.mark.parametrize(("runs_on", "here"), [({"type": "local"}, True), (QUEUE, True), (RUNNER, False)])
def test_workers(runs_on: Any, here: bool) -> None:
    assert is_worker(runs_on) is here


@pytest.mark.parametrize(
    ("kind", "runs_on", "stages", "copied"),
    [
        ("image", {"type": "local"}, [BASH, IMAGE], True),
        ("image", QUEUE, [IMAGE, IMAGE], True),
        ("bash", {"type": "local"}, [BASH, IMAGE], False),
        ("image", {"type": "local"}, [IMAGE], False),
        ("image", DOCKER, [BASH, IMAGE], False),
    ],
)
def test_whose_files(kind: str, runs_on: Any, stages: list[Any], copied: bool) -> None:
    plan: Any = job("j", *stages, runs_on=runs_on)
    assert copies_files({"kind": kind}, plan) is copied
    assert not copies_files({"kind": kind}, None)


@pytest.mark.parametrize(
    ("kind", "contexts", "needed"),
    [
        ("image", {}, False),
        ("image", {"params": {"x": "hunter2-hunter2"}}, False),
        ("image", {"conn": {"db": {"host": "h", "password": None}}}, False),
        ("image", {"secrets": {"T": "hunter2-hunter2"}}, True),
        ("image", {"conn": {"db": {"password": "hunter2-hunter2"}}}, True),
        ("bash", {"secrets": {"T": "hunter2-hunter2"}}, False),
    ],
)
def test_who_follows(kind: str, contexts: Any, needed: bool) -> None:
    assert needs_worker({"stages": [{"kind": kind}], "contexts": contexts}) is needed


class Place(EmulatedBackend):
    """Takes note of how it is asked, and runs nothing."""

    asked: ClassVar[dict[str, Any]] = {}

    def run(self, unit: Any, hooks: Any, *, wait: float | None = None) -> Any:
        self.asked.update(unit=unit, wait=wait)


@pytest.mark.parametrize(
    ("contexts", "wait"), [({}, _remote.BEFORE_DEFERRING), ({"secrets": {"T": "hunter2-hunter2"}}, None)]
)
def test_a_stage_with_secrets_is_not_deferred(contexts: Any, wait: float | None) -> None:
    operator = make_operator(workflow(job("a", IMAGE, stage("k", kind="image", image="b"))), "a")
    ti = FakeTask(operator.task_id)
    ti.task = operator  # type: ignore[attr-defined]  # as the real one has it
    _remote.run(Place(), {"stages": [operator.spec], "contexts": contexts}, Hooks(), ti)
    assert Place.asked["wait"] == wait
    assert "leg" not in Place.asked["unit"], "a volume that nobody needs"


def test_its_operator_runs_beside_the_worker() -> None:
    operator = StageOperator(task_id="t", stage={"image": "alpine", "command": "echo a"})
    assert operator.runs_on == {"type": "docker"}
    assert operator.spec["command"] == ["echo", "a"]
