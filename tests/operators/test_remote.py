"""What a remote place is told of a task, besides its stages."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_stagecoach.backends.emulated import EmulatedBackend
from airflow_stagecoach.engine import Hooks
from airflow_stagecoach.operators import _remote

from ..factory.plans import job, stage, workflow
from .fakes import FakeTask, make_operator

MEMORY = {"memory": 64 * 1024 * 1024}


class Place(EmulatedBackend):
    """Takes note of the unit, and runs nothing."""

    unit: Any = None

    def run(self, unit: Any, hooks: Any, *, wait: float | None = None) -> Any:
        self.unit = unit


def sent(operator: Any) -> Any:
    """The unit of a task as its backend gets it."""
    place, ti = Place(), FakeTask(operator.task_id)
    ti.task = operator  # type: ignore[attr-defined]  # as the real one has it
    unit: Any = {"stages": operator.spec.get("stages", [operator.spec])}
    _remote.run(place, unit, Hooks(), ti)
    return place.unit


@pytest.mark.parametrize("granularity", ["stage", "job"])
def test_resources(granularity: str) -> None:
    stages = [stage("x", kind="empty"), stage("s", bash="true", resources=MEMORY)]
    plan = workflow(job("a", *stages, granularity=granularity))
    assert sent(make_operator(plan, "a", 1))["resources"] == MEMORY


def test_no_resources() -> None:
    plan = workflow(job("a", stage("s", bash="true")))
    assert "resources" not in sent(make_operator(plan, "a"))
