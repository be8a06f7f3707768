"""One step of a path: ``.name``, ``[key]`` and ``.*`` over plain data."""

from __future__ import annotations

from typing import Any

from airflow_stagecoach.expressions._errors import ExpressionError, did_you_mean
from airflow_stagecoach.expressions._scope import Kind
from airflow_stagecoach.expressions._values import describe, kind_of

#: Longest run of digits that is tried as an int key or index.
_MAX_INDEX_DIGITS = 18

#: What may be read of a date by name. Only these: never attributes in general.
DATE_FIELDS = ("day", "hour", "minute", "month", "second", "weekday", "year")


class MissingError(Exception):
    """A value has no such field or item. Optional access turns it into null.

    :param predicate: what is missing, after the name of the value: ``has no 'x'``
    :param hint: what to write instead
    """

    def __init__(self, predicate: str, hint: str | None = None) -> None:
        super().__init__(predicate, hint)
        self.predicate = predicate
        self.hint = hint


def whole_number(segment: str) -> int | None:
    """Give the int of a segment that is written as one (``2``), else None."""
    if segment.isdigit() and segment.isascii() and len(segment) <= _MAX_INDEX_DIGITS:
        return int(segment)
    return None


def get_field(value: Any, name: str) -> Any:
    """Give the field ``name`` of a map, the item of a list for an integer-like name, or a part of a date.

    A map is asked for the text first, then for the int.

    :raises MissingError: there is none
    """
    kind = kind_of(value)
    number = whole_number(name)
    if kind is Kind.MAP:
        try:
            return value[name]
        except KeyError:
            if number is not None:
                return get_key(value, number, name)
            raise _no_field(value, name) from None
    if kind is Kind.LIST and number is not None:
        return get_item(value, number)
    if kind is Kind.DATE and name in DATE_FIELDS:
        return get_date_field(value, name)
    hint = None
    if kind is Kind.NULL:
        hint = "write ? after a name that may be missing or null, as in: a.b?.c"
    elif kind is Kind.LIST:
        hint = "write [0] for an item, .* for all items"
    elif kind is Kind.DATE:
        hint = did_you_mean(name, DATE_FIELDS)
    raise MissingError("is {} and has no '{}'".format(describe(value), name), hint)


def get_index(value: Any, key: Any) -> Any:
    """Give ``value[key]``: a text or number key of a map, or a position of a list, also from the end.

    :raises MissingError: there is none
    :raises ExpressionError: the key is of a kind that cannot be one
    """
    kind, key_kind = kind_of(value), kind_of(key)
    if key_kind is Kind.TEXT:
        if kind is Kind.LIST:
            raise MissingError(
                "is a list and has no ['text']", "write [0], or [int(x)] for a number in a text"
            )
        return get_field(value, key)
    if kind is Kind.LIST and type(key) is int:
        return get_item(value, key)
    if kind is Kind.MAP and type(key) is int:
        return get_key(value, key, str(key))
    if kind in (Kind.LIST, Kind.MAP):
        raise ExpressionError(
            "{} cannot be an index".format(describe(key)), hint="a list takes a whole number, a map a text"
        )
    raise MissingError("is {} and has no items".format(describe(value)))


def get_key(value: Any, number: int, name: str) -> Any:
    """Give the value of a map under an int key, else under the same key as text."""
    for key in (number, name):
        try:
            return value[key]
        except KeyError:
            continue
    raise _no_field(value, name)


def get_item(value: Any, index: int) -> Any:
    """Give an item of a list; a negative index counts from the end.

    :raises MissingError: the list is shorter
    """
    length = len(value)
    if not -length <= index < length:
        raise MissingError(
            "has {} and no [{}]".format("1 item" if length == 1 else "%d items" % length, index)
        )
    return value[index]


def get_date_field(value: Any, name: str) -> int:
    """Give a part of a date as a number. Monday is weekday 0, as in Python; a plain date is at midnight."""
    from datetime import datetime

    fields = {"year": value.year, "month": value.month, "day": value.day, "weekday": value.weekday()}
    if isinstance(value, datetime):
        fields.update(hour=value.hour, minute=value.minute, second=value.second)
    return int(fields.get(name, 0))


def get_all(value: Any) -> list[Any] | None:
    """Give the values of a map or the items of a list, or None for what has neither."""
    kind = kind_of(value)
    if kind is Kind.MAP:
        return [value[key] for key in value]
    if kind is Kind.LIST:
        return list(value)
    return None


def _no_field(value: Any, name: str) -> MissingError:
    # Only plain dicts are asked for their keys: others may be lazy, and listing them would fetch everything.
    hint = did_you_mean(name, value) if isinstance(value, dict) else None
    return MissingError("has no '{}'".format(name), hint)
