from __future__ import annotations

import datetime
import json
from typing import Any

import pytest

from airflow_stagecoach.engine.sequence import rolled_up
from tests.engine.harness import bash, empty, python, run


@pytest.mark.parametrize(
    ("states", "state"),
    [
        ([], "skipped"),
        (["skipped", "skipped"], "skipped"),
        (["skipped", "success"], "success"),
        (["success", "skipped"], "success"),
        (["success", "failed"], "failed"),
        (["failed", "skipped"], "failed"),
        (["failed", "upstream_failed", "success"], "failed"),
    ],
)
def test_the_state_of_a_list(states: list[str], state: str) -> None:
    assert rolled_up(states) == state


def states(*stages: dict[str, Any], **unit: Any) -> list[str]:
    return [stage["state"] for stage in run(*stages, **unit).stages.values()]


FAIL = {"kind": "raise", "raise": "no"}


def test_no_stages_is_skipped() -> None:
    assert run().state == "skipped"


def test_a_skipped_stage_does_not_stop_the_next() -> None:
    assert states(empty(**{"if": "false"}), empty()) == ["skipped", "success"]


@pytest.mark.parametrize(
    ("condition", "state"),
    [
        ("always()", "success"),
        ("failure()", "success"),
        ("!success()", "success"),
        ("success()", "skipped"),
        ("cancelled()", "skipped"),
        ("success() || failure()", "success"),
        ("failure() && stages.s1.result == 'failure'", "success"),
        ("1 == 1", "upstream_failed"),
        (True, "upstream_failed"),
        (False, "upstream_failed"),
    ],
)
def test_after_a_failure(condition: Any, state: str) -> None:
    ran = run(FAIL, empty(**{"if": condition}), empty())
    assert [stage["state"] for stage in ran.stages.values()] == ["failed", state, "upstream_failed"]
    assert ran.state == "failed"


@pytest.mark.parametrize(
    ("condition", "state"), [("success()", "success"), ("failure()", "skipped"), ("always()", "success")]
)
def test_without_a_failure(condition: str, state: str) -> None:
    assert states(empty(), empty(**{"if": condition}))[1] == state


def test_a_single_stage_starts_from_the_status_of_the_unit() -> None:
    status = {"success": False, "failure": True, "cancelled": False}
    assert states(empty(**{"if": "failure()"}), status=status) == ["success"]
    assert states(empty(**{"if": "success()"}), status=status) == ["skipped"]


def test_continue_on_error() -> None:
    ran = run(
        {**FAIL, "continue_on_error": True},
        python(
            "x = '${{ stages.s1.outcome }} ${{ stages.s1.state }} ${{ stages.s1.result }} "
            "${{ stages.s1.outputs.outcome }}'"
        ),
        empty(**{"if": "failure()"}),
    )
    first = ran.stages["s1"]
    assert (first["state"], first["outcome"], first["outputs"]) == (
        "success",
        "failure",
        {"outcome": "failure"},
    )
    assert first["error"]["message"] == "no"
    assert ran.stages["s2"]["outputs"]["x"] == "failure success success failure"
    assert ran.stages["s3"]["state"] == "skipped"
    assert (ran.state, ran.result["outcome"]) == ("success", "success")


def test_an_if_that_is_no_boolean_fails_the_stage() -> None:
    error = run(empty(**{"if": "${{ params.x }}"}), contexts={"params": {"x": "text"}}).error
    assert error["message"].startswith("if: ")


def test_an_if_may_name_the_environment_below_the_stage() -> None:
    condition = {"if": "env.LEVEL == 'info'"}
    assert states(empty(**condition), env=[{"LEVEL": "info"}]) == ["success"]
    assert states(empty(**condition), env=[{"LEVEL": "debug"}]) == ["skipped"]


def test_a_skipped_stage_evaluates_nothing_else() -> None:
    assert states(bash("x", env={"A": "${{ params.nope }}"}, **{"if": False}), contexts={"params": {}}) == [
        "skipped"
    ]


def test_ids_may_hold_the_matrix_and_must_differ() -> None:
    ran = run(empty(id="load-${{ matrix.t }}"), contexts={"matrix": {"t": "a"}})
    assert list(ran.stages) == ["load-a"]
    ran = run(empty(id="a"), empty(id="${{ matrix.t }}"), contexts={"matrix": {"t": "a"}})
    assert ran.state == "failed"
    assert [stage["state"] for stage in ran.stages.values()] == ["success", "failed"]


def test_times_are_utc_and_in_order() -> None:
    stage = run(empty(sleep=0.05)).only
    start, end = (datetime.datetime.fromisoformat(stage[key]) for key in ("start", "end"))
    assert start.utcoffset() == datetime.timedelta(0)
    assert 0.04 < (end - start).total_seconds() < 1


def test_stages_of_a_leg_share_folder_and_are_folded() -> None:
    ran = run(bash("echo hi > f", name="Write\nit"), bash("cat f"))
    assert ran.texts == ["::group::Write it", "::endgroup::", "::group::s2", "hi", "::endgroup::"]


def test_the_only_stage_is_not_folded() -> None:
    assert run(empty(echo="hi")).texts == ["hi"]


def test_peak_memory_is_bytes() -> None:
    assert run(empty()).result["peak_memory"] > 5_000_000


MAKE = python("import re\npattern = re.compile('a+')\nn = 1", id="make")


def test_live_objects_pass_between_the_stages_of_a_task() -> None:
    same = python("same = ${{ stages.make.outputs.pattern }} is stages.make.outputs.pattern", id="same")
    use = python("found = stages.make.outputs.pattern.match('aaa').group() * stages.make.outputs.n", id="use")
    ran = run(MAKE, same, use)
    assert ran.stages["same"]["outputs"] == {"same": True}
    assert ran.stages["use"]["outputs"] == {"found": "aaa"}
    assert not [text for level, text in ran.lines if level == "warning"], "it is not lost"


def test_no_live_object_leaves_the_task() -> None:
    made = run(MAKE, empty()).stages["make"]
    assert made["outputs"] == {"n": 1}
    assert list(made["omitted"]) == ["pattern"]
    assert json.loads(json.dumps(made)) == made


def test_live_objects_pass_inside_nested_stages() -> None:
    use = python("ok = bool(stages.make.outputs.pattern.match('${{ item }}'))", id="use")
    ran = run({"kind": "foreach", "id": "each", "foreach": ["aa", "b"], "stages": [MAKE, use]})
    each = ran.stages["each"]["outputs"]["foreach"]
    assert [each[item]["stages"]["use"]["outputs"] for item in ("aa", "b")] == [{"ok": True}, {"ok": False}]


def test_a_stage_that_is_alone_warns_of_what_is_lost() -> None:
    assert [level for level, text in run(MAKE).lines if "'pattern' is left out" in text] == ["warning"]


def test_the_object_of_the_last_try_counts() -> None:
    code = "import re\nn = context.attempt\npattern = re.compile(str(n))\nif n < 2: raise ValueError(n)"
    flaky = python(code, id="make", retry={"max": 1, "delay": 0})
    ran = run(flaky, python("text = stages.make.outputs.pattern.pattern", id="use"))
    assert ran.stages["use"]["outputs"] == {"text": "2"}
