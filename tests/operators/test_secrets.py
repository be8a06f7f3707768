"""Tests of airflow_stagecoach.operators._secrets."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_stagecoach.engine.secrets import forms
from airflow_stagecoach.operators._secrets import Hider

CONTEXTS = {
    "secrets": {"key": "hunter22", "short": "abc", "lines": "first-line\nsecond-line"},
    "conn": {
        "db": {
            "host": "db.example",
            "password": "p4ssw0rd",
            "extra": {"token": "t0k3n-x", "deep": ["deeper-y"]},
        }
    },
}


def test_values_are_replaced_wherever_they_stand() -> None:
    value = {"stdout": "key hunter22!", "list": ["p4ssw0rd", 5, None], "hunter22": {"x": "t0k3n-x deeper-y"}}
    hidden = {"stdout": "key ***!", "list": ["***", 5, None], "***": {"x": "*** ***"}}
    assert Hider(CONTEXTS).value(value) == hidden


def test_a_value_of_several_lines_is_hidden_line_by_line() -> None:
    assert Hider(CONTEXTS).text("got second-line") == "got ***"


def test_what_is_no_secret_stays() -> None:
    assert Hider(CONTEXTS).text("abc on db.example") == "abc on db.example"
    assert Hider({"secrets": {}, "conn": {}}).value({"a": [1]}) == {"a": [1]}


SECRET = "p\"ä/ss+wörd&\\x'1"


@pytest.mark.parametrize(
    "shown",
    [
        SECRET,
        json.dumps(SECRET),
        json.dumps(SECRET, ensure_ascii=False),
        repr(SECRET),
        quote(SECRET),
        quote_plus(SECRET),
        base64.b64encode(SECRET.encode()).decode(),
        base64.urlsafe_b64encode(SECRET.encode()).decode(),
    ],
)
def test_every_form_is_hidden(shown: str) -> None:
    hidden = Hider({"secrets": {"key": SECRET}}).text(f"<{shown}>")
    assert "***" in hidden
    assert shown.strip("\"'") not in hidden


@given(
    st.text(min_size=9, max_size=40, alphabet=st.characters(codec="ascii", exclude_categories=["Cc"])),
    st.binary(max_size=7),
    st.binary(max_size=7),
)
def test_base64_of_a_longer_text_tells_nothing(secret: str, before: bytes, after: bytes) -> None:
    encoded = base64.b64encode(before + secret.encode() + after).decode()
    hidden = Hider({"secrets": {"key": secret}}).text(encoded)
    if secret.strip() == secret:
        assert "***" in hidden
        # At most the ends are left, which hold what stands around.
        assert len(hidden) - len("***") <= (len(before) + len(after) + 4) * 4 / 3 + 4


def test_a_connection_as_http_sends_it() -> None:
    header = base64.b64encode(b"me:p4ssw0rd").decode()
    contexts = {"conn": {"db": {"login": "me", "password": "p4ssw0rd"}}}
    assert Hider(contexts).text(f"Authorization: Basic {header}") == "Authorization: Basic ***"


def test_a_key_of_several_lines() -> None:
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBg\n  kqhkiG9w0BAQEF\n-----END KEY-----\n"
    hider = Hider({"secrets": {"key": key}})
    for shown in (key, json.dumps({"key": key}), *key.splitlines(), base64.b64encode(key.encode()).decode()):
        hidden = hider.text(shown)
        assert "MIIEvQ" not in hidden
        assert "kqhkiG9" not in hidden
        assert base64.b64encode(b"MIIEvQIB").decode() not in hidden


def test_short_values_have_no_forms() -> None:
    assert forms("abc") == set()
    assert forms("") == set()
