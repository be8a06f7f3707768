"""Tests of airflow_stagecoach.runner.settings: what a runner refuses to be started with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_stagecoach.runner.settings import (
    TOKEN_VARIABLE,
    RunnerError,
    Settings,
    is_loopback,
    read_tokens,
    require_safe_listening,
)

if TYPE_CHECKING:
    from pathlib import Path

GOOD, OTHER = "0123456789abcdef", "fedcba9876543210"


@pytest.mark.parametrize(
    ("text", "tokens"),
    [(GOOD, (GOOD,)), (f"{GOOD}\n", (GOOD,)), (f"\n {OTHER}\r\n{GOOD}\n\n", (OTHER, GOOD))],
)
def test_tokens_of_a_file(text: str, tokens: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "token").write_text(text)
    assert read_tokens(str(tmp_path / "token")) == tokens


def test_token_of_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, GOOD)
    assert read_tokens(None) == (GOOD,)
    (tmp_path / "token").write_text(OTHER)
    assert read_tokens(str(tmp_path / "token")) == (OTHER,)


@pytest.mark.parametrize("text", ["", " \n", "hunter2", f"{GOOD}\nhunter2", "ÄÖÜ" * 10], ids=range(5))
@pytest.mark.parametrize("where", ["file", "environment"])
def test_no_good_token(text: str, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "token"
    file.write_text(text)
    monkeypatch.setenv(TOKEN_VARIABLE, text)
    with pytest.raises(RunnerError) as failure:
        read_tokens(str(file) if where == "file" else None)
    assert "token" in str(failure.value)
    assert "hunter2" not in str(failure.value)


def test_a_token_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RunnerError, match="cannot be read"):
        read_tokens(str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("localhost.example.com", False),
        ("", False),
    ],
)
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_listening(tmp_path: Path) -> None:
    file = str(tmp_path / "pem")
    (tmp_path / "pem").touch()
    require_safe_listening("127.0.0.1", None, None, allow_plain=False)
    require_safe_listening("0.0.0.0", None, None, allow_plain=True)
    require_safe_listening("0.0.0.0", file, file, allow_plain=False)
    with pytest.raises(RunnerError, match="plain HTTP on 0"):
        require_safe_listening("0.0.0.0", None, None, allow_plain=False)
    for certificate, key in ((file, None), (None, file)):
        with pytest.raises(RunnerError, match="belong together"):
            require_safe_listening("127.0.0.1", certificate, key, allow_plain=True)
    with pytest.raises(RunnerError, match=r"--key .*missing cannot be read"):
        require_safe_listening("127.0.0.1", file, f"{file}-missing", allow_plain=True)


@pytest.mark.parametrize(
    ("values", "option"),
    [
        ({"jobs": 0}, "--jobs"),
        ({"queue": -1}, "--queue"),
        ({"longest_run": 0.0}, "--max-minutes"),
        ({"keep": -1.0}, "--keep-hours"),
    ],
)
def test_numbers(values: dict[str, Any], option: str) -> None:
    with pytest.raises(RunnerError, match=option):
        Settings("/x", (GOOD,), **values)


def test_tokens_are_not_shown() -> None:
    assert GOOD not in repr(Settings("/x", (GOOD,)))
