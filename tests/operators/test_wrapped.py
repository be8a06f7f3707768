"""Airflow operators as stages: their record, their time, and how they are stopped."""

from __future__ import annotations

import sys
import time
from datetime import datetime, timedelta, timezone
from types import ModuleType
from typing import Any, ClassVar

import pytest
from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk import DAG, BaseOperator
from airflow.sdk.exceptions import (
    AirflowRescheduleException,
    AirflowTaskTimeout,
    TaskDeferralTimeout,
    TaskDeferred,
)

from airflow_stagecoach.operators.wrapped import OperatorStageOperator

from ..factory.plans import job, stage, workflow
from .fakes import FakeTask, Tried, attempt
from .test_record import validate_record, validate_report


class Work(BaseOperator):
    """Does what the test wants."""

    killed: ClassVar[list[str]] = []

    def __init__(self, what: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.what = what

    def execute(self, context: Any) -> Any:
        if self.what == "defer":
            self.defer(
                trigger=DateTimeTrigger(datetime(2099, 1, 1, tzinfo=timezone.utc)), method_name="resume"
            )
        if self.what == "reschedule":
            raise AirflowRescheduleException(datetime.now(timezone.utc) + timedelta(hours=1))
        if self.what == "fail":
            raise ValueError("no")
        return {"rows": 3}

    def resume(self, context: Any, event: Any = None) -> Any:
        return {"rows": 4}

    def on_kill(self) -> None:
        self.killed.append(self.what)


@pytest.fixture(autouse=True)
def package(monkeypatch: pytest.MonkeyPatch) -> None:
    found = ModuleType("my_operators")
    vars(found)["Work"] = Work
    monkeypatch.setitem(sys.modules, "my_operators", found)
    Work.killed.clear()


def make(what: str, timeout: float | None = None, job_timeout: float | None = None) -> Any:
    keys: dict[str, Any] = {} if job_timeout is None else {"timeout": job_timeout}
    plan = workflow(
        job(
            "a", stage("s", kind="operator", operator="my_operators.Work", **{"with": {"what": what}}), **keys
        )
    )
    with DAG("wf", schedule=None):
        operator: Any = OperatorStageOperator(
            task_id="a.s",
            stage=plan["jobs"][0]["stages"][0]["spec"],
            workflow=plan,
            job=plan["jobs"][0],
            retries=0,
            execution_timeout=None if timeout is None else timedelta(seconds=timeout),
        )
    return operator


def tried(what: str, timeout: float | None = None, ti: Any = None) -> Tried:
    return attempt(None, operator=make(what, timeout), ti=ti)


def test_a_record_with_what_it_gave() -> None:
    found = tried("work")
    assert found.outputs["rows"] == 3
    validate_record(found.record)
    assert (found.record["kind"], found.record["state"]) == ("operator", "success")


def test_a_failure() -> None:
    found = tried("fail")
    validate_record(found.record)
    validate_report(found.report)
    assert (found.report["error_type"], found.report["category"]) == ("ValueError", "component")


def test_what_airflow_masks_is_masked_in_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.sdk._shared.secrets_masker import mask_secret

    def fail(self: Any, context: Any) -> Any:
        mask_secret("zebra-zebra-1")  # as a hook does with a connection's password
        raise ValueError("cannot log in with zebra-zebra-1")

    monkeypatch.setattr(Work, "execute", fail)
    found = tried("fail")
    assert "zebra" not in str(found.ti.xcoms)


@pytest.mark.parametrize(("timeout", "longest"), [(None, None), (60.0, 60.0)])
def test_a_deferral_ends_with_the_time(timeout: float | None, longest: float | None) -> None:
    found = tried("defer", timeout)
    assert isinstance(found.error, TaskDeferred)
    if longest is None:
        assert found.error.timeout is None
    else:
        assert found.error.timeout is not None
        assert longest - 10 < found.error.timeout.total_seconds() <= longest
    assert found.ti.xcoms == {}


def test_the_jobs_time_counts_too() -> None:
    found = attempt(None, operator=make("defer", 600, job_timeout=30))
    assert isinstance(found.error, TaskDeferred)
    assert found.error.timeout is not None
    assert found.error.timeout.total_seconds() <= 30


def test_a_sensor_that_waits_for_its_next_look() -> None:
    found = tried("reschedule", 60)
    assert isinstance(found.error, AirflowRescheduleException)
    assert found.error.reschedule_date < datetime.now(timezone.utc) + timedelta(seconds=61)
    assert found.ti.xcoms == {}


def test_when_its_time_is_over_it_does_not_defer_again() -> None:
    ti = FakeTask("a.s", start_date=datetime.now(timezone.utc) - timedelta(seconds=90))
    ti._ti_context_from_server = type("Server", (), {"next_method": "resume", "task_reschedule_count": 0})()  # type: ignore[attr-defined]  # as the real one has it
    found = tried("defer", 60, ti)
    assert isinstance(found.error, AirflowTaskTimeout)
    assert found.record["category"] == "timeout"


class TestResumed:
    def resumed(self, method: str, kwargs: dict[str, Any]) -> Tried:
        operator = make("defer", 60)

        def execute(context: Any) -> Any:
            return operator.resume_execution(method, kwargs, context)

        operator.execute = execute
        return attempt(None, operator=operator)

    def test_it_goes_on(self) -> None:
        found = self.resumed("resume", {})
        assert found.outputs["rows"] == 4
        assert found.record["state"] == "success"

    def test_time_ran_out_meanwhile(self) -> None:
        found = self.resumed("__fail__", {"error": "Trigger timeout"})
        assert isinstance(found.error, TaskDeferralTimeout)
        validate_report(found.report)
        assert found.record["category"] == "timeout"
        assert Work.killed == ["defer"], "Airflow stops the trigger and nothing else"


def test_the_stop_is_handed_on() -> None:
    operator = make("work")
    attempt(None, operator=operator)
    operator.on_kill()
    assert Work.killed == ["work"]
    assert operator.killed


class TestTrigger:
    """A stage that waits for another workflow."""

    @pytest.fixture
    def operator(self, monkeypatch: pytest.MonkeyPatch) -> Any:
        from airflow_stagecoach.operators import _trigger_run
        from airflow_stagecoach.operators.trigger import TriggerStageOperator

        plan = workflow(job("a", stage("s", kind="trigger", trigger="other"), timeout=300))
        self.states = ["running", "success"]
        monkeypatch.setattr(_trigger_run, "start", lambda *_: "child-1")
        monkeypatch.setattr(
            _trigger_run, "_run_state", lambda *_: self.states.pop(0) if self.states else "running"
        )
        monkeypatch.setattr(
            _trigger_run, "collect", lambda *args: {"state": args[-1], "outputs": {"jobs": {}, "params": {}}}
        )
        with DAG("wf", schedule=None):
            return TriggerStageOperator(
                task_id="a.s",
                stage=plan["jobs"][0]["stages"][0]["spec"],
                workflow=plan,
                job=plan["jobs"][0],
                retries=0,
            )

    def test_the_record_names_the_child(self, operator: Any) -> None:
        found = attempt(None, operator=operator)
        assert found.error is None
        validate_record(found.record)
        assert found.record["external_id"] == "child-1"

    def test_a_stop_ends_the_wait(self, operator: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        from airflow_stagecoach.operators import _trigger_run

        def look(*_: Any) -> str:
            operator.on_kill()
            return "running"

        monkeypatch.setattr(_trigger_run, "_run_state", look)
        began = time.monotonic()
        found = attempt(None, operator=operator)
        assert time.monotonic() - began < 5
        assert found.record["category"] == "cancelled"

    def test_it_defers_with_the_jobs_deadline(self, operator: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("airflow_stagecoach.operators.trigger._WAIT_IN_WORKER", 0.0)
        found = attempt(None, operator=operator)
        assert isinstance(found.error, TaskDeferred)
        limit = found.error.trigger.deadline
        assert time.time() + 250 < limit <= time.time() + 300

    def test_time_ran_out_meanwhile(self, operator: Any) -> None:
        def execute(context: Any) -> Any:
            return operator.resume(context, {"timeout": True}, "other", "child-1", {})

        operator.execute = execute
        found = attempt(None, operator=operator)
        assert isinstance(found.error, AirflowTaskTimeout)
        assert (found.record["category"], found.record["external_id"]) == ("timeout", "child-1")
