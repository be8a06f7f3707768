"""The filters that stand after ``|``, and the registry for a site's own ones.

``docs/expressions.md``, "Filters", describes each.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Callable, Mapping, Sequence

from airflow_stagecoach.expressions._errors import ExpressionError
from airflow_stagecoach.expressions._functions import FUNCTIONS, to_int
from airflow_stagecoach.expressions._lookup import get_item
from airflow_stagecoach.expressions._scope import Kind
from airflow_stagecoach.expressions._values import QuotedText, describe, kind_of

if TYPE_CHECKING:
    from airflow_stagecoach.expressions._evaluate import Evaluation

_NAME = re.compile(r"[^\W\d](?:-*\w)*\Z")


class Filter:
    """A built-in filter.

    :param call: takes the running ``Evaluation``, the value, and the arguments
    :param parameters: names of the arguments in order
    :param required: how many of them must be given
    """

    __slots__ = ("call", "name", "parameters", "required", "result")

    def __init__(
        self,
        name: str,
        call: Callable[..., Any],
        parameters: tuple[str, ...] = (),
        required: int = 0,
        result: Kind = Kind.ANYTHING,
    ) -> None:
        self.name = name
        self.call = call
        self.parameters = parameters
        self.required = required
        self.result = result

    def argument_problem(self, count: int, keywords: Sequence[str]) -> str | None:
        """Give the message for arguments that do not fit, or None when they do."""
        given = list(self.parameters[:count])
        for keyword in keywords:
            if keyword not in self.parameters:
                known = ", ".join(self.parameters) or "none"
                return "the filter '{}' has no argument '{}' (known: {})".format(self.name, keyword, known)
            if keyword in given:
                return "the filter '{}' is given '{}' twice".format(self.name, keyword)
            given.append(keyword)
        if count > len(self.parameters):
            return "the filter '{}' takes at most {} arguments, not {}".format(
                self.name, len(self.parameters), count
            )
        for parameter in self.parameters[: self.required]:
            if parameter not in given:
                return "the filter '{}' needs the argument '{}'".format(self.name, parameter)
        return None


def _abs(_: Evaluation, value: Any) -> Any:
    if kind_of(value) is not Kind.NUMBER:
        raise _wrong("abs", "a number", value)
    return abs(value)


def _title(_: Evaluation, value: Any) -> str:
    return _text("title", value).title()


def _upper(_: Evaluation, value: Any) -> str:
    return _text("upper", value).upper()


def _lower(_: Evaluation, value: Any) -> str:
    return _text("lower", value).lower()


def _rstr(run: Evaluation, value: Any) -> str:
    """Give the text itself; where it becomes part of a text it stands in quotes, as Python writes it."""
    return QuotedText(value if isinstance(value, str) else run.text(value))


def _list(run: Evaluation, value: Any) -> list[Any]:
    kind = kind_of(value)
    if kind not in (Kind.LIST, Kind.MAP, Kind.TEXT):
        raise _wrong("list", "a list, a map or a text", value)
    run.charge(len(value))
    return list(value)


def _dict(run: Evaluation, value: Any) -> dict[Any, Any]:
    """Give a map: of a map a copy, of a list of pairs their map."""
    kind = kind_of(value)
    if kind is Kind.MAP:
        run.charge(len(value))
        return {key: value[key] for key in value}
    if kind is Kind.LIST and all(kind_of(pair) is Kind.LIST and len(pair) == 2 for pair in value):
        run.charge(len(value))
        for key, _ in value:
            if kind_of(key) in (Kind.LIST, Kind.MAP):
                raise ExpressionError("the filter 'dict' cannot use {} as a key".format(describe(key)))
        return dict(value)
    raise _wrong("dict", "a map or a list of pairs", value)


def _format_date(_: Evaluation, value: Any, fmt: Any = "%Y-%m-%d %H:%M:%S") -> str:
    """Give a date as text; ``fmt`` has the codes of Python's strftime. An ISO 8601 text is read first."""
    pattern = _text("fmt", fmt)
    if isinstance(value, str):
        value = _read_date(value)
    if kind_of(value) is not Kind.DATE:
        raise _wrong("fmt", "a date", value)
    try:
        return str(value.strftime(pattern))
    except (ValueError, UnicodeError):
        raise ExpressionError(
            "the filter 'fmt' cannot use this format", hint="as in: fmt('%Y-%m-%d')"
        ) from None


