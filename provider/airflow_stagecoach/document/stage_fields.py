"""The kinds of values that only keys of stages take."""

from __future__ import annotations

import json
import re
import textwrap
from typing import Annotated, Any

from pydantic import PlainValidator, ValidationInfo, WithJsonSchema

from airflow_stagecoach.document.diagnostics import found
from airflow_stagecoach.document.durations import MAX_SECONDS
from airflow_stagecoach.document.fields import (
    duration_value,
    has_expression,
    number_schema,
    or_expression,
    or_expression_schema,
    plain_data,
    text_value,
    whole_number,
)
from airflow_stagecoach.document.model import (
    fault,
)

MAX_CONCURRENT = 1000
MAX_LOOP = 1000
_ONE_AT_A_TIME = "write 1 for one after the other"

_USES = re.compile(r"[^/@\s][^@\s]*/[^/@\s]+@[^/@\s]+")
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_EXPRESSION = re.compile(r"(?<!\$)\$\{\{.*?\}\}", re.DOTALL)


def scalar_value(value: Any) -> Any:
    """A text, number or boolean."""
    value = plain_data(value)
    if value is None or isinstance(value, (dict, list)):
        raise fault("wrong-type", f"expected text, a number or a boolean, found {found(value)}")
    return value


def sleep_value(value: Any) -> float | str:
    """Seconds, a duration, or an expression that gives seconds."""
    if has_expression(value):
        return str(value)
    return duration_value(value)


def source_value(value: Any, info: ValidationInfo) -> str:
    """Python source; given in Python, a block that is indented as a whole is moved to the left."""
    return _code(value, info, "Python code")


def script_value(value: Any, info: ValidationInfo) -> str:
    """A shell script; given in Python, a block that is indented as a whole is moved to the left."""
    return _code(value, info, "a script")


def _code(value: Any, info: ValidationInfo, what: str) -> str:
    text = text_value(value)
    if not text.strip():
        raise fault("empty-value", f"expected {what}, found an empty text")
    # YAML removes the indentation of a block itself, and positions count from what it gives.
    return text if info.context is not None else textwrap.dedent(text)


def uses_value(value: Any) -> str:
    """``path/func@tag``."""
    text = text_value(value)
    if re.fullmatch(r"actions/[\w.-]+@(v\d[\w.]*|main|master|[0-9a-f]{40})", text):
        hint = "call a Python function of yours, path/func@tag, or run a command with `bash:`"
        raise fault("bad-uses", f"GitHub actions such as '{text}' cannot run here", hint)
    if text.startswith("docker://"):
        hint = f"write image: {text.removeprefix('docker://')}, and entrypoint and command beside it"
        raise fault("bad-uses", "expected path/func@tag, found the name of an image", hint)
    if not _USES.fullmatch(_EXPRESSION.sub("x", text)):
        hint = "for instance `uses: tasks/load-table@latest` for a function with @tag('latest') in tasks.py"
        raise fault("bad-uses", f"expected path/func@tag, found {found(text)}", hint)
    return text


def operator_value(value: Any) -> str:
    """A dotted path to an operator class."""
    text = text_value(value)
    if not _DOTTED.fullmatch(text):
        hint = "for instance airflow.providers.standard.operators.bash.BashOperator"
        raise fault(
            "bad-operator", f"expected the dotted path of an operator class, found {found(text)}", hint
        )
    return text


def version_value(value: Any) -> str:
    """A Python version, ``"3.12"``."""
    if isinstance(value, float):
        hint = f'put it in quotes, YAML reads 3.10 as 3.1: "{value}"'
        raise fault("wrong-type", f"expected a Python version in quotes, found {found(value)}", hint)
    text = text_value(value)
    if not re.fullmatch(r"3(\.\d{1,2}(\.\d{1,3})?)?|(>=|==|~=)?3\.\d{1,2}(\.\d{1,3})?", text.strip()):
        raise fault("bad-version", f'expected a Python version such as "3.12", found {found(text)}')
    return text.strip()


def items_value(value: Any) -> Any:
    """The items of ``foreach``: a list, an expression, or a list as JSON text."""
    if isinstance(value, str):
        if has_expression(value):
            return value
        try:
            items = json.loads(value)
        except ValueError:
            items = None
        if isinstance(items, list):
            return items
        hint = f"write a list: [{', '.join(value.split(','))}]" if 0 < len(value) < 60 else None
        hint = re.sub(r"\s+", " ", hint) if hint else None
        raise fault("bad-foreach", f"expected a list or an expression, found {found(value)}", hint)
    items = plain_data(value)
    if not isinstance(items, list):
        raise fault(
            "bad-foreach",
            f"expected a list or an expression, found {found(value)}",
            f"write [{value}]",
        )
    return items


Sleep = Annotated[
    float | str,
    PlainValidator(sleep_value),
    WithJsonSchema({"type": ["number", "string"], "minimum": 0, "maximum": MAX_SECONDS}),
]
Source = Annotated[str, PlainValidator(source_value), WithJsonSchema({"type": "string", "minLength": 1})]
Script = Annotated[str, PlainValidator(script_value), WithJsonSchema({"type": "string", "minLength": 1})]
Uses = Annotated[str, PlainValidator(uses_value), WithJsonSchema({"type": "string", "pattern": "^.+/.+@.+$"})]
Dotted = Annotated[str, PlainValidator(operator_value), WithJsonSchema({"type": "string", "pattern": "\\."})]
Version = Annotated[str, PlainValidator(version_value), WithJsonSchema({"type": "string"})]
Scalar = Annotated[
    Any, PlainValidator(scalar_value), WithJsonSchema({"type": ["string", "number", "boolean"]})
]
Items = Annotated[Any, PlainValidator(items_value), WithJsonSchema({"type": ["array", "string"]})]
Workers = Annotated[
    int | str,
    PlainValidator(
        or_expression(
            whole_number(1, MAX_CONCURRENT, _ONE_AT_A_TIME), f"a whole number from 1 to {MAX_CONCURRENT}"
        )
    ),
    WithJsonSchema(or_expression_schema(number_schema(1, MAX_CONCURRENT))),
]
Concurrent = Annotated[
    int,
    PlainValidator(whole_number(1, MAX_CONCURRENT, _ONE_AT_A_TIME)),
    WithJsonSchema(number_schema(1, MAX_CONCURRENT)),
]
Loops = Annotated[int, PlainValidator(whole_number(1, MAX_LOOP)), WithJsonSchema(number_schema(1, MAX_LOOP))]
