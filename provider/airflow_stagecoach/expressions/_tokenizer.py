"""Text into tokens, and where an expression ends.

The end of ``${{ ... }}`` is found by reading tokens, because a text or a map inside may hold ``}}`` too.

A hyphen between name characters belongs to the name, and a ``?`` glued to a name asks for optional access:
``docs/expressions.md``, "Names".
"""

from __future__ import annotations

import re
from typing import NamedTuple

from airflow_stagecoach.expressions._errors import ExpressionSyntaxError

#: Longest expression, in characters. Evaluation is bounded apart from it; this bounds reading.
MAX_LENGTH = 20_000

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<NAME>[^\W\d](?:-*\w)*\??)
    | (?P<FIELD>\.\s*\w(?:-*\w)*\??)
    | (?P<STAR>\.\s*\*)
    | (?P<NUMBER>0[xX][0-9a-fA-F]+|[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)
    | (?P<TEXT>'[^']*(?:''[^']*)*'(?!')|"[^"]*(?:""[^"]*)*"(?!"))
    | (?P<OPERATOR>&&|\|\||[=!<>]=|[<>!|+\-*/%?:,()\[\]{}=])
    | (?P<END>\Z)
    )""",
    re.VERBOSE,
)
_SPACE = re.compile(r"\s*")
_NUMBER_RUN = re.compile(r"[\w.]+")

#: A piece of a quoted text of a condition, up to ``${{`` or the closing quote; ``$${{`` is ``${{`` itself.
_CHUNK = {
    quote: re.compile(r"(?:[^$%s]|%s%s|\$\$\{\{|\$(?!\{\{))*" % (quote, quote, quote)) for quote in "'\""
}

#: Words that are operators, and the operator's other spelling.
_WORD_OPERATORS = {"and": "&&", "or": "||", "not": "not", "in": "in"}

_CHARACTER_HINTS = {
    "&": "write && for 'and'",
    "\\": "a quote inside a text is doubled: 'it''s'",
    "$": "an expression stands in one pair of braces; they do not nest",
    "‘": "write texts in straight quotes: 'text'",
    "’": "write texts in straight quotes: 'text'",
    "“": "write texts in straight quotes: 'text'",
    "”": "write texts in straight quotes: 'text'",
    ".": "write a name after the dot, or 0.5 for a number",
}


class Token(NamedTuple):
    """A piece of the text. ``kind`` is an upper-case name, or the operator itself."""

    kind: str
    text: str
    start: int
    end: int


def tokenize_expression(source: str) -> list[Token]:
    """Read the whole of ``source`` as one expression, without braces around it.

    :raises ExpressionSyntaxError: a character or a number that no token starts with, or too long a text
    """
    _check_length(source, 0, len(source))
    tokens: list[Token] = []
    _read(source, 0, tokens, in_braces=False)
    return tokens


def tokenize_braces(source: str, start: int) -> tuple[list[Token], int]:
    """Read an expression that ends with ``}}``; ``start`` is the place after ``${{``.

    :returns: the tokens with ``END`` at the ``}}``, and the place after it
    :raises ExpressionSyntaxError: as ``tokenize_expression``, or when ``}}`` is missing
    """
    tokens: list[Token] = []
    end = _read(source, start, tokens, in_braces=True)
    return tokens, end + 2


def tokenize_condition(source: str) -> list[Token]:
    """Read ``source`` as a condition, in which ``${{ }}`` may stand as a value or inside a quoted text.

    A pair of braces gives ``BRACES`` ... ``BRACES_END``; a quoted text with braces inside gives ``QUOTE``,
    then ``CHUNK`` and braces in turn, then ``QUOTE_END``.
    """
    if "${{" not in source:
        return tokenize_expression(source)
    _check_length(source, 0, len(source))
    tokens: list[Token] = []
    position = 0
    while True:
        position = _skip_space(source, position)
        if source.startswith("${{", position):
            position = _read_nested_braces(source, position, tokens)
        elif source[position : position + 1] in ("'", '"'):
            position = _read_quoted(source, position, tokens)
        else:
            position = _read_one(source, position, tokens)
            if tokens[-1].kind == "END":
                return tokens


def _read_nested_braces(source: str, start: int, tokens: list[Token]) -> int:
    """Read ``${{ ... }}`` inside a condition and give the place after it."""
    tokens.append(Token("BRACES", "${{", start, start + 3))
    inner, end = tokenize_braces(source, start + 3)
    tokens += inner[:-1]
    tokens.append(Token("BRACES_END", "}}", end - 2, end))
    return end


def _read_quoted(source: str, start: int, tokens: list[Token]) -> int:
    """Read a quoted text, which may hold ``${{ ... }}``, and give the place after it."""
    quote = source[start]
    found = [Token("QUOTE", quote, start, start + 1)]
    position = start + 1
    while True:
        match = _CHUNK[quote].match(source, position)
        assert match is not None, "a chunk may be empty, so it always matches"
        if match.end() > position:
            found.append(Token("CHUNK", match.group(), position, match.end()))
        position = match.end()
        if source.startswith("${{", position):
            position = _read_nested_braces(source, position, found)
        elif source[position : position + 1] == quote:
            break
        else:
            raise _not_closed(source, start)
    if any(token.kind == "BRACES" for token in found):
        tokens += found
        tokens.append(Token("QUOTE_END", quote, position, position + 1))
    else:
        text = source[start : position + 1].replace("$${{", "${{")
        tokens.append(Token("TEXT", text, start, position + 1))
    return position + 1


def _read(source: str, start: int, tokens: list[Token], in_braces: bool) -> int:
    """Read tokens up to ``END``, and give its place."""
    limit = start + MAX_LENGTH
    depth = 0
    position = start
    while True:
        position = _read_one(source, position, tokens)
        kind = tokens[-1].kind
        if kind == "END":
            if in_braces:
                raise ExpressionSyntaxError(
                    "this expression has no end", source, (start - 3, start), "close it with }}"
                )
            return position
        if kind == "{":
            depth += 1
        elif kind == "}":
            if depth:
                depth -= 1
            elif in_braces and source.startswith("}", position):
                tokens[-1] = Token("END", "}}", position - 1, position + 1)
                return position - 1
        if position > limit:
            _check_length(source, start, position)


def _read_one(source: str, position: int, tokens: list[Token]) -> int:
    """Read one token and give the place after it."""
    match = _TOKEN.match(source, position)
    if match is None:
        raise _unexpected(source, _skip_space(source, position))
    kind = match.lastgroup
    assert kind is not None, "every alternative of the pattern has a name"
    start, end = match.span(kind)
    text = source[start:end]
    if kind == "OPERATOR":
        kind = text
    elif kind == "NAME":
        kind = _WORD_OPERATORS.get(text, kind)
    elif kind == "NUMBER":
        run = _NUMBER_RUN.match(source, end)
        if run is not None:
            bad = source[start : run.end()]
            raise ExpressionSyntaxError(
                "'{}' is not a number".format(bad), source, (start, run.end()), "write a text in quotes"
            )
    tokens.append(Token(kind, text, start, end))
    return end


def _skip_space(source: str, position: int) -> int:
    match = _SPACE.match(source, position)
    assert match is not None, "white space may be empty, so it always matches"
    return match.end()


def _unexpected(source: str, position: int) -> ExpressionSyntaxError:
    """Give the error for a character that starts no token."""
    character = source[position]
    if character in "'\"":
        return _not_closed(source, position)
    return ExpressionSyntaxError(
        "unexpected character '{}'".format(character),
        source,
        (position, position + 1),
        _CHARACTER_HINTS.get(character),
    )


def _not_closed(source: str, position: int) -> ExpressionSyntaxError:
    quote = source[position]
    return ExpressionSyntaxError(
        "this text has no closing quote",
        source,
        (position, position + 1),
        "close it with {0}; a quote inside a text is doubled: {0}{0}".format(quote),
    )


def _check_length(source: str, start: int, end: int) -> None:
    if end - start > MAX_LENGTH:
        raise ExpressionSyntaxError(
            "an expression may have at most {} characters".format(MAX_LENGTH),
            source,
            (start, start + 1),
            "do the work in a Python stage and use its outputs",
        )
