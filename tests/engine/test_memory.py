"""More memory after a try that had too little."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_stagecoach.engine.memory import grown, memory_limit, ran_out_of_memory, shown, told
from airflow_stagecoach.engine.retry import decide
from tests.engine.harness import python, run

MIB = 1 << 20
GIB = 1 << 30


@pytest.mark.parametrize(
    ("on_oom", "expected"),
    [
        ({"factor": 2.0}, [100, 200, 400, 800]),
        ({"factor": 1.5}, [100, 150, 225, 338]),
        ({"add": 30}, [100, 130, 160, 190]),
        ({"factor": 2.0, "max": 300}, [100, 200, 300, 300]),
        ({"add": 150, "max": 260}, [100, 250, 260, 260]),
    ],
)
def test_request_and_limit_grow_alike(on_oom: dict[str, Any], expected: list[int]) -> None:
    steps = range(len(expected))
    assert [grown({"memory": 100}, on_oom, step)["memory"] for step in steps] == expected
    only_limit = {"cpu": 1, "limits": {"memory": 100, "cpu": 2}}
    assert [grown(only_limit, on_oom, step)["limits"]["memory"] for step in steps] == expected
    both = grown({"memory": 50, "gpu": 1, "limits": {"memory": 100}}, on_oom, 1)
    assert both["limits"]["memory"] == expected[1]
    assert 50 < both["memory"] <= both["limits"]["memory"]
    assert both["gpu"] == 1


def test_what_has_no_memory_stays_as_it_is() -> None:
    assert grown({"cpu": 1, "limits": {"cpu": 2}}, {"factor": 2.0}, 3) == {"cpu": 1, "limits": {"cpu": 2}}


@given(
    st.integers(MIB, 1 << 50),
    st.one_of(
        st.builds(lambda factor: {"factor": factor}, st.floats(1.01, 100)),
        st.builds(lambda add: {"add": add}, st.integers(MIB, 1 << 40)),
    ),
    st.integers(0, 100),
    st.integers(MIB, 1 << 55),
)
def test_it_never_shrinks_and_never_passes_the_most(
    amount: int, growth: dict[str, Any], times: int, room: int
) -> None:
    most = amount + room
    on_oom = {**growth, "max": most}
    before, after = (grown({"memory": amount}, on_oom, number)["memory"] for number in (times, times + 1))
    assert amount <= before <= after <= most
    assert grown({"memory": amount}, growth, times)["memory"] >= amount  # without end it ends at some size


@pytest.mark.parametrize(
    ("resources", "limit"),
    [
        (None, None),
        ({}, None),
        ({"cpu": 1}, None),
        ({"memory": 5}, 5),
        ({"memory": 5, "limits": {"memory": 7}}, 7),
        ({"limits": {"memory": 7}}, 7),
        ({"memory": 5, "limits": {"cpu": 1}}, 5),
    ],
)
def test_the_limit_is_the_request_where_nothing_else_is_said(resources: Any, limit: int | None) -> None:
    assert memory_limit(resources) == limit


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"type": "MemoryError", "classes": ["builtins.MemoryError"]}, True),
        ({"type": "ExitCode", "exit_code": 137, "oom": True}, True),
        ({"type": "OOMKilled", "reason": "OOMKilled"}, True),
        ({"type": "ExitCode", "exit_code": 1, "stderr": "Cannot allocate memory"}, True),
        ({"type": "X", "category": "resource", "reason": "oom-killed"}, True),
        ({"type": "X", "message": "OutOfMemoryError: Container killed due to memory usage"}, True),
        ({"type": "ExitCode", "exit_code": 137}, False),  # killed, nobody knows why
        ({"type": "Evicted", "reason": "Evicted"}, False),  # of the node, maybe for its disk
        ({"type": "OSError", "reason": "disk-full"}, False),
        ({"type": "X", "category": "component", "reason": "OOMKilled"}, False),
    ],
)
def test_running_out_of_memory(error: dict[str, Any], expected: bool) -> None:
    assert ran_out_of_memory({"message": "", **error}) is expected  # type: ignore[typeddict-item]  # made by hand


def test_a_rule_of_somebody_else_counts() -> None:
    error: Any = {"type": "X", "message": "heap"}
    assert ran_out_of_memory(error, [lambda error: ("resource", "out-of-memory", "default")])


def test_on_need_not_name_it() -> None:
    oom: Any = {"type": "MemoryError", "message": "", "classes": ["builtins.MemoryError"]}
    other: Any = {"type": "ValueError", "message": ""}
    retry = {"max": 3, "delay": 1, "on": ["network"], "on_oom": {"factor": 2.0}}
    assert decide(retry, oom, 1).repeat
    assert not decide(retry, other, 1).repeat
    assert not decide({**retry, "never": ["MemoryError"]}, oom, 1).repeat
    assert not decide({"max": 3, "delay": 1, "on": ["network"]}, oom, 1).repeat


@pytest.mark.parametrize(
    ("amount", "text"),
    [(None, "no limit"), (512 * MIB, "512Mi"), (3 * GIB // 2, "1.5Gi"), (2048, "2Ki"), (5, "5 bytes")],
)
def test_amounts_are_shown_as_documents_have_them(amount: int | None, text: str) -> None:
    assert shown(amount) == text


def test_what_is_told() -> None:
    small, double = {"memory": 128 * MIB}, {"factor": 2.0, "max": 300 * MIB}
    assert told(double, small, 1) == ("The try ran out of memory with 128Mi; the next one gets 256Mi", "info")
    for on_oom, resources, times in ((double, small, 3), (None, small, 1), (double, {"cpu": 1}, 1)):
        text, level = told(on_oom, resources, times)
        assert "the next one has no more" in text
        assert level == "warning"


# -- stages that share a task: the engine repeats them ----------------------------------------

HUNGRY = "x = bytearray(300 * 1024 ** 2)\nn = len(x)\ndel x"


def shared(*stages: Any, **unit: Any) -> Any:
    return run(*stages, enforce_retries=True, enforce_resources=True, **unit)


@pytest.mark.skipif(sys.platform != "linux", reason="limits of processes are Linux's")
def test_a_stage_grows_until_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_stagecoach.engine.cgroup.delegated", lambda controllers: None)
    retry = {"max": 2, "delay": 0, "on_oom": {"factor": 2.0}}
    ran = shared(python(HUNGRY, resources={"memory": 128 * MIB}, retry=retry))
    assert ran.outputs == {"n": 300 * MIB}
    assert ran.only["tries"] == 3
    assert ran.only["memory_limit"] == 512 * MIB
    assert ("info", "The try ran out of memory with 128Mi; the next one gets 256Mi") in ran.lines
    assert ("info", "The try ran out of memory with 256Mi; the next one gets 512Mi") in ran.lines


@pytest.mark.skipif(sys.platform != "linux", reason="limits of processes are Linux's")
def test_without_on_oom_each_identical_repeat_is_warned_about(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_stagecoach.engine.cgroup.delegated", lambda controllers: None)
    ran = shared(python(HUNGRY, resources={"memory": 128 * MIB}, retry={"max": 1, "delay": 0}))
    assert ran.error["category"] == "resource"
    assert ran.only["memory_limit"] == 128 * MIB
    warned = [text for level, text in ran.lines if level == "warning" and "has no more" in text]
    assert len(warned) == 1


def test_another_failure_makes_nothing_grow() -> None:
    ran = run(
        {
            "kind": "raise",
            "raise": "no",
            "resources": {"memory": 128 * MIB},
            "retry": {"max": 1, "delay": 0, "on_oom": {"factor": 2.0}},
        },
        enforce_retries=True,
    )
    assert ran.only["tries"] == 2
    assert ran.only["memory_limit"] == 128 * MIB
