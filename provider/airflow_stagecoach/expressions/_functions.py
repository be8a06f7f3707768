"""The functions of the language, in one table that evaluation and checks read.

Those that GitHub Actions has are found without regard to case and behave as there, except that values of
different kinds are never equal. ``docs/expressions.md``, "Functions", describes each.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Callable

from airflow_stagecoach.expressions._errors import ExpressionError
from airflow_stagecoach.expressions._operators import calculate
from airflow_stagecoach.expressions._scope import Kind
from airflow_stagecoach.expressions._values import (
    compare,
    describe,
    equal,
    is_true,
    kind_of,
    to_json,
    to_text,
)

if TYPE_CHECKING:
    from airflow_stagecoach.expressions._evaluate import Evaluation

#: Most items that ``range`` gives.
MAX_RANGE = 100_000

#: Most digits of a number that is read from a text.
_MAX_DIGITS = 400

_SCALARS = (Kind.TEXT, Kind.NUMBER, Kind.BOOLEAN, Kind.NULL, Kind.DATE)
_INTEGER = re.compile(r"\s*[+-]?[0-9]+\s*\Z")
_FLOAT = re.compile(r"\s*[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?\s*\Z")
_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([0-9]{1,4})\}|[{}]")


class Function:
    """A function: what it is called, how many values it takes, and the kind that it gives.

    :param call: takes the running ``Evaluation`` and the values
    :param maximum: most values, or None for any number
    :param pure: whether the same values always give the same result
    """

    __slots__ = ("call", "maximum", "minimum", "name", "pure", "result")

    def __init__(
        self,
        name: str,
        call: Callable[..., Any],
        minimum: int,
        maximum: int | None,
        result: Kind = Kind.ANYTHING,
        pure: bool = True,
    ) -> None:
        self.name = name
        self.call = call
        self.minimum = minimum
        self.maximum = maximum
        self.result = result
        self.pure = pure

    def count_problem(self, count: int) -> str | None:
        """Give the message for a wrong number of values, or None when ``count`` is right."""
        if count >= self.minimum and (self.maximum is None or count <= self.maximum):
            return None
        if self.maximum == self.minimum:
            wanted = "no values" if not self.minimum else _plural(self.minimum)
        elif self.maximum is None:
            wanted = "at least " + _plural(self.minimum)
        else:
            wanted = "{} to {} values".format(self.minimum, self.maximum)
        return "{}() takes {}, not {}".format(self.name, wanted, count)


def find_function(name: str) -> Function | None:
    """Give the function of that name, or None."""
    return FUNCTIONS.get(name) or _GITHUB.get(name.lower())


# -- those of GitHub Actions


def _contains(run: Evaluation, search: Any, item: Any) -> bool:
    kind = kind_of(search)
    if kind is Kind.LIST:
        item = _folded(item)
        return any(equal(_folded(one), item, run.charge) for one in search)
    if kind is Kind.MAP:
        raise ExpressionError("contains() takes a text or a list, not a map", hint="write: 'key' in map")
    return _folded_text("contains", item) in _folded_text("contains", search)


def _starts_with(_: Evaluation, search: Any, item: Any) -> bool:
    return _folded_text("startsWith", search).startswith(_folded_text("startsWith", item))


def _ends_with(_: Evaluation, search: Any, item: Any) -> bool:
    return _folded_text("endsWith", search).endswith(_folded_text("endsWith", item))


def _folded(value: Any) -> Any:
    # Upper case, as GitHub: lower case would make two characters of the dotted capital I.
    return value.upper() if isinstance(value, str) else value


def _folded_text(function: str, value: Any) -> str:
    return _scalar_text(function, value).upper()


def _scalar_text(function: str, value: Any) -> str:
    """Give the text of a value that GitHub casts to one: all but lists and maps."""
    if kind_of(value) not in _SCALARS:
        raise ExpressionError("{}() needs a text, not {}".format(function, describe(value)))
    return str(value) if isinstance(value, str) else to_text(value)


def _format(run: Evaluation, template: Any, *values: Any) -> str:
    """Replace ``{0}`` ``{1}`` by the values; ``{{`` and ``}}`` are braces."""
    text = _scalar_text("format", template)
    pieces: list[str] = []
    position = 0
    for match in _PLACEHOLDER.finditer(text):
        pieces.append(text[position : match.start()])
        position = match.end()
        found = match.group()
        if match.group(1) is not None:
            if int(match.group(1)) >= len(values):
                raise ExpressionError(
                    "format() has no value for '{}'".format(found),
                    hint="{{0}} is the first value after the text; there are {}".format(len(values)),
                )
            pieces.append(run.text(values[int(match.group(1))]))
        elif len(found) == 2:
            pieces.append(found[0])
        else:
            raise ExpressionError(
                "format() has a single '{}' in its text".format(found), hint="write it twice for a brace"
            )
    pieces.append(text[position:])
    return "".join(pieces)


def _join(run: Evaluation, values: Any, separator: Any = ",") -> str:
    if kind_of(values) is not Kind.LIST:
        if kind_of(values) in _SCALARS:
            return run.text(values)
        raise ExpressionError("join() takes a list, not a map", hint="write: join(values(x), ', ')")
    between = _scalar_text("join", separator)
    run.charge(len(between) * len(values) // 8 + len(values))
    return between.join(run.text(value) for value in values)


def _to_json(run: Evaluation, value: Any) -> str:
    run.measure(value)
    return to_json(value)


def _from_json(run: Evaluation, value: Any) -> Any:
    """Read JSON. What is no text is already read, and given back as it is."""
    import json

    if kind_of(value) is not Kind.TEXT:
        return value
    run.charge(len(value) // 8)
    try:
        return json.loads(value, parse_int=_json_int, parse_constant=_json_constant)
    except RecursionError:
        raise ExpressionError("fromJson() got JSON that is nested too deep") from None
    except json.JSONDecodeError as error:
        raise ExpressionError(
            "fromJson() got a text that is no JSON: {} at line {}, column {}".format(
                error.msg, error.lineno, error.colno
            ),
            hint="texts inside JSON stand in double quotes",
        ) from None


def _json_int(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise ExpressionError("fromJson() got too large a number")
    return int(text)


def _json_constant(text: str) -> Any:
    raise ExpressionError("fromJson() got {}, which is no JSON".format(text))


def _hash_files(run: Evaluation, *patterns: Any) -> str:
    from airflow_stagecoach.expressions._hash_files import hash_files

    return hash_files(
        [_need_text("hashFiles", pattern) for pattern in patterns], run.contexts.get("__workspace__")
    )


def _always(run: Evaluation) -> bool:
    run.status("always")
    return True


def _success(run: Evaluation) -> bool:
    return run.status("success")


def _failure(run: Evaluation) -> bool:
    return run.status("failure")


def _cancelled(run: Evaluation) -> bool:
    return run.status("cancelled")


# -- those of Python


def _len(_: Evaluation, value: Any) -> int:
    if kind_of(value) in (Kind.TEXT, Kind.LIST, Kind.MAP):
        return len(value)
    raise ExpressionError("len() takes a text, a list or a map, not {}".format(describe(value)))


def _range(run: Evaluation, *bounds: Any) -> list[int]:
    for bound in bounds:
        if type(bound) is not int:
            raise ExpressionError(
                "range() takes whole numbers, not {}".format(describe(bound)),
                hint="int(x) makes a whole number",
            )
    if len(bounds) == 3 and bounds[2] == 0:
        raise ExpressionError("range() cannot take steps of 0")
    numbers = range(*bounds)
    # len() of a huge range does not fit a C integer, so its ends are looked at instead.
    if numbers and abs(numbers[-1] - numbers[0]) // abs(numbers.step) >= MAX_RANGE:
        raise ExpressionError("range() gives at most {} numbers".format(MAX_RANGE))
    run.charge(len(numbers))
    return list(numbers)


def _keys(run: Evaluation, value: Any) -> list[Any]:
    _need_map("keys", value)
    run.charge(len(value))
    return list(value)


def _values(run: Evaluation, value: Any) -> list[Any]:
    _need_map("values", value)
    run.charge(len(value))
    return [value[key] for key in value]


def _min(run: Evaluation, *values: Any) -> Any:
    return _extreme(run, "min", values, -1)


def _max(run: Evaluation, *values: Any) -> Any:
    return _extreme(run, "max", values, 1)


def _extreme(run: Evaluation, name: str, values: Any, wanted: int) -> Any:
    if len(values) == 1:
        values = _need_list(name, values[0])
    if not values:
        raise ExpressionError(
            "{}() of an empty list".format(name), hint="write: len(x) > 0 ? {}(x) : 0".format(name)
        )
    run.charge(2 * len(values))
    best = values[0]
    for value in values[1:]:
        if compare(value, best) == wanted:
            best = value
    return best


def _sum(run: Evaluation, values: Any) -> Any:
    total: Any = 0
    run.charge(len(_need_list("sum", values)))
    for value in values:
        total = calculate("+", total, value, run.charge)
    return total


def to_int(run: Evaluation, value: Any) -> int:
    """Give a whole number: of a text that is one, of a number without its fraction, of a boolean 0 or 1."""
    kind = kind_of(value)
    if kind is Kind.TEXT and len(value) <= _MAX_DIGITS and _INTEGER.match(value):
        return int(value)
    if kind is Kind.BOOLEAN or type(value) is int:
        return int(value)
    if kind is Kind.NUMBER and abs(value) < 10**_MAX_DIGITS:  # neither NaN nor infinity nor 1E+999999999
        return int(value)
    raise _no_number("int", "a whole number", kind)


def to_float(run: Evaluation, value: Any) -> float:
    """Give a float: of a text that is a number, of a number, of a boolean 0.0 or 1.0."""
    kind = kind_of(value)
    if kind is Kind.TEXT and len(value) <= _MAX_DIGITS and _FLOAT.match(value):
        return float(value)
    if kind in (Kind.BOOLEAN, Kind.NUMBER):
        try:
            return float(value)
        except OverflowError:
            raise ExpressionError("float() got too large a number") from None
    raise _no_number("float", "a number", kind)


def _no_number(function: str, wanted: str, kind: Kind) -> ExpressionError:
    if kind is Kind.TEXT:
        return ExpressionError("{}() got a text that is not {}".format(function, wanted))
    hint = "write: x | coalesce(0)" if kind is Kind.NULL else None
    return ExpressionError("{}() cannot read {}".format(function, kind.value), hint=hint)


def to_bool(run: Evaluation, value: Any) -> bool:
    """Give a boolean: of the texts true and false in any case, of a number if it is not 0, of null false."""
    kind = kind_of(value)
    if kind is Kind.TEXT:
        word = value.strip().lower()
        if word in ("true", "false"):
            return bool(word == "true")
        raise ExpressionError("bool() got a text that is neither 'true' nor 'false'")
    if kind in (Kind.BOOLEAN, Kind.NUMBER, Kind.NULL):
        return is_true(value)
    raise ExpressionError("bool() cannot read {}".format(describe(value)), hint="write: len(x) > 0")


def _str(run: Evaluation, value: Any) -> str:
    return str(value) if isinstance(value, str) else run.text(value)


# -- dates


def _now(_: Evaluation) -> Any:
    from datetime import datetime

    return datetime.now().astimezone()


def _utcnow(_: Evaluation) -> Any:
    from datetime import datetime, timezone

    return datetime.now(timezone.utc)


def _today(_: Evaluation) -> Any:
    from datetime import date

    return date.today()


# -- what values must be


def _need_text(function: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    raise ExpressionError("{}() needs a text, not {}".format(function, describe(value)))


def _need_list(function: str, value: Any) -> Any:
    if kind_of(value) is Kind.LIST:
        return value
    raise ExpressionError("{}() needs a list, not {}".format(function, describe(value)))


def _need_map(function: str, value: Any) -> Any:
    if kind_of(value) is Kind.MAP:
        return value
    raise ExpressionError("{}() needs a map, not {}".format(function, describe(value)))


def _plural(count: int) -> str:
    return "1 value" if count == 1 else "{} values".format(count)


STATUS_FUNCTIONS = ("success", "failure", "always", "cancelled")

_GITHUB: dict[str, Function] = {
    function.name.lower(): function
    for function in (
        Function("contains", _contains, 2, 2, Kind.BOOLEAN),
        Function("startsWith", _starts_with, 2, 2, Kind.BOOLEAN),
        Function("endsWith", _ends_with, 2, 2, Kind.BOOLEAN),
        Function("format", _format, 1, None, Kind.TEXT),
        Function("join", _join, 1, 2, Kind.TEXT),
        Function("toJson", _to_json, 1, 1, Kind.TEXT),
        Function("fromJson", _from_json, 1, 1),
        Function("hashFiles", _hash_files, 1, None, Kind.TEXT, pure=False),
        Function("success", _success, 0, 0, Kind.BOOLEAN, pure=False),
        Function("failure", _failure, 0, 0, Kind.BOOLEAN, pure=False),
        Function("always", _always, 0, 0, Kind.BOOLEAN, pure=False),
        Function("cancelled", _cancelled, 0, 0, Kind.BOOLEAN, pure=False),
    )
}

#: Every function under the name that the documentation gives it.
FUNCTIONS: dict[str, Function] = {
    function.name: function
    for function in (
        *_GITHUB.values(),
        Function("len", _len, 1, 1, Kind.NUMBER),
        Function("range", _range, 1, 3, Kind.LIST),
        Function("keys", _keys, 1, 1, Kind.LIST),
        Function("values", _values, 1, 1, Kind.LIST),
        Function("min", _min, 1, None),
        Function("max", _max, 1, None),
        Function("sum", _sum, 1, 1, Kind.NUMBER),
        Function("str", _str, 1, 1, Kind.TEXT),
        Function("int", to_int, 1, 1, Kind.NUMBER),
        Function("float", to_float, 1, 1, Kind.NUMBER),
        Function("bool", to_bool, 1, 1, Kind.BOOLEAN),
        Function("datetime.now", _now, 0, 0, Kind.DATE, pure=False),
        Function("datetime.utcnow", _utcnow, 0, 0, Kind.DATE, pure=False),
        Function("date.today", _today, 0, 0, Kind.DATE, pure=False),
    )
}
