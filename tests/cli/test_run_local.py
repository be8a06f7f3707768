"""What a local run leaves out of a plan."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_stagecoach.cli.run_local import _alone
from tests.factory.plans import job, stage, workflow

HOOK = [{"event": "failure", "webhook": "http://localhost:9/"}]
GROUP = {"group": "g", "on_conflict": "queue"}


@pytest.mark.parametrize(
    ("keys", "of_stage", "left_out"),
    [
        ({}, {}, []),
        ({"notify": HOOK, "concurrency": GROUP, "deadline": 5.0}, {}, ["notify", "concurrency", "deadline"]),
        ({}, {"notify": HOOK}, ["notify"]),
        ({"deadline": 5.0}, {"notify": HOOK}, ["notify", "deadline"]),
    ],
)
def test_what_needs_others_is_left_out(
    keys: dict[str, Any], of_stage: dict[str, Any], left_out: list[str]
) -> None:
    plan = workflow(job("j", {**stage("s"), **of_stage, "pool": "p"}), timeout=60, **keys)
    before = repr(plan)
    alone, names = _alone(plan)
    assert names == left_out
    assert alone == workflow(job("j", {**stage("s"), "pool": "p"}), timeout=60)
    assert repr(plan) == before, "the plan itself stays as it is"
