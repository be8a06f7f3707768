"""Stages of handwritten DAGs."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_stagecoach.document import BashStage, DocumentError, Resources
from airflow_stagecoach.document.single import plan_single_stage


def test_a_map_and_a_model() -> None:
    as_map = plan_single_stage({"bash": "x", "timeout": "1m", "retry": 2, "resources": {"cpu": 1}}, "load")
    as_model = plan_single_stage(
        BashStage(name="load", bash="x", timeout=60, retry=2, resources=Resources(cpu="1000m")), "ignored"
    )
    assert as_map == as_model
    assert as_map["spec"] == {
        "kind": "bash",
        "id": "load",
        "name": "load",
        "timeout": 60,
        "retry": {"max": 2, "delay": 10},
        "bash": "x",
        "resources": {"cpu": 1},
    }


@pytest.mark.parametrize(
    ("keys", "path", "message", "hint"),
    [
        ({"pool": "a"}, ("pool",), "'pool' belongs to a document; here it is an argument of the operator", "pass pool= to the operator"),
        ({"pool_slots": 1}, ("pool-slots",), None, "pass pool_slots= to the operator"),
        ({"priority": 1}, ("priority",), None, "pass priority_weight= to the operator"),
        ({"notify": {"failure": "https://x.y"}}, ("notify",), None, None),
        ({"teardown": True}, ("teardown",), None, "call as_teardown() of the operator"),
        ({"logging": {"file": True}}, ("logging", "file"), "'file' of a log belongs to a document", "remove it"),
        ({"resources": {"gpu": 1}}, ("resources", "gpu"), "the local backend cannot give GPUs", None),
        ({"parallel": {"a": [{"bash": "x", "pool": "a"}]}}, ("parallel", "a", 0, "pool"), None, None),
        ({"bash": 5}, ("stages", 0, "bash"), "expected text, found the number 5", None),
    ],
)  # fmt: skip
def test_refused(
    keys: dict[str, Any], path: tuple[object, ...], message: str | None, hint: str | None
) -> None:
    stage = keys if "parallel" in keys else {"bash": "x", **keys}
    with pytest.raises(DocumentError) as error:
        plan_single_stage(stage, "load")
    (found,) = error.value.diagnostics
    assert found.path == path
    assert message is None or found.message == message
    assert hint is None or found.hint == hint
