"""What a try of a stage leaves behind, however it ends."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import pytest
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSkipException,
    AirflowTaskTimeout,
    DownstreamTasksSkipped,
    TaskDeferred,
)
from structlog.testing import capture_logs

from airflow_stagecoach.exceptions import StageFailed
from airflow_stagecoach.operators import _fail_fast
from airflow_stagecoach.operators._workdir import workdir

from ..factory.plans import job, stage, workflow
from .fakes import FakeTask, Store, Tried, attempt, make_operator
from .test_record import validate_record, validate_report


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("AIRFLOW__STAGECOACH__WORK_FOLDER", str(tmp_path))


def one(**spec: Any) -> Any:
    return workflow(job("a", stage("s", **spec)))


def raising(error: BaseException, **spec: Any) -> Tried:
    """A try whose work raises."""
    operator = make_operator(one(**spec), "a")

    def start(context: Any) -> Any:
        raise error

    operator._start = start
    return attempt(one(**spec), operator=operator)


def test_success() -> None:
    tried = attempt(one(bash="echo hi"))
    assert tried.outputs["stdout"] == "hi"
    validate_record(tried.record)
    assert tried.record["outcome"] == "success"
    assert set(tried.ti.xcoms) == {"record"}, "one call more than the outputs"


def test_failure() -> None:
    tried = attempt(one(bash="exit 4"))
    assert isinstance(tried.error, StageFailed)
    validate_record(tried.record)
    validate_report(tried.report)
    assert (tried.record["state"], tried.record["category"], tried.record["exit_code"]) == (
        "failed",
        "component",
        4,
    )
    assert tried.report["error_type"] == "ExitCode"
    assert not tried.report["will_retry"]


def test_a_failure_with_another_try() -> None:
    plan = workflow(job("a", {**stage("s", bash="exit 4"), "retry": {"max": 2, "delay": 30.0}}))
    tried = attempt(plan)
    validate_report(tried.report)
    assert tried.report["will_retry"]
    assert tried.report["next_retry_at"] > tried.record["end"]
    assert (tried.record["tries"], tried.record["max_tries"]) == (1, 3)
    # Airflow then gets the same answer.
    decision = tried.operator.retry_policy.evaluate(tried.error, 1, 2, tried.context)
    assert decision is tried.operator.verdict[1].decision


@pytest.mark.parametrize(
    ("spec", "reason"),
    [({"if_": False}, "condition"), ({"kind": "python", "run": "raise SkipStage()"}, "skipped")],
)
def test_skipped(spec: dict[str, Any], reason: str) -> None:
    if "run" in spec:
        spec["run"] = (
            "from airflow.sdk.exceptions import AirflowSkipException\nraise AirflowSkipException('later')"
        )
    tried = attempt(one(**spec))
    assert isinstance(tried.error, AirflowSkipException)
    validate_record(tried.record)
    assert (tried.record["state"], tried.record["outcome"]) == ("skipped", "skipped")
    assert tried.record["reason"] == reason


@pytest.mark.parametrize("run", ["exit 4", "test $MISSING_NAME"])
def test_continue_on_error(run: str) -> None:
    tried = attempt(one(bash=run, continue_on_error=True))
    assert tried.error is None
    assert tried.outputs["outcome"] == "failure"
    validate_record(tried.record)
    assert (tried.record["state"], tried.record["outcome"]) == ("success", "failure")
    assert tried.record["category"] == "component"
    assert "error" not in tried.ti.xcoms


@pytest.mark.parametrize(
    ("retry", "try_number", "repeated"),
    [
        ({"max": 2, "delay": 1.0}, 1, True),
        ({"max": 2, "delay": 1.0}, 2, True),
        ({"max": 2, "delay": 1.0}, 3, False),
        ({"max": 2, "delay": 1.0, "never": ["exit:4"]}, 1, False),
        ({"max": 2, "delay": 1.0, "rules": [{"match": ["exit:4"], "max": 1}]}, 1, True),
    ],
)
def test_only_the_last_failure_is_tolerated(retry: dict[str, Any], try_number: int, repeated: bool) -> None:
    plan = workflow(job("a", {**stage("s", bash="exit 4", continue_on_error=True), "retry": retry}))
    operator = make_operator(plan, "a")
    store = Store()
    ti = FakeTask(operator.task_id, try_number=try_number, max_tries=2)
    tried = attempt(plan, ti=ti, operator=operator, store=store)
    assert (tried.error is not None) is repeated
    assert tried.record["state"] == ("failed" if repeated else "success")
    assert tried.record["outcome"] == "failure"
    assert ("error" in tried.ti.xcoms) is repeated
    if "rules" in retry:
        (counted,) = store.values()
        assert counted["counts"] == {"0": 1}, "asked once"


def test_what_cannot_be_judged_is_tolerated(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise ConnectionError("the server is gone")

    monkeypatch.setattr("airflow_stagecoach.operators._attempt.judge", broken)
    tried = attempt(one(bash="exit 4", continue_on_error=True))
    assert tried.outputs["outcome"] == "failure"


def test_what_fails_outside_the_engine_may_be_tolerated_too() -> None:
    tried = raising(AirflowTaskTimeout("late"), continue_on_error=True)
    assert tried.outputs == {"outcome": "failure"}
    assert (tried.record["outcome"], tried.record["category"]) == ("failure", "timeout")


@pytest.mark.parametrize(
    ("error", "category"),
    [
        (AirflowTaskTimeout("late"), "timeout"),
        (AirflowFailException("no"), "component"),
        (ConnectionError("down"), "network"),
        (SystemExit(3), "component"),
    ],
)
def test_whatever_fails_is_told(error: BaseException, category: str) -> None:
    tried = raising(error)
    assert tried.error is error
    validate_record(tried.record)
    validate_report(tried.report)
    assert tried.report["category"] == category


@pytest.mark.parametrize(
    "error",
    [TaskDeferred(trigger=object(), method_name="x"), AirflowRescheduleException(None), KeyboardInterrupt()],
)
def test_what_is_no_end_leaves_nothing(error: BaseException) -> None:
    tried = raising(error, continue_on_error=True)
    assert tried.error is error
    assert tried.ti.xcoms == {}


def test_a_branch_has_succeeded() -> None:
    tried = raising(DownstreamTasksSkipped(tasks=["x"]))
    assert tried.record["state"] == "success"


def test_stopped_by_fail_fast() -> None:
    tried = raising(AirflowSkipException(_fail_fast._REASON))
    validate_record(tried.record)
    assert [tried.record[key] for key in ("state", "outcome", "category", "reason")] == [
        "skipped", "cancelled", "cancelled", "fail-fast",
    ]  # fmt: skip


@pytest.mark.parametrize("began", [True, False])
def test_teardowns_are_told_that_a_stopped_stage_had_begun(began: bool) -> None:
    operator = make_operator(one(), "a")

    def start(context: Any) -> Any:
        if began:
            with operator.attempt.phase("execute"):
                pass
        raise AirflowSkipException(_fail_fast._REASON)

    operator._start = start
    assert ("began" in attempt(one(), operator=operator).ti.xcoms) is began


class TestStopped:
    """From outside: a signal of Airflow's supervisor."""

    def stopped(self, state: str | None, **spec: Any) -> Tried:
        operator = make_operator(one(**spec), "a")
        operator.retries, operator.retry_policy = 2, None

        def start(context: Any) -> Any:
            operator.on_kill()
            raise StageFailed("stopped", {"type": "Cancelled", "message": "it was cancelled"})

        operator._start = start
        ti = FakeTask("a.s", max_tries=2, states={"a.s": state})
        return attempt(one(), operator=operator, ti=ti)

    @pytest.mark.parametrize("state", ["failed", "success", "restarting", None])
    def test_by_a_person(self, state: str | None) -> None:
        record = self.stopped(state).record
        validate_record(record)
        assert (record["outcome"], record["category"]) == ("cancelled", "cancelled")

    def test_because_its_worker_stops(self) -> None:
        tried = self.stopped("running")
        assert (tried.record["category"], tried.record["reason"]) == ("system", "worker-stopped")
        assert tried.report["will_retry"]

    def test_nothing_is_tolerated_then(self) -> None:
        assert isinstance(self.stopped("failed", continue_on_error=True).error, StageFailed)


