"""The tasks of a concurrency group, and what a stage has to do with it."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.models.trigger import Trigger
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException, AirflowRescheduleException, AirflowSkipException
from airflow.sdk.execution_time import task_runner
from airflow.serialization.decoders import smart_decode_trigger_kwargs
from airflow.serialization.serialized_objects import DagSerialization

from airflow_stagecoach.engine.classification import classify
from airflow_stagecoach.exceptions import StageConfigError, StageFailed
from airflow_stagecoach.operators import _local
from airflow_stagecoach.operators._fail_fast import FailFast
from airflow_stagecoach.operators._membership import Membership, group_name
from airflow_stagecoach.operators.concurrency import (
    ConcurrencyOperator,
    GroupTrigger,
    LeaseOperator,
    ReleaseOperator,
    to_skip,
)
from airflow_stagecoach.triggers import _group_store
from airflow_stagecoach.triggers._tickets import (
    CANCEL_RUNNING,
    HOLD,
    QUEUE,
    REJECT,
    SKIP,
    Participant,
    Ticket,
    Verdict,
)

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
PARAMS = {"env": {"type": "str", "default": "prod"}, "n": {"type": "int"}, "none": {"type": "str"}}


def context(params: dict[str, Any] | None = None, **keys: Any) -> dict[str, Any]:
    dag_run = SimpleNamespace(run_type="manual", run_after=NOW, start_date=NOW)
    ti = SimpleNamespace(
        dag_id="dag", run_id="r", task_id="a.s", map_index=-1, try_number=1, **keys.pop("ti", {})
    )
    return {"params": params or {}, "dag_run": dag_run, "ti": ti, "run_id": "r", **keys}


class TestGroupName:
    @pytest.mark.parametrize(
        ("template", "name"),
        [
            ("deploy", "deploy"),
            ("deploy-${{ params.env }}", "deploy-eu"),
            ("${{ params.n }}", "7"),
            ("${{ run.dag_id }}/${{ run.id }}", "dag/r"),
            ("  padded ", "padded"),
        ],
    )
    def test_it_is_told_from_the_run(self, template: str, name: str) -> None:
        assert group_name(template, PARAMS, context({"env": "eu", "n": 7})) == name

    @pytest.mark.parametrize(
        ("template", "params", "message"),
        [
            ("${{ params.none }}", {"none": None}, "is empty"),
            ("${{ params.env }}", {"env": "", "n": 1}, "is empty"),
            ("${{ params.env + 1 }}", {"env": "eu", "n": 1}, "cannot be told"),
            ("x", {"nev": "eu"}, "did you mean 'env'"),
        ],
    )
    def test_what_cannot_be_told(self, template: str, params: dict[str, Any], message: str) -> None:
        with pytest.raises(StageConfigError, match=message):
            group_name(template, PARAMS, context(params))


@pytest.mark.parametrize("declared", [None, PARAMS])
def test_the_trigger_gets_what_the_operator_has(declared: dict[str, Any] | None) -> None:
    """Through Airflow's serialization and encryption, as in the scheduler and the triggerer."""
    with DAG("dag") as dag:
        ConcurrencyOperator(
            task_id="c",
            concurrency={"group": "g-${{ params.env }}", "on_conflict": QUEUE},
            declared=declared,
        )
        LeaseOperator(task_id="lease")
        ReleaseOperator(task_id="release")
    read = DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag))))
    for task in read.tasks:
        assert task.start_from_trigger
    found = read.get_task("c").start_trigger_args
    assert found is not None
    kwargs = Trigger._decrypt_kwargs(Trigger.encrypt_kwargs(found.trigger_kwargs or {}))
    trigger = GroupTrigger(**{key: smart_decode_trigger_kwargs(value) for key, value in kwargs.items()})
    assert found.trigger_cls == f"{GroupTrigger.__module__}.{GroupTrigger.__name__}"
    trigger._task_instance = SimpleNamespace(get_template_context=lambda: context({"env": "eu", "n": 1}))
    assert trigger.group_name() == "g-eu"


def test_to_skip() -> None:
    states = {
        "a.one": "success",
        "a.two": None,
        "a.three": "running",
        "b.leg_0": "deferred",
        "b.leg_1": "up_for_retry",
        "b.leg_2": "failed",
        "c.unmapped_1": "scheduled",
        "d.clean": None,
        "e.late": "upstream_failed",
    }
    names = {"a.one", "a.two", "a.three", "b.leg", "c.unmapped_1", "e.late"}
    assert to_skip(states, names) == [("a.two", -1), ("b.leg", 0), ("b.leg", 1), ("c.unmapped_1", -1)]


