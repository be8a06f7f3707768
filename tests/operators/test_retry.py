"""When a failed try is repeated, and after how long."""

from __future__ import annotations

import sys
from datetime import timedelta
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from airflow.sdk.definitions.retry_policy import RetryAction, RetryDecision, RetryPolicy
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowTaskTimeout
from hypothesis import given
from hypothesis import strategies as st

from airflow_stagecoach.engine.classification import Classification
from airflow_stagecoach.exceptions import StageConfigError, StageFailed
from airflow_stagecoach.operators import retry as module
from airflow_stagecoach.operators.retry import (
    LostWorkerPolicy,
    StageRetryPolicy,
    failure,
    judge,
    retry_arguments,
)

from .fakes import FakeTask, Store

if TYPE_CHECKING:
    from collections.abc import Iterator


def context(
    task: Any = None, *, try_number: int = 1, max_tries: int = 3, store: Any = None, index: int = -1
) -> Any:
    ti = FakeTask("a.s", map_index=index, try_number=try_number, max_tries=max_tries)
    return {"ti": ti, "task": task, "run_id": "run", "task_state_store": Store() if store is None else store}


def plan(**keys: Any) -> Any:
    return {"max": 3, "delay": 10.0, **keys}


def failed(type_: str = "ExitCode", **keys: Any) -> StageFailed:
    error: Any = {"type": type_, "message": "no", **keys}
    return StageFailed("no", error)


def ask(
    retry: Any, error: BaseException, try_number: int = 1, max_tries: int = 3, **given: Any
) -> RetryDecision:
    return StageRetryPolicy(retry).evaluate(
        error, try_number, max_tries, context(try_number=try_number, max_tries=max_tries, **given)
    )


def seconds(decision: RetryDecision) -> float:
    assert decision.action is RetryAction.RETRY
    assert decision.retry_delay is not None
    return decision.retry_delay.total_seconds()


@pytest.mark.parametrize(
    ("keys", "delays"),
    [
        ({}, [10, 10, 10]),
        ({"backoff": "linear", "increment": 5, "max_delay": 18}, [10, 15, 18]),
        ({"backoff": "linear"}, [10, 20, 30]),
        ({"backoff": "exponential", "factor": 3, "max_delay": 80}, [10, 30, 80]),
        ({"backoff": "custom", "delays": [1.0, 7.0]}, [1, 7, 7]),
    ],
)
def test_delays_are_exact(keys: dict[str, Any], delays: list[float]) -> None:
    assert [seconds(ask(plan(**keys), failed(), number)) for number in (1, 2, 3)] == delays


def test_a_clear_begins_the_series_anew() -> None:
    retry = plan(backoff="exponential")
    # After four tries a clear gives max_tries = 4 + 3.
    assert [seconds(ask(retry, failed(), number, 7)) for number in (5, 6, 7)] == [10, 20, 40]


@given(st.integers(0, 99), st.integers(1, 3), st.sampled_from(["full", "equal"]))
def test_jitter_is_the_same_for_the_same_try(index: int, number: int, jitter: str) -> None:
    retry = plan(jitter=jitter)
    first, second = (seconds(ask(retry, failed(), number, index=index)) for _ in range(2))
    assert first == second
    assert (0 if jitter == "full" else 5) <= first <= 10


def test_jitter_differs_between_legs() -> None:
    retry = plan(jitter="full")
    assert len({seconds(ask(retry, failed(), index=index)) for index in range(100)}) > 90


@pytest.mark.parametrize(
    ("error", "action"),
    [
        (failed(exit_code=3), RetryAction.RETRY),
        (failed(exit_code=127), RetryAction.FAIL),
        (ConnectionError("down"), RetryAction.RETRY),
        (ValueError("bad"), RetryAction.RETRY),
        (AirflowTaskTimeout("late"), RetryAction.RETRY),
        (failed(http_status=404), RetryAction.FAIL),
        (failed(http_status=503), RetryAction.RETRY),
        (failed("Cancelled"), RetryAction.FAIL),
        (StageConfigError("no"), RetryAction.FAIL),
        (AirflowException("user"), RetryAction.RETRY),
    ],
)
def test_what_no_try_can_heal_is_not_repeated(error: BaseException, action: RetryAction) -> None:
    assert ask(plan(), error).action is action


def test_on_and_never() -> None:
    retry = plan(on=["network", "exit:10-20"], never=["exit:12"])
    assert ask(retry, ConnectionResetError("x")).action is RetryAction.RETRY
    assert ask(retry, failed(exit_code=11)).action is RetryAction.RETRY
    assert ask(retry, failed(exit_code=12)).action is RetryAction.FAIL
    decision = ask(retry, ValueError("x"))
    assert decision.action is RetryAction.FAIL
    assert "`on` does not name it" in str(decision.reason)
    assert ask(plan(on=["configuration"]), failed(exit_code=127)).action is RetryAction.RETRY


