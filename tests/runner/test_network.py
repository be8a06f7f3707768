"""Self-hosted over a network that is cut, with clocks that disagree, and results that are damaged."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from airflow_stagecoach.backends import remote
from airflow_stagecoach.backends.conformance import Log
from airflow_stagecoach.backends.self_hosted import SelfHostedBackend
from airflow_stagecoach.backends.work import StillRunning
from airflow_stagecoach.cli.main import main
from airflow_stagecoach.runner.settings import TOKEN_VARIABLE
from tests.runner.proxy import Proxy
from tests.runner.server import TOKEN, Server
from tests.runner.test_self_hosted import unit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.runs


@pytest.fixture
def proxy(shared: Server) -> Iterator[Proxy]:
    with Proxy(shared) as started:
        yield started


def backend(proxy: Proxy) -> SelfHostedBackend:
    return SelfHostedBackend({"host": proxy.url, "token": TOKEN})


def test_cut_in_the_middle_of_the_log(proxy: Proxy) -> None:
    # Some megabytes: the log comes in several parts, and every second one is cut.
    proxy.is_cut = lambda request, before: request.endswith("/log") and before % 2 == 1
    log = Log()
    result = backend(proxy).run(unit("seq 1 600000", "cut-log"), log.hooks)
    assert result["state"] == "success"
    assert [line for line in log.lines if line.isdigit()] == [str(n) for n in range(1, 600001)]
    assert any("does not answer, trying again" in line for line in log.lines)


def test_cut_in_the_middle_of_the_result(proxy: Proxy) -> None:
    proxy.is_cut = lambda request, before: request.endswith("/result") and before < 2
    result = backend(proxy).run(unit("echo hello", "cut-result"), Log().hooks)
    assert result["stages"]["a"]["outputs"]["stdout"] == "hello"


@pytest.mark.parametrize("part", ["answer", "list"])
def test_cut_when_it_starts(part: str, proxy: Proxy, tmp_path: Path) -> None:
    lost = "PUT" if part == "answer" else "GET /jobs"
    proxy.is_cut = lambda request, before: request.startswith(lost) and before < 2
    result = backend(proxy).run(unit(f"echo x >>{tmp_path}/count", f"cut-{part}"), Log().hooks)
    assert (result["state"], (tmp_path / "count").read_text()) == ("success", "x\n")


def test_away_for_longer_than_a_try_waits(
    proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "PATIENCE", 1.0)
    log, results = Log(), []
    script = f"echo x >>{tmp_path}/count; echo up; until [ -e {tmp_path}/go ]; do sleep 0.05; done"
    first = unit(script, "away")
    thread = threading.Thread(target=lambda: results.append(backend(proxy).run(first, log.hooks)))
    thread.start()
    log.wait_for("up")
    proxy.down = True
    thread.join(60)
    error: Any = results[0]["stages"]["a"]["error"]
    assert (error["category"], error["reason"]) == ("network", "Unreachable")
    assert error["message"].startswith("self-hosted has not answered for 1 s; ")
    assert "may still run there, and another try finds it: no runner answers at http://" in error["message"]
    proxy.down = False
    (tmp_path / "go").touch()
    result = backend(proxy).run(unit(script, "away", 2), log.hooks)
    assert (result["state"], (tmp_path / "count").read_text()) == ("success", "x\n")


def test_a_token_that_is_changed_while_it_runs(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(remote, "PATIENCE", 1.0)
    one = unit(f"until [ -e {tmp_path}/go ]; do sleep 0.05; done", "token")
    started = backend(proxy)
    with pytest.raises(StillRunning) as still:
        super(SelfHostedBackend, started).run(one, Log().hooks, wait=0.1)
    later = SelfHostedBackend({"host": proxy.url, "token": "another-token-than-that"})
    error: Any = later.follow(still.value.handle, one, Log().hooks)["stages"]["a"]["error"]
    assert (error["category"], error["reason"]) == ("network", "Unreachable")
    assert "answers 401: the token is missing or wrong; compare the token" in error["message"]
    (tmp_path / "go").touch()
    assert started.follow(still.value.handle, one, Log().hooks)["state"] == "success"


@pytest.mark.parametrize("text", [b"", b"{", b'{"state": "success"}', b'{"state": "success", "stages": {"a"'])
def test_a_damaged_result(text: bytes, shared: Server, tmp_path: Path) -> None:
    one = unit(f"touch {tmp_path}/up; until [ -e {tmp_path}/go ]; do sleep 0.05; done", f"damaged {text!r}")
    backend = SelfHostedBackend({"host": shared.url, "token": TOKEN})
    with pytest.raises(StillRunning) as still:
        super(SelfHostedBackend, backend).run(one, Log().hooks, wait=0.1)
    handle = still.value.handle
    (tmp_path / "go").touch()
    until = time.monotonic() + 60
    while backend.poll(handle).state != "ended":
        assert time.monotonic() < until
        time.sleep(0.05)
    (shared.folder / "jobs" / handle["name"] / "result.json").write_bytes(text)
    error: Any = backend.follow(handle, one, Log().hooks)["stages"]["a"]["error"]
    assert (error["type"], error["category"]) == ("DamagedResult", "system")
    assert error["message"].startswith(f"the result of {handle['name']} is damaged: ")


@pytest.mark.parametrize("days", [-1, 1])
def test_a_clock_that_is_a_day_off(
    days: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Python imports a module of this name when it starts.
    (tmp_path / "sitecustomize.py").write_text(
        f"import time\nreal = time.time\ntime.time = lambda: real() + {days * 24 * 3600}\n"
    )
    with monkeypatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path))
        server = Server(tmp_path / "runner", "--keep-hours", "1", "--max-minutes", "5")
        server.start()
    try:
        backend = SelfHostedBackend({"host": server.url, "token": TOKEN})
        assert abs(backend.call("GET", "/runner").json()["now"] - time.time() - days * 24 * 3600) < 3600
        result = backend.run(unit("echo hello"), Log().hooks)
        assert result["stages"]["a"]["outputs"]["stdout"] == "hello"
        with pytest.raises(StillRunning) as still:
            super(SelfHostedBackend, backend).run(unit("sleep 60", "other"), Log().hooks, wait=1)
        monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
        assert main(["runner", "status", "--url", server.url]) == 0
        (line,) = [
            line for line in capsys.readouterr().out.splitlines() if still.value.handle["name"] in line
        ]
        assert line.split()[1:] == ["running", "0", "min"]
        backend.stop(still.value.handle)
        backend.clean(still.value.handle)
    finally:
        server.__exit__()
