"""Tests of airflow_stagecoach.backends.self_hosted: settings, refusals, and what may be stored."""

from __future__ import annotations

import json
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from airflow_stagecoach.backends import BackendConfigError, get_backend, self_hosted
from airflow_stagecoach.backends.conformance import Log
from airflow_stagecoach.backends.self_hosted import LARGEST, SelfHostedBackend
from airflow_stagecoach.backends.work import StillRunning, Work
from airflow_stagecoach.engine import Hooks
from airflow_stagecoach.runner.settings import LARGEST_REQUEST
from tests.runner.server import TOKEN, Server, free_port
from tests.runner.test_http import Client

if TYPE_CHECKING:
    from pathlib import Path


def unit(script: str = "true", run_id: str = "r", attempt: int = 1, **more: Any) -> Any:
    identity = {"dag_id": "d", "run_id": run_id, "task_id": "j.s", "map_index": -1, "try_number": attempt}
    return {"stages": [{"kind": "bash", "id": "a", "bash": script}], "identity": identity, **more}


def error_of(config: dict[str, Any], one: Any = None) -> Any:
    result = SelfHostedBackend(config).run(one or unit(), Hooks())
    return result["stages"]["a"]["error"]


# -- settings


@pytest.mark.parametrize(
    "config",
    [
        {"conn": "r"},
        {"host": "h", "token": "t"},
        {"queue": "gpu"},
        {"queue": "gpu", "executor": "CeleryExecutor"},
        {"conn": "r", "image": "python:3.12"},
        {"host": "https://h:1", "token": "t", "labels": ["a"], "verify": "ca.pem", "ship": ["*.csv"]},
        {"conn": "r", "env": {"A": "1"}},
    ],
)
def test_good_settings(config: dict[str, Any]) -> None:
    assert SelfHostedBackend(config)


@pytest.mark.parametrize(
    ("config", "path", "text"),
    [
        ({}, ("host",), "is missing"),
        ({"host": "h"}, ("token",), "is missing"),
        ({"token": "t"}, ("host",), "is missing"),
        ({"conn": "r", "host": "h"}, ("host",), "stands in the connection that conn names"),
        ({"conn": "r", "token": "t"}, ("token",), "stands in the connection that conn names"),
        ({"queue": "q", "conn": "r"}, ("conn",), "belongs to a runner, and queue names Airflow's workers"),
        ({"queue": "q", "host": "h", "token": "t"}, ("token",), "belongs to a runner, and queue names"),
        ({"queue": "q", "labels": ["gpu"]}, ("labels",), "belongs to a runner, and queue names"),
        ({"queue": "q", "env": {"A": "1"}}, ("env",), "belongs to a runner, and queue names"),
        ({"queue": "q", "image": "python:3"}, ("image",), "belongs to a runner, and queue names"),
        ({"conn": "r", "executor": "CeleryExecutor"}, ("executor",), "belongs to a queue: name that, too"),
        ({"queue": ""}, ("queue",), "string should have at least 1 character"),
        ({"conn": "r", "label": "x"}, ("label",), "is no setting of this backend"),
        ({"conn": "r", "labels": "x"}, ("labels",), "input should be a valid list"),
    ],
)
def test_bad_settings(config: dict[str, Any], path: tuple[str, ...], text: str) -> None:
    with pytest.raises(BackendConfigError) as failure:
        SelfHostedBackend(config)
    problems = dict(failure.value.problems)
    assert problems[path].startswith(text)


def test_both_sides_agree_on_the_largest_request() -> None:
    assert LARGEST == LARGEST_REQUEST


def test_its_type_is_known() -> None:
    assert isinstance(get_backend("self-hosted", {"conn": "r"}), SelfHostedBackend)


# -- what is stored and shown


@pytest.mark.parametrize("config", [{"conn": "r", "verify": "ca.pem"}, {"host": "h", "token": TOKEN}])
def test_no_token_is_stored_or_shown(config: dict[str, Any]) -> None:
    backend = SelfHostedBackend(config)
    assert TOKEN not in json.dumps(backend.reach())
    assert TOKEN not in json.dumps(backend.render(Work.of(unit()["identity"], unit())))
    if "conn" in config:
        assert SelfHostedBackend(backend.reach()).settings.conn == "r"


@pytest.mark.runs
def test_with_a_token_the_worker_waits_with_a_connection_a_trigger_can(shared: Server, conn: str) -> None:
    log = Log()
    one = unit("echo up; sleep 1; echo down", "waits")
    result = SelfHostedBackend({"host": shared.url, "token": TOKEN}).run(one, log.hooks, wait=0.1)
    assert (result["state"], "down" in log.lines) == ("success", True)
    backend = SelfHostedBackend({"conn": conn})
    with pytest.raises(StillRunning) as still:
        backend.run(one, log.hooks, wait=0.1)
    backend.stop(still.value.handle)
    backend.clean(still.value.handle)


