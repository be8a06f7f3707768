# ruff: noqa: UP006, UP007, UP045 - older modules spell their hints like this
from __future__ import annotations

import dataclasses
import datetime
import enum
import pathlib
import typing
import uuid
from decimal import Decimal
from typing import Annotated, Any, Literal, NewType, Optional, TypedDict, Union

import pytest
from pydantic import BaseModel

from airflow_stagecoach.engine.arguments import ArgumentError, convert, hints_of


class Color(enum.Enum):
    RED = "red"
    BLUE = 2


@dataclasses.dataclass
class Inner:
    when: datetime.date
    n: int = 1


@dataclasses.dataclass
class Outer:
    inner: Inner
    many: list[Inner] = dataclasses.field(default_factory=list)
    computed: int = dataclasses.field(init=False, default=0)


class Model(BaseModel):
    name: str
    n: int = 0


class Typed(TypedDict):
    a: int


class Partial(TypedDict, total=False):
    a: int


UserId = NewType("UserId", int)
UTC = datetime.timezone.utc
DAY = datetime.date(2026, 1, 31)


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        ("x", str, "x"),
        ("x", Any, "x"),
        (1, object, 1),
        ("5", int, 5),
        (" 5 ", int, 5),
        (5.0, int, 5),
        (True, int, 1),
        (Decimal(5), int, 5),
        ("1.5", float, 1.5),
        (1, float, 1.0),
        ("1e3", float, 1000.0),
        ("1.10", Decimal, Decimal("1.10")),
        (0.1, Decimal, Decimal("0.1")),
        (True, bool, True),
        ("false", bool, False),
        ("Yes", bool, True),
        (0, bool, False),
        (None, None, None),
        (None, Optional[int], None),
        ("5", Optional[int], 5),
        ("5", Union[int, str], "5"),
        (5, Union[str, int], 5),
        (None, int | None, None),
        ("x", int | str, "x"),
        ("a", Literal["a", 1], "a"),
        (1, Literal["a", 1], 1),
        ("red", Color, Color.RED),
        ("BLUE", Color, Color.BLUE),
        (2, Color, Color.BLUE),
        ("2026-01-31", datetime.date, DAY),
        ("2026-01-31T00:00:00+00:00", datetime.date, DAY),
        (datetime.datetime(2026, 1, 31), datetime.date, DAY),
        ("2026-01-31", datetime.datetime, datetime.datetime(2026, 1, 31)),
        ("2026-01-31T12:00:00Z", datetime.datetime, datetime.datetime(2026, 1, 31, 12, tzinfo=UTC)),
        (DAY, datetime.datetime, datetime.datetime(2026, 1, 31)),
        ("12:30", datetime.time, datetime.time(12, 30)),
        (90, datetime.timedelta, datetime.timedelta(seconds=90)),
        ("a/b", pathlib.Path, pathlib.Path("a/b")),
        ("a/b", pathlib.PurePosixPath, pathlib.PurePosixPath("a/b")),
        (str(uuid.UUID(int=1)), uuid.UUID, uuid.UUID(int=1)),
        ("é", bytes, "é".encode()),
        (["1", 2], list[int], [1, 2]),
        (["1", 2], typing.List[int], [1, 2]),
        (["1"], typing.Sequence[int], [1]),
        (["1", "1"], set[int], {1}),
        (["1"], frozenset[int], frozenset({1})),
        (["1", "a"], tuple[int, str], (1, "a")),
        (["1", "2"], tuple[int, ...], (1, 2)),
        ([1, "a"], list, [1, "a"]),
        ([1], tuple, (1,)),
        ({"a": "1"}, dict[str, int], {"a": 1}),
        ({"a": "1"}, typing.Mapping[str, int], {"a": 1}),
        ({"a": [{"n": "1"}]}, dict[str, list[dict[str, int]]], {"a": [{"n": 1}]}),
        ({"a": 1}, dict, {"a": 1}),
        ({"when": "2026-01-31"}, Inner, Inner(DAY)),
        (
            {"inner": {"when": DAY}, "many": [{"when": DAY, "n": "2"}]},
            Outer,
            Outer(Inner(DAY), [Inner(DAY, 2)]),
        ),
        (Inner(DAY), Inner, Inner(DAY)),
        ({"name": "x", "n": "2"}, Model, Model(name="x", n=2)),
        ({"name": "x"}, Optional[Model], Model(name="x")),
        ({"a": "1"}, Typed, {"a": 1}),
        ({}, Partial, {}),
        ("5", UserId, 5),
        ("5", Annotated[int, "doc"], 5),
        ("x", typing.TypeVar("T"), "x"),
        ("x", "NotKnown", "x"),
        (print, typing.Callable[[], None], print),
    ],
)
def test_fits(value: Any, hint: Any, expected: Any) -> None:
    converted = convert(value, hint, "'x'")
    assert converted == expected
    assert type(converted) is type(expected)


@pytest.mark.parametrize(
    ("value", "hint", "message"),
    [
        (1, str, "'x' needs text, not a whole number"),
        (None, str, "'x' needs text, not null"),
        (True, str, "'x' needs text, not true or false"),
        ("hidden", int, "'x' needs a whole number, not text"),
        (1.5, int, "'x' needs a whole number, not a number"),
        (float("inf"), int, "whole number"),
        ("hidden", float, "a number"),
        ("hidden", bool, "true or false"),
        (2, bool, "true or false"),
        (True, Decimal, "decimal"),
        ("hidden", datetime.datetime, "ISO 8601"),
        (20260131, datetime.date, "ISO 8601"),
        ("2026-01-31T01:00:00", datetime.date, "without a time of day"),
        (1, pathlib.Path, "text"),
        ("hidden", uuid.UUID, "a UUID"),
        ("hidden", list[int], "'x' needs a list, not text"),
        ([1, "hidden"], list[int], "'x'[1] needs a whole number"),
        ([1], tuple[int, int], "needs 2 items, there are 1"),
        ([1], dict[str, int], "a map"),
        ({"a": "hidden"}, dict[str, int], "'x'['a']"),
        ("hidden", Color, "one of 'red', 2"),
        ("2", Color, "one of 'red', 2"),
        ("hidden", Literal["a", 1], "one of 'a', 1"),
        ("1", Literal[1], "one of 1"),
        ("hidden", Optional[int], "'x' needs a whole number"),
        ([], Union[int, str], "a whole number or text, not a list"),
        ({}, Inner, "'x' lacks 'when'"),
        ({"when": DAY, "m": 1}, Inner, "no field 'm'; "),
        ({"inner": {"when": "hidden"}}, Outer, "'x'.inner.when needs a date"),
        ("hidden", Inner, "a map"),
        ({"name": 1}, Model, "'x'.name: Input should be a valid string"),
        ({"a": "hidden"}, Typed, "'x'.a"),
        ({}, Typed, "lacks 'a'"),
        (1, complex, "complex"),
    ],
)
def test_misfits(value: Any, hint: Any, message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        convert(value, hint, "'x'")
    assert message in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_hints_that_are_not_known_are_left_out() -> None:
    def function(a: int, b: NoSuchName, c) -> None: ...  # type: ignore[no-untyped-def, name-defined]  # noqa: F821 - on purpose

    assert hints_of(function)["a"] is int
    assert "b" not in hints_of(function)
