from __future__ import annotations

import errno
import json
import os
import socket
import ssl
import subprocess
import urllib.error
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_stagecoach.engine.classification import (
    ACTIONS,
    CATEGORIES,
    Classification,
    classified,
    classify,
    same_reason,
)
from airflow_stagecoach.engine.errors import Cancelled, StageError
from airflow_stagecoach.engine.failures import error_of
from tests.engine.harness import bash, python, run


def ended(code: int, stderr: str = "", **keys: Any) -> Any:
    kind = "ExitCode" if code >= 0 else "Signal"
    return {"type": kind, "message": f"ended with {code}", "exit_code": code, "stderr": stderr, **keys}


def said(reason: str) -> Any:
    return {"type": "PodFailed", "message": "the pod failed", "reason": reason}


def text(message: str) -> Any:
    return {"type": "JobFailed", "message": message}


def raised(*classes: str, **keys: Any) -> Any:
    return {"type": classes[0].rpartition(".")[2], "message": "", "classes": list(classes), **keys}


def test_every_category_has_its_action() -> None:
    assert set(CATEGORIES) == {
        "configuration",
        "resource",
        "network",
        "system",
        "timeout",
        "component",
        "cancelled",
    }
    assert {name for name, action in ACTIONS.items() if action == "fail"} == {"configuration", "cancelled"}
    assert {name for name, action in ACTIONS.items() if action == "retry"} == {"network", "system"}


