"""Checks and converts the arguments of a called function against its type hints.

Numbers become wider numbers and text that spells a value becomes it ("5" for
``int``, ISO 8601 text for dates, text for paths and enum members, maps for
dataclasses and models), but nothing else becomes text. Messages name types and
places, never values: an argument may be a secret.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import datetime
import enum
import math
import pathlib
import types
import typing
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Dict, List
from uuid import UUID

if TYPE_CHECKING:
    from typing import Callable

_TRUE = frozenset({"true", "1", "yes", "on", "y", "t"})
_FALSE = frozenset({"false", "0", "no", "off", "n", "f"})

#: What a value is called in messages.
_WORDS = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "NoneType": "null",
    "dict": "a map",
    "list": "a list",
    "tuple": "a list",
}


class ArgumentError(Exception):
    """A value does not fit its type hint; the message says where, what is wanted and what is there."""


def convert(value: Any, hint: Any, where: str) -> Any:
    """A value as its type hint wants it.

    :param value: plain data, as an expression gives it
    :param hint: a type, or what typing makes of types; unknown ones are not checked
    :param where: the name of the argument, for messages
    :raises ArgumentError: it does not fit
    """
    if hint is Any or hint is object or isinstance(hint, (str, typing.TypeVar, typing.ForwardRef)):
        return value
    if hint is None or hint is type(None):
        if value is None:
            return None
        raise _misfit(where, "null", value)
    origin = typing.get_origin(hint)
    arguments = typing.get_args(hint)
    if origin is typing.Union or origin is getattr(types, "UnionType", object()):
        return _union(value, arguments, where)
    if origin is typing.Literal:
        for member in arguments:
            if type(member) is type(value) and member == value:
                return value
        raise _misfit(where, "one of " + ", ".join(map(repr, arguments)), value)
    if getattr(hint, "__metadata__", None) is not None:  # Annotated[T, ...]
        return convert(value, hint.__origin__, where)
    if hasattr(hint, "__supertype__"):  # NewType
        return convert(value, hint.__supertype__, where)
    if origin is not None:
        return _generic(value, origin, arguments, where)
    if not isinstance(hint, type):
        return value
    return _plain(value, hint, where)


def _union(value: Any, members: Any, where: str) -> Any:
    """The member that the value already is; else the first one that it becomes."""
    if value is None and type(None) in members:
        return None
    for member in members:
        kind = typing.get_origin(member) or member
        if isinstance(kind, type) and type(value) is kind:
            return convert(value, member, where)
    problems: List[ArgumentError] = []
    for member in members:
        if member is type(None):
            continue
        try:
            return convert(value, member, where)
        except ArgumentError as error:
            problems.append(error)
    if len(problems) == 1:
        raise problems[0]
    raise _misfit(where, " or ".join(_named(member) for member in members), value)


def _generic(value: Any, origin: Any, arguments: Any, where: str) -> Any:
    if origin in (dict, collections.abc.Mapping, collections.abc.MutableMapping):
        if not isinstance(value, collections.abc.Mapping):
            raise _misfit(where, "a map", value)
        key_hint, value_hint = arguments if len(arguments) == 2 else (Any, Any)
        return {
            convert(key, key_hint, f"a key of {where}"): convert(value[key], value_hint, f"{where}[{key!r}]")
            for key in value
        }
    if origin is tuple and arguments and arguments[-1] is not Ellipsis:
        items = _list(value, where)
        if len(items) != len(arguments):
            raise ArgumentError(f"{where} needs {len(arguments)} items, there are {len(items)}")
        return tuple(convert(item, arguments[at], f"{where}[{at}]") for at, item in enumerate(items))
    if isinstance(origin, type) and issubclass(origin, collections.abc.Iterable):
        hint = arguments[0] if arguments else Any
        items = [convert(item, hint, f"{where}[{at}]") for at, item in enumerate(_list(value, where))]
        for kind in (tuple, set, frozenset):
            if issubclass(origin, kind):
                return kind(items)
        return set(items) if origin in (collections.abc.Set, collections.abc.MutableSet) else items
    if origin is type or not isinstance(origin, type) or origin is collections.abc.Callable:
        return value
    return _plain(value, origin, where)


def _list(value: Any, where: str) -> List[Any]:
    if isinstance(value, (list, tuple, set, frozenset)):
        return list(value)
    raise _misfit(where, "a list", value)


def _plain(value: Any, hint: type, where: str) -> Any:
    if issubclass(hint, enum.Enum):
        return _enum(value, hint, where)
    converter = _CONVERTERS.get(hint)
    if converter is not None:
        return converter(value, where)
    if hasattr(hint, "model_validate"):  # a pydantic model
        return _model(value, hint, where)
    if hasattr(hint, "__total__") and issubclass(hint, dict):  # a TypedDict
        hints = hints_of(hint)
        everything = hints if vars(hint).get("__total__") else ()
        required = getattr(hint, "__required_keys__", everything)  # Python 3.8 knows only the former
        return _fields(value, hints, required, where)
    if isinstance(value, hint):
        return value
    if dataclasses.is_dataclass(hint):
        fields = [field for field in dataclasses.fields(hint) if field.init]
        missing = dataclasses.MISSING
        required = frozenset(f.name for f in fields if f.default is missing and f.default_factory is missing)
        hints = hints_of(hint)
        wanted = {field.name: hints.get(field.name, Any) for field in fields}
        return hint(**_fields(value, wanted, required, where))
    if issubclass(hint, pathlib.PurePath) and isinstance(value, str):
        return hint(value)
    if hint in (dict, collections.abc.Mapping) and isinstance(value, collections.abc.Mapping):
        return dict(value)
    if hint in (list, tuple, set, frozenset) and isinstance(value, (list, tuple, set, frozenset)):
        return hint(value)
    raise _misfit(where, _named(hint), value)


def _fields(value: Any, hints: Dict[str, Any], required: Any, where: str) -> Dict[str, Any]:
    if not isinstance(value, collections.abc.Mapping):
        raise _misfit(where, "a map", value)
    for name in value:
        if name not in hints:
            raise ArgumentError(f"{where} has no field {name!r}{nearest(str(name), hints)}")
    absent = [name for name in hints if name in required and name not in value]
    if absent:
        raise ArgumentError(f"{where} lacks {', '.join(map(repr, absent))}")
    return {name: convert(value[name], hints[name], f"{where}.{name}") for name in value}


def _model(value: Any, hint: Any, where: str) -> Any:
    try:
        return hint.model_validate(value)
    except ValueError as error:
        problems = getattr(error, "errors", None)
        if problems is None:
            raise ArgumentError(f"{where}: {error}") from None
        first = problems(include_input=False)[0]
        place = ".".join([where, *map(str, first["loc"])])
        raise ArgumentError(f"{place}: {first['msg']}") from None


def _enum(value: Any, hint: Any, where: str) -> Any:
    if isinstance(value, hint):
        return value
    for member in hint:
        if type(member.value) is type(value) and member.value == value:
            return member
    if isinstance(value, str) and value in hint.__members__:
        return hint[value]
    raise _misfit(where, "one of " + ", ".join(repr(member.value) for member in hint), value)


def _text(value: Any, where: str) -> str:
    if isinstance(value, str):
        return value
    raise _misfit(where, "text", value)


def _bytes(value: Any, where: str) -> bytes:
    if isinstance(value, bytes):
        return value
    return _text(value, where).encode()


def _bool(value: Any, where: str) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, (int, float)) and value in (0, 1):
        return bool(value)
    if isinstance(value, str) and value.strip().lower() in _TRUE | _FALSE:
        return value.strip().lower() in _TRUE
    raise _misfit(where, "true or false", value)


def _int(value: Any, where: str) -> int:
    if isinstance(value, int):
        return int(value)
    if isinstance(value, (float, Decimal)) and math.isfinite(value) and value == int(value):
        return int(value)
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            pass
    raise _misfit(where, "a whole number", value)


def _float(value: Any, where: str) -> float:
    if isinstance(value, (int, float, Decimal, str)):
        try:
            return float(value)
        except (ValueError, OverflowError):
            pass
    raise _misfit(where, "a number", value)


def _decimal(value: Any, where: str) -> Decimal:
    if isinstance(value, (int, float, Decimal, str)) and not isinstance(value, bool):
        try:
            return Decimal(str(value))
        except InvalidOperation:
            pass
    raise _misfit(where, "a decimal number", value)


def _datetime(value: Any, where: str) -> datetime.datetime:
    if isinstance(value, datetime.datetime):
        return value
    if isinstance(value, datetime.date):
        return datetime.datetime(value.year, value.month, value.day)
    moment: datetime.datetime = _from_iso(
        value, datetime.datetime.fromisoformat, "a date and time (ISO 8601)", where
    )
    return moment


def _date(value: Any, where: str) -> datetime.date:
    if isinstance(value, datetime.datetime):
        moment = value
    elif isinstance(value, datetime.date):
        return value
    else:
        what = "a date (ISO 8601)"
        moment = _from_iso(value, datetime.datetime.fromisoformat, what, where)
    if moment.time() != datetime.time():
        raise ArgumentError(f"{where} needs a date without a time of day")
    return moment.date()


def _time(value: Any, where: str) -> datetime.time:
    if isinstance(value, datetime.time):
        return value
    moment: datetime.time = _from_iso(value, datetime.time.fromisoformat, "a time of day (ISO 8601)", where)
    return moment


def _timedelta(value: Any, where: str) -> datetime.timedelta:
    if isinstance(value, datetime.timedelta):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return datetime.timedelta(seconds=value)
    raise _misfit(where, "a number of seconds", value)


def _from_iso(value: Any, parse: Callable[[str], Any], what: str, where: str) -> Any:
    if isinstance(value, str):
        text = value.strip()
        if text[-1:] in ("Z", "z"):  # Python 3.8 to 3.10 do not know it.
            text = text[:-1] + "+00:00"
        try:
            return parse(text)
        except ValueError:
            pass
    raise _misfit(where, what, value)


def _uuid(value: Any, where: str) -> UUID:
    if isinstance(value, UUID):
        return value
    try:
        return UUID(_text(value, where))
    except ValueError:
        raise _misfit(where, "a UUID", value) from None


def _path(value: Any, where: str) -> pathlib.Path:
    if isinstance(value, pathlib.Path):
        return value
    return pathlib.Path(_text(value, where))


_CONVERTERS: Dict[type, Callable[[Any, str], Any]] = {
    str: _text,
    bytes: _bytes,
    bool: _bool,
    int: _int,
    float: _float,
    Decimal: _decimal,
    datetime.datetime: _datetime,
    datetime.date: _date,
    datetime.time: _time,
    datetime.timedelta: _timedelta,
    UUID: _uuid,
    pathlib.Path: _path,
}


def hints_of(thing: Any) -> Dict[str, Any]:
    """Type hints by name. One that cannot be told here (a name known to type checkers only) is left out."""
    try:
        return typing.get_type_hints(thing)
    except Exception:  # Hints are the user's code: anything may go wrong in them.
        known = {}
        for name, hint in getattr(thing, "__annotations__", {}).items():
            alone = types.SimpleNamespace(__annotations__={name: hint})
            try:
                known.update(typing.get_type_hints(alone, getattr(thing, "__globals__", None)))
            except Exception:  # noqa: S112 - an unknown hint is not checked, as without one
                continue
        return known


def nearest(word: str, known: Any) -> str:
    """``; did you mean 'x'?``, else what there is."""
    import difflib

    names = [str(name) for name in known]
    close = difflib.get_close_matches(word, names, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there is: {', '.join(names)}" if names else ""


def describe_type(value: Any) -> str:
    """What a value is, never the value itself: ``a list``, ``text``, ``null``."""
    name = type(value).__name__
    return _WORDS.get(name, name)


def _misfit(where: str, wanted: str, value: Any) -> ArgumentError:
    return ArgumentError(f"{where} needs {wanted}, not {describe_type(value)}")


def _named(hint: Any) -> str:
    if hint is type(None):
        return "null"
    name = getattr(hint, "__name__", str(hint))
    return _WORDS.get(name, name)
