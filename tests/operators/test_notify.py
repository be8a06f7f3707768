"""``notify:`` as callbacks: who is told what."""

from __future__ import annotations

import asyncio
import sys
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from airflow.sdk import DAG, BaseNotifier

from airflow_stagecoach.operators import notify as module
from airflow_stagecoach.operators.notify import (
    callbacks,
    dag_callbacks,
    deadline_callbacks,
    deadline_missed,
)
from airflow_stagecoach.operators.webhook import verify

from ..factory.plans import job, stage, workflow
from .fakes import FakeTask, Tried, attempt, make_operator

if TYPE_CHECKING:
    from .receiver import Receiver


def told(url: str, *events: str, **keys: Any) -> list[Any]:
    return [{"event": event, "webhook": url, **keys} for event in events]


def arguments(plan: Any, position: int = 0) -> dict[str, Any]:
    one = plan["jobs"][0]
    return callbacks(one["stages"][position].get("notify", ()), plan, one, one["stages"][position])


def end(plan: Any, event: str = "", *, ti: Any = None, **given: Any) -> Tried:
    """Run a stage; then call what Airflow would call."""
    tried = attempt(plan, ti=ti, **given)
    tried.context["exception"] = tried.error
    for callback in arguments(plan).get(event, ()):
        callback(tried.context)
    return tried


def test_nobody_is_told() -> None:
    plan = workflow(job("a", stage("s")))
    assert arguments(plan) == {}
    assert dag_callbacks(plan) == {}
    assert deadline_callbacks(plan) == []


def test_which_callbacks_there_are() -> None:
    plan = workflow(
        job("a", {**stage("s"), "notify": told("http://x", "success", "failure")}),
        notify=told("http://x", "failure", "retry", "skip", "deadline"),
    )
    assert set(arguments(plan)) == {
        "on_success_callback", "on_failure_callback", "on_retry_callback", "on_skipped_callback",
    }  # fmt: skip
    assert set(dag_callbacks(plan)) == {"on_failure_callback"}
    (deadline,) = deadline_callbacks(plan)
    assert deadline.path == "airflow_stagecoach.operators.notify.deadline_missed"


def test_what_airflow_calls_takes_its_context() -> None:
    plan = workflow(job("a", {**stage("s"), "notify": told("http://x", "failure")}))
    operator = make_operator(plan, "a", **arguments(plan))
    assert len(operator.on_failure_callback) == 1


