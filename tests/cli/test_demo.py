"""``stagecoach demo`` up to the start of Airflow, which tests/e2e does for real."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from airflow_stagecoach.cli import demo
from airflow_stagecoach.cli.local_airflow import (
    COMPONENTS,
    MARK,
    AirflowStartError,
    LocalAirflow,
    is_free,
)
from airflow_stagecoach.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path


def test_folder_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", str(tmp_path / "nowhere")]) == 2
    assert "stagecoach demo FOLDER" in capsys.readouterr().err


def test_port_that_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert not is_free(port)
        assert main(["demo", str(tmp_path), "--port", str(port)]) == 2
    assert f"port {port} is taken" in capsys.readouterr().err
    assert is_free(port)


def test_home_that_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = tmp_path / "home"
    lock = demo._lock(home, "http://127.0.0.1:8123")
    assert lock is not None
    assert main(["demo", str(tmp_path), "--home", str(home)]) == 2
    error = capsys.readouterr().err
    assert f"an Airflow runs in {home} already, at http://127.0.0.1:8123" in error
    assert "--home" in error
    lock.close()
    again = demo._lock(home, "http://127.0.0.1:8124")
    assert again is not None
    again.close()
    assert (home / demo.LOCK).read_text() == "http://127.0.0.1:8124\n"


def test_processes_of_others_are_left_alone(tmp_path: Path) -> None:
    """Also of those who look at our Airflow with its own AIRFLOW_HOME."""
    airflow = LocalAirflow(tmp_path / "home", tmp_path)
    environment = airflow.environment()
    mark = environment.pop(MARK)
    with (
        subprocess.Popen(["/bin/sleep", "60"], env=environment) as other,
        subprocess.Popen(["/bin/sleep", "60"], env={MARK: mark}, start_new_session=True) as ours,
    ):
        try:
            deadline = time.monotonic() + 10
            while ours.pid not in (found := list(airflow.find_processes())):  # Not before its exec.
                assert time.monotonic() < deadline
            assert other.pid not in found
            airflow.stop()
            assert ours.wait(10) == -15
            assert other.poll() is None
        finally:
            other.kill()
            ours.kill()


def test_examples_are_found_from_a_folder_below(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dags_examples").mkdir()
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b")
    assert demo.find_examples() == tmp_path / "dags_examples"


def test_environment_is_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", "/somewhere/else")
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "postgresql://production")
    monkeypatch.setenv("AIRFLOW__SMTP__SMTP_HOST", "production")
    monkeypatch.setenv("AIRFLOW_VAR_REGION", "eu")
    airflow = LocalAirflow(tmp_path / "home", tmp_path, options={"core.parallelism": "2"})
    environment = airflow.environment()
    assert environment["AIRFLOW_HOME"] == str(tmp_path / "home")
    assert environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] == f"sqlite:///{tmp_path}/home/airflow.db"
    assert "AIRFLOW__SMTP__SMTP_HOST" not in environment
    assert environment["AIRFLOW_VAR_REGION"] == "eu"
    assert environment["AIRFLOW__CORE__PARALLELISM"] == "2"
    assert environment["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert airflow.url == f"http://127.0.0.1:{environment['AIRFLOW__API__PORT']}"


def test_component_that_ends_is_named_with_its_last_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home" / "components").mkdir(parents=True)
    monkeypatch.setattr(LocalAirflow, "migrate", lambda self, timeout: None)
    monkeypatch.setitem(COMPONENTS, "scheduler", ["no-such-command"])
    airflow = LocalAirflow(tmp_path / "home", tmp_path)
    with pytest.raises(
        AirflowStartError, match=r"the scheduler ended with code 2:\n(.*\n)*.*no-such-command"
    ):
        airflow.start(timeout=60)
    assert list(airflow.find_processes()) == []


def test_components_end_with_their_parent(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    code = f"""
import os, signal, sys
from pathlib import Path
from airflow_stagecoach.cli import local_airflow
airflow = local_airflow.LocalAirflow(Path({str(tmp_path / "home")!r}), Path({str(tmp_path)!r}))
airflow.log_file("x").parent.mkdir(parents=True)
sys.executable = "/bin/sh"
local_airflow.COMPONENTS["scheduler"] = []
airflow.environment = lambda component: {{}}
import subprocess
real = subprocess.Popen
local_airflow.subprocess.Popen = lambda command, **kw: real(["/bin/sleep", "60"], **kw)
airflow.start_component("scheduler")
Path({str(pid_file)!r}).write_text(str(airflow.processes["scheduler"].pid))
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", code], timeout=60, check=False)
    pid = int(pid_file.read_text())
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
            with open(f"/proc/{pid}/stat") as stat:
                if stat.read().rpartition(")")[2].split()[0] == "Z":
                    break
        except OSError:
            break
        time.sleep(0.1)
    else:
        pytest.fail("the component is still there")
