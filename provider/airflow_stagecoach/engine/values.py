"""Values on their way in and out: views for user code, JSON for outputs."""

from __future__ import annotations

import copy
import json
import math
from typing import TYPE_CHECKING, Any, Dict, Mapping

from airflow_stagecoach.engine.errors import StorageError

if TYPE_CHECKING:
    from typing import Callable, Iterable, Tuple

#: Deeper values are refused instead of exhausting the stack.
_DEEPEST = 100


class View(Dict[str, Any]):
    """A map for user code: ``params.region`` is ``params['region']``. A copy, so changing it is harmless.

    A key named like a method of dict (``items``) is reached by item access only.
    """

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(_missing(name, self)) from None

    def __missing__(self, name: str) -> Any:
        raise KeyError(_missing(name, self))

    def copy(self) -> View:
        """Give a shallow copy that is a view too."""
        return View(self)

    __copy__ = copy

    def __deepcopy__(self, memo: Dict[int, Any]) -> View:
        return View((key, copy.deepcopy(value, memo)) for key, value in self.items())

    def __reduce__(self) -> Any:
        # A pickle of it is one of a plain dict: whoever reads it needs nothing of ours.
        return (dict, (dict(self),))


def _missing(name: str, names: Iterable[str]) -> str:
    import difflib

    names = [str(known) for known in names]
    near = difflib.get_close_matches(str(name), names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there is: {', '.join(sorted(names)) or 'nothing'}"
    return f"no {name!r} here; {hint}"


def view(value: Any) -> Any:
    """A deep copy for user code, its maps as :class:`View`."""
    if isinstance(value, Mapping):
        return View((key, view(value[key])) for key in value)
    if isinstance(value, (list, tuple)):
        return [view(item) for item in value]
    return value


def storable(value: Any) -> Any:
    """A value as JSON has it.

    Dates and times become ISO 8601 text, decimals, paths and UUIDs text, tuples
    and sets lists, enum members their value, dataclasses and pydantic models
    maps, keys of maps text.

    :raises StorageError: it has no such form; the message says what and where
    """
    return _storable(value, "", 0)


def _storable(value: Any, where: str, depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    kind = type(value)
    if kind is str:
        return _text(value, where)
    if kind is int:
        return value
    if kind is float:
        return _number(value, where)
    if depth > _DEEPEST:
        raise StorageError(f"{_at(where)}it is nested too deeply, or holds itself")
    if isinstance(value, Mapping):
        return {
            _key(key, where): _storable(value[key], f"{where}[{key!r}]", depth + 1) for key in list(value)
        }
    if isinstance(value, (list, tuple)):
        return [_storable(item, f"{where}[{at}]", depth + 1) for at, item in enumerate(value)]
    if isinstance(value, (set, frozenset)):
        items = [_storable(item, where, depth + 1) for item in value]
        return sorted(items, key=lambda item: (type(item).__name__, json.dumps(item)))
    convert = _conversion(value)
    if convert is None:
        raise StorageError(f"{_at(where)}{_article(kind)} has no JSON form")
    try:
        plain = convert(value)
    except StorageError:
        raise
    except Exception as error:
        raise StorageError(
            f"{_at(where)}{_article(kind)} could not be converted ({type(error).__name__})"
        ) from error
    return _storable(plain, where, depth + 1)


def _conversion(value: Any) -> Callable[[Any], Any] | None:
    """How a value of another type becomes one of the plain types."""
    import dataclasses
    import datetime
    import enum
    from decimal import Decimal
    from pathlib import PurePath
    from uuid import UUID

    if isinstance(value, type):
        return None
    if isinstance(value, enum.Enum):
        return lambda member: member.value
    if isinstance(value, (datetime.date, datetime.time)):
        return lambda moment: moment.isoformat()
    if isinstance(value, (Decimal, PurePath, UUID)):
        return str
    if hasattr(value, "model_dump"):  # pydantic
        return lambda model: model.model_dump(by_alias=True)
    if dataclasses.is_dataclass(value):
        return lambda item: {field.name: getattr(item, field.name) for field in dataclasses.fields(item)}
    if hasattr(value, "dtype") and getattr(value, "shape", None) == ():  # a number of numpy
        return lambda number: number.item()
    for plain in (str, int, float):
        if isinstance(value, plain):  # a subclass of it
            return plain
    return None


def _text(value: str, where: str) -> str:
    if "\0" in value:
        raise StorageError(f"{_at(where)}the text holds a NUL character, which databases refuse")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise StorageError(f"{_at(where)}the text is not valid Unicode") from None
    return value


def _number(value: float, where: str) -> float:
    if math.isfinite(value):
        return value
    raise StorageError(f"{_at(where)}NaN and infinity have no JSON form")


def _key(key: Any, where: str) -> str:
    if isinstance(key, bool):
        return "true" if key else "false"
    if key is None or isinstance(key, (list, tuple, set, frozenset, Mapping)):
        raise StorageError(f"{_at(where)}a key of a map is a {type(key).__name__}, not text")
    plain = _storable(key, where, 1)
    return plain if isinstance(plain, str) else str(plain)


def _at(where: str) -> str:
    return f"at {where}: " if where else ""


def _article(kind: type) -> str:
    names = {"function": "a function", "module": "a module", "type": "a class", "bytes": "a value of bytes"}
    return names.get(kind.__name__, f"a value of type {kind.__name__}")


def storable_outputs(values: Mapping[Any, Any]) -> Tuple[Dict[str, Any], Dict[str, str]]:
    """Outputs as JSON, and what had to be left out.

    :return: the outputs, and name -> reason of those that cannot be stored
    """
    outputs: Dict[str, Any] = {}
    omitted: Dict[str, str] = {}
    for name in list(values):
        try:
            outputs[_key(name, "")] = storable(values[name])
        except StorageError as error:
            omitted[str(name)] = error.message
    return outputs, omitted