class TestHarmless:
    """Telling never changes how a stage ends."""

    def test_a_record_that_cannot_be_stored(self, capfd: Any) -> None:
        tried = attempt(one(bash="echo hi"), ti=FakeTask("a.s", fails={"record"}))
        assert tried.outputs["stdout"] == "hi"
        assert "cannot be stored" in capfd.readouterr().out

    def test_a_failure_that_cannot_be_told(self) -> None:
        tried = attempt(one(bash="exit 4"), ti=FakeTask("a.s", fails={"record", "error"}))
        assert isinstance(tried.error, StageFailed)

    def test_a_judgement_that_breaks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(*_: Any) -> Any:
            raise RuntimeError("broken")

        monkeypatch.setattr("airflow_stagecoach.operators._attempt.judge", broken)
        tried = attempt(one(bash="exit 4"))
        assert isinstance(tried.error, StageFailed)

    def test_a_cleanup_that_breaks(self, capfd: Any) -> None:
        operator = make_operator(one(bash="echo hi"), "a")

        def broken(*_: Any) -> None:
            raise OSError("no")

        operator._clean = broken
        assert attempt(one(), operator=operator).outputs["stdout"] == "hi"
        assert "Cleanup of this try failed" in capfd.readouterr().out


class TestPhases:
    @pytest.mark.parametrize(
        ("spec", "states"),
        [
            ({"bash": "echo hi"}, ["success", "success", "success", "success"]),
            ({"bash": "exit 3"}, ["success", "failed", "success", "success"]),
            ({"if_": False}, ["success", "skipped", "success", "success"]),
        ],
    )
    def test_each_has_a_line(self, spec: dict[str, Any], states: list[str], capfd: Any) -> None:
        attempt(one(**spec))
        lines = [line for line in capfd.readouterr().out.splitlines() if "phase=" in line]
        told = [dict(part.split("=") for part in line[line.index("phase=") :].split()[:5]) for line in lines]
        assert [line["phase"] for line in told] == ["prepare", "execute", "complete", "cleanup"]
        assert [line["status"] for line in told] == states
        assert all(line["job"] == "a" and int(line["duration_ms"]) >= 0 for line in told)


