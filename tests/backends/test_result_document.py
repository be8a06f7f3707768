"""Results that no engine has written are refused, and never anything but refused."""

from __future__ import annotations

import copy
import json
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_stagecoach.backends import _endings
from airflow_stagecoach.backends._result_document import parse
from airflow_stagecoach.backends.work import Status
from airflow_stagecoach.engine import Runner
from airflow_stagecoach.engine.transport import dump

UNIT: Any = {
    "stages": [{"kind": "python", "id": "a", "run": "b = 1"}, {"kind": "raise", "id": "c", "raise": "no"}]
}
HANDLE: Any = {"id": "1", "name": "work"}


@pytest.fixture(scope="module")
def genuine() -> dict[str, Any]:
    return json.loads(dump(Runner(UNIT).run()))  # type: ignore[no-any-return]  # JSON


def read(text: bytes) -> Any:
    return _endings.read(UNIT, HANDLE, Status("ended", 0), text)


def test_a_genuine_one(genuine: dict[str, Any]) -> None:
    result = parse(UNIT, json.dumps(genuine).encode())
    assert result == genuine
    assert result["stages"]["c"]["state"] == "failed"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ((), []),
        ((), "success"),
        (("state",), "upstream_failed"),
        (("state",), None),
        (("state",), ["success"]),
        (("outcome",), {}),
        (("peak_memory",), -1),
        (("peak_memory",), "1"),
        (("stages",), {}),
        (("stages",), []),
        (("stages",), {"a": None}),
        (("stages", "a"), 1),
        (("stages", "x"), "too many"),
        (("stages", "a", "state"), "running"),
        (("stages", "a", "outcome"), "failed"),
        (("stages", "a", "outputs"), None),
        (("stages", "a", "outputs"), [1]),
        (("stages", "a", "start"), "yesterday"),
        (("stages", "a", "end"), 1),
        (("stages", "a", "error"), "text"),
        (("stages", "c", "error"), {"type": "X"}),
        (("stages", "c", "error", "message"), ["x"]),
        (("stages", "c", "error", "category"), "none"),
        (("stages", "c", "error", "category"), ["network"]),
        (("stages", "c", "error", "exit_code"), "1"),
        (("stages", "c", "error", "classes"), [1]),
        (("stages", "c", "error", "retry_after"), "soon"),
        (("stages", "a", "metrics"), {"rows": "x"}),
        (("stages", "a", "peak_memory"), float("nan")),
        (("stages", "a", "tries"), True),
        (("stages", "a", "cpu_seconds"), float("inf")),
        (("stages", "a", "omitted"), {"b": 1}),
    ],
)
def test_forged(genuine: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    forged: Any = {"it": copy.deepcopy(genuine)}
    place = forged
    for key in ("it", *path)[:-1]:
        place = place[key]
    place[("it", *path)[-1]] = value
    result = read(json.dumps(forged["it"]).encode())
    error = result["stages"]["a"]["error"]
    assert (error["type"], error["category"]) == ("DamagedResult", "system")


@pytest.mark.parametrize("key", ["state", "outcome", "stages", "peak_memory"])
def test_what_is_missing(genuine: dict[str, Any], key: str) -> None:
    text = json.dumps({name: value for name, value in genuine.items() if name != key}).encode()
    with pytest.raises(ValueError, match=r"it has|is no"):
        parse(UNIT, text)


@cache
def text_of_a_run() -> bytes:
    """Of one run: the times in it make others longer or shorter."""
    return dump(Runner(UNIT).run()).encode()


@given(st.data())
def test_cut_off(data: st.DataObject) -> None:
    text = text_of_a_run()
    cut = data.draw(st.integers(0, len(text) - 1))
    with pytest.raises(ValueError):  # noqa: PT011  # any text: it is that of the JSON parser
        parse(UNIT, text[:cut])


@pytest.mark.parametrize(
    "text",
    [b"", b"null", b"[" * 100_000, b'{"a":' * 100_000, b"\xff\xfe", b"1" * 10_000, b"stagecoach-shell 1 x"],
)
def test_no_result_at_all(text: bytes) -> None:
    assert read(text)["stages"]["a"]["error"]["type"] == "DamagedResult"


def test_too_large() -> None:
    error = read(b" " * (_endings.LONGEST_RESULT + 1))["stages"]["a"]["error"]
    assert error["type"] == "ResultTooLarge"
    assert "write them to a file" in error["message"]
