"""The console script, and the same commands under ``airflow stagecoach``."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from airflow_stagecoach import __version__
from airflow_stagecoach.cli.commands import COMMANDS, load_command
from airflow_stagecoach.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """\
hello:
  type: Workflow
  jobs:
    greet:
      stages:
        - name: Say
          bash: echo hello
"""


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for name in COMMANDS:
        assert f"\n    {name} " in text


def test_no_command_is_a_wrong_call(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "validate" in capsys.readouterr().out


def test_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["valdate"])
    assert stop.value.code == 2
    assert "invalid choice: 'valdate'" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"stagecoach {__version__}\n"


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert callable(load_command(name).run)
    with pytest.raises(SystemExit) as stop:
        main([name, "--help"])
    assert stop.value.code == 0
    assert f"stagecoach {name}" in capsys.readouterr().out


def test_commands_of_airflow(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "bad.yaml").write_text(GOOD.replace("bash:", "bsah:").replace("hello:", "other:"))
    environment = {**os.environ, "AIRFLOW_HOME": str(tmp_path / "home")}
    for file, code in (("good.yaml", 0), ("bad.yaml", 1)):
        done = subprocess.run(
            [sys.executable, "-m", "airflow", "stagecoach", "validate", str(tmp_path / file)],
            capture_output=True,
            text=True,
            timeout=120,
            env=environment,
        )
        assert done.returncode == code, done.stderr
        assert "1 document" in done.stdout
    assert not (tmp_path / "home" / "airflow.db").exists()


def test_broken_command_does_not_break_airflow(monkeypatch: pytest.MonkeyPatch) -> None:
    import argparse

    from airflow_stagecoach.cli import airflow_commands

    def broken(name: str) -> None:
        raise ModuleNotFoundError("No module named 'missing'")

    monkeypatch.setattr(airflow_commands, "load_command", broken)
    parser = argparse.ArgumentParser()
    (group,) = airflow_commands.get_commands()
    for command in group.subcommands:
        for argument in command.args:
            argument.add_to_parser(parser)
    assert {command.name for command in group.subcommands} == set(COMMANDS)


def test_output_to_a_reader_that_goes_away(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(GOOD.replace("bash:", "bsah:"))
    command = f"'{sys.executable}' -m airflow_stagecoach.cli.main validate bad.yaml | true; echo done"
    done = subprocess.run(
        ["/bin/sh", "-c", command], capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    assert (done.stdout, done.stderr) == ("done\n", "")
