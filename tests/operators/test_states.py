"""Where a task stands, in seven words."""

from __future__ import annotations

from itertools import permutations

import pytest
from airflow.utils.state import TaskInstanceState
from hypothesis import given
from hypothesis import strategies as st

from airflow_stagecoach.operators.states import NORMAL_STATES, normalise_state, stages_state, worst_state

EXPECTED = {
    None: "pending",
    "scheduled": "pending",
    "queued": "pending",
    "running": "running",
    "restarting": "running",
    "deferred": "running",
    "up_for_reschedule": "running",
    "awaiting_input": "running",
    "up_for_retry": "retrying",
    "success": "completed",
    "failed": "failed",
    "upstream_failed": "failed",
    "skipped": "skipped",
    "removed": "skipped",
}


@pytest.mark.parametrize("state", [None, *TaskInstanceState])
def test_every_state_of_this_airflow_is_known(state: TaskInstanceState | None) -> None:
    """Fails when Airflow adds a member: decide then what it means."""
    text = None if state is None else state.value
    assert normalise_state(state) == normalise_state(text) == EXPECTED[text]


def test_no_state_is_left_over() -> None:
    assert {state.value for state in TaskInstanceState} | {None} == set(EXPECTED)
    assert set(EXPECTED.values()) | {"cancelled"} == set(NORMAL_STATES)


@pytest.mark.parametrize(
    "reason", ["cancelled", "Cancelled", "fail-fast", "concurrency", "set-by-hand", "run-timeout"]
)
@pytest.mark.parametrize("state", EXPECTED)
def test_only_what_ended_without_success_was_cancelled(state: str | None, reason: str) -> None:
    expected = EXPECTED[state]
    assert normalise_state(state, reason) == ("cancelled" if expected in ("failed", "skipped") else expected)


@pytest.mark.parametrize("reason", ["exit-1", "OOMKilled", "condition", "worker-lost", "upstream-failed", ""])
@pytest.mark.parametrize("state", ["failed", "skipped", "success", None])
def test_other_reasons_change_nothing(state: str | None, reason: str) -> None:
    assert normalise_state(state, reason) == EXPECTED[state]


@pytest.mark.parametrize("state", ["none", "SUCCESS", "", "sleeping"])
def test_an_unknown_state_is_no_guess(state: str) -> None:
    with pytest.raises(ValueError, match="is not known"):
        normalise_state(state)


@pytest.mark.parametrize(
    ("legs", "job"),
    [
        ([], "skipped"),
        (["cancelled"] * 3, "cancelled"),
        (["skipped"] * 3, "skipped"),
        (["completed"] * 5 + ["failed"], "failed"),
        (["completed", "skipped"], "completed"),
        (["pending", "completed"], "pending"),
        (["running", "pending"], "running"),
        (["retrying", "running"], "retrying"),
        (["cancelled", "retrying"], "cancelled"),
        (["failed", "cancelled"], "failed"),
    ],
)
def test_a_job_stands_where_its_worst_leg_does(legs: list[str], job: str) -> None:
    assert {worst_state(order) for order in permutations(legs)} == {job}


@given(st.lists(st.sampled_from(NORMAL_STATES)))
def test_one_more_leg_never_makes_it_better(legs: list[str]) -> None:
    worst = worst_state(legs)
    assert all(
        NORMAL_STATES.index(worst_state([*legs, more])) <= NORMAL_STATES.index(worst)
        for more in NORMAL_STATES
    )


@pytest.mark.parametrize(
    ("stages", "leg"),
    [
        (["pending", "pending"], "pending"),
        (["completed", "pending"], "running"),
        (["skipped", "pending"], "running"),
        (["completed", "running", "pending"], "running"),
        (["completed", "retrying", "pending"], "retrying"),
        (["completed", "failed", "failed"], "failed"),
        (["completed", "cancelled"], "cancelled"),
        (["completed", "skipped"], "completed"),
        (["skipped", "skipped"], "skipped"),
    ],
)
def test_between_two_stages_a_leg_is_running(stages: list[str], leg: str) -> None:
    assert stages_state(stages) == leg