class TestAStage:
    def plan(self, url: str, bash: str, **keys: Any) -> Any:
        notify = told(url, "success", "failure", "retry", "skip", **keys)
        return workflow(job("a", {**stage("s", bash=bash), "notify": notify}))

    def test_success(self, receiver: Receiver) -> None:
        end(self.plan(receiver.url, "echo hi"), "on_success_callback")
        (body,) = receiver.bodies
        assert (body["event"], body["job"], body["stage"]) == ("success", "a", "s")
        assert (body["fallback"], body["fallback_of"]) == (None, None)
        assert body["record"]["outcome"] == "success"
        assert body["log_url"] == "http://airflow/log"

    def test_failure(self, receiver: Receiver) -> None:
        end(self.plan(receiver.url, "exit 3"), "on_failure_callback")
        (body,) = receiver.bodies
        assert (body["event"], body["failure"]["category"]) == ("failure", "component")
        assert body["record"]["exit_code"] == 3

    def test_a_retry_says_when(self, receiver: Receiver) -> None:
        plan = self.plan(receiver.url, "exit 3")
        plan["jobs"][0]["stages"][0]["retry"] = {"max": 2, "delay": 60.0}
        end(plan, "on_retry_callback")
        (body,) = receiver.bodies
        assert body["event"] == "retry"
        assert body["next_retry_at"] == body["failure"]["next_retry_at"] is not None

    def test_events_of_different_tries_differ(self, receiver: Receiver) -> None:
        for number in (1, 1, 2):
            end(
                self.plan(receiver.url, "exit 3"),
                "on_failure_callback",
                ti=FakeTask("a.s", try_number=number, max_tries=1),
            )
        first, again, other = (body["id"] for body in receiver.bodies)
        assert first == again != other

    def test_a_worker_that_is_gone(self, receiver: Receiver) -> None:
        """Then the DAG processor calls, which knows nothing of the try."""
        plan = self.plan(receiver.url, "true")
        ti = FakeTask("a.s")
        (callback,) = arguments(plan)["on_failure_callback"]
        callback(
            {
                "ti": ti,
                "task": make_operator(plan, "a"),
                "run_id": ti.run_id,
                "dag_run": SimpleNamespace(run_type="manual", run_after=None, start_date=None),
                "params": {},
            }
        )
        (body,) = receiver.bodies
        assert (body["event"], body["record"], body["reason"]) == ("failure", None, "worker-lost")

    def test_addresses_and_secrets_are_evaluated(
        self,
        receiver: Receiver,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        base, _, path = receiver.url.rpartition("/")
        monkeypatch.setattr(
            "airflow_stagecoach.operators._airflow_values.secrets", lambda names: {"hook": path, "key": "k3y"}
        )
        plan = self.plan(
            f"{base}/${{{{ secrets.hook }}}}",
            "true",
            secret="${{ secrets.key }}",
            headers={"X-Dag": "${{ run.dag_id }}"},
        )
        end(plan, "on_success_callback")
        ((headers, body),) = receiver.got
        assert verify("k3y", body, headers["X-Stagecoach-Signature-256"])
        assert headers["X-Dag"] == "wf"

    def test_a_connection(self, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
        connection = SimpleNamespace(host=receiver.url, password="k3y", extra_dejson={})
        monkeypatch.setattr("airflow.sdk.Connection.get", lambda name: {"alerts": connection}[name])
        plan = workflow(job("a", {**stage("s"), "notify": [{"event": "success", "conn": "alerts"}]}))
        end(plan, "on_success_callback")
        ((headers, body),) = receiver.got
        assert verify("k3y", body, headers["X-Stagecoach-Signature-256"])

    @pytest.mark.parametrize(("key", "other"), [("fallback", "fallback_of"), ("fallback_of", "fallback")])
    def test_a_fallback_is_told_of(self, receiver: Receiver, key: str, other: str) -> None:
        notify = told(receiver.url, "failure")
        end(
            workflow(job("a", {**stage("s", bash="exit 1"), "notify": notify}, **{key: "b"})),
            "on_failure_callback",
        )
        (body,) = receiver.bodies
        assert (body[key], body[other]) == ("b", None)

    def test_several_are_told_side_by_side(self, receiver: Receiver) -> None:
        plan = workflow(job("a", {**stage("s"), "notify": told(receiver.url, *["success"] * 5)}))
        end(plan, "on_success_callback")
        assert len(receiver.got) == 5


class TestHarmless:
    @pytest.mark.parametrize(
        "keys",
        [
            {"webhook": "http://127.0.0.1:9/"},
            {"webhook": "no address"},
            {"webhook": "${{ secrets.missing }}"},
            {"conn": "no_such_connection"},
            {"notifier": "no.such.Notifier"},
            {"notifier": "builtins.dict"},
        ],
    )
    def test_what_cannot_be_sent_is_a_warning(
        self, keys: dict[str, Any], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("airflow_stagecoach.operators.webhook.PAUSES", ())
        plan = workflow(job("a", {**stage("s"), "notify": [{"event": "success", **keys}]}))
        end(plan, "on_success_callback")
        assert [line.levelname for line in caplog.records if line.name == module.__name__] == ["WARNING"]

    def test_the_others_are_told_all_the_same(self, receiver: Receiver) -> None:
        notify = [{"event": "success", "notifier": "no.such.Notifier"}, *told(receiver.url, "success")]
        end(workflow(job("a", {**stage("s"), "notify": notify})), "on_success_callback")
        assert len(receiver.got) == 1


class Pager(BaseNotifier):
    """Some package's notifier."""

    template_fields = ("text", "title")
    pages: ClassVar[list[dict[str, Any]]] = []

    def __init__(self, text: str, title: str = "", urgent: bool = False) -> None:
        super().__init__()
        self.text, self.title, self.urgent = text, title, urgent

    def notify(self, context: Any) -> None:
        self.pages.append({"text": self.text, "title": self.title, "urgent": self.urgent})


class TestANotifier:
    @pytest.fixture(autouse=True)
    def package(self, monkeypatch: pytest.MonkeyPatch) -> None:
        package = ModuleType("my_pager")
        vars(package)["Pager"] = Pager
        monkeypatch.setitem(sys.modules, "my_pager", package)
        Pager.pages.clear()

    def page(self, **arguments: Any) -> dict[str, Any]:
        notify = [{"event": "failure", "notifier": "my_pager.Pager", "with_": arguments}]
        plan = workflow(job("a", {**stage("s", bash="exit 3"), "notify": notify}))
        end(plan, "on_failure_callback")
        (found,) = Pager.pages
        return found

    def test_its_arguments_are_evaluated_with_their_types(self) -> None:
        found = self.page(text="${{ run.dag_id }} of ${{ 1 + 1 }}", urgent="${{ 1 < 2 }}")
        assert found == {"text": "wf of 2", "title": "", "urgent": True}

    def test_its_own_jinja_sees_the_event(self) -> None:
        found = self.page(
            text="{{ stagecoach.stage }}: {{ stagecoach.failure.message }}", title="{{ run_id }}"
        )
        assert found["text"] == "s: the script ended with exit code 3"
        assert found["title"] == "run 1"

    def test_what_an_expression_gave_is_no_jinja(self) -> None:
        assert self.page(text="${{ '{' }}{ run_id }}")["text"] == "{{ run_id }}"


class TestOneTaskForAll:
    def plan(self, url: str) -> Any:
        stages = [
            {**stage("one"), "notify": told(url, "success", "failure")},
            {**stage("two", bash="exit 3"), "notify": told(url, "success", "failure")},
            {**stage("three", if_="failure()"), "notify": told(url, "skip")},
            stage("four"),
        ]
        return workflow(job("a", *stages, granularity="job"), notify=told(url, "skip"))

    def whole(self, plan: Any) -> dict[str, Any]:
        return callbacks((), plan, plan["jobs"][0], {"task_id": "__stages__", "line": 1, "spec": {}})

    def test_each_stage_is_told_of(self, receiver: Receiver) -> None:
        plan = self.plan(receiver.url)
        tried = attempt(plan)
        for callback in self.whole(plan)["on_failure_callback"]:
            callback({**tried.context, "exception": tried.error})
        found = {(body["stage"], body["event"]) for body in receiver.bodies}
        assert found == {("one", "success"), ("two", "failure")}
        assert len({body["id"] for body in receiver.bodies}) == 2

    def test_a_worker_that_is_gone(self, receiver: Receiver) -> None:
        plan = self.plan(receiver.url)
        ti = FakeTask("a.__stages__")
        context: Any = {
            "ti": ti,
            "task": make_operator(plan, "a"),
            "run_id": ti.run_id,
            "params": {},
            "dag_run": SimpleNamespace(run_type="manual", run_after=None, start_date=None),
        }
        for callback in self.whole(plan)["on_failure_callback"]:
            callback(context)
        assert {(body["event"], body["reason"]) for body in receiver.bodies} == {("failure", "worker-lost")}

    def test_there_is_no_retry_of_all(self) -> None:
        plan = workflow(job("a", stage("one"), granularity="job"), notify=told("http://x", "retry"))
        assert "on_retry_callback" not in self.whole(plan)


class TestARun:
    @pytest.mark.parametrize("event", ["success", "failure"])
    def test_its_end(self, receiver: Receiver, event: str) -> None:
        plan = workflow(
            job("a"),
            notify=told(receiver.url, event, headers={"X-Env": "${{ env.WHERE }}"}),
            env={"WHERE": "at ${{ run.id }}"},
        )
        (callback,) = dag_callbacks(plan)[f"on_{event}_callback"]
        callback({"dag": DAG("wf", schedule=None), "run_id": "run 1", "reason": "because"})
        ((headers, _),) = receiver.got
        (body,) = receiver.bodies
        assert headers["X-Env"] == "at run 1"
        assert [body[key] for key in ("event", "dag_id", "run_id", "reason")] == [
            event,
            "wf",
            "run 1",
            "because",
        ]
        assert body["log_url"].endswith("/dags/wf/runs/run%201")

    def test_its_deadline(self, receiver: Receiver) -> None:
        plan = workflow(job("a"), notify=told(receiver.url, "deadline"))
        (callback,) = deadline_callbacks(plan)
        context = {
            "dag_run": {"dag_id": "wf", "dag_run_id": "r1", "conf": {}},
            "deadline": {"id": "d1", "deadline_time": "2026-01-31 04:00:00+00:00"},
        }
        asyncio.run(deadline_missed(**callback.kwargs, context=context))
        (body,) = receiver.bodies
        assert (body["event"], body["run_id"]) == ("deadline", "r1")
        assert body["deadline"] == {"id": "d1", "deadline_time": "2026-01-31T04:00:00+00:00"}

    def test_a_cleared_run_ends_once_more(self, receiver: Receiver) -> None:
        (callback,) = dag_callbacks(workflow(job("a"), notify=told(receiver.url, "failure")))[
            "on_failure_callback"
        ]
        for cleared in (0, 0, 1):
            dag_run = SimpleNamespace(dag_id="wf", run_id="r1", clear_number=cleared, conf={})
            callback({"dag": DAG("wf", schedule=None), "run_id": "r1", "dag_run": dag_run})
        first, again, other = (body["id"] for body in receiver.bodies)
        assert first == again != other