@pytest.mark.parametrize(
    ("error", "category", "reason"),
    [
        # configuration
        (raised("jinja2.exceptions.UndefinedError"), "configuration", "invalid-template"),
        (raised("jinja2.exceptions.TemplateSyntaxError"), "configuration", "invalid-template"),
        (raised("airflow.sdk.exceptions.AirflowNotFoundException"), "configuration", "not-found"),
        (raised("airflow.exceptions.ParamValidationError"), "configuration", "invalid-params"),
        (raised("airflow_stagecoach.expressions._errors.ExpressionError"), "configuration", None),
        (ended(126), "configuration", "not-executable"),
        (ended(127), "configuration", "command-not-found"),
        *(
            (said(word), "configuration", word)
            for word in (
                "ErrImagePull",
                "ImagePullBackOff",
                "InvalidImageName",
                "CreateContainerConfigError",
                "RunContainerError",
            )
        ),
        *(
            (raised("docker.errors.APIError", http_status=status), "configuration", f"http-{status}")
            for status in (400, 401, 403, 404, 422)
        ),
        (text("CannotPullContainerError: manifest unknown"), "configuration", "ErrImagePull"),
        ({"type": "InvalidValue", "message": ""}, "configuration", None),
        # resource
        (raised("builtins.MemoryError"), "resource", "out-of-memory"),
        (raised("numpy._core._exceptions._ArrayMemoryError", "builtins.MemoryError"), "resource", None),
        (said("OOMKilled"), "resource", "OOMKilled"),
        (said("Evicted"), "resource", "Evicted"),
        (ended(137, oom=True), "resource", "OOMKilled"),
        (ended(-9, oom=True), "resource", "OOMKilled"),
        (text("OutOfMemoryError: Container killed due to memory usage"), "resource", "OOMKilled"),
        (text('pods "x" is forbidden: exceeded quota: compute'), "resource", "QuotaExceeded"),
        (ended(1, "cp: error writing 'x': No space left on device"), "resource", "disk-full"),
        (ended(1, "sort: memory exhausted"), "resource", "out-of-memory"),
        (ended(-6, "what():  std::bad_alloc"), "resource", "out-of-memory"),
        (ended(-24), "resource", "cpu-limit"),
        (ended(153), "resource", "file-size-limit"),
        # network
        (raised("builtins.ConnectionResetError", "builtins.ConnectionError"), "network", "connection-failed"),
        (raised("socket.gaierror", "builtins.OSError"), "network", "connection-failed"),
        (raised("builtins.TimeoutError", "builtins.OSError"), "network", "connection-timed-out"),
        (raised("urllib3.exceptions.MaxRetryError"), "network", "connection-failed"),
        (
            raised("requests.exceptions.ConnectTimeout", "requests.exceptions.ConnectionError"),
            "network",
            None,
        ),
        *(
            (raised("kubernetes.client.exceptions.ApiException", http_status=status), "network", None)
            for status in (408, 425, 429, 500, 502, 503, 504)
        ),
        (text("Cannot connect to the Docker daemon at unix:///x"), "network", "daemon-unreachable"),
        # system
        (ended(-9), "system", "killed"),
        (ended(-15), "system", "terminated"),
        (ended(137), "system", "killed"),
        (ended(143), "system", "terminated"),
        (said("NodeLost"), "system", "NodeLost"),
        (said("Preempted"), "system", "Preempted"),
        (said("worker-lost"), "system", "worker-lost"),
        (text("Host EC2 (instance i-0123) terminated."), "system", "host-terminated"),
        (ended(50001), "system", "Preempted"),
        # timeout
        ({"type": "TimedOut", "message": ""}, "timeout", "timed-out"),
        (raised("airflow.sdk.exceptions.AirflowTaskTimeout"), "timeout", "timed-out"),
        (raised("airflow.exceptions.TaskDeferralTimeout"), "timeout", "timed-out"),
        (said("DeadlineExceeded"), "timeout", "DeadlineExceeded"),
        (text("Job attempt duration exceeded timeout"), "timeout", "timed-out"),
        # component
        (ended(1), "component", "exit-1"),
        (ended(139), "component", "exit-139"),
        (ended(-11, signal="SIGSEGV"), "component", "SIGSEGV"),
        (raised("builtins.ValueError"), "component", "ValueError"),
        (raised("mine.ConnectionError", "builtins.RuntimeError"), "component", "ConnectionError"),
        (raised("requests.exceptions.HTTPError", http_status=418), "component", "http-418"),
        ({"type": "SystemExit", "message": "", "exit_code": 127}, "component", "exit-127"),
        ({"type": "StageRaised", "message": ""}, "component", "StageRaised"),
        # cancelled
        ({"type": "Cancelled", "message": ""}, "cancelled", "cancelled"),
        (raised("airflow.sdk.exceptions.AirflowTaskTerminated"), "cancelled", "cancelled"),
    ],
    ids=lambda value: json.dumps(value)[:60] if isinstance(value, dict) else None,
)
def test_members(error: Any, category: str, reason: str | None) -> None:
    found = classify(error)
    assert found.category == category
    assert found.action == ACTIONS[category]
    if reason is not None:
        assert found.reason == reason
    assert found.reason
    assert classify(classified(error)) == found, "classifying again changes nothing"


def test_what_the_error_says_of_itself_is_kept() -> None:
    error: Any = {**ended(1), "category": "network", "reason": "own-word"}
    assert classify(error) == ("network", "own-word", "retry")
    assert classify({**error, "category": "nonsense"}) == ("component", "own-word", "default")  # type: ignore[typeddict-item]  # a key of the error map


def test_a_failure_for_good_is_never_repeated_by_default() -> None:
    assert classify(raised("airflow.sdk.exceptions.AirflowFailException")).action == "fail"


def test_rules_are_asked_first_and_in_order() -> None:
    rules = [
        lambda error: None,
        lambda error: "network" if error.get("exit_code") == 75 else None,
        lambda error: Classification("resource", "licence", "retry"),
    ]
    assert classify(ended(75), rules) == ("network", "exit-75", "retry")
    assert classify(ended(1), rules) == ("resource", "licence", "retry")
    assert classify(classified(ended(75)), rules).category == "network", "also over what it was called before"


