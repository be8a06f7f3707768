"""``stagecoach backends``."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from airflow_stagecoach.backends import registry
from airflow_stagecoach.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Callable

    Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    entries = [
        SimpleNamespace(name=name, value=value, dist=SimpleNamespace(name="some-package", version="2.5"))
        for name, value in (
            ("whole", "tests.backends.test_registry:Whole"),
            ("broken", "no_such_module_anywhere:Backend"),
        )
    ]
    monkeypatch.setattr(registry, "_entry_points", lambda: iter(entries))

    def call(*arguments: str) -> tuple[int, str, str]:
        code = main(["backends", *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def test_list(call: Call) -> None:
    code, out, err = call()
    assert (code, err) == (1, "")
    lines = out.splitlines()
    assert lines[0].split() == ["TYPE", "PACKAGE", "VERSION", "CAN", "SETTINGS"]
    assert any(line.split()[:2] == ["docker", "airflow-provider-stagecoach"] for line in lines)
    (whole,) = (line for line in lines if line.startswith("whole"))
    assert whole.split() == ["whole", "some-package", "2.5", "gpu", "volumes", "the-image,", "2", "more"]
    (broken,) = (line for line in lines if "broken" in line)
    assert broken == (
        "backend 'broken' of some-package 2.5 is broken: importing no_such_module_anywhere:Backend gives "
        "ModuleNotFoundError: No module named 'no_such_module_anywhere'"
    )


def test_one(call: Call) -> None:
    code, out, _ = call("whole")
    assert code == 0
    assert "  the-image  text                  required  what runs\n" in out
    assert "docker" not in out


def test_aliases(call: Call) -> None:
    code, out, _ = call("Local_Container")
    assert code == 0
    assert "pull " in out
    assert "always or missing or never" in out


def test_json(call: Call) -> None:
    code, out, _ = call("whole", "--json")
    (found,) = json.loads(out)
    assert code == 0
    assert found["path"] == "tests.backends.test_registry:Whole"
    assert (found["error"], found["reachable"], found["message"]) == (None, None, None)


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        (["whole", "--with", "the-image=x"], 0, "image x"),
        (["whole", "--with", "the-image=x", "--with", "sizes=[1, 2]"], 0, "image x"),
        (
            ["whole", "--with", "the-image=x", "--with", "mode=north"],
            1,
            "not reachable: ConnectionError: nobody at north",
        ),
        (["broken"], 1, "is broken"),
        (["local"], 0, "runs on this machine"),
        (["self-hosted"], 1, "not checked: needs host"),
    ],
)
def test_check(call: Call, arguments: list[str], code: int, part: str) -> None:
    found, out, _ = call("--check", *arguments)
    assert found == code
    assert part in out


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["whle"], "there is no backend 'whle'; there is: docker, kubernetes, local"),
        (["whole", "--check", "--with", "the-imge=x"], "did you mean 'the-image'?"),
        (["whole", "--check", "--with", "the-image"], "write KEY=VALUE"),
        (["whole", "--check", "--with", "sizes=[1"], "--with sizes: neither text nor"),
        (["whole", "--with", "the-image=x"], "--with is for --check"),
    ],
)
def test_wrong_calls(call: Call, arguments: list[str], part: str) -> None:
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert part in err
