"""A runner that is stopped, killed and drained while jobs run."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from airflow_stagecoach.backends.conformance import Log
from airflow_stagecoach.backends.self_hosted import SelfHostedBackend
from airflow_stagecoach.cli.main import main
from airflow_stagecoach.runner.settings import TOKEN_VARIABLE
from tests.runner.server import TOKEN, Server
from tests.runner.test_http import Client

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.runs


Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Call ``stagecoach runner``; gives exit code, standard output and standard error."""

    def call(server: Server, *arguments: str, token: str = TOKEN) -> tuple[int, str, str]:
        monkeypatch.setenv(TOKEN_VARIABLE, token)
        code = main(["runner", *arguments, "--url", server.url])
        return code, *capsys.readouterr()

    return call


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_jobs_go_on_while_it_is_away(number: signal.Signals, tmp_path: Path) -> None:
    go, count = tmp_path / "go", tmp_path / "count"
    script = f"echo x >>{count}; echo up; until [ -e {go} ]; do sleep 0.05; done; echo done"
    with Server(tmp_path / "runner", "--jobs", "1") as server, Client(server) as client:
        first = client.start(script)
        client.wait_for_output(first, b"up")
        second, third = client.start(f"echo y >>{count}"), client.start("sleep 60")
        client.post(f"/jobs/{third}/stop")
        server.kill(number)
        assert count.read_text() == "x\n"
        server.start()
        assert client.job(first)["state"] == "running"
        assert client.put_job(script, name=first).status_code == 200
        go.touch()
        assert client.wait_for(first, "ended")["exit_code"] == 0
        assert client.get(f"/jobs/{first}/log").content == b"up\ndone\n"
        assert client.get(f"/jobs/{first}/result").json()["state"] == "success"
        assert client.wait_for(second, "ended")["exit_code"] == 0
        assert client.job(third)["reason"] == "Stopped"
        assert count.read_text() == "x\ny\n"


def test_what_died_while_it_was_away_is_lost(tmp_path: Path) -> None:
    with Server(tmp_path / "runner") as server, Client(server) as client:
        ended, lost = client.start("echo up; sleep 1; exit 3"), client.start("echo up; sleep 60")
        for name in (ended, lost):
            client.wait_for_output(name, b"up")
        server.kill(signal.SIGKILL)
        os.killpg(int((server.folder / "jobs" / lost / "process").read_text().split()[0]), signal.SIGKILL)
        until = time.monotonic() + 60
        while not (server.folder / "jobs" / ended / "exit").exists():
            assert time.monotonic() < until
            time.sleep(0.05)
        server.start()
        assert client.wait_for(ended, "ended")["exit_code"] == 1
        assert client.wait_for(lost, "lost")["exit_code"] is None
        # A new try does not take what is lost for its own.
        assert [job["name"] for job in client.get("/jobs").json()["jobs"]] == [ended, lost]


def test_a_stage_outlives_the_restart_of_its_runner(tmp_path: Path) -> None:
    log, results = Log(), []
    identity = {"dag_id": "d", "run_id": "r", "task_id": "j.s", "map_index": -1, "try_number": 1}
    script = "echo up; until [ -e ../../../../go ]; do sleep 0.05; done; echo done"
    unit: Any = {"stages": [{"kind": "bash", "id": "a", "bash": script}], "identity": identity}
    with Server(tmp_path / "runner") as server:
        backend = SelfHostedBackend({"host": server.url, "token": TOKEN})
        thread = threading.Thread(target=lambda: results.append(backend.run(unit, log.hooks)))
        thread.start()
        log.wait_for("up")
        server.kill(signal.SIGKILL)
        log.wait_for("does not answer")
        server.start()
        (tmp_path / "go").touch()
        thread.join(60)
        assert [result["state"] for result in results] == ["success"]
        assert [line for line in log.lines if line in ("up", "done")] == ["up", "done"]
        assert backend.call("GET", "/jobs").json()["jobs"] == []


def test_only_one_runner_in_a_folder(
    shared: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    assert main(["runner", "serve", "--port", "0", "--dir", str(shared.folder)]) == 2
    assert "another runner works in" in capsys.readouterr().err


def test_drain(tmp_path: Path, command: Command) -> None:
    go = tmp_path / "go"
    with Server(tmp_path / "runner", "--jobs", "1") as server, Client(server) as client:
        first = client.start(f"echo up; until [ -e {go} ]; do sleep 0.05; done")
        client.wait_for_output(first, b"up")
        second = client.start("echo second")
        code, _, err = command(server, "drain")
        assert (code, err) == (0, "")
        assert client.get("/health").json()["status"] == "draining"
        refused = client.put_job()
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "30")
        assert client.put_job(name=first).status_code == 200
        _, status, _ = command(server, "status")
        assert "draining" in status
        assert "1 of 1 run, 1 of 100 wait" in status
        assert first in status
        found = json.loads(command(server, "status", "--json")[1])
        assert {job["name"]: job["state"] for job in found["jobs"]} == {first: "running", second: "queued"}
        go.touch()
        for name in (first, second):
            client.wait_for(name, "ended")
        assert server.process is not None
        assert server.process.poll() is None, "the results are not taken yet"
        for name in (first, second):
            client.delete(f"/jobs/{name}")
        assert server.process.wait(60) == 0


@pytest.mark.parametrize(("token", "said"), [("0123456789abcdef", "answers 401"), ("", "needs a token")])
def test_asking_with_a_wrong_token(token: str, said: str, command: Command, shared: Server) -> None:
    code, _, err = command(shared, "status", token=token)
    assert (code, said in err) == (1, True)


def test_asking_nobody(tmp_path: Path, command: Command) -> None:
    code, _, err = command(Server(tmp_path / "none"), "status")
    assert (code, "no runner answers" in err) == (1, True)
