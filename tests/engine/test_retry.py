from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_stagecoach.engine import Hooks, Runner
from airflow_stagecoach.engine.retry import decide, delay_before, jitter_source, matches, may_retry
from tests.engine.harness import bash, empty, named, python, run


@pytest.mark.parametrize(
    ("retry", "delays"),
    [
        ({}, [10, 10, 10]),
        ({"delay": 3}, [3, 3, 3]),
        ({"delay": 3, "backoff": "linear"}, [3, 6, 9]),
        ({"delay": 3, "backoff": "linear", "increment": 1}, [3, 4, 5]),
        ({"delay": 3, "backoff": "exponential"}, [3, 6, 12]),
        ({"delay": 3, "backoff": "exponential", "factor": 3}, [3, 9, 27]),
        ({"delay": 3, "backoff": "exponential", "max_delay": 5}, [3, 5, 5]),
        ({"backoff": "custom", "delays": [1, 5]}, [1, 5, 5]),
        ({"backoff": "custom", "delays": []}, [10, 10, 10]),
        ({"delay": 0}, [0, 0, 0]),
    ],
)
def test_delays(retry: dict[str, Any], delays: list[float]) -> None:
    assert [delay_before(retry, number) for number in (1, 2, 3)] == delays


def test_an_endless_delay_is_a_year_at_most() -> None:
    assert delay_before({"delay": 1, "backoff": "exponential", "factor": 10}, 5000) == 365 * 86400


@pytest.mark.parametrize(("jitter", "low"), [("full", 0), ("equal", 5)])
def test_jitter(jitter: str, low: float) -> None:
    drawn = [delay_before({"delay": 10, "jitter": jitter}, 1, random.Random(seed)) for seed in range(50)]
    assert all(low <= seconds <= 10 for seconds in drawn)
    assert len(set(drawn)) > 40


ERROR: Any = {
    "type": "FileNotFoundError",
    "message": "",
    "classes": ["builtins.FileNotFoundError", "builtins.OSError"],
}


@pytest.mark.parametrize(
    ("rule", "error", "expected"),
    [
        ({}, ERROR, True),
        ({"on": ["OSError"]}, ERROR, True),
        ({"on": ["builtins.OSError"]}, ERROR, True),
        ({"on": ["ValueError"]}, ERROR, False),
        ({"never": ["OSError"]}, ERROR, False),
        ({"on": ["OSError"], "never": ["FileNotFoundError"]}, ERROR, False),
        ({"on": [75]}, {"type": "ExitCode", "message": "", "exit_code": 75}, True),
        ({"on": ["75"]}, {"type": "ExitCode", "message": "", "exit_code": 75}, True),
        ({"on": ["75"]}, {"type": "ExitCode", "message": "", "exit_code": 7}, False),
        ({"on": ["timeout"]}, {"type": "TimedOut", "message": ""}, True),
        ({"never": ["timeout"]}, {"type": "TimedOut", "message": ""}, False),
        ({"on": ["SIGKILL"]}, {"type": "Signal", "message": "", "signal": "SIGKILL"}, True),
        ({}, {"type": "AirflowFailException", "message": ""}, False),
    ],
)
def test_which_failures(rule: dict[str, Any], error: Any, expected: bool) -> None:
    assert may_retry(rule, error) is expected


@pytest.mark.parametrize(
    ("retry", "delays"),
    [
        ({"delay": 10, "backoff": "linear", "increment": 5, "max_delay": 20}, [10, 15, 20, 20, 20]),
        ({"delay": 10, "backoff": "exponential", "max_delay": 60}, [10, 20, 40, 60, 60]),
        ({"delay": 10, "backoff": "fixed"}, [10] * 5),
        ({"backoff": "custom", "delays": [1, 2, 300], "max_delay": 60}, [1, 2, 60, 60, 60]),
    ],
)
def test_the_series_of_the_requirements(retry: dict[str, Any], delays: list[float]) -> None:
    assert [delay_before(retry, number) for number in range(1, 6)] == delays


def test_jitter_is_the_same_for_the_same_place_and_differs_between_legs() -> None:
    def drawn(leg: int, number: int = 1) -> float:
        source = jitter_source("dag", "run", "task", leg, number)
        return delay_before({"delay": 10, "jitter": "full"}, number, source)

    assert [drawn(leg) for leg in range(100)] == [drawn(leg) for leg in range(100)]
    assert len({drawn(leg) for leg in range(100)}) > 90
    assert drawn(0, 1) != drawn(0, 2)


def fault(type_: str = "ExitCode", message: str = "", **keys: Any) -> Any:
    return {"type": type_, "message": message, **keys}


TIMEOUT = fault("Timeout", classes=["requests.exceptions.Timeout", "builtins.OSError"])


