from __future__ import annotations

import random
from typing import Any

import pytest

from airflow_stagecoach.engine.retry import delay_before, may_retry


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
