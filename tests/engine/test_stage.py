from __future__ import annotations

import time
from typing import Any

import pytest

from tests.engine.harness import bash, empty, named, python, run


@pytest.mark.parametrize(
    ("declared", "outputs"),
    [
        ({"n": "${{ outputs.x }}"}, {"x": 1, "n": 1}),
        ({"x": "${{ outputs.x + 1 }}"}, {"x": 2}),
        (
            {"l": ["${{ outputs.x }}", "${{ params.p }}"], "m": {"k": "${{ outputs.x }}"}},
            {"x": 1, "l": [1, "P"], "m": {"k": 1}},
        ),
        ({"t": "v${{ outputs.x }}"}, {"x": 1, "t": "v1"}),
    ],
)
def test_declared_outputs(declared: dict[str, Any], outputs: dict[str, Any]) -> None:
    assert run(python("x = 1", outputs=declared), contexts={"params": {"p": "P"}}).outputs == outputs


def test_a_declared_output_that_cannot_be_told_fails_the_stage() -> None:
    error = run(python("x = 1", outputs={"y": "${{ outputs.nope }}"})).error
    assert error["message"].startswith("outputs: y: ")


def test_declared_outputs_are_not_evaluated_after_a_failure() -> None:
    ran = run(python("1/0", outputs={"y": "${{ outputs.nope }}"}, continue_on_error=True))
    assert ran.outputs == {"outcome": "failure"}


class TestEmpty:
    def test_echo(self) -> None:
        ran = run(empty(echo="a ${{ params.x }}\nb"), contexts={"params": {"x": [1]}})
        assert ran.texts == ["a [1]", "b"]
        assert ran.outputs == {}
        assert run(empty()).texts == []
        assert run(empty(echo="${{ null }}")).texts == [""]

    @pytest.mark.parametrize("sleep", [0.2, "0.2", "${{ params.s }}"])
    def test_sleep(self, sleep: Any) -> None:
        assert 0.2 <= run(empty(sleep=sleep), contexts={"params": {"s": 0.2}}).seconds < 1

    @pytest.mark.parametrize("sleep", [-1, "soon", True, "${{ null }}", "nan", "inf"])
    def test_no_seconds(self, sleep: Any) -> None:
        assert run(empty(sleep=sleep)).error["message"].startswith("sleep: ")

    def test_timeout(self) -> None:
        assert run(empty(sleep=60, timeout=0.2), enforce_timeouts=True).error["type"] == "TimedOut"


def test_raise() -> None:
    error = run(
        {"kind": "raise", "raise": "Demo ${{ params.x }}\nsecond line"}, contexts={"params": {"x": 1}}
    ).error
    assert error == {
        "type": "StageRaised",
        "message": "Demo 1\nsecond line",
        "category": "component",
        "reason": "StageRaised",
    }


@pytest.mark.parametrize("kind", ["operator", "image", "approval", "nonsense"])
def test_kinds_that_do_not_run_here(kind: str) -> None:
    error = run({"kind": kind}).error
    assert error["type"] == "UnknownKind"
    assert f"'{kind}'" in error["message"]


class TestEnv:
    def test_layers_use_the_ones_before(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("WORKER", "w")
        ran = run(
            bash("echo $A $B $C $D", env={"C": "${{ env.B }}c", "D": "${{ env.C }}d", "A": "${{ env.A }}+"}),
            env=[{"A": "${{ env.WORKER }}a"}, {"B": "${{ env.A }}b"}],
        )
        assert ran.outputs["stdout"] == "wa+ wab wabc wabcd"

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (1, "1"),
            (0.5, "0.5"),
            (True, "true"),
            (None, ""),
            ("", ""),
            ([1], "[1]"),
            ({"a": None}, '{"a": null}'),
        ],
    )
    def test_values_become_text(self, value: Any, text: str) -> None:
        assert run(bash('printf "<%s>" "$V"', env={"V": value})).outputs["stdout"] == f"<{text}>"

    def test_what_no_process_can_have(self) -> None:
        error = run(bash("true", env={"V": "${{ params.x }}"}), contexts={"params": {"x": "hid\0den"}}).error
        assert error["type"] == "InvalidEnv"
        assert "hid" not in error["message"]
        assert run(bash("true", env={"A=B": "1"})).error["type"] == "InvalidEnv"

    def test_every_kind_sees_it_in_expressions(self) -> None:
        assert run(empty(echo="${{ env.X }}", env={"X": "1"})).texts == ["1"]


class TestRetry:
    flaky = (
        "import os\nn = len(os.listdir('.'))\nopen(str(n), 'w').close()\n"
        "if n < 2: raise OSError('again')\ntry_ = context.attempt"
    )

    def test_inside(self) -> None:
        started = time.monotonic()
        stage = python(self.flaky, id="s", retry={"max": 3, "delay": 0.2})
        ran = run({"kind": "foreach", "foreach": [1], "stages": [stage]})
        assert 0.4 < time.monotonic() - started < 2
        inner = ran.outputs["foreach"]["1"]["stages"]["s"]
        assert inner["tries"] == 3
        assert inner["outputs"] == {"n": 2, "try_": 3}
        assert any("Try 1 of 4 failed: OSError: again" in text for text in ran.texts)

    def test_a_single_stage_is_retried_by_its_caller(self) -> None:
        ran = run(python(self.flaky, retry={"max": 3, "delay": 0}))
        assert ran.state == "failed"
        assert "tries" not in ran.only

    def test_stages_of_a_leg_are_retried_inside(self) -> None:
        assert run(python(self.flaky, retry={"max": 3, "delay": 0}), empty()).state == "success"

    def test_it_gives_up(self) -> None:
        ran = run(python("1/0", retry={"max": 1, "delay": 0}), enforce_retries=True)
        assert ran.error["type"] == "ZeroDivisionError"
        assert ran.only["tries"] == 2

    @pytest.mark.parametrize(
        ("rule", "tries"),
        [
            ({"on": ["OSError"]}, 2),
            ({"on": ["builtins.LookupError"]}, None),
            ({"never": ["Exception", "OSError"]}, None),
        ],
    )
    def test_on_and_never(self, rule: dict[str, Any], tries: int | None) -> None:
        ran = run(
            python("raise FileNotFoundError('x')", retry={"max": 1, "delay": 0, **rule}), enforce_retries=True
        )
        assert ran.only.get("tries") == tries

    def test_timeout_is_per_try(self) -> None:
        stage = bash(
            "[ -e f ] && exit 0; touch f; sleep 60", id="s", timeout=0.4, retry={"max": 1, "delay": 0}
        )
        ran = run(stage, enforce_timeouts=True, enforce_retries=True)
        assert ran.state == "success"

    def test_a_skip_is_not_repeated(self) -> None:
        source = "class SkipStage(Exception): pass\nraise SkipStage('x')"
        ran = run(*named([python(source, retry={"max": 2, "delay": 0})]), enforce_retries=True)
        assert ran.state == "skipped"
        assert "tries" not in ran.only