@pytest.mark.parametrize(
    ("matcher", "error", "expected"),
    [
        ("exit:3", fault(exit_code=3), True),
        ("exit: 3", fault(exit_code=3), True),
        ("exit:3", fault(exit_code=30), False),
        ("exit:100-110", fault(exit_code=100), True),
        ("exit:100-110", fault(exit_code=110), True),
        ("exit:100-110", fault(exit_code=111), False),
        ("exit:137", fault("Signal", exit_code=-9), True),
        ("exit:128-160", fault("Signal", exit_code=-15), True),
        ("exit:0", fault("X"), False),
        ("exit:", fault(exit_code=3), False),
        ("exit:x", fault(exit_code=3), False),
        ("exit:-3", fault(exit_code=3), False),
        ("http:429", fault("HTTPError", http_status=429), True),
        ("http:500-599", fault("HTTPError", http_status=503), True),
        ("http:500-599", fault("HTTPError", http_status=429), False),
        ("http:429", fault(exit_code=429), False),
        ("reason:OOMKilled", fault(oom=True), True),
        ("reason:oom-killed", fault(oom=True), True),
        ("reason:Evicted", fault("PodFailed", reason="Evicted"), True),
        ("reason:Evicted", fault("PodFailed", reason="OOMKilled"), False),
        ("reason:disk-full", fault(exit_code=1, stderr="x: No space left on device"), True),
        ("message:dead.?lock", fault("X", "a deadlock was found"), True),
        ("message:^dead", fault("X", "a deadlock was found"), False),
        ("message:(?i)DEADLOCK", fault("X", "a deadlock was found"), True),
        ("message:a: b", fault("X", "say a: b now"), True),
        ("message:(", fault("X", "("), False),
        ("message:" + "x" * 601, fault("X", "x" * 700), False),
        ("network", fault("HTTPError", http_status=429), True),
        ("network", fault(exit_code=1), False),
        ("component", fault(exit_code=1), True),
        ("timeout", fault("TimedOut"), True),
        ("system", fault("Signal", exit_code=-9), True),
        ("SIGKILL", fault("Signal", exit_code=-9, signal="SIGKILL"), True),
        ("requests.Timeout", TIMEOUT, True),
        ("requests.exceptions.Timeout", TIMEOUT, True),
        ("Timeout", TIMEOUT, True),
        ("OSError", TIMEOUT, True),
        ("other.Timeout", TIMEOUT, False),
        ("requests.OSError", TIMEOUT, False),
    ],
)
def test_matchers(matcher: str, error: Any, expected: bool) -> None:
    assert matches(matcher, error) is expected


NOT_FOUND = fault(exit_code=127)
BUSY = fault("HTTPError", http_status=429, retry_after=7.0)


@pytest.mark.parametrize(
    ("retry", "error", "expected"),
    [
        # By category, when the document says nothing:
        ({}, fault(exit_code=1), True),
        ({}, BUSY, True),
        ({}, fault("TimedOut"), True),
        ({}, fault(oom=True), True),
        ({}, NOT_FOUND, False),
        ({}, fault("Cancelled"), False),
        # `on` may name configuration, in any way; cancelled never:
        ({"on": ["configuration"]}, NOT_FOUND, True),
        ({"on": ["exit:127"]}, NOT_FOUND, True),
        ({"on": ["component"]}, NOT_FOUND, False),
        ({"on": ["cancelled", "Cancelled"]}, fault("Cancelled"), False),
        ({"rules": [{"match": ["Cancelled"]}]}, fault("Cancelled"), False),
        ({"on": ["AirflowFailException"]}, fault("AirflowFailException"), False),
        # `never` wins over `on`, a rule over both:
        ({"on": ["component"], "never": ["exit:2"]}, fault(exit_code=2), False),
        ({"never": ["exit:2"], "rules": [{"match": ["exit:1-5"]}]}, fault(exit_code=2), True),
        ({"on": ["network"], "rules": [{"match": ["exit:1-5"]}]}, fault(exit_code=2), True),
        ({"rules": [{"match": ["component"], "action": "fail"}]}, fault(exit_code=2), False),
        ({"rules": [{"match": ["network"], "action": "fail"}]}, fault(exit_code=2), True),
        ({"rules": [{"match": ["network"], "action": "fail"}]}, NOT_FOUND, False),
        ({"rules": [{"match": ["exit:127"]}]}, NOT_FOUND, True),
    ],
)
def test_decisions(retry: dict[str, Any], error: Any, expected: bool) -> None:
    decision = decide(retry, error, 1)
    assert decision.repeat is expected
    assert decision.why
    assert may_retry(retry, error) is expected
    if not expected:
        assert decision.delay == 0


