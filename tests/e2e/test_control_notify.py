"""Notifications and deadlines under a real Airflow: who is told, and by which component."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from e2e_client import wait

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e_client import Client, Run


class Receiver:
    """A web server that keeps what is posted to it."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, Any]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.got.append((self.path.strip("/"), json.loads(body)))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def events(self, run: Run, place: str) -> list[dict[str, Any]]:
        """What a place was told about a run."""
        return [event for path, event in list(self.got) if path == place and event["run_id"] == run.run_id]

    def wait_for(self, run: Run, place: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait until a place was told something."""

        def look() -> list[dict[str, Any]] | None:
            events = self.events(run, place)
            return events if len(events) >= count else None

        return wait(look, f"{place} was not told", 120, lambda: [path for path, _ in self.got])


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    """A running receiver."""
    made = Receiver()
    threading.Thread(target=made.server.serve_forever, daemon=True).start()
    yield made
    made.server.shutdown()
    made.server.server_close()


def notify(url: str, place: str, *events: str) -> str:
    return "{" + ", ".join(f"{event}: '{url}/{place}/{event}'" for event in events) + "}"


TOLD = """
    notify-told:
      type: Workflow
      deadline: 1s
      notify: {run}
      jobs:
        good:
          strategy: {{matrix: {{x: [1, 2]}}}}
          stages: [{{name: a, if: "${{{{ matrix.x == 1 }}}}", notify: {stage}, sleep: 0}}]
        bad:
          notify: {job}
          stages:
            - {{name: a, retry: {{max: 1, delay: 1}}, raise: asked to}}
            - {{name: b, sleep: 0}}
        whole: {{granularity: job, stages: [{{name: a, notify: {inner}, sleep: 0}}]}}
    ---
    notify-good:
      type: Workflow
      deadline: 1d
      notify: {good}
      jobs: {{one: {{stages: [{{name: a, sleep: 0}}]}}}}
    ---
    notify-quiet:
      type: Workflow
      deadline: 1s
      jobs: {{one: {{stages: [{{name: a, sleep: 3}}]}}}}
"""


@pytest.fixture(scope="module")
def runs(client: Client, receiver: Receiver) -> dict[str, Run]:
    """A run of each workflow, ended."""

    def told(place: str, *events: str) -> str:
        return notify(receiver.url, place, *events)

    text = TOLD.format(
        run=told("run", "success", "failure", "retry", "skip", "deadline"),
        stage=told("stage", "success", "failure", "skip"),
        job=told("job", "success", "failure", "retry"),
        inner=told("inner", "success", "failure", "skip"),
        good=told("good", "success", "failure", "deadline"),
    )
    client.drop("notify.yaml", text)
    names = ("notify-told", "notify-good", "notify-quiet")
    for name in names:
        client.wait_for_dag(name)
    started = [client.trigger(name) for name in names]
    return {run.dag_id: client.wait_for_run(run) for run in started}


def test_the_dag_processor_tells_about_a_run(runs: dict[str, Run], receiver: Receiver) -> None:
    run = runs["notify-told"]
    assert run.state == "failed"
    (event,) = receiver.wait_for(run, "run/failure")
    assert (event["event"], event["dag_id"]) == ("failure", "notify-told")
    assert receiver.events(run, "run/success") == []
    good = runs["notify-good"]
    assert len(receiver.wait_for(good, "good/success")) == 1
    assert receiver.events(good, "good/failure") == []


def test_workers_tell_about_stages(runs: dict[str, Run], receiver: Receiver) -> None:
    run = runs["notify-told"]
    (success,) = receiver.wait_for(run, "stage/success")
    assert (success["task_id"], success["map_index"], success["matrix"]) == ("good.a", 0, {"x": 1})
    (skip,) = receiver.wait_for(run, "stage/skip")
    assert (skip["task_id"], skip["map_index"]) == ("good.a", 1)
    (retry,) = receiver.wait_for(run, "job/retry")
    assert (retry["task_id"], retry["try_number"]) == ("bad.a", 1)
    (failure,) = receiver.wait_for(run, "job/failure")
    assert (failure["task_id"], failure["try_number"]) == ("bad.a", 2)
    assert receiver.events(run, "job/success") == []
    (inner,) = receiver.wait_for(run, "inner/success")
    assert inner["stage"] == "a"
    assert receiver.events(run, "inner/failure") == []


def test_a_workflow_hears_of_retries_and_skips_of_any_stage(runs: dict[str, Run], receiver: Receiver) -> None:
    run = runs["notify-told"]
    assert [event["task_id"] for event in receiver.wait_for(run, "run/retry")] == ["bad.a"]
    assert [event["task_id"] for event in receiver.wait_for(run, "run/skip")] == ["good.a"]


def test_the_triggerer_tells_about_a_missed_deadline(runs: dict[str, Run], receiver: Receiver) -> None:
    run = runs["notify-told"]
    (event,) = receiver.wait_for(run, "run/deadline")
    assert (event["event"], event["dag_id"]) == ("deadline", "notify-told")
    assert receiver.events(runs["notify-good"], "good/deadline") == []


def test_a_missed_deadline_stops_nothing_and_is_shown(runs: dict[str, Run], client: Client) -> None:
    run = runs["notify-quiet"]
    assert run.state == "success"
    ui = str(client.http.base_url).rstrip("/").removesuffix("/api/v2")

    def look() -> bool:
        path = f"{ui}/ui/dags/{run.dag_id}/dagRuns/{run.run_id}/deadlines"
        deadlines = client.http.get(path).raise_for_status().json()["deadlines"]
        return [(one["alert_name"], one["missed"]) for one in deadlines] == [("deadline", True)]

    wait(look, "no missed deadline is shown", 60)
