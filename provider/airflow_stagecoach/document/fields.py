"""The kinds of values that keys take: text, numbers, durations, conditions, maps.

Each is a function from a value to its checked form, and a type of a field that calls it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from itertools import islice
from typing import Annotated, Any

from pydantic import PlainValidator, WithJsonSchema

from airflow_stagecoach.document.diagnostics import did_you_mean, found, one_of
from airflow_stagecoach.document.durations import parse_duration
from airflow_stagecoach.document.model import Faults, fault

#: Entries of a list that is not data: needs, tags, requirements.
MAX_ITEMS = 1000

#: Ids of jobs and stages (DESIGN, "Rules of detail" 1).
ID_PATTERN = r"[A-Za-z_][A-Za-z0-9_-]*"
_ID = re.compile(ID_PATTERN)
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def text_value(value: Any) -> str:
    """A text; a number or boolean is refused and shown in quotes."""
    if isinstance(value, str):
        return str(value.value) if isinstance(value, Enum) else value
    hint: str | None = None
    if isinstance(value, (bool, int, float)):
        hint = f'put it in quotes: "{str(value).lower() if isinstance(value, bool) else value}"'
    elif (
        isinstance(value, dict)
        and len(value) == 1
        and isinstance(next(iter(value.values())), dict | type(None))
    ):
        hint = 'a value that begins with {{ must stand in quotes: "{{ ds }}"'
    raise fault("wrong-type", f"expected text, found {found(value)}", hint)


def filled_text(value: Any) -> str:
    """A text that is not blank."""
    text = text_value(value)
    if not text.strip():
        raise fault("empty-value", "expected text, found an empty one")
    return text


def word(*words: str) -> Callable[[Any], str]:
    """A validator for one of some words."""

    def validate(value: Any) -> str:
        text = text_value(value)
        if text not in words:
            raise fault(
                "bad-word", f"expected {one_of(words)}, found {found(text)}", did_you_mean(text, words)
            )
        return text

    return validate


def bool_value(value: Any) -> bool:
    """``true`` or ``false``; the words of YAML 1.1 are explained."""
    if isinstance(value, bool):
        return value
    words = {
        "yes": "true",
        "on": "true",
        "y": "true",
        "1": "true",
        "no": "false",
        "off": "false",
        "n": "false",
        "0": "false",
    }
    meant = words.get(str(value).lower()) or (
        str(value).lower() if str(value).lower() in ("true", "false") else None
    )
    hint = f"write {meant}, without quotes" if meant else None
    raise fault("wrong-type", f"expected true or false, found {found(value)}", hint)


def whole_number(low: int, high: int, too_low: str | None = None) -> Callable[[Any], int]:
    """A validator for a whole number within limits; ``too_low`` is the hint for one below them."""

    def validate(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            meant = str(value).strip() if isinstance(value, str) else ""
            hint = (
                f"write {int(meant)}, without quotes" if re.fullmatch(r"\d{1,9}", meant, re.ASCII) else None
            )
            raise fault(
                "wrong-type", f"expected a whole number from {low} to {high}, found {found(value)}", hint
            )
        if not low <= value <= high:
            hint = too_low if value < low else None
            raise fault("out-of-range", f"expected a whole number from {low} to {high}, found {value}", hint)
        return value

    return validate


def number(low: float, high: float) -> Callable[[Any], float]:
    """A validator for a number within limits."""

    def validate(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise fault("wrong-type", f"expected a number from {low:g} to {high:g}, found {found(value)}")
        if not low <= value <= high:
            raise fault("out-of-range", f"expected a number from {low:g} to {high:g}, found {value}")
        return value

    return validate


def number_schema(low: int, high: int) -> dict[str, Any]:
    """The JSON Schema of a whole number within limits."""
    return {"type": "integer", "minimum": low, "maximum": high}


def or_expression_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """The JSON Schema of a value that may be an expression instead."""
    return {"anyOf": [schema, {"type": "string", "pattern": r"\$\{\{"}]}


def has_expression(value: Any) -> bool:
    """Whether ``${{`` (not the literal ``$${{``) stands anywhere in a value."""
    if isinstance(value, str):
        return "${{" in value and re.search(r"(?<!\$)\$\{\{", value) is not None
    if isinstance(value, Mapping):
        return any(has_expression(item) for item in value.values())
    if isinstance(value, (list, tuple)):
        return any(has_expression(item) for item in value)
    return False


def or_expression(validate: Callable[[Any], Any], what: str) -> Callable[[Any], Any]:
    """A validator for a value that may be one whole expression instead."""

    def check(value: Any) -> Any:
        if isinstance(value, str):
            if has_expression(value):
                return value
            inner = re.fullmatch(r"\{\{(.*)\}\}", value.strip(), re.DOTALL)
            hint = f"an expression is written ${{{{{inner.group(1)}}}}}" if inner else None
            if inner:
                raise fault("wrong-type", f"expected {what} or an expression, found {found(value)}", hint)
        return validate(value)

    return check


#: A number and a unit of time in words: ``10 minutes``, ``1.5 hrs``.
_IN_WORDS = re.compile(
    r"(\d{1,9}(?:\.\d{1,9})?)\s*(w|weeks?|d|days?|h|hrs?|hours?|m|mins?|minutes?|s|secs?|seconds?)"
    r"(?![a-z])\s*,?\s*(?:and\s+)?"
)


def _short_duration(text: str) -> str | None:
    """The hint for a duration in words: ``2 hours and 5 minutes`` -> ``write 2h5m``."""
    rest, short = text.strip().lower(), ""
    while rest:
        match = _IN_WORDS.match(rest)
        if match is None:
            return None
        short += match[1] + match[2][0]
        rest = rest[match.end() :]
    return f"write {short}" if short else None


def duration_value(value: Any) -> float:
    """Seconds of a duration."""
    if has_expression(value):
        raise fault("wrong-type", "a duration must be known when the document is loaded, found an expression")
    try:
        return parse_duration(value)
    except ValueError as error:
        hint = None
        if isinstance(value, str) and re.fullmatch(r"\d+:\d+(:\d+)?", value.strip()):
            hint = "write 1h30m for an hour and a half"
        elif isinstance(value, str):
            hint = _short_duration(value)
        raise fault("bad-duration", f"{error}, found {found(value)}", hint) from None


def timeout_value(value: Any, without: str = "remove it for no timeout") -> float:
    """Seconds of a duration, more than none; ``without`` is the hint for who wants no timeout."""
    if isinstance(value, str) and value.strip().lower() == "none":
        raise fault("bad-duration", "expected a duration such as 10m, found 'none'", without)
    seconds = duration_value(value)
    if seconds == 0:
        raise fault("out-of-range", "a timeout must be longer than zero", without)
    return seconds


def condition_value(value: Any) -> str | bool:
    """``if``: an expression with or without braces, or a boolean."""
    if isinstance(value, (bool, str)):
        if isinstance(value, str) and not value.strip():
            raise fault("empty-value", "expected a condition, found an empty text")
        return value
    raise fault("wrong-type", f"expected a condition (an expression, true or false), found {found(value)}")


def list_of(validate: Callable[[Any], Any], what: str, *, single: bool = True) -> Callable[[Any], list[Any]]:
    """A validator for a list; ``single`` accepts one value in place of a list of one."""

    def check(value: Any) -> list[Any]:
        if single and isinstance(value, (str, Enum)):
            value = [value]
        if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
            raise fault("wrong-type", f"expected a list of {what}, found {found(value)}")
        values = list(islice(value, MAX_ITEMS + 1))
        if len(values) > MAX_ITEMS:
            raise fault("too-many", f"a list of {what} may have at most {MAX_ITEMS} entries")
        faults = Faults()
        items = [faults.check(validate, item, index) for index, item in enumerate(values)]
        faults.raise_any()
        return items

    return check


def plain_data(value: Any) -> Any:
    """A value that JSON can hold: a Python ``range`` or tuple becomes a list, a path or date its text."""
    if value is None or (isinstance(value, (str, bool, int, float)) and not isinstance(value, Enum)):
        return value
    if isinstance(value, Enum):
        return plain_data(value.value)
    if isinstance(value, Mapping):
        faults = Faults()
        result = {str(key): faults.check(plain_data, item, str(key)) for key, item in value.items()}
        faults.raise_any()
        return result
    if isinstance(value, (list, tuple, set, frozenset, range)) or hasattr(value, "__next__"):
        faults = Faults()
        items = [faults.check(plain_data, item, index) for index, item in enumerate(value)]
        faults.raise_any()
        return items
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if hasattr(value, "__fspath__"):
        return str(value)
    raise fault("wrong-type", f"expected data that JSON can hold, found {found(value)}")


def map_value(value: Any) -> dict[str, Any]:
    """A map of any values; its keys are the author's and stay as written."""
    if not isinstance(value, Mapping):
        raise fault("wrong-type", f"expected a map of names and values, found {found(value)}")
    result: dict[str, Any] = plain_data(value)
    faults = Faults()
    for key in result:
        if not key.strip():
            faults.add(fault("empty-value", "a name is empty", on_key=True), key)
    faults.raise_any()
    return result


def env_value(value: Any) -> dict[str, Any]:
    """Environment variables: names that a shell knows, values that are text, numbers or booleans."""
    result = map_value(value)
    faults = Faults()
    for name, item in result.items():
        if not _ENV_NAME.fullmatch(name):
            message = f"'{name[:60]}' is no name for an environment variable"
            faults.add(
                fault(
                    "bad-name", message, "use letters, digits and _, not beginning with a digit", on_key=True
                ),
                name,
            )
        if isinstance(item, (dict, list)):
            hint = "write it as text, or as ${{ toJson(...) }}"
            faults.add(
                fault("wrong-type", f"an environment variable is text, found {found(item)}", hint), name
            )
    faults.raise_any()
    return result


def variables_value(value: Any) -> dict[str, Any]:
    """Variables of a Python stage: names that Python accepts."""
    import keyword

    result = map_value(value)
    faults = Faults()
    for name in result:
        if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("__"):
            fitting = re.sub(r"\W", "_", name)
            hint = f"write {fitting}" if fitting.isidentifier() and not keyword.iskeyword(fitting) else None
            faults.add(
                fault("bad-name", f"'{name[:60]}' is no name for a Python variable", hint, on_key=True), name
            )
    faults.raise_any()
    return result


def check_id(value: Any, noun: str) -> str:
    """An id of a job or stage without expressions."""
    text = text_value(value)
    if text.startswith("__"):
        raise fault("bad-id", f"the id of a {noun} may not begin with two underscores")
    if not _ID.fullmatch(text):
        fitting = re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-")
        fitting = f"_{fitting}" if fitting[:1].isdigit() else fitting
        hint = "use letters, digits, - and _, beginning with a letter or _"
        raise fault(
            "bad-id", f"'{text[:60]}' is no id for a {noun}", f"{hint}: {fitting[:60]}" if fitting else hint
        )
    if len(text) > 100:
        raise fault("bad-id", f"the id of a {noun} may have at most 100 characters")
    return text


_ANY_MAP: dict[str, Any] = {"type": "object"}
_SCALARS = ["string", "number", "boolean", "null"]

Text = Annotated[str, PlainValidator(text_value), WithJsonSchema({"type": "string"})]
FilledText = Annotated[str, PlainValidator(filled_text), WithJsonSchema({"type": "string", "minLength": 1})]
Flag = Annotated[bool, PlainValidator(bool_value), WithJsonSchema({"type": "boolean"})]
Duration = Annotated[
    float,
    PlainValidator(duration_value),
    WithJsonSchema(
        {"type": ["number", "string"], "minimum": 0, "description": "seconds, or 90s, 10m, 1h30m, 2d, PT10M"}
    ),
]
Timeout = Annotated[
    float,
    PlainValidator(timeout_value),
    WithJsonSchema({"type": ["number", "string"], "exclusiveMinimum": 0}),
]
Condition = Annotated[
    str | bool, PlainValidator(condition_value), WithJsonSchema({"type": ["string", "boolean"]})
]
Names = Annotated[
    list[str],
    PlainValidator(list_of(filled_text, "texts")),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
Data = Annotated[dict[str, Any], PlainValidator(map_value), WithJsonSchema(_ANY_MAP)]
Env = Annotated[
    dict[str, Any],
    PlainValidator(env_value),
    WithJsonSchema(
        {
            "type": "object",
            "propertyNames": {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$"},
            "additionalProperties": {"type": _SCALARS},
        }
    ),
]
Variables = Annotated[dict[str, Any], PlainValidator(variables_value), WithJsonSchema(_ANY_MAP)]