def test_the_first_rule_that_matches_decides_and_counts_for_itself() -> None:
    retry = {
        "delay": 10,
        "rules": [
            {"match": ["http:429"], "max": 2, "delay": 30},
            {"match": ["http:400-499", "http:500"], "max": 1},
        ],
    }
    busy, broken = fault("H", http_status=429), fault("H", http_status=500)
    assert decide(retry, busy, 1)[:2] == (True, 30)
    assert decide(retry, busy, 2, used={0: 1})[:2] == (True, 30)
    assert decide(retry, busy, 3, used={0: 2}).repeat is False
    assert decide(retry, broken, 3, used={0: 2})[:2] == (True, 10)
    assert decide(retry, broken, 4, used={0: 2, 1: 1}).repeat is False
    assert [decide(retry, error, 1).rule for error in (busy, broken, fault(exit_code=1))] == [0, 1, None]


@pytest.mark.parametrize(
    ("retry", "asked", "delay"),
    [
        ({"delay": 1}, 7, 7),
        ({"delay": 100}, 7, 7),
        ({"delay": 1, "max_delay": 60}, 9999, 60),
        ({"delay": 1}, 10**9, 86400),
        ({"delay": 1, "jitter": "full"}, 7, 7),
        ({"rules": [{"match": ["http:429"], "delay": 2}]}, 7, 7),
        ({"rules": [{"match": ["http:429"], "delay": 2}]}, 10**9, 86400),
        ({"max_delay": 5, "rules": [{"match": ["http:429"], "delay": 2}]}, 7, 5),
    ],
)
def test_retry_after_replaces_the_delay(retry: dict[str, Any], asked: float, delay: float) -> None:
    error = fault("HTTPError", http_status=429, retry_after=asked)
    assert decide(retry, error, 1).delay == delay


def test_a_rules_delay_is_exact() -> None:
    retry = {"backoff": "exponential", "jitter": "full", "rules": [{"match": ["component"], "delay": 2}]}
    assert {decide(retry, fault(exit_code=1), number).delay for number in (1, 2, 3)} == {2}


def test_classifiers_of_others_count() -> None:
    licence = [lambda error: "configuration" if error.get("exit_code") == 75 else None]
    assert decide({}, fault(exit_code=75), 1, classifiers=licence).repeat is False
    assert decide({"on": ["configuration"]}, fault(exit_code=75), 1, classifiers=licence).repeat is True


@settings(deadline=None)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "delay": st.floats(0, 1e6),
            "backoff": st.sampled_from(["fixed", "linear", "exponential", "custom"]),
            "delays": st.lists(st.floats(0, 1e9)),
            "factor": st.floats(1, 100),
            "increment": st.floats(0, 1e6),
            "max_delay": st.floats(0, 1e6),
            "jitter": st.sampled_from(["none", "full", "equal"]),
            "on": st.lists(st.text() | st.sampled_from(["exit:1", "message:(", "network"])),
        },
    ),
    st.integers(1, 1000),
    st.none() | st.floats(0, 1e12),
)
def test_a_delay_is_never_longer_than_what_caps_it(
    retry: dict[str, Any], number: int, asked: float | None
) -> None:
    error = fault(exit_code=1) if asked is None else fault(exit_code=1, retry_after=asked)
    delay = delay_before(retry, number, jitter_source(1), error)
    assert 0 <= delay <= retry.get("max_delay", 365 * 86400)
    assert decide(retry, error, number, rng=jitter_source(1)).delay in (0, delay)


def test_inner_stages_are_repeated_by_the_same_rules() -> None:
    stage = bash(
        "echo x >> tries; exit 75",
        retry={"max": 5, "delay": 0, "rules": [{"match": ["exit:75"], "max": 2, "delay": 0}]},
    )
    ran = run(stage, python("n = len(open('tries').read().split())", **{"if": "always()"}))
    assert ran.stages["s1"]["tries"] == 3
    assert ran.stages["s2"]["outputs"]["n"] == 3
    assert any("rule 1 gave its 2 retries" in text for text in ran.texts)


@pytest.mark.parametrize(
    ("script", "tries"), [("exit 1", 3), ("exit 127", None), ("exit 126", None), ("kill -9 $$", 3)]
)
def test_inner_stages_are_repeated_by_what_sort_of_failure_it_is(script: str, tries: int | None) -> None:
    ran = run(bash(script, retry={"max": 2, "delay": 0}), empty())
    assert ran.stages["s1"].get("tries") == tries


def test_rules_of_others_count_for_inner_stages() -> None:
    hooks = Hooks(log=lambda *_: None, rules=lambda: [lambda error: "configuration"])
    unit = {"stages": named([bash("exit 1", retry={"max": 2, "delay": 0}), empty()])}
    assert "tries" not in Runner(unit, hooks).run()["stages"]["s1"]


def test_retry_after_of_an_inner_stage_is_waited_for() -> None:
    source = (
        "class Busy(Exception):\n    status_code = 429\n    retry_after = 0.3\n"
        "if context.attempt == 1: raise Busy('busy')\nattempt = context.attempt"
    )
    ran = run(python(source, retry={"max": 1, "delay": 60}), empty())
    assert ran.state == "success"
    assert 0.3 <= ran.seconds < 30
