"""The kinds of values that containers have: images, commands, ports, volumes."""

from __future__ import annotations

import re
import shlex
from typing import Annotated, Any

from pydantic import PlainValidator, WithJsonSchema

from airflow_stagecoach.document.diagnostics import found
from airflow_stagecoach.document.fields import filled_text, has_expression, list_of, text_value
from airflow_stagecoach.document.model import fault
from airflow_stagecoach.expressions import ExpressionSyntaxError, TextPart, parse_template

#: ``[registry[:port]/]name[/name][:tag][@digest]``, as the distribution specification has it.
_NAME = r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
_IMAGE = re.compile(
    r"(?:(?:[A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9A-Fa-f:]+\])(?::[0-9]+)?/)?"
    rf"{_NAME}(?:/{_NAME})*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@[A-Za-z][A-Za-z0-9+._-]*:[0-9A-Fa-f]{32,})?"
)

_PORT = re.compile(r"(?:(\d{1,5}):)?(\d{1,5})(?:/(?:tcp|udp))?", re.ASCII)
_VOLUME = re.compile(r"/[^:]*|[^:]+:/[^:]*(?::[^:]+)?")


def image_value(value: Any) -> str:
    """The name of an image; may hold expressions."""
    text = filled_text(value).strip()
    if has_expression(text) or "{{" in text or _IMAGE.fullmatch(text):
        return text
    hint = None
    plain = text.removeprefix("docker://")
    if plain != text and _IMAGE.fullmatch(plain):
        hint = f"write {plain}"
    elif _IMAGE.fullmatch(text.lower()):
        hint = f"names of images have small letters: {text.lower()}"
    message = f"expected the name of an image such as python:3.12-slim, found {found(text)}"
    raise fault("bad-image", message, hint)


def words(text: str) -> list[str]:
    """A text as a shell would part it into words; expressions and Jinja stay whole.

    :raises ValueError: a quote has no end
    """
    held: list[str] = []
    marked = ""
    for part in parse_template(text).parts:
        source = text[part.start : part.end]
        if isinstance(part, TextPart):
            marked += source
        else:
            # Characters for private use: no word of a document holds them.
            marked += f"\ue000{len(held)}\ue001"
            held.append(source)
    return [re.sub("\ue000(\\d+)\ue001", lambda m: held[int(m[1])], word) for word in shlex.split(marked)]


def parted(text: str) -> list[str]:
    """:func:`words`, with its faults in words for the author. Wrong expressions are told by the checks."""
    try:
        return words(text)
    except ExpressionSyntaxError:
        return []
    except ValueError:
        raise fault("bad-value", f"a quote has no end, found {found(text)}", "write it as a list") from None


def command_value(value: Any) -> str | list[str]:
    """A program and its arguments: a text that is parted as a shell does, or a list."""
    if isinstance(value, str):
        text = filled_text(value)
        parted(text)
        return text
    items: list[str] = list_of(_argument, "texts", single=False)(value)
    if not items:
        raise fault("empty-value", "expected a program and its arguments, found an empty list")
    return items


def _argument(value: Any) -> str:
    """An argument; a number is as good as its text."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else text_value(value)


def in_words(command: str | list[str]) -> str | list[str]:
    """A program or its arguments for the plan: in words, but for one whole expression, not known yet."""
    if isinstance(command, list):
        return command
    try:
        return command if parse_template(command).is_whole else words(command)
    except ExpressionSyntaxError:
        return command


def port_value(value: Any) -> str:
    """``5432``, ``5432:5432`` or ``5432/tcp``; may hold expressions."""
    text = (
        str(value) if isinstance(value, int) and not isinstance(value, bool) else filled_text(value).strip()
    )
    if has_expression(text) or "{{" in text:
        return text
    match = _PORT.fullmatch(text)
    if match is None:
        hint = "write 5432, or 5432:5432 to publish it on the machine of the containers"
        raise fault("bad-value", f"expected a port such as 5432 or 5432:5432, found {found(text)}", hint)
    for number in match.groups():
        if number is not None and not 1 <= int(number) <= 65535:
            raise fault("out-of-range", f"expected a port from 1 to 65535, found {number}")
    return text


def ports_value(value: Any) -> list[str]:
    """One port or a list of them."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = [value]
    ports: list[str] = list_of(port_value, "ports")(value)
    return ports


def volume_value(value: Any) -> str:
    """``name-or-path:/path[:ro]``, or ``/path`` for one without a name; may hold expressions."""
    text = filled_text(value).strip()
    if has_expression(text) or "{{" in text or _VOLUME.fullmatch(text):
        return text
    hint = "write name:/path, /path/there:/path or /path, with :ro at the end for one that is only read"
    raise fault("bad-value", f"expected a volume such as data:/var/lib/data, found {found(text)}", hint)


COMMAND_SCHEMA: dict[str, Any] = {
    "anyOf": [{"type": "string", "minLength": 1}, {"type": "array", "items": {"type": ["string", "integer"]}}]
}
Command = Annotated[str | list[str], PlainValidator(command_value), WithJsonSchema(COMMAND_SCHEMA)]