def test_a_cancelled_run_ends_failed_and_skips_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", SimpleNamespace(send=sent.append), raising=False)
    with DAG("dag"):
        lease = LeaseOperator(task_id="__lease__")
        ReleaseOperator(task_id="a")
        ReleaseOperator(task_id="clean").as_teardown()
    pushed: dict[str, Any] = {}
    states = {"r": {"a": None, "clean": None, "__lease__": "running"}}
    ti = {
        "get_task_states": lambda **_: states,
        "xcom_push": lambda key, value: pushed.update({key: value}),
    }
    by = {"group": "g", "dag_id": "other", "run_id": "new"}
    message = "cancelled: run 'new' of 'other' takes the place of this run in concurrency group 'g'"
    with pytest.raises(AirflowFailException, match=message):
        lease.resume(context(ti=ti), {"cancelled_by": by})  # type: ignore[arg-type]  # what it needs of it
    assert sent[0].tasks == [("a", -1)]
    assert pushed["error"]["reason"] == "cancelled"
    assert pushed["error"]["message"] == message


class TestMembership:
    @pytest.fixture
    def keys(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        found: list[str] = []
        monkeypatch.setattr(_group_store, "run_keys", lambda dag_id, run_id: found)
        by = {"group": "g", "dag_id": "d", "run_id": "n"}
        monkeypatch.setattr(_group_store, "read_key", lambda key: by)
        monkeypatch.setattr(_group_store.GroupStore, "owner", lambda store, ticket: by)
        return found

    def member(self, policy: str = QUEUE) -> Membership:
        workflow: Any = {"concurrency": {"group": "g", "on_conflict": policy}, "params": {}}
        return Membership(workflow, context())

    def verdict(self, monkeypatch: pytest.MonkeyPatch, verdict: Verdict | None) -> None:
        monkeypatch.setattr(Participant, "step", lambda participant: verdict)

    @pytest.mark.parametrize("workflow", [None, {"jobs": []}])
    def test_without_a_group_it_asks_nothing(self, workflow: Any) -> None:
        member = Membership(workflow, context())
        assert not member.on
        member.check()
        assert member.cancelled() is None

    def test_in_a_local_run_it_asks_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_local, "session", object())
        self.member().check()

    def test_a_run_that_holds_goes_on(self, keys: list[str]) -> None:
        keys.append("run/x/held/g/t")
        self.member().check()
        assert self.member().cancelled() is None

    def test_a_cancelled_run_is_stopped_and_not_tried_again(self, keys: list[str]) -> None:
        keys += ["run/x/held/g/t", "run/x/cancel/g/t"]
        with pytest.raises(StageFailed, match="cancelled: run 'n' of 'd'") as raised:
            self.member().check()
        assert classify(raised.value.error) == ("cancelled", "cancelled", "fail")
        assert isinstance(self.member().cancelled(), StageFailed)

    def test_a_stage_cleared_alone_gets_the_group_for_its_run(
        self, keys: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.verdict(monkeypatch, HOLD)
        self.member().check()

    def test_or_waits_without_a_worker(self, keys: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.verdict(monkeypatch, None)
        with pytest.raises(AirflowRescheduleException) as raised:
            self.member().check()
        assert 5 < (raised.value.reschedule_date - datetime.now(timezone.utc)).total_seconds() <= 10

    @pytest.mark.parametrize(
        ("policy", "kind", "error", "reason"),
        [
            (REJECT, "busy", StageFailed, "already_running"),
            (SKIP, "busy", AirflowSkipException, ""),
            (CANCEL_RUNNING, "cancelled", StageFailed, "cancelled"),
        ],
    )
    def test_or_ends_as_the_document_says(
        self,
        keys: list[str],
        monkeypatch: pytest.MonkeyPatch,
        policy: str,
        kind: str,
        error: type[Exception],
        reason: str,
    ) -> None:
        self.verdict(monkeypatch, Verdict(kind, Ticket("2026", QUEUE, "run")))
        with pytest.raises(error, match="run 'n' of 'd'") as raised:
            self.member(policy).check()
        if isinstance(raised.value, StageFailed):
            assert raised.value.error["reason"] == reason
            assert classify(raised.value.error).action == "fail"


class TestGuard:
    """The looks of a running stage, which are those of ``fail-fast``."""

    def member(self, answers: list[StageFailed | None]) -> Any:
        return SimpleNamespace(on=True, cancelled=lambda: answers.pop(0) if answers else None)

    def test_work_is_stopped_when_its_run_is_cancelled(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from threading import Event

        monkeypatch.setattr("airflow_stagecoach.operators._fail_fast._POLL", 0.02)
        stopped = Event()
        fail_fast = FailFast(None, context()["ti"], self.member([None, StageFailed("cancelled: by b")]))

        def work() -> None:
            with fail_fast.guard(stopped.set):
                assert stopped.wait(5)
                raise RuntimeError("killed")

        with pytest.raises(StageFailed, match="cancelled: by b"):
            work()

    def test_work_that_ends_by_itself_is_left_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        fail_fast = FailFast(None, context()["ti"], self.member([]))
        with fail_fast.guard(lambda: pytest.fail("stopped")):
            pass
