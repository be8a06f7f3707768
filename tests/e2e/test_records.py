"""Records of stages, failure reports, notifications and the time of a job, in a running Airflow."""

from __future__ import annotations

import json
import threading
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from e2e_client import PATIENCE, wait

from airflow_stagecoach.operators.webhook import verify

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e_client import Client, Run

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "record.schema.json").read_text())

RECORDS = r"""
records:
  type: Workflow
  deadline: 5s
  notify: {failure: "%(url)s/run", success: "%(url)s/run", deadline: "%(url)s/late"}
  jobs:
    flaky:
      notify:
        success: {webhook: "%(url)s/flaky", secret: "${{ 'k3' + 'y' }}"}
        failure: "%(url)s/flaky"
        retry: "%(url)s/flaky"
      cleanup: always
      logging: {level: debug, format: json}
      stages:
        - name: Flaky
          id: flaky
          retry: {max: 3, delay: 30s, rules: [{match: [network], delay: 1s, max: 2}]}
          run: |
            logger.debug("a quiet word")
            print('{"rows": 3}')
            if context.attempt == 1: raise ConnectionError("not yet")
            print("::metric name=rows value=1000")
    fails:
      continue-on-error: true
      stages: [{name: Fails, id: fails, retry: {max: 4, delay: 1s, never: [exit:3]}, bash: "exit 3"}]
    together:
      granularity: job
      stages:
        - {name: One, id: one, bash: echo one}
        - {name: Two, id: two, if: "false", bash: echo two}
    operator:
      stages:
        - name: Bash
          id: bash
          operator: airflow.providers.standard.operators.bash.BashOperator
          with: {bash_command: echo hi}
    waits:
      continue-on-error: true
      stages:
        - name: Waits
          id: waits
          timeout: 14s
          operator: airflow.providers.standard.sensors.date_time.DateTimeSensorAsync
          with: {target_time: "2099-01-01T00:00:00+00:00"}
    late:
      continue-on-error: true
      timeout: 20s
      stages:
        - name: First
          id: first
          retry: {max: 30, delay: 1s}
          run: |
            import time
            time.sleep(3)
            raise ConnectionError("not yet")
        - {name: Second, id: second, bash: echo second}
"""


class Mailbox:
    """Takes webhooks."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        mailbox = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                mailbox.got.append((self.path, dict(self.headers), body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def events(self, path: str) -> list[dict[str, Any]]:
        return [json.loads(body) for place, _, body in list(self.got) if place == path]


@pytest.fixture(scope="module")
def mailbox() -> Iterator[Mailbox]:
    found = Mailbox()
    yield found
    found.server.shutdown()
    found.server.server_close()


@pytest.fixture(scope="module")
def run(client: Client, mailbox: Mailbox) -> Run:
    """One run of everything, at its end."""
    client.drop("records.yaml", RECORDS % {"url": mailbox.url})
    client.wait_for_dag("records")
    return client.run("records", timeout=400)


def record(client: Client, run: Run, task_id: str) -> dict[str, Any]:
    """The record of a task, checked against the published schema."""
    found: dict[str, Any] = client.xcom(run, task_id, "record")
    jsonschema.Draft202012Validator(SCHEMA).validate(found)
    return found


def report(client: Client, run: Run, task_id: str) -> dict[str, Any]:
    found: dict[str, Any] = client.xcom(run, task_id, "error")
    jsonschema.Draft202012Validator({**SCHEMA["$defs"]["failure"], "$schema": SCHEMA["$schema"]}).validate(
        found
    )
    return found


def seconds(start: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


def test_a_stage_that_failed_first(client: Client, run: Run) -> None:
    found = record(client, run, "flaky.flaky")
    assert (found["state"], found["tries"], found["try_number"]) == ("success", 2, 2)
    assert found["metrics"] == {"rows": 1000}
    assert found["throughput"]["rows"] > 0
    assert found["cpu_seconds"] is not None


def test_its_log_is_of_json_lines(client: Client, run: Run) -> None:
    lines = []
    for line in client.log(run, "flaky.flaky").splitlines():
        if line.startswith('{"ts"'):
            lines.append(json.loads(line))
    assert "a quiet word" in [line["event"] for line in lines]
    assert {"rows": 3} in [line.get("data") for line in lines]
    assert {(line["job"], line["stage"], line["try"]) for line in lines} == {("flaky", "flaky", 1)}


def test_who_was_told(run: Run, mailbox: Mailbox) -> None:
    events = mailbox.events("/flaky")
    assert [event["event"] for event in events] == ["retry", "success"]
    retry = events[0]
    assert retry["failure"]["category"] == "network"
    # The delay of the rule, not the stage's.
    assert 0 < seconds(retry["record"]["end"], retry["next_retry_at"]) < 20
    ((headers, body),) = [(h, b) for path, h, b in mailbox.got if path == "/flaky" and b"success" in b[:200]]
    assert verify("k3y", body, headers["X-Stagecoach-Signature-256"])


@pytest.mark.parametrize(("path", "event"), [("/run", "success"), ("/late", "deadline")])
def test_the_run_is_told_of(run: Run, mailbox: Mailbox, path: str, event: str) -> None:
    """By the DAG processor and the triggerer, after a while."""
    (found,) = wait(lambda: mailbox.events(path), f"nobody was told of {event}", PATIENCE)
    assert (found["event"], found["dag_id"], found["run_id"]) == (event, "records", run.run_id)


def test_a_failure_for_good(client: Client, run: Run) -> None:
    assert record(client, run, "fails.fails")["exit_code"] == 3
    found = report(client, run, "fails.fails")
    assert (found["will_retry"], found["retry_count"], found["error_type"]) == (False, 0, "ExitCode")
    assert "Failure report: {" in client.log(run, "fails.fails")


def test_stages_that_share_a_task(client: Client, run: Run) -> None:
    stages = client.xcom(run, "together.__stages__", "stages")
    for found in stages.values():
        found.pop("outputs")
        jsonschema.Draft202012Validator(SCHEMA).validate(found)
    assert [found["state"] for found in stages.values()] == ["success", "skipped"]
    assert record(client, run, "together.__stages__")["stage"] is None


def test_an_operator(client: Client, run: Run) -> None:
    found = record(client, run, "operator.bash")
    assert (found["state"], found["kind"], found["job"]) == ("success", "operator", "operator")


def test_time_runs_out_without_a_worker(client: Client, run: Run) -> None:
    assert record(client, run, "waits.waits")["category"] == "timeout"
    assert report(client, run, "waits.waits")["category"] == "timeout"


def test_a_retry_gives_a_job_no_new_time(client: Client, run: Run) -> None:
    tasks = client.tasks(run)
    first = tasks["late.first", -1]
    assert (first.state, tasks["late.second", -1].state) == ("failed", "upstream_failed")
    # A try takes 4 s at least, so not even the half of them can have begun in time.
    assert first.try_number < 15
    assert not report(client, run, "late.first")["will_retry"]
    record(client, run, "late.first")
