"""``retry: {on-oom}`` in real containers: each try's container has the memory of that try."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.backends import images
from tests.factory.plans import job, stage, workflow
from tests.operators.fakes import FakeTask, Store, attempt, make_operator

if TYPE_CHECKING:
    from tests.backends.docker_engine import DockerEngine

pytestmark = pytest.mark.runs

MIB = 1 << 20


@pytest.mark.parametrize(
    ("kind", "settings", "spec"),
    [
        (
            "python",
            {"image": images.PYTHON},
            {"run": "held = bytearray(150 * 1024 ** 2)\nsize = len(held)\ndel held"},
        ),
        (
            "image",
            {},
            {"image": images.PYTHON, "command": ["python3", "-c", "held = bytearray(150 * 1024 ** 2)"]},
        ),
    ],
    ids=["python", "image"],
)
def test_the_third_container_is_large_enough(
    engine: DockerEngine,
    kind: str,
    settings: dict[str, Any],
    spec: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Any,
) -> None:
    monkeypatch.setenv("AIRFLOW__STAGECOACH__WORK_FOLDER", str(tmp_path))
    retry = {"max": 2, "delay": 0.0, "on_oom": {"factor": 2.5, "max": 400 * MIB}}
    runs_on = {"type": "docker", "with_": {**settings, "host": engine.url, "pull": "never"}}
    made = {**stage("s", kind, resources={"memory": 40 * MIB}, **spec), "retry": retry}
    plan = workflow(job("a", made, runs_on=runs_on))
    store, found = Store(), []
    for number in (1, 2, 3):
        operator = make_operator(plan, "a", runs_on=runs_on)
        ti = FakeTask("a.s", try_number=number, max_tries=2, run_id=f"memory {kind}")
        found.append(attempt(plan, operator=operator, ti=ti, store=store))
    told = [(tried.record["state"], tried.record["memory_limit"] // MIB) for tried in found]
    assert told == [("failed", 40), ("failed", 100), ("success", 250)], [tried.error for tried in found]
    assert {tried.record["reason"] for tried in found[:2]} <= {"OOMKilled", "out-of-memory"}
    assert [tried.report["next_memory_limit"] // MIB for tried in found[:2]] == [100, 250]
