from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from airflow_stagecoach.expressions import ExpressionError, Kind, to_text
from airflow_stagecoach.expressions._values import QuotedText, compare, describe, equal, is_true, kind_of


class Lazy(Mapping[str, Any]):
    def __getitem__(self, key: str) -> Any:
        return {"a": 1}[key]

    def __iter__(self) -> Iterator[str]:
        return iter(["a"])

    def __len__(self) -> int:
        return 1


def free(amount: int) -> None:
    """Work that costs nothing."""


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (None, Kind.NULL, ""),
        (True, Kind.BOOLEAN, "true"),
        (False, Kind.BOOLEAN, "false"),
        (-10, Kind.NUMBER, "-10"),
        (1.5, Kind.NUMBER, "1.5"),
        (Decimal("1.000000"), Kind.NUMBER, "1.000000"),
        ("None", Kind.TEXT, "None"),
        (QuotedText("it's"), Kind.TEXT, '"it\'s"'),
        (date(2024, 6, 12), Kind.DATE, "2024-06-12"),
        (datetime(2024, 6, 12, tzinfo=timezone.utc), Kind.DATE, "2024-06-12T00:00:00+00:00"),
        ([1, "é", None, True], Kind.LIST, '[1, "é", null, true]'),
        ((1, 2), Kind.LIST, "[1, 2]"),
        ({"a": {"b": date(2024, 1, 1)}}, Kind.MAP, '{"a": {"b": "2024-01-01"}}'),
        ({"d": Decimal("1.5"), "i": Decimal(2)}, Kind.MAP, '{"d": 1.5, "i": 2}'),
        (Lazy(), Kind.MAP, '{"a": 1}'),
        ([Lazy()], Kind.LIST, '[{"a": 1}]'),
    ],
)
def test_kind_and_text(value: Any, kind: Kind, text: str) -> None:
    assert kind_of(value) is kind
    assert to_text(value) == text


@pytest.mark.parametrize("value", [object(), {1}, b"x", print])
def test_other_objects_are_refused(value: Any) -> None:
    with pytest.raises(ExpressionError, match=r"a Python object of type .* cannot be used"):
        kind_of(value)
    with pytest.raises(ExpressionError):
        to_text([value])


@pytest.mark.parametrize("value", [[float("nan")], {"x": float("inf")}])
def test_no_json_number(value: Any) -> None:
    with pytest.raises(ExpressionError, match="cannot be written as JSON"):
        to_text(value)


@pytest.mark.parametrize("value", [False, 0, 0.0, "", None, Decimal(0)])
def test_falsy(value: Any) -> None:
    assert is_true(value) is False


@pytest.mark.parametrize("value", [True, 1, -1, "0", "false", [], {}, date(2024, 1, 1)])
def test_truthy(value: Any) -> None:
    assert is_true(value) is True


NOON = datetime(2024, 1, 1, 12, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (1, 1.0, True),
        (1, "1", False),
        (1, True, False),
        (0, False, False),
        ("a", "A", False),
        (None, "", False),
        (None, None, True),
        (0.1, Decimal("0.1"), True),
        ([1, [2]], [1.0, (2,)], True),
        ([1], [True], False),
        ([1], ["1"], False),
        ({"a": 1}, {"a": 1.0}, True),
        ({"a": 1}, {"a": True}, False),
        ({"a": 1}, {"b": 1}, False),
        ({"a": 1}, Lazy(), True),
        (date(2024, 1, 1), datetime(2024, 1, 1), True),
        (NOON, datetime(2024, 1, 1, 19, tzinfo=timezone(timedelta(hours=7))), True),
        (NOON, NOON.replace(tzinfo=None), True),
        (date(2024, 1, 1), "2024-01-01", False),
    ],
)
def test_equal(left: Any, right: Any, expected: bool) -> None:
    assert equal(left, right, free) is expected
    assert equal(right, left, free) is expected


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (1, 2, -1),
        (2.5, 2, 1),
        (Decimal("0.1"), 0.1, 0),
        ("a", "b", -1),
        (date(2024, 1, 1), NOON, -1),
        (float("nan"), 1, None),
    ],
)
def test_compare(left: Any, right: Any, expected: int | None) -> None:
    assert compare(left, right) == expected


@pytest.mark.parametrize(
    ("left", "right", "message"),
    [
        (1, "1", "a number and a text have no order"),
        (None, 1, "null and a number have no order"),
        (True, False, "a boolean has no order"),
        ([1], [2], "a list has no order"),
    ],
)
def test_no_order(left: Any, right: Any, message: str) -> None:
    with pytest.raises(ExpressionError, match=message):
        compare(left, right)


def test_describe_never_shows_the_value() -> None:
    assert describe("secret") == "a text"