class TestSecrets:
    def test_nothing_of_them_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            "airflow_stagecoach.operators._airflow_values.secrets", lambda names: {"key": "hunter2-hunter2"}
        )
        script = 'echo "::error::$KEY" >&2; echo "$KEY" | base64; echo "$KEY"; exit 3'
        tried = attempt(one(kind="python", run="raise ValueError('bad ' + ${{ secrets.key }})"))
        assert "hunter2" not in json.dumps(tried.ti.xcoms)
        assert "***" in tried.report["message"]
        tried = attempt(one(bash=script, env={"KEY": "${{ secrets.key }}"}, continue_on_error=True))
        told = json.dumps([tried.ti.xcoms, tried.outputs])
        assert "hunter2" not in told
        assert "aHVudGVyMi1odW50ZXIy" not in told


class TestDeadlines:
    def test_a_stage_that_comes_too_late_does_not_begin(self) -> None:
        plan = workflow(job("a", stage("s"), stage("t", bash="touch $HOME/began"), timeout=5))
        ti = FakeTask("a.t")
        ti.others["a.s", "started"] = time.time() - 60
        tried = attempt(plan, position=1, ti=ti)
        assert isinstance(tried.error, AirflowTaskTimeout)
        validate_record(tried.record)
        assert tried.record["category"] == "timeout"
        assert "5 s" in tried.report["message"]

    def test_the_log_says_that_it_was_the_timeout(self) -> None:
        with capture_logs() as lines:
            tried = raising(AirflowTaskTimeout("Timeout, PID: 12"))
        message = "The try was ended: the timeout of the stage ran out"
        assert tried.report["message"] == message
        told = [line for line in lines if line["log_level"] == "error"]
        assert message in str(told[0])
        assert len(told) == 1, "the report is for programs"
        assert [line for line in lines if "Failure report" in str(line)]

    @pytest.mark.parametrize(("limit", "again"), [(5.0, False), (300.0, True)])
    def test_no_other_try_when_the_time_is_over_before_it(self, limit: float, again: bool) -> None:
        retried = {**stage("s", bash="exit 3"), "retry": {"max": 3, "delay": 60.0}}
        tried = attempt(workflow(job("a", retried, timeout=limit)))
        assert tried.report["will_retry"] is again
        decision = tried.operator.retry_policy.evaluate(tried.error, 1, 3, tried.context)
        assert (decision.action.value == "retry") is again


