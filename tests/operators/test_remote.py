"""What a remote place is told of a task, besides its stages."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_stagecoach.backends.docker import DockerBackend
from airflow_stagecoach.backends.emulated import EmulatedBackend
from airflow_stagecoach.backends.local import LocalBackend
from airflow_stagecoach.backends.remote import RemoteBackend
from airflow_stagecoach.engine import Hooks
from airflow_stagecoach.exceptions import StageConfigError
from airflow_stagecoach.operators import _remote

from ..factory.plans import job, stage, workflow
from .fakes import FakeTask, make_operator

MEMORY = {"memory": 64 * 1024 * 1024}


class Place(EmulatedBackend):
    """Takes note of the unit, and runs nothing."""

    unit: Any = None

    def run(self, unit: Any, hooks: Any, *, wait: float | None = None) -> Any:
        self.unit = unit


def sent(operator: Any, hooks: Hooks | None = None) -> Any:
    """The unit of a task as its backend gets it."""
    place, ti = Place(), FakeTask(operator.task_id)
    ti.task = operator  # type: ignore[attr-defined]  # as the real one has it
    unit: Any = {"stages": operator.spec.get("stages", [operator.spec])}
    _remote.run(place, unit, hooks or Hooks(), ti)
    return place.unit


@pytest.mark.parametrize("granularity", ["stage", "job"])
def test_resources(granularity: str) -> None:
    stages = [stage("x", kind="empty"), stage("s", bash="true", resources=MEMORY)]
    plan = workflow(job("a", *stages, granularity=granularity))
    assert sent(make_operator(plan, "a", 1))["resources"] == MEMORY


def test_no_resources() -> None:
    plan = workflow(job("a", stage("s", bash="true")))
    assert "resources" not in sent(make_operator(plan, "a"))


class Log(Hooks):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[str, str]] = []

    def log(self, text: str, level: str = "info") -> None:
        self.lines.append((level, text))


@pytest.mark.parametrize("resources", [{}, MEMORY])
def test_an_emulated_place_tells_that_it_limits_nothing(resources: dict[str, int]) -> None:
    log = Log()
    spec: dict[str, Any] = {"resources": resources} if resources else {}
    sent(make_operator(workflow(job("a", stage("s", bash="true", **spec))), "a"), log)
    assert [level for level, text in log.lines if "resources" in text] == (["warning"] if resources else [])


DB: Any = {
    "db": {"image": "postgres:${{ matrix.n }}", "health": {"command": "a", "interval": "${{ matrix.n }}s"}}
}


def test_services_are_evaluated_for_the_leg() -> None:
    (service,) = _remote.evaluate_services(DB, {"matrix": {"n": 17}}, DockerBackend({"image": "x"}))
    assert (service["id"], service["image"]) == ("db", "postgres:17")
    assert service["health"] is not None
    assert service["health"]["interval"] == 17.0


@pytest.mark.parametrize(
    ("backend", "n", "message"),
    [
        (LocalBackend(), 17, "a job that runs on local can have no services"),
        (EmulatedBackend(), 17, "a job that runs on emulated can have no services"),
        (
            DockerBackend({"image": "x"}),
            {"a": 1},
            "services.db.health.interval: expected a number of seconds",
        ),
    ],
)
def test_services_that_cannot_be(backend: Any, n: Any, message: str) -> None:
    with pytest.raises(StageConfigError) as raised:
        _remote.evaluate_services(DB, {"matrix": {"n": n}}, backend)
    assert message in str(raised.value)


class Apart(Place):
    """Its stages share nothing."""

    clean_leg = RemoteBackend.clean_leg


@pytest.mark.parametrize(
    ("place", "keys", "expected"),
    [
        (Place, {}, [("folder ", True)]),
        (Place, {"cleanup": "always"}, [("folder ", True)]),
        (Place, {"cleanup": "never"}, [("folder ", False)]),
        (Place, {"granularity": "job"}, []),
        (Apart, {}, []),
        (Apart, {"cleanup": "never"}, []),
    ],
)
def test_what_a_trial_run_is_told_of(
    place: type[Place], keys: Any, expected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted: list[tuple[str, bool]] = []

    class Session:
        def leaves(self, name: str, remove: Any) -> None:
            noted.append((name[: name.index(" ") + 1], remove is not None))

    monkeypatch.setattr(_remote._local, "session", Session())
    stages = stage("s", bash="true"), stage("t", bash="true")
    plan = workflow(job("a", *stages, runs_on={"type": "docker", "with_": {"image": "a"}}, **keys))
    operator = make_operator(plan, "a")
    ti = FakeTask(operator.task_id)
    ti.task = operator  # type: ignore[attr-defined]  # as the real one has it
    unit: Any = {"stages": operator.spec.get("stages", [operator.spec])}
    _remote.run(place(), unit, Hooks(), ti)
    assert noted == expected
