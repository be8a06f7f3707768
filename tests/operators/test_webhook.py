"""Signed webhooks, against a real HTTP server."""

from __future__ import annotations

import hashlib
import hmac
import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_stagecoach.operators import webhook
from airflow_stagecoach.operators.webhook import (
    WebhookFailed,
    WebhookNotifier,
    connection_target,
    send,
    signature,
    verify,
)

from .fakes import FakeTask

if TYPE_CHECKING:
    from .receiver import Receiver

EVENT = {"id": "e1", "event": "failure", "time": "2026-01-01T00:00:00+00:00", "text": "☕"}


def test_the_receiver_can_check_who_sent_it(receiver: Receiver) -> None:
    assert send(receiver.url, EVENT, secret="k3y", headers={"X-Team": "data"}) == 200
    ((headers, body),) = receiver.got
    # As the documentation tells to do it.
    expected = "sha256=" + hmac.new(b"k3y", body, hashlib.sha256).hexdigest()
    assert headers["X-Stagecoach-Signature-256"] == expected
    assert headers["X-Stagecoach-Event"] == "failure"
    assert headers["X-Stagecoach-Delivery"] == "e1"
    assert headers["X-Team"] == "data"
    assert headers["Content-Type"] == "application/json"
    assert json.loads(body) == EVENT


def test_verify() -> None:
    signed = signature("k3y", b"body")
    assert verify("k3y", b"body", signed)
    assert not verify("k3y", b"Body", signed)
    assert not verify("other", b"body", signed)
    assert not verify("k3y", b"body", "")


def test_without_a_secret_it_is_not_signed(receiver: Receiver) -> None:
    send(receiver.url, EVENT)
    assert "X-Stagecoach-Signature-256" not in receiver.got[0][0]


@pytest.mark.parametrize("answers", [[503], [500, 429], [0], [0, 502]])
def test_what_may_pass_is_sent_again(receiver: Receiver, answers: list[int]) -> None:
    receiver.answers = list(answers)
    assert send(receiver.url, EVENT, pauses=(0.01, 0.01)) == 200
    assert len(receiver.got) == len(answers) + 1
    assert len({body for _, body in receiver.got}) == 1, "the same event, with the same id"


@pytest.mark.parametrize(("answers", "sent"), [([404], 1), ([302], 1), ([401], 1), ([503] * 3, 3)])
def test_what_will_not_pass_is_an_error(receiver: Receiver, answers: list[int], sent: int) -> None:
    receiver.answers = list(answers)
    with pytest.raises(WebhookFailed) as failure:
        send(receiver.url, EVENT, pauses=(0.01, 0.01))
    assert failure.value.status == answers[-1]
    assert len(receiver.got) == sent
    assert "s3cret-path" not in str(failure.value)


def test_nobody_answers() -> None:
    with pytest.raises(WebhookFailed, match="cannot be reached") as failure:
        send("http://127.0.0.1:9/s3cret-path", EVENT, timeout=1, pauses=(0.01,))
    assert "s3cret-path" not in str(failure.value)


@pytest.mark.parametrize("url", ["", "ftp://x/", "file:///etc/passwd", "hooks.example/x", "http://"])
def test_only_web_addresses(url: str) -> None:
    with pytest.raises(WebhookFailed, match="http"):
        send(url, EVENT)


def test_all_attempts_fit_into_the_time_after_a_tasks_end() -> None:
    assert webhook.TIMEOUT * (len(webhook.PAUSES) + 1) + sum(webhook.PAUSES) < 20


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({"host": "https://hooks.example/a/b"}, "https://hooks.example/a/b"),
        ({"host": "hooks.example"}, "https://hooks.example"),
        ({"host": "hooks.example", "schema": "http", "port": 81}, "http://hooks.example:81"),
        ({"host": "hooks.example", "extra_dejson": {"path": "/x"}}, "https://hooks.example/x"),
    ],
)
def test_a_connection_has_address_and_secret(fields: dict[str, Any], url: str) -> None:
    connection = SimpleNamespace(
        **{"schema": None, "port": None, "extra_dejson": {}, "password": "k3y", **fields}
    )
    assert connection_target(connection) == (url, "k3y")


class TestInAHandwrittenDag:
    def context(self, state: str | None, **keys: Any) -> Any:
        ti: Any = FakeTask("load")
        ti.state = state
        return {"ti": ti, "task": SimpleNamespace(), "run_id": ti.run_id, **keys}

    @pytest.mark.parametrize(
        ("state", "event"),
        [("success", "success"), ("failed", "failure"), ("up_for_retry", "retry"), ("skipped", "skip")],
    )
    def test_it_says_what_happened(self, receiver: Receiver, state: str, event: str) -> None:
        WebhookNotifier(receiver.url, secret="k3y").notify(self.context(state))
        (body,) = receiver.bodies
        assert (body["event"], body["task_id"], body["dag_id"]) == (event, "load", "wf")
        headers, data = receiver.got[0]
        assert verify("k3y", data, headers["X-Stagecoach-Signature-256"])

    def test_it_can_be_given_as_a_callback(self, receiver: Receiver) -> None:
        notifier = WebhookNotifier(receiver.url, headers={"X-Run": "{{ run_id }}"}, event="failure")
        from airflow.sdk import DAG

        notifier({**self.context("failed"), "dag": DAG("wf", schedule=None)})
        assert receiver.got[0][0]["X-Run"] == "run 1"

    def test_a_repetition_has_the_same_id(self, receiver: Receiver) -> None:
        for _ in range(2):
            WebhookNotifier(receiver.url).notify(self.context("failed"))
        WebhookNotifier(receiver.url).notify(self.context("success"))
        first, second, other = (body["id"] for body in receiver.bodies)
        assert first == second != other

    def test_one_of_address_and_connection(self) -> None:
        with pytest.raises(ValueError, match="either"):
            WebhookNotifier()
        with pytest.raises(ValueError, match="either"):
            WebhookNotifier("http://x", conn_id="x")
