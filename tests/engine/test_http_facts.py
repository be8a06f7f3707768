from __future__ import annotations

import email.utils
import http
import io
import time
import urllib.error
from email.message import Message
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_stagecoach.engine.failures import error_of
from airflow_stagecoach.engine.http_facts import http_facts, seconds_of


def failing(**attributes: Any) -> Exception:
    error = Exception("x")
    for name, value in attributes.items():
        setattr(error, name, value)
    return error


def answer(**attributes: Any) -> Any:
    return SimpleNamespace(**attributes)


@pytest.mark.parametrize(
    ("error", "facts"),
    [
        (failing(), {}),
        (failing(status_code=503), {"http_status": 503}),
        (failing(http_status=503), {"http_status": 503}),
        (failing(response=answer(status_code=429)), {"http_status": 429}),
        (
            failing(response=answer(status_code=429, headers={"Retry-After": "7"})),
            {"http_status": 429, "retry_after": 7},
        ),
        (
            failing(status=500, headers={"retry-after": b"1.5"}),
            {"http_status": 500, "retry_after": 1.5},
        ),
        (failing(code=http.HTTPStatus.BAD_GATEWAY, response=None, headers={}), {"http_status": 502}),
        (failing(retry_after=3), {"retry_after": 3}),
        (
            failing(
                response={
                    "Error": {"Code": "Throttling"},
                    "ResponseMetadata": {"HTTPStatusCode": 400, "HTTPHeaders": {"retry-after": "2"}},
                }
            ),
            {"http_status": 400, "retry_after": 2},
        ),
        # What only looks alike:
        (failing(code=404), {}),
        (failing(status=200), {}),
        (failing(status_code=True), {}),
        (failing(status_code="503"), {}),
        (failing(status_code=7), {}),
        (failing(code=lambda: 404, headers={}), {}),
        (failing(response={}, headers=[1]), {}),
        (failing(retry_after="soon"), {}),
        (failing(retry_after=-1), {}),
    ],
)
def test_facts(error: Exception, facts: dict[str, Any]) -> None:
    assert http_facts(error) == facts


def test_urllib() -> None:
    headers = Message()
    headers["Retry-After"] = "120"
    error = urllib.error.HTTPError("http://x", 503, "busy", headers, io.BytesIO())
    found = error_of(error)
    assert (found["http_status"], found["retry_after"]) == (503, 120)
    assert (found["category"], found["reason"]) == ("network", "http-503")
    error.close()


def test_a_property_that_fails_is_no_fact() -> None:
    class Broken(Exception):
        @property
        def response(self) -> Any:
            raise RuntimeError("no")

        @property
        def status_code(self) -> int:
            raise RuntimeError("no")

    assert http_facts(Broken()) == {}


@pytest.mark.parametrize("value", [None, True, "", "soon", "-5", -1, float("nan"), "inf", 10**400, [1], {}])
def test_what_is_no_time(value: Any) -> None:
    assert seconds_of(value) is None


def test_dates() -> None:
    soon = email.utils.formatdate(time.time() + 100, usegmt=True)
    assert 97 < (seconds_of(soon) or 0) <= 100
    assert seconds_of("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert seconds_of(0) == 0