@pytest.mark.parametrize("answer", ["nonsense", 7, ("a", "b"), ("nonsense", "b", "c")])
def test_a_rule_that_names_no_category_is_passed_over(answer: Any) -> None:
    assert classify(ended(1), [lambda error: answer]).category == "component"


def test_a_rule_that_fails_is_passed_over_and_told(caplog: pytest.LogCaptureFixture) -> None:
    def broken(error: Any) -> str:
        raise KeyError("x")

    assert classify(ended(1), [broken, lambda error: "system"]).category == "system"
    assert "failed itself" in caplog.text


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("OOMKilled", "oom-killed", True), ("disk-full", "DiskFull", True), ("Evicted", "Evict", False)],
)
def test_reasons_are_compared_without_case_and_punctuation(one: str, other: str, same: bool) -> None:
    assert same_reason(one, other) is same


@pytest.mark.parametrize(
    ("error", "category", "reason"),
    [
        (MemoryError(), "resource", "out-of-memory"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/x"), "resource", "disk-full"),
        (OSError(errno.EMFILE, "too many"), "resource", "too-many-files"),
        (OSError(errno.EHOSTUNREACH, "no route"), "network", "connection-failed"),
        (ConnectionRefusedError(), "network", "connection-failed"),
        (socket.gaierror(-2, "Name or service not known"), "network", "connection-failed"),
        (urllib.error.URLError("no host"), "network", "connection-failed"),
        (ssl.SSLCertVerificationError("expired"), "configuration", "certificate"),
        (subprocess.TimeoutExpired("x", 1), "timeout", "timed-out"),
        (FileNotFoundError(errno.ENOENT, "no"), "component", "FileNotFoundError"),
        (Cancelled("it was cancelled"), "cancelled", "cancelled"),
        (StageError("x", details={"reason": "ErrImagePull"}), "configuration", "ErrImagePull"),
    ],
)
def test_exceptions(error: BaseException, category: str, reason: str) -> None:
    found = error_of(error)
    assert (found["category"], found["reason"]) == (category, reason)


@settings(deadline=None)
@given(
    st.fixed_dictionaries(
        {"type": st.text(), "message": st.text()},
        optional={
            "reason": st.text(),
            "category": st.text() | st.sampled_from(CATEGORIES),
            "http_status": st.integers(100, 599),
            "exit_code": st.integers(-70, 300),
            "stderr": st.text(),
            "classes": st.lists(st.text()),
            "oom": st.booleans(),
        },
    )
)
def test_every_error_is_something(error: Any) -> None:
    found = classify(error)
    assert found.category in CATEGORIES
    assert found.action in ("fail", "retry", "default")
    assert classify(classified(error)) == found


@pytest.mark.parametrize(
    ("stage", "category", "reason"),
    [
        (bash("exit 3"), "component", "exit-3"),
        (bash("no-such-command-zz"), "configuration", "command-not-found"),
        (bash("kill -9 $$"), "system", "killed"),
        (bash("bash -c 'kill -9 $$'"), "system", "killed"),
        (bash("echo hi > /dev/full"), "resource", "disk-full"),
        (python("raise MemoryError"), "resource", "out-of-memory"),
        (python("x = []\nx[0]"), "component", "IndexError"),
        (python("import sys\nsys.exit(5)"), "component", "exit-5"),
        (python("${{ params.nothing }}"), "configuration", None),
        ({"kind": "call", "uses": "no/where@v1"}, "configuration", None),
        (
            {"kind": "case", "case": 1, "match": [{"case": 1, "stages": [bash("exit 127")]}]},
            "configuration",
            "command-not-found",
        ),
        ({"kind": "parallel", "parallel": {"a": [bash("exit 9")]}}, "component", "exit-9"),
    ],
)
def test_every_error_that_leaves_the_engine_is_classified(
    stage: Any, category: str, reason: str | None
) -> None:
    error = run(stage).error
    assert error["category"] == category
    assert reason is None or error["reason"] == reason
    assert error["reason"]
