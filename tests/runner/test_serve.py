"""``stagecoach runner serve``: what it refuses, TLS, and that it needs no Airflow."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from airflow_stagecoach.backends.self_hosted import SelfHostedBackend
from airflow_stagecoach.cli.main import main
from airflow_stagecoach.engine import Hooks
from airflow_stagecoach.runner.settings import TOKEN_VARIABLE
from tests.runner.server import TOKEN, Server

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--host", "0.0.0.0"], "plain HTTP on 0.0.0.0"),
        (["--host", "::"], "plain HTTP on ::"),
        (["--certificate", "x"], "--certificate and --key belong together"),
        (["--certificate", "/none", "--key", "/none"], "--certificate /none cannot be read"),
        (["--jobs", "0"], "--jobs must be 1 or more"),
        (["--token-file", "/none"], "--token-file /none cannot be read"),
        (["--dir", "/proc/none"], "the folder /proc/none cannot be used"),
        (["--isolation", "docker"], "--isolation docker needs an image"),
        (["--image", "python:3"], "--image is for --isolation docker"),
        (["--allow-image", "*"], "--allow-image is for --isolation docker"),
        (["--network", "host"], "--network is for --isolation docker"),
        (["--isolation", "docker", "--image", "a", "--volume", "/a"], "--volume /a must be PATH:PATH"),
        (
            ["--isolation", "docker", "--image", "a", "--volume", "/a::ro"],
            "--volume /a::ro must be PATH:PATH",
        ),
    ],
)
def test_what_it_refuses(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    assert main(["runner", "serve", "--port", "0", "--dir", str(tmp_path / "runner"), *arguments]) == 2
    assert said in capsys.readouterr().err


def test_without_a_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    assert main(["runner", "serve", "--dir", str(tmp_path)]) == 2
    assert "token_urlsafe" in capsys.readouterr().err


def test_without_airflow() -> None:
    script = (
        "import sys; sys.modules['airflow'] = None\n"
        "import airflow_stagecoach.cli.runner, airflow_stagecoach.runner.serve\n"
        "import airflow_stagecoach.runner.app, airflow_stagecoach.runner.jobs\n"
        "import airflow_stagecoach.runner.containers\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


@pytest.mark.runs
def test_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    certificate = tmp_path / "runner.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=runner",
    ]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-out", str(certificate)]
    command += ["-keyout", str(certificate.with_suffix(".key"))]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    unit: Any = {
        "stages": [{"kind": "bash", "id": "a", "bash": "echo hello"}],
        "identity": {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1, "try_number": 1},
    }
    with Server(tmp_path / "runner", certificate=certificate) as server:
        settings = {"host": f"127.0.0.1:{server.port}", "token": TOKEN}
        result = SelfHostedBackend({**settings, "verify": str(certificate)}).run(unit, Hooks())
        assert result["stages"]["a"]["outputs"]["stdout"] == "hello"
        assert SelfHostedBackend({**settings, "verify": False}).check().startswith("Stagecoach runner")
        error = SelfHostedBackend(settings).run(unit, Hooks())["stages"]["a"]["error"]
        assert error is not None
        assert (error["category"], error["reason"]) == ("configuration", "certificate")
        assert "name it in verify" in error["message"]
        monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
        assert main(["runner", "status", "--url", server.url, "--ca", str(certificate)]) == 0
        assert "0 of 2 run, 0 of 100 wait" in capsys.readouterr().out