def test_retry_after_replaces_the_delay_up_to_the_longest() -> None:
    assert seconds(ask(plan(), failed(http_status=429, retry_after=7.0))) == 7
    assert seconds(ask(plan(max_delay=60), failed(http_status=429, retry_after=9999.0))) == 60


@pytest.mark.parametrize(
    ("error", "action"),
    [
        (failed(exit_code=3), RetryAction.FAIL),
        (ConnectionError("down"), RetryAction.FAIL),
        (failed("Cancelled"), RetryAction.FAIL),
        (failed(category="system", reason="worker-stopped"), RetryAction.RETRY),
        (failed(category="component", reason="ServiceFailed", began=False), RetryAction.RETRY),
        (failed(category="configuration", reason="ErrImagePull", began=False), RetryAction.FAIL),
        (failed(category="component", reason="ServiceFailed"), RetryAction.FAIL),
    ],
)
def test_stages_that_share_a_task_are_tried_again_inside_it(
    error: BaseException, action: RetryAction
) -> None:
    decision = LostWorkerPolicy(plan()).evaluate(error, 1, 3, context())
    assert decision.action is action
    assert decision.retry_delay == (timedelta(seconds=10) if action is RetryAction.RETRY else None)


class TestRules:
    RETRY = plan(
        max=9,
        rules=[
            {"match": ["http:429"], "max": 2, "delay": 1.0},
            {"match": ["http:500"], "max": 1},
            {"match": ["exit:9"], "action": "fail"},
            {"match": ["exit:8"], "delay": 4.0},
        ],
    )

    def test_each_rule_counts_for_itself_over_the_tries(self) -> None:
        store = Store()
        codes = [429, 500, 429, 429]
        actions = [
            ask(self.RETRY, failed(http_status=code), number, 9, store=store).action
            for number, code in enumerate(codes, 1)
        ]
        assert actions == [RetryAction.RETRY, RetryAction.RETRY, RetryAction.RETRY, RetryAction.FAIL]
        assert ask(self.RETRY, failed(http_status=500), 5, 9, store=store).action is RetryAction.FAIL

    def test_a_clear_begins_counting_anew(self) -> None:
        store = Store()
        for number in (1, 2):
            ask(self.RETRY, failed(http_status=429), number, 9, store=store)
        assert ask(self.RETRY, failed(http_status=429), 3, 9, store=store).action is RetryAction.FAIL
        # Cleared after the third try: max_tries = 3 + 9.
        assert ask(self.RETRY, failed(http_status=429), 4, 12, store=store).action is RetryAction.RETRY

    def test_rules_without_max_cost_no_call(self) -> None:
        class NoStore:
            def get(self, key: str) -> Any:
                raise AssertionError(key)

            set = get

        assert seconds(ask(self.RETRY, failed(exit_code=8), store=NoStore())) == 4
        assert ask(self.RETRY, failed(exit_code=9), store=NoStore()).action is RetryAction.FAIL

    def test_a_store_that_is_gone_stops_nothing(self, caplog: pytest.LogCaptureFixture) -> None:
        class Broken:
            def get(self, key: str) -> Any:
                raise ConnectionError("gone")

            def set(self, key: str, value: Any) -> None:
                raise ConnectionError("gone")

        assert seconds(ask(self.RETRY, failed(http_status=429), store=Broken())) == 1
        assert "gone" in caplog.text


class Patient(RetryPolicy):
    """A document's own policy."""

    asked: ClassVar[list[tuple[str, int, int]]] = []

    def __init__(self, wait: float = 1.0, *, broken: bool = False) -> None:
        self.wait, self.broken = wait, broken

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Any = None
    ) -> RetryDecision:
        if self.broken:
            raise RuntimeError("the policy is broken")
        self.asked.append((type(exception).__name__, try_number, max_tries))
        return RetryDecision.retry(timedelta(seconds=self.wait * try_number))


