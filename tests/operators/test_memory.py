"""``retry: {on-oom}`` over the tries of a task: what each gets, and what is told of it."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from structlog.testing import capture_logs

from airflow_stagecoach.exceptions import StageFailed
from airflow_stagecoach.operators.retry import StageRetryPolicy

from ..factory.plans import job, stage, workflow
from .fakes import FakeTask, Store, Tried, attempt, make_operator
from .test_record import validate_record, validate_report

MIB = 1 << 20

#: A stage that says what memory it was given, and fails as it is told to.
OOM = StageFailed("no", {"type": "OOMKilled", "message": "no", "category": "resource", "reason": "OOMKilled"})
OTHER = StageFailed("no", {"type": "ExitCode", "message": "no", "exit_code": 1})


def plan(on_oom: Any = None, resources: Any = None, **retry: Any) -> Any:
    whole = {"max": 5, "delay": 1.0, **retry, **({} if on_oom is None else {"on_oom": on_oom})}
    spec: Any = {"resources": resources or {"memory": 100 * MIB, "limits": {"memory": 200 * MIB}}}
    return workflow(job("a", {**stage("s", **spec), "retry": whole}))


def tries(
    made: Any, *errors: BaseException, store: Store | None = None, first: int = 1, max_tries: int = 5
) -> list[Tried]:
    """One try after another in one series, the units of which are not run but fail."""
    store = Store() if store is None else store
    found = []
    for number, error in enumerate(errors, first):
        operator = make_operator(made, "a")

        def start(context: Any, operator: Any = operator, error: BaseException = error) -> Any:
            operator.given = operator._unit(context)["stages"][0].get("resources")
            raise error

        operator._start = start
        ti = FakeTask("a.s", try_number=number, max_tries=max_tries)
        found.append(attempt(made, operator=operator, ti=ti, store=store))
    return found


def given(found: list[Tried]) -> list[tuple[int, int]]:
    """Request and limit of each try, in MiB."""
    return [
        (tried.operator.given["memory"] // MIB, tried.operator.given["limits"]["memory"] // MIB)
        for tried in found
    ]


def test_each_try_after_one_without_enough_gets_more() -> None:
    found = tries(plan({"factor": 2.0, "max": 700 * MIB}), OOM, OOM, OOM)
    assert given(found) == [(100, 200), (200, 400), (400, 700)]
    for tried in found:
        validate_record(tried.record)
        validate_report(tried.report)
    assert [tried.record["memory_limit"] // MIB for tried in found] == [200, 400, 700]
    assert [tried.report["memory_limit"] // MIB for tried in found] == [200, 400, 700]
    assert [tried.report["next_memory_limit"] // MIB for tried in found] == [400, 700, 700]


def test_other_failures_make_nothing_grow_and_lose_nothing() -> None:
    found = tries(plan({"add": 50 * MIB}), OTHER, OOM, OTHER, OTHER, OOM, OOM)
    assert [limit for _, limit in given(found)] == [200, 200, 250, 250, 250, 300]
    assert found[0].report["next_memory_limit"] == 200 * MIB
    assert found[-1].report["next_memory_limit"] is None, "there is no other try"


def test_a_clear_begins_anew() -> None:
    store, made = Store(), plan({"factor": 2.0})
    assert [limit for _, limit in given(tries(made, OOM, OOM, OOM, store=store))] == [200, 400, 800]
    # Airflow raises max_tries by the tries before.
    again = tries(made, OOM, OOM, store=store, first=4, max_tries=8)
    assert [limit for _, limit in given(again)] == [200, 400]


def test_what_is_told() -> None:
    with capture_logs() as lines:
        tries(plan({"factor": 2.0}), OOM, OTHER)
    texts = [line["event"] % tuple(line.get("positional_args", ())) for line in lines]
    assert "The try ran out of memory with 200Mi; the next one gets 400Mi" in texts
    assert "Memory of this try: 400Mi, in place of 200Mi: 1 before it ran out" in texts


def test_without_on_oom_an_identical_repeat_is_warned_about_once_per_try() -> None:
    with capture_logs() as lines:
        found = tries(plan(), OOM, OTHER, OOM)
    warned = [line for line in lines if "has no more" in str(line)]
    assert [line["log_level"] for line in warned] == ["warning"] * 2
    assert [tried.report["next_memory_limit"] for tried in found] == [200 * MIB] * 3


def test_nobody_is_warned_of_a_try_that_does_not_follow() -> None:
    with capture_logs() as lines:
        tries(plan(max=0), OOM, max_tries=0)
    assert not [line for line in lines if "has no more" in str(line)]


def test_a_store_that_fails_costs_only_the_growth() -> None:
    class Broken(Store):
        def get(self, *_: Any) -> Any:
            raise ConnectionError("gone")

        def set(self, key: str, value: Any) -> None:
            raise ConnectionError("gone")

    assert [limit for _, limit in given(tries(plan({"factor": 2.0}), OOM, OOM, store=Broken()))] == [200, 200]


@pytest.mark.parametrize(
    "kept", [None, 5, {}, {"before": 3, "count": 2}, {"before": 0}, {"before": 0, "count": None}]
)
def test_a_count_of_another_series_is_none_of_this(kept: Any) -> None:
    policy = StageRetryPolicy({"max": 3, "delay": 1.0, "on_oom": {"factor": 2.0}})
    store = Store(stagecoach_ran_out_of_memory=kept)
    assert policy.ran_out_before(2, 3, {"task_state_store": store}) == 0
    assert policy.ran_out_before(2, 3, None) == 0


def test_resources_without_memory_and_stages_without_resources() -> None:
    (tried,) = tries(plan(resources={"cpu": 1}), OTHER)
    assert tried.record["memory_limit"] is None
    assert attempt(workflow(job("a", stage("s")))).record["memory_limit"] is None


@pytest.mark.skipif(sys.platform != "linux", reason="limits of processes are Linux's")
def test_a_real_stage_succeeds_once_it_fits(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("AIRFLOW__STAGECOACH__WORK_FOLDER", str(tmp_path))
    monkeypatch.setattr("airflow_stagecoach.engine.cgroup.delegated", lambda controllers: None)
    retry = {"max": 2, "delay": 0.0, "on_oom": {"factor": 2.0, "max": 1024 * MIB}}
    source = "x = bytearray(300 * 1024 ** 2)\nn = len(x)\ndel x"
    made = workflow(
        job("a", {**stage("s", "python", run=source, resources={"memory": 128 * MIB}), "retry": retry})
    )
    store, found = Store(), []
    for number in (1, 2, 3):
        found.append(attempt(made, ti=FakeTask("a.s", try_number=number, max_tries=2), store=store))
    assert [tried.record["memory_limit"] // MIB for tried in found] == [128, 256, 512]
    assert [tried.record["reason"] for tried in found] == ["out-of-memory", "out-of-memory", None]
    assert found[2].outputs == {"n": 300 * MIB}
