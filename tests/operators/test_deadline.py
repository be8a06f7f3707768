"""Until when a try may run."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_stagecoach.operators._deadline import Deadline, deadline
from airflow_stagecoach.operators._run import WorkflowRun

from ..factory.plans import job, stage, workflow
from .fakes import FakeTask, Store

NOW = datetime.now(timezone.utc)


def ask(
    own: float | None = None,
    *,
    timeout: float | None = None,
    position: int = 0,
    started: float | None = None,
    ti: FakeTask | None = None,
    store: Any = None,
    run_start: datetime | None = None,
    **keys: Any,
) -> Deadline:
    """Ask for the second of two stages, or the first; ``started`` is what the first has told."""
    limits = {} if timeout is None else {"timeout": timeout}
    plan = workflow(job("a", stage("one"), stage("two"), **limits, **keys))
    task = ti or FakeTask(f"a.{('one', 'two')[position]}", start_date=NOW)
    if started is not None:
        task.others["a.one", "started"] = started

    class Data:
        def output(self, task_id: str, index: int | None, key: str) -> Any:
            return task.others.get((task_id, key))

    context = {
        "ti": task,
        "task": SimpleNamespace(retries=task.max_tries),
        "task_state_store": Store() if store is None else store,
        "dag_run": SimpleNamespace(start_date=run_start),
    }
    limit = None if own is None else timedelta(seconds=own)
    run = WorkflowRun(plan, Data())  # type: ignore[arg-type]  # only outputs are read
    return deadline(context, limit, plan["jobs"][0], position, run)


def test_no_limit() -> None:
    assert ask() == Deadline(None)
    assert Deadline(None).for_worker(resumed=False) is None


def test_the_stages_own() -> None:
    assert ask(60) == Deadline(NOW.timestamp() + 60)


@pytest.mark.parametrize(("own", "of_job"), [(None, True), (100.0, True), (10.0, False)])
def test_what_comes_first_counts(own: float | None, of_job: bool) -> None:
    found = ask(own, timeout=50)
    assert found.of_job is of_job
    assert found.moment == NOW.timestamp() + (50 if of_job else 10)


def test_a_later_stage_has_what_is_left() -> None:
    assert ask(timeout=50, position=1, started=NOW.timestamp() - 30).moment == pytest.approx(
        NOW.timestamp() + 20
    )


def test_a_retry_of_the_first_stage_gets_no_new_time() -> None:
    store = Store()
    first = ask(timeout=50, store=store, ti=FakeTask("a.one", max_tries=2, start_date=NOW))
    later = NOW + timedelta(seconds=40)
    again = FakeTask("a.one", try_number=2, max_tries=2, start_date=later)
    assert ask(timeout=50, store=store, ti=again).moment == first.moment
    # The stages after it are told the same.
    assert again.xcoms["started"] == NOW.timestamp()


def test_a_clear_of_the_first_stage_gives_the_time_anew() -> None:
    store = Store()

    def moment(max_tries: int, start: datetime) -> float | None:
        plan = workflow(job("a", stage("one"), timeout=50))
        ti = FakeTask("a.one", max_tries=max_tries, start_date=start)
        context = {"ti": ti, "task": SimpleNamespace(retries=2), "task_state_store": store}
        run: Any = WorkflowRun(plan, SimpleNamespace())
        return deadline(context, None, plan["jobs"][0], 0, run).moment

    later = NOW + timedelta(hours=1)
    assert moment(2, NOW) == NOW.timestamp() + 50
    assert moment(2, later) == NOW.timestamp() + 50
    # Cleared after its second try: Airflow's max_tries becomes 2 + 2.
    assert moment(4, later) == later.timestamp() + 50


def test_a_later_stage_of_a_run_that_began_anew() -> None:
    again = NOW + timedelta(hours=3)
    found = ask(timeout=50, position=1, started=NOW.timestamp(), run_start=again)
    assert found.moment == again.timestamp() + 50


def test_a_teardown_has_its_own_time() -> None:
    teardown = {**stage("two"), "teardown": True}
    plan = workflow(job("a", stage("one"), teardown, timeout=50))
    context = {"ti": FakeTask("a.two", start_date=NOW), "task": SimpleNamespace(retries=0)}
    run: Any = WorkflowRun(plan, SimpleNamespace())
    assert deadline(context, timedelta(seconds=9), plan["jobs"][0], 1, run).moment == NOW.timestamp() + 9


def test_a_store_that_is_gone_fails_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def get(self, key: str) -> Any:
            raise ConnectionError("gone")

    assert ask(timeout=50, store=Broken()).moment == NOW.timestamp() + 50
    assert "gone" in caplog.text


class TestForTheWorker:
    def test_what_is_left(self) -> None:
        limit = Deadline(time.time() + 100).for_worker(resumed=False)
        assert limit is not None
        assert 98 < limit.total_seconds() <= 100

    @pytest.mark.parametrize("left", [-5.0, 3.0])
    def test_who_resumes_can_still_collect(self, left: float) -> None:
        limit = Deadline(time.time() + left).for_worker(resumed=True)
        assert limit is not None
        assert limit.total_seconds() == 60

    def test_what_is_over_is_left_to_the_operator(self) -> None:
        limit = Deadline(time.time() - 5).for_worker(resumed=False)
        assert limit is not None
        assert limit.total_seconds() > 0