class TestOwnPolicy:
    @pytest.fixture(autouse=True)
    def policies(self, monkeypatch: pytest.MonkeyPatch) -> None:
        policies = ModuleType("my_policies")
        vars(policies).update(Patient=Patient, NoPolicy=dict)
        monkeypatch.setitem(sys.modules, "my_policies", policies)

    def test_it_decides(self) -> None:
        retry = plan(backoff="custom", policy="my_policies:Patient", with_={"wait": 3})
        assert seconds(ask(retry, ValueError("x"), 2)) == 6
        assert Patient.asked[-1] == ("ValueError", 2, 3)

    def test_it_also_judges_what_we_would_not_repeat(self) -> None:
        retry = plan(policy="my_policies:Patient")
        assert ask(retry, failed(exit_code=127)).action is RetryAction.RETRY

    def test_never_comes_first(self) -> None:
        retry = plan(policy="my_policies:Patient", never=["ValueError"])
        assert ask(retry, ValueError("x")).action is RetryAction.FAIL

    @pytest.mark.parametrize(
        "path_and_arguments",
        [
            ("my_policies:Patient", {"broken": True}),
            ("my_policies:NoPolicy", {}),
            ("my_policies:Missing", {}),
        ],
    )
    def test_one_that_fails_leaves_it_to_airflow(
        self, path_and_arguments: tuple[str, dict[str, Any]], caplog: pytest.LogCaptureFixture
    ) -> None:
        path, arguments = path_and_arguments
        decision = ask(plan(policy=path, with_=arguments), ValueError("x"))
        assert decision == RetryDecision.default()
        assert path in caplog.text


class TestJudge:
    def task(self, **retry: Any) -> Any:
        arguments = retry_arguments(plan(**retry))
        return SimpleNamespace(retry_exponential_backoff=0, **arguments)

    def test_another_try(self) -> None:
        task = self.task()
        verdict = judge(task, failed(), failure(failed()), context(task))
        assert (verdict.retries, verdict.delay) == (True, 10)

    @pytest.mark.parametrize(
        ("error", "try_number"), [(failed(), 4), (AirflowFailException("x"), 1), (failed(exit_code=127), 1)]
    )
    def test_no_other_try(self, error: BaseException, try_number: int) -> None:
        task = self.task()
        verdict = judge(task, error, failure(error), context(task, try_number=try_number))
        assert not verdict.retries

    def test_airflow_is_told_what_was_reported(self) -> None:
        task = self.task(rules=[{"match": ["component"], "max": 1}])
        error, given = failed(), context(task)
        task.verdict = (error, judge(task, error, failure(error), given))
        again = task.retry_policy.evaluate(error, 1, 3, given)
        assert again is task.verdict[1].decision
        # Asked once: the rule has given one retry, not two.
        assert given["task_state_store"]["stagecoach_retry_rules"]["counts"] == {"0": 1}


def test_the_dag_is_the_same_each_time_it_is_built() -> None:
    delays = {retry_arguments(plan(jitter="full"))["retry_delay"] for _ in range(5)}
    assert delays == {timedelta(seconds=10)}


@pytest.mark.parametrize("retry", [None, {"max": 0, "delay": 1.0}])
def test_no_retry(retry: Any) -> None:
    assert retry_arguments(retry) == {"retries": 0}


def test_a_policy_survives_airflows_copy() -> None:
    policy = StageRetryPolicy(plan(max=2))
    assert StageRetryPolicy.deserialize(policy.serialize()).plan == policy.plan


class TestClassifiers:
    @pytest.fixture(autouse=True)
    def fresh(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        module.classifiers.cache_clear()
        points: list[Any] = []
        monkeypatch.setattr(
            "importlib.metadata.entry_points", lambda group: points if group == module.CLASSIFIERS else []
        )
        self.points = points
        yield
        module.classifiers.cache_clear()

    def test_a_package_may_say_what_a_failure_is(self) -> None:
        def rule(error: Any) -> Classification | None:
            return (
                Classification("network", "license-server", "retry")
                if "license" in error["message"]
                else None
            )

        self.points.append(SimpleNamespace(value="x:y", load=lambda: rule))
        assert failure(ValueError("no license"))["reason"] == "license-server"
        assert failure(ValueError("other"))["category"] == "component"

    def test_one_that_cannot_be_loaded_is_a_warning(self, caplog: pytest.LogCaptureFixture) -> None:
        def load() -> Any:
            raise ImportError("no such module")

        self.points.append(SimpleNamespace(value="x:y", load=load))
        assert failure(ValueError("x"))["category"] == "component"
        assert "x:y" in caplog.text


@pytest.mark.parametrize(
    ("error", "category"),
    [
        (AirflowTaskTimeout("x"), "timeout"),
        (SystemExit(3), "component"),
        (MemoryError(), "resource"),
        (StageConfigError("x"), "configuration"),
        (StageFailed("x"), "component"),
    ],
)
def test_every_exception_is_an_error_with_a_category(error: BaseException, category: str) -> None:
    found = failure(error)
    assert found["category"] == category
    assert found["reason"]
