from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from airflow_stagecoach.document.retry_matches import CATEGORIES, MAX_PATTERN, match_value, matches_value


@pytest.mark.parametrize(
    ("value", "canonical"),
    [
        (75, "exit:75"),
        ("75", "exit:75"),
        ("007", "exit:7"),
        (0, "exit:0"),
        ("exit:75", "exit:75"),
        ("exit: 75", "exit:75"),
        ("EXIT:75", "exit:75"),
        ("exit:100-110", "exit:100-110"),
        ("exit:100 - 110", "exit:100-110"),
        ("exit:5-5", "exit:5"),
        ("http:429", "http:429"),
        ("http:500-599", "http:500-599"),
        ("reason:OOMKilled", "reason:OOMKilled"),
        ("reason:worker-lost", "reason:worker-lost"),
        ("message:/no space left/", "message:no space left"),
        ("message:/No Space/i", "message:(?i)No Space"),
        ("message:/a/b/", "message:a/b"),
        ("message: /x:y/", "message:x:y"),
        ("ValueError", "ValueError"),
        ("builtins.ConnectionError", "builtins.ConnectionError"),
        ("requests.exceptions.Timeout", "requests.exceptions.Timeout"),
        ("Timeout", "Timeout"),
        ("socket.gaierror", "socket.gaierror"),
        ("SIGKILL", "SIGKILL"),
        *((category, category) for category in CATEGORIES),
    ],
)
def test_canonical(value: object, canonical: str) -> None:
    assert match_value(value) == canonical
    assert matches_value(value) == [canonical]


@pytest.mark.parametrize(
    ("value", "code", "message", "hint"),
    [
        ("netwrok", "bad-word", "'netwrok' is neither a category nor an exception", "did you mean 'network'?"),
        ("Network", "bad-word", "'Network' is neither a category nor an exception", "did you mean 'network'?"),
        ("timeouts", "bad-word", None, "did you mean 'timeout'?"),
        ("oom", "bad-word", None, "did you mean 'resource'?"),
        ("canceled", "bad-word", None, "did you mean 'cancelled'?"),
        ("any", "bad-word", None, "remove it: without `on` every failure is retried that a retry can heal"),
        ("gaierror", "bad-word", None, f"the categories are {', '.join(CATEGORIES)}; write an exception with its module: socket.gaierror"),
        ("transient", "bad-word", None, f"the categories are {', '.join(CATEGORIES)}; write an exception with its module: socket.gaierror"),
        ("exit 3", "wrong-type", None, "write exit:3"),
        ("exit code 75", "wrong-type", None, "write exit:75"),
        ("http-429", "wrong-type", None, "write http:429"),
        ("no space left", "wrong-type", None, "write message:/no space left/"),
        (429, "out-of-range", "an exit code is from 0 to 255, found 429", "write http:429"),
        (1000, "out-of-range", "an exit code is from 0 to 255, found 1000", None),
        (-1, "wrong-type", None, None),
        ("100-110", "wrong-type", None, "write exit:100-110"),
        ("exit:256", "out-of-range", "an exit code is from 0 to 255, found 256", None),
        ("exit:9-3", "out-of-range", "9-3 is empty", "write exit:3-9"),
        ("exit:", "wrong-type", "expected exit:N or exit:N-M, found 'exit:'", None),
        ("exit:a", "wrong-type", "expected exit:N or exit:N-M, found 'exit:a'", None),
        ("http:99", "out-of-range", "an HTTP status is from 100 to 599, found 99", None),
        ("http:5xx", "wrong-type", "expected http:N or http:N-M, found 'http:5xx'", "write http:500-599"),
        ("htpp:500", "wrong-type", None, "did you mean 'http'?"),
        ("reason:", "wrong-type", "expected the word of a reason, such as reason:OOMKilled, found 'reason:'", None),
        ("reason:two words", "wrong-type", None, None),
        ("message:no space", "wrong-type", "expected message:/pattern/, found 'message:no space'", "write message:/no space/"),
        ("message:/(/", "bad-pattern", "this is no regular expression: missing ), unterminated subpattern at position 0", None),
        ("message:/x/g", "wrong-type", None, "the only flag is i: /pattern/i does not tell small letters from capital ones"),
        (f"message:/{'x' * (MAX_PATTERN + 1)}/", "too-long", "a pattern may have at most 500 characters, found 501", None),
        ({"http": 429}, "wrong-type", None, "write it without a space: http:429"),
        ({"a": 1}, "wrong-type", None, None),
        (True, "wrong-type", None, None),
        (1.5, "wrong-type", None, None),
        (None, "wrong-type", None, None),
        ("", "wrong-type", None, None),
        ("a-b", "wrong-type", None, None),
    ],
)  # fmt: skip
def test_refused(value: object, code: str, message: str | None, hint: str | None) -> None:
    with pytest.raises(PydanticCustomError) as error:
        match_value(value)
    context = error.value.context or {}
    assert (context["code"], context["hint"]) == (code, hint)
    if message is not None:
        assert context["message"] == message


def test_each_once() -> None:
    assert matches_value([75, "exit:75", "network", "network"]) == ["exit:75", "network"]


@given(st.integers(0, 255), st.integers(0, 255))
def test_ranges(first: int, last: int) -> None:
    if first <= last:
        found = match_value(f"exit:{first}-{last}")
        assert found == (f"exit:{first}-{last}" if first < last else f"exit:{first}")
        assert match_value(found) == found


_PARTS = st.sampled_from(
    ["exit", "http", "reason", "message", ":", "/", "-", "75", "429", "5xx", "network", "x", ".", "(", "+", "\\", " ", "i"]
)  # fmt: skip


@given(st.lists(_PARTS, max_size=8).map("".join) | st.text(max_size=30))
def test_any_text_is_canonical_or_an_error_of_ours(text: str) -> None:
    try:
        found = match_value(text)
    except PydanticCustomError:
        pass
    else:
        kind, _, rest = found.partition(":")
        if kind == "message":
            re.compile(rest)
        else:
            assert match_value(found) == found
