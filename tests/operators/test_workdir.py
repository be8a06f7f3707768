"""Which stage removes the scratch folder of its leg."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_stagecoach.operators._workdir import removes, run_key, runs_after_failure, workdir

from ..factory import plans
from .fakes import FakeTask

ALWAYS = {"if_": "always()"}


#: A job without anything special.
PLAIN: Any = plans.job("a")


def plan(*kinds: str, **keys: Any) -> Any:
    """A job of plain (p), judging (j) and teardown (t) stages."""
    stages = []
    for number, kind in enumerate(kinds):
        one: Any = plans.stage(f"s{number}", **(ALWAYS if kind == "j" else {}))
        if kind == "t":
            one["teardown"] = True
        stages.append(one)
    return plans.job("a", *stages, **keys)


def who(job_plan: Any, *, leg_failed: bool, final: bool = True) -> list[int]:
    """Positions that would remove the folder."""
    return [
        place
        for place in range(len(job_plan["stages"]))
        if removes(job_plan, place, leg_failed=leg_failed, final=final)
    ]


@pytest.mark.parametrize("policy", ["on-success", "always"])
@pytest.mark.parametrize(
    ("kinds", "last"), [("p", 0), ("pp", 1), ("pjp", 2), ("tpp", 0), ("tpt", 2), ("pj", 1)]
)
def test_after_success_the_last_one_does(kinds: str, last: int, policy: str) -> None:
    assert who(plan(*kinds, cleanup=policy), leg_failed=False) == [last]


def test_after_a_failure_it_stays_for_whoever_looks_why() -> None:
    assert who(plan("p", "p", "t"), leg_failed=True) == []


@pytest.mark.parametrize(
    ("kinds", "able"),
    [
        ("pp", [0, 1]),  # whichever fails: none after it runs
        (
            "pjp",
            [1, 2],
        ),  # the judging one runs after the first; after it only a failure of its own ends the leg
        ("ppt", [2]),
        ("tpp", [0]),
        ("ppj", [2]),
    ],
)
def test_always_also_after_a_failure(kinds: str, able: list[int]) -> None:
    assert who(plan(*kinds, cleanup="always"), leg_failed=True) == able


def test_not_while_there_is_another_try() -> None:
    assert who(plan("p", cleanup="always"), leg_failed=True, final=False) == []


@pytest.mark.parametrize("leg_failed", [True, False])
def test_never(leg_failed: bool) -> None:
    assert who(plan("p", "t", cleanup="never"), leg_failed=leg_failed) == []


def test_one_task_for_all() -> None:
    whole = plan("p", "p", granularity="job", cleanup="always")
    assert removes(whole, 0, leg_failed=True, final=True)
    assert removes(plan("p", "p", granularity="job"), 0, leg_failed=False, final=True)
    assert not removes(plan("p", "p", granularity="job"), 0, leg_failed=True, final=True)


def test_a_handwritten_dag() -> None:
    assert removes(None, 0, leg_failed=False, final=True)
    assert not removes(None, 0, leg_failed=True, final=True)


def test_who_runs_after_a_failure() -> None:
    assert [runs_after_failure(one) for one in plan("p", "j", "t")["stages"]] == [False, True, True]
    assert not runs_after_failure(PLAIN["stages"][0])


class TestPlaces:
    def test_a_leg_has_a_folder(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW__STAGECOACH__WORK_FOLDER", "/scratch")
        first, second = (workdir(FakeTask("a.s", map_index=index), PLAIN) for index in (0, 1))
        assert first.startswith("/scratch/wf/run_1-")
        assert first.endswith("/a/0")
        assert second.endswith("/a/1")

    def test_the_stages_of_a_leg_share_it(self) -> None:
        assert workdir(FakeTask("a.s"), PLAIN) == workdir(FakeTask("a.t"), PLAIN)

    @pytest.mark.parametrize(
        ("task_id", "index", "key"),
        [("a.s", -1, "wf/run 1/a/s"), ("a.s", 3, "wf/run 1/a/3/s")],
    )
    def test_the_key_of_a_run(self, task_id: str, index: int, key: str) -> None:
        tries = {run_key(FakeTask(task_id, map_index=index, try_number=number), PLAIN) for number in (1, 2)}
        assert tries == {key}