# -- what goes wrong


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("http://127.0.0.1:{port}", "no runner answers at http://127.0.0.1:{port}: "),
        ("ftp://127.0.0.1", "a runner is reached by https or http, not ftp"),
    ],
)
def test_nobody_there(host: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(self_hosted, "PATIENCE", 0.6)
    port = free_port()
    error = error_of({"host": host.format(port=port), "token": TOKEN})
    assert error["message"].startswith(message.format(port=port))
    assert error["category"] == ("network" if host.startswith("http") else "configuration")


@pytest.mark.parametrize("missing", ["host", "password"])
def test_a_connection_that_lacks_something(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = {"conn_type": "http", "host": "h", "password": TOKEN}
    del connection[missing]
    monkeypatch.setenv("AIRFLOW_CONN_HALF", json.dumps(connection))
    error = error_of({"conn": "half"})
    assert error["message"].startswith(f"connection half has no {missing}")
    assert error["category"] == "configuration"


def test_a_connection_that_is_not_there() -> None:
    error = error_of({"conn": "no_such"})
    assert error["message"].startswith("an Airflow connection is missing: ")
    assert "no_such" in error["message"]
    assert (error["category"], error["reason"]) == ("configuration", "connection-missing")


def test_https_where_there_is_no_tls() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        answering = threading.Thread(target=answer_in_the_clear, args=[listening])
        answering.start()
        host = f"https://127.0.0.1:{listening.getsockname()[1]}"
        error = error_of({"host": host, "token": TOKEN})
        answering.join()
    assert error["message"] == f"{host} speaks no TLS: write http, or start the runner with a certificate"
    assert (error["category"], error["reason"]) == ("configuration", "no-tls")


def answer_in_the_clear(listening: socket.socket) -> None:
    connection, _ = listening.accept()
    with connection:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


@pytest.mark.parametrize("verify", ["/none.pem", __file__])
def test_a_certificate_that_is_none(verify: str) -> None:
    error = error_of({"host": "h", "token": TOKEN, "verify": verify})
    assert error["message"].startswith("verify: the certificate cannot be read")


def test_a_queue_is_not_for_a_runner() -> None:
    assert "give queue= to the operator" in error_of({"queue": "gpu"})["message"]


@pytest.mark.runs
def test_a_wrong_token(shared: Server) -> None:
    error = error_of({"host": shared.url, "token": "another-token-than-that"})
    assert (error["category"], error["reason"]) == ("configuration", "Unauthorized")
    assert "another-token" not in json.dumps(error)


@pytest.mark.runs
def test_a_label_that_the_runner_has_not(shared: Server) -> None:
    error = error_of({"host": shared.url, "token": TOKEN, "labels": ["arm"]})
    assert (error["category"], "no label arm; its labels: gpu" in error["message"]) == ("configuration", True)


def test_too_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(self_hosted, "LARGEST", 1000)
    monkeypatch.setattr(SelfHostedBackend, "find", lambda self, work: None)
    error = error_of({"host": "h", "token": TOKEN})
    assert (error["category"], "put them where the runner is" in error["message"]) == ("configuration", True)


@pytest.mark.runs
def test_a_full_runner_is_waited_for_and_a_limit_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("--jobs", "1", "--queue", "0", "--max-minutes", "0.05")
    with Server(tmp_path / "runner", *options) as server, Client(server) as client:
        config = {"host": server.url, "token": TOKEN}
        client.start("sleep 60")
        monkeypatch.setattr(self_hosted, "PATIENCE_WHEN_FULL", 1.0)
        error = error_of(config)
        assert (error["category"], error["reason"]) == ("resource", "QueueFull")
        # The job in the way is stopped by the limit, and so is this one.
        monkeypatch.setattr(self_hosted, "PATIENCE_WHEN_FULL", 60.0)
        error = error_of(config, unit("sleep 60"))
        assert (error["reason"], "0.05 minutes" in error["message"]) == ("DeadlineExceeded", True)


@pytest.mark.runs
def test_what_dead_tasks_left_is_swept(shared: Server) -> None:
    backend = SelfHostedBackend({"host": shared.url, "token": TOKEN})
    shares, keeps = ({"key": f"{name}", "keep": name == "keeps"} for name in ("sweeps", "keeps"))
    handles = [
        backend.start(Work.of(one["identity"], one))
        for one in (unit("sleep 60", "sweep", leg=shares), unit("sleep 60", "needed", leg=keeps))
    ]
    removed = backend.sweep(lambda leftover: leftover.identity["run_id"] != "sweep")
    assert [(one.kind, one.id, one.shared) for one in removed] == [
        ("job", handles[0]["name"], False),
        ("folder", "sweeps", True),
    ]
    assert removed[0].identity["task_id"] == "j.s"
    assert not (shared.folder / "legs" / "sweeps").exists()
    assert (shared.folder / "legs" / "keeps").exists()
    backend.stop(handles[1])
    backend.clean(handles[1])
    backend.clean_leg("keeps")


@pytest.mark.runs
def test_resources_hold(shared: Server) -> None:
    spec = {"kind": "bash", "id": "a", "bash": "ulimit -d"}
    one: Any = {**unit(run_id="resources"), "stages": [{**spec, "resources": {"memory": 300 * 1024 * 1024}}]}
    result = SelfHostedBackend({"host": shared.url, "token": TOKEN}).run(one, Hooks())
    assert result["state"] == "success", result
    assert result["stages"]["a"]["outputs"]["stdout"] != "unlimited"