def _read_date(text: str) -> Any:
    from datetime import date, datetime

    try:
        if len(text) == 10:
            return date.fromisoformat(text)
        # Older Pythons do not know the Z.
        return datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith(("Z", "z")) else text)
    except ValueError:
        raise ExpressionError(
            "the filter 'fmt' got a text that is no date", hint="dates look like 2024-06-12T08:00:00"
        ) from None


def _coalesce(_: Evaluation, value: Any, default: Any) -> Any:
    return default if value is None else value


def _getitem(_: Evaluation, value: Any, key: Any, default: Any = None) -> Any:
    if kind_of(value) is not Kind.MAP:
        raise _wrong("getitem", "a map", value)
    if kind_of(key) in (Kind.LIST, Kind.MAP):
        raise ExpressionError("the filter 'getitem' cannot use {} as a key".format(describe(key)))
    try:
        return value[key]
    except KeyError:
        return default


def _getindex(_: Evaluation, value: Any, index: Any) -> Any:
    if kind_of(value) is not Kind.LIST:
        raise _wrong("getindex", "a list", value)
    if type(index) is not int:
        raise ExpressionError("the filter 'getindex' needs a whole number, not {}".format(describe(index)))
    return get_item(value, index)


def _text(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    raise _wrong(name, "a text", value)


def _wrong(name: str, wanted: str, value: Any) -> ExpressionError:
    hint = None
    if value is None:
        hint = "give a value for null first: x | coalesce(...) | {}".format(name)
    elif wanted == "a text":
        hint = "make it a text first: x | str | {}".format(name)
    return ExpressionError(
        "the filter '{}' needs {}, not {}".format(name, wanted, describe(value)), hint=hint
    )


FILTERS: dict[str, Filter] = {
    entry.name: entry
    for entry in (
        Filter("abs", _abs, result=Kind.NUMBER),
        Filter("str", FUNCTIONS["str"].call, result=Kind.TEXT),
        Filter("int", to_int, result=Kind.NUMBER),
        Filter("list", _list, result=Kind.LIST),
        Filter("dict", _dict, result=Kind.MAP),
        Filter("title", _title, result=Kind.TEXT),
        Filter("upper", _upper, result=Kind.TEXT),
        Filter("lower", _lower, result=Kind.TEXT),
        Filter("rstr", _rstr, result=Kind.TEXT),
        Filter("keys", FUNCTIONS["keys"].call, result=Kind.LIST),
        Filter("values", FUNCTIONS["values"].call, result=Kind.LIST),
        Filter("fmt", _format_date, ("fmt",), result=Kind.TEXT),
        Filter("coalesce", _coalesce, ("default",), 1),
        Filter("getitem", _getitem, ("key", "default"), 1),
        Filter("getindex", _getindex, ("index",), 1),
    )
}

#: Filters of the site, by name. One per process, because a document names them without saying where from.
_REGISTERED: dict[str, Callable[..., Any]] = {}


def register_filter(name: str, function: Callable[..., Any]) -> None:
    """Make ``value | name(arguments)`` call ``function(value, *arguments, **keywords)``.

    A second registration of a name replaces the first.

    :raises ValueError: the name cannot be written in an expression, or is that of a built-in filter
    """
    if not _NAME.match(name):
        raise ValueError("'{}' cannot be the name of a filter: use letters, digits, _ and -".format(name))
    if name in FILTERS:
        raise ValueError("'{}' is a built-in filter".format(name))
    _REGISTERED[name] = function


def registered_filters() -> dict[str, Callable[..., Any]]:
    """Give a copy of the site's filters, by name."""
    return dict(_REGISTERED)


def restore_filters(filters: Mapping[str, Callable[..., Any]]) -> None:
    """Set the site's filters to what ``registered_filters`` gave before."""
    _REGISTERED.clear()
    _REGISTERED.update(filters)


def find_registered(name: str) -> Callable[..., Any] | None:
    """Give the site's filter of that name, or None."""
    return _REGISTERED.get(name)