class TestEnvironment:
    def test_a_key_that_is_the_same_for_every_try(self) -> None:
        keys = {
            attempt(
                one(bash="echo $JOB_RUN_KEY"), ti=FakeTask("a.s", try_number=number, max_tries=3)
            ).outputs["stdout"]
            for number in (1, 2)
        }
        assert keys == {"wf/run 1/a/s"}

    def test_an_expression_in_a_run_id_is_text(self) -> None:
        ti = FakeTask("a.s", run_id="x ${{ 1 + 1 }}")
        assert attempt(one(bash="echo $JOB_RUN_KEY"), ti=ti).outputs["stdout"] == "wf/x ${{ 1 + 1 }}/a/s"

    def test_the_document_may_set_its_own(self) -> None:
        assert attempt(one(bash="echo $JOB_RUN_KEY", env={"JOB_RUN_KEY": "mine"})).outputs["stdout"] == "mine"


class TestCleanup:
    @pytest.mark.parametrize(
        ("policy", "script", "left"),
        [
            ("on-success", "true", False),
            ("on-success", "false", True),
            ("always", "false", False),
            ("never", "true", True),
        ],
    )
    def test_by_policy(self, policy: str, script: str, left: bool) -> None:
        plan = workflow(job("a", stage("s", bash=f"touch file; {script}"), cleanup=policy))
        tried = attempt(plan)
        folder = workdir(tried.ti, plan["jobs"][0])
        assert os.path.isdir(folder) is left

    def test_not_before_the_last_try(self) -> None:
        retried = {**stage("s", bash="touch file; false"), "retry": {"max": 1, "delay": 1.0}}
        plan = workflow(job("a", retried, cleanup="always"))
        first = attempt(plan)
        assert os.path.isdir(workdir(first.ti, plan["jobs"][0]))
        attempt(plan, ti=FakeTask("a.s", try_number=2, max_tries=1))
        assert not os.path.isdir(workdir(first.ti, plan["jobs"][0]))

    def test_a_stage_that_runs_after_a_failure_leaves_the_folder(self) -> None:
        plan = workflow(job("a", stage("s"), stage("t", if_="always()")))
        ti = FakeTask("a.t", states={"a.s": "failed", "a.t": "running"})
        tried = attempt(plan, position=1, ti=ti)
        assert tried.error is None
        assert os.path.isdir(workdir(ti, plan["jobs"][0]))


class TestOneTaskForAll:
    def plan(self, *stages: Any, **keys: Any) -> Any:
        return workflow(job("a", *stages, granularity="job", **keys))

    def test_every_stage_has_a_record(self) -> None:
        tried = attempt(self.plan(stage("one"), stage("two", bash="exit 3"), stage("three")))
        told = tried.ti.xcoms["stages"]
        for stage_id in ("one", "two", "three"):
            record = {key: value for key, value in told[stage_id].items() if key != "outputs"}
            validate_record(record)
        assert [told[name]["state"] for name in told] == ["success", "failed", "upstream_failed"]
        assert told["two"]["category"] == "component"
        validate_record(tried.record)
        assert tried.record["stage"] is None
        assert tried.report["message"].endswith("exit code 3")
        assert tried.operator.stage_records["two"]["exit_code"] == 3

    def test_when_the_jobs_time_is_over_it_tells_what_was_done(self) -> None:
        tried = attempt(self.plan(stage("one"), stage("two", bash="sleep 60"), timeout=2.0))
        told = tried.ti.xcoms["stages"]
        assert told["one"]["state"] == "success"
        assert (told["two"]["category"], told["two"]["outcome"]) == ("timeout", "failure")
        assert (tried.record["category"], tried.report["category"]) == ("timeout", "timeout")

    def test_the_start_of_the_job_is_kept(self) -> None:
        store = Store()
        attempt(self.plan(stage("one"), timeout=60), store=store)
        assert "stagecoach_first_start" in store
