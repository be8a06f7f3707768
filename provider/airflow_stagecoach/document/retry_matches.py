"""The failures that ``on``, ``never`` and ``match`` of a retry name.

Each entry becomes one canonical text, which the engine understands: the name or dotted path of an exception,
a category, ``exit:75``, ``exit:100-110``, ``http:429``, ``http:500-599``, ``reason:Evicted``,
``message:REGEX``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import PlainValidator, WithJsonSchema

from airflow_stagecoach.document.diagnostics import did_you_mean, found
from airflow_stagecoach.document.fields import list_of, text_value
from airflow_stagecoach.document.model import fault

#: What sort of failure an error is (docs/architecture.md, "Failures and records").
CATEGORIES = ("configuration", "resource", "network", "system", "timeout", "component", "cancelled")

#: Characters of a pattern: it is tried on every failure.
MAX_PATTERN = 500

EXPECTED = (
    "an exception, an exit code, exit:N, http:N, reason:Word, message:/pattern/ or one of "
    + ", ".join(CATEGORIES)
)

_EXCEPTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)
_REASON = re.compile(r"[A-Za-z][\w.-]{0,99}", re.ASCII)
_RANGE = re.compile(r"(\d{1,6})(?:\s*-\s*(\d{1,6}))?", re.ASCII)
_PATTERN = re.compile(r"/(.+)/(i?)", re.DOTALL)
#: Lowest and highest number of each kind.
_NUMBERS = {"exit": (0, 255, "an exit code"), "http": (100, 599, "an HTTP status")}
_PREFIXES = ("exit", "http", "reason", "message")
_WORDS = {
    "oom": "resource",
    "memory": "resource",
    "disk": "resource",
    "connection": "network",
    "http": "network",
    "infrastructure": "system",
    "killed": "system",
    "signal": "system",
    "timed-out": "timeout",
    "config": "configuration",
    "user": "component",
    "error": "component",
    "failure": "component",
    "canceled": "cancelled",
}


def match_value(value: Any) -> str:
    """One entry in its canonical form."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, Mapping) and len(value) == 1:
        key, inner = next(iter(value.items()))
        if str(key) in _PREFIXES:
            hint = f"write it without a space: {key}:{inner}" if not isinstance(inner, (dict, list)) else None
            raise fault("wrong-type", f"expected {EXPECTED}, found a map", hint)
    if not isinstance(value, str):
        raise fault("wrong-type", f"expected {EXPECTED}, found {found(value)}")
    text = text_value(value).strip()
    prefix, colon, rest = text.partition(":")
    if colon:
        return _with_prefix(text, prefix, rest.strip())
    if _RANGE.fullmatch(text):
        return _bare_number(text)
    if text in CATEGORIES:
        return text
    _refuse_bad_words(text)
    return text


def _refuse_bad_words(text: str) -> None:
    """A word without a dot is a category or the name of a class: categories are all small letters."""
    if not _EXCEPTION.fullmatch(text):
        hint = f"write message:/{text}/" if re.fullmatch(r"[\w ]{3,60}", text) and " " in text else None
        numbered = re.fullmatch(r"(exit|http)(?:[ _-]?(?:code|status))?[ =_-]+(\d{1,3})", text.lower())
        if numbered:
            hint = f"write {numbered[1]}:{numbered[2]}"
        raise fault("wrong-type", f"expected {EXPECTED}, found {found(text)}", hint)
    if "." in text or (text != text.lower() and (text.lower() not in CATEGORIES or text == "Timeout")):
        return
    meant = _WORDS.get(text.lower().replace("_", "-"))
    hint = f"did you mean '{meant}'?" if meant else did_you_mean(text, CATEGORIES)
    if text.lower() in ("any", "all", "always"):
        hint = "remove it: without `on` every failure is retried that a retry can heal"
    if hint is None:
        known = text if text in ("gaierror", "herror") else "gaierror"
        hint = (
            f"the categories are {', '.join(CATEGORIES)}; write an exception with its module: socket.{known}"
        )
    raise fault("bad-word", f"'{text[:60]}' is neither a category nor an exception", hint)


def _bare_number(text: str) -> str:
    low, high, _ = _NUMBERS["exit"]
    if "-" in text:
        raise fault("wrong-type", f"expected {EXPECTED}, found {found(text)}", f"write exit:{text}")
    number = int(text)
    if not low <= number <= high:
        hint = f"write http:{number}" if 100 <= number <= 599 else None
        raise fault("out-of-range", f"an exit code is from {low} to {high}, found {number}", hint)
    return f"exit:{number}"


def _with_prefix(text: str, prefix: str, rest: str) -> str:
    prefix = prefix.strip().lower()
    if prefix in _NUMBERS:
        return _number(prefix, rest)
    if prefix == "reason":
        if not _REASON.fullmatch(rest):
            message = f"expected the word of a reason, such as reason:OOMKilled, found {found(text)}"
            raise fault("wrong-type", message)
        return f"reason:{rest}"
    if prefix == "message":
        return _message(rest)
    hint = did_you_mean(prefix, _PREFIXES)
    raise fault("wrong-type", f"expected {EXPECTED}, found {found(text)}", hint)


def _number(prefix: str, rest: str) -> str:
    low, high, what = _NUMBERS[prefix]
    match = _RANGE.fullmatch(rest)
    if match is None:
        family = re.fullmatch(r"([1-5])xx", rest.lower())
        hint = f"write http:{family[1]}00-{family[1]}99" if family and prefix == "http" else None
        message = f"expected {prefix}:N or {prefix}:N-M, found {found(f'{prefix}:{rest}')}"
        raise fault("wrong-type", message, hint)
    first = int(match[1])
    last = int(match[2]) if match[2] is not None else first
    for number in (first, last):
        if not low <= number <= high:
            raise fault("out-of-range", f"{what} is from {low} to {high}, found {number}")
    if last < first:
        raise fault("out-of-range", f"{first}-{last} is empty", f"write {prefix}:{last}-{first}")
    return f"{prefix}:{first}" if first == last else f"{prefix}:{first}-{last}"


def _message(rest: str) -> str:
    match = _PATTERN.fullmatch(rest)
    if match is None:
        shown = re.escape(rest.strip("/")[:60]).replace("\\ ", " ")
        hint = f"write message:/{shown}/" if shown else "for instance message:/no space left/"
        if re.fullmatch(r"/.+/\w+", rest, re.DOTALL):
            hint = "the only flag is i: /pattern/i does not tell small letters from capital ones"
        raise fault("wrong-type", f"expected message:/pattern/, found {found(f'message:{rest}')}", hint)
    if len(match[1]) > MAX_PATTERN:
        raise fault("too-long", f"a pattern may have at most {MAX_PATTERN} characters, found {len(match[1])}")
    pattern = f"(?i){match[1]}" if match[2] else match[1]
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError, Warning) as error:
        # A warning is raised where a process says so: what is ambiguous today means something else later.
        raise fault("bad-pattern", f"this is no regular expression: {str(error)[:200]}") from None
    return f"message:{pattern}"


def matches_value(value: Any) -> list[str]:
    """One entry or a list of them, each once."""
    if isinstance(value, (int, Mapping)) and not isinstance(value, bool):
        value = [value]
    return list(dict.fromkeys(list_of(match_value, "failures")(value)))


_ENTRY: dict[str, Any] = {"type": ["string", "integer"]}
Matches = Annotated[
    list[str],
    PlainValidator(matches_value),
    WithJsonSchema({"anyOf": [_ENTRY, {"type": "array", "items": _ENTRY}]}),
]
