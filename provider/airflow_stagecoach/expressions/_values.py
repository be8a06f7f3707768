"""The values of the language: their kinds, their text, truth, equality and order.

Values are plain data: null, booleans, numbers (int, float, Decimal), texts, dates (date, datetime), lists
(any ``Sequence``) and maps (any ``Mapping``). Nothing here looks at attributes of other Python objects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_stagecoach.expressions._errors import ExpressionError
from airflow_stagecoach.expressions._scope import Kind

if TYPE_CHECKING:
    from typing import Callable

_KINDS = {
    str: Kind.TEXT,
    bool: Kind.BOOLEAN,
    int: Kind.NUMBER,
    float: Kind.NUMBER,
    type(None): Kind.NULL,
    dict: Kind.MAP,
    list: Kind.LIST,
    tuple: Kind.LIST,
}

#: Types that Python compares as the language does.
_PLAIN_TYPES = frozenset((str, bool, int))

_ARTICLES = {
    Kind.NULL: "null",
    Kind.BOOLEAN: "a boolean",
    Kind.NUMBER: "a number",
    Kind.TEXT: "a text",
    Kind.DATE: "a date",
    Kind.LIST: "a list",
    Kind.MAP: "a map",
    Kind.ANYTHING: "anything",
}


class QuotedText(str):
    """What the filter ``rstr`` gives: the text itself, but in quotes where it becomes part of a text."""

    __slots__ = ()


def kind_of(value: Any) -> Kind:
    """Give the kind of a value.

    :raises ExpressionError: the value is no plain data, such as a function or a set
    """
    kind = _KINDS.get(type(value))
    if kind is not None:
        return kind
    if isinstance(value, bool):
        return Kind.BOOLEAN
    if isinstance(value, (int, float)):
        return Kind.NUMBER
    if isinstance(value, str):
        return Kind.TEXT
    if isinstance(value, Mapping):
        return Kind.MAP
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return Kind.LIST
    # Imported here because most expressions meet neither.
    from datetime import date
    from decimal import Decimal

    if isinstance(value, date):
        return Kind.DATE
    if isinstance(value, Decimal):
        return Kind.NUMBER
    raise ExpressionError(
        "a Python object of type {} cannot be used in an expression".format(type(value).__name__),
        hint="hand on texts, numbers, booleans, dates, lists and maps",
    )


def name_kind(kind: Kind) -> str:
    """Give a kind in words: ``a number``, ``null``."""
    return _ARTICLES[kind]


def describe(value: Any) -> str:
    """Give the kind of a value in words; never the value, which may be a secret."""
    return _ARTICLES[kind_of(value)]


def is_true(value: Any) -> bool:
    """Whether a value counts as true: all but ``false``, ``0``, ``''`` and ``null``, as GitHub has it."""
    kind = kind_of(value)
    if kind in (Kind.LIST, Kind.MAP, Kind.DATE):
        return True
    return bool(value)


def to_text(value: Any) -> str:
    """Give a value as it stands inside a text.

    null is empty, booleans are ``true`` and ``false``, dates ISO 8601, lists and maps JSON.

    :raises ExpressionError: the value is no plain data
    """
    if type(value) is str:
        return value
    kind = kind_of(value)
    if kind is Kind.TEXT:
        return repr(str(value)) if isinstance(value, QuotedText) else str(value)
    if kind is Kind.NULL:
        return ""
    if kind is Kind.BOOLEAN:
        return "true" if value else "false"
    if kind is Kind.DATE:
        return str(value.isoformat())
    if kind is Kind.NUMBER:
        try:
            return str(value)
        except ValueError:  # Python refuses to write out an int of thousands of digits
            raise ExpressionError("this number is too large to be written out") from None
    return to_json(value)


def to_json(value: Any) -> str:
    """Give a value as JSON in one line. Dates become ISO 8601 texts, decimals numbers.

    :raises ExpressionError: something inside is no plain data, or no JSON number (NaN, infinity)
    """
    import json

    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, default=_jsonable)
    except (TypeError, ValueError, RecursionError) as error:
        # Python's words name types and limits here, never values.
        raise ExpressionError("this value cannot be written as JSON: {}".format(error)) from None


def _jsonable(value: Any) -> Any:
    """Give the JSON form of a value that the json module does not know."""
    kind = kind_of(value)
    if kind is Kind.MAP:
        return dict(value)
    if kind is Kind.LIST:
        return list(value)
    if kind is Kind.DATE:
        return value.isoformat()
    return int(value) if value == value.to_integral_value() and abs(value) < 2**53 else float(value)


def equal(left: Any, right: Any, charge: Callable[[int], None]) -> bool:
    """Whether two values are equal: of one kind, and the same. ``1`` is not ``'1'`` nor ``true``.

    :param charge: called for every value compared, so that the work stays bounded
    """
    charge(2)
    same = type(left)
    if same is type(right) and same in _PLAIN_TYPES:
        return bool(left == right)
    kind = kind_of(left)
    if kind is not kind_of(right):
        return False
    if kind is Kind.LIST:
        return len(left) == len(right) and all(
            equal(left[index], right[index], charge) for index in range(len(left))
        )
    if kind is Kind.MAP:
        return len(left) == len(right) and all(
            key in right and equal(left[key], right[key], charge) for key in left
        )
    if kind is Kind.DATE:
        return bool(_moment(left) == _moment(right))
    if kind is Kind.NUMBER:
        left, right = same_number_type(left, right)
    return bool(left == right)


def compare(left: Any, right: Any) -> int | None:
    """Give -1, 0 or 1 for the order of two numbers, two texts or two dates; None when they have no order.

    :raises ExpressionError: the two are of different kinds, or of a kind that has no order
    """
    kind, other = kind_of(left), kind_of(right)
    if kind is not other:
        raise ExpressionError("{} and {} have no order".format(name_kind(kind), name_kind(other)))
    if kind not in (Kind.NUMBER, Kind.TEXT, Kind.DATE):
        raise ExpressionError("{} has no order".format(name_kind(kind)))
    if kind is Kind.NUMBER:
        left, right = same_number_type(left, right)
    elif kind is Kind.DATE:
        left, right = _moment(left), _moment(right)
    if left == right:
        return 0
    if left < right:
        return -1
    return 1 if left > right else None  # NaN is neither


def same_number_type(left: Any, right: Any) -> tuple[Any, Any]:
    """Give two numbers as types that Python compares and adds: a float beside a Decimal as written."""
    if type(left) is type(right) or not (isinstance(left, float) or isinstance(right, float)):
        return left, right
    if isinstance(left, int) or isinstance(right, int):
        return left, right
    from decimal import Decimal

    return (
        Decimal(repr(left)) if isinstance(left, float) else left,
        Decimal(repr(right)) if isinstance(right, float) else right,
    )


def _moment(value: Any) -> Any:
    """Give a date as an aware datetime: a plain date is its midnight, and no zone means UTC."""
    from datetime import datetime, timezone

    if not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    return value.replace(tzinfo=timezone.utc) if value.tzinfo is None else value
