"""Texts that hold ``${{ expressions }}`` and ``{{ jinja }}``: taking them apart and rendering them.

Each of the two languages sees only what the document's author wrote: what an expression gives is never
looked at again, and what Jinja gives is written so that it cannot be read as an expression.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Callable, Iterator, Union

from airflow_stagecoach.expressions._errors import ExpressionSyntaxError
from airflow_stagecoach.expressions._values import to_text

if TYPE_CHECKING:
    from airflow_stagecoach.expressions._nodes import Expression

_OPENING = re.compile(r"\$?\$\{\{|\{\{")
_OPENING_NO_JINJA = re.compile(r"\$?\$\{\{")

#: A piece of Jinja: a text in quotes, a bracket, or anything else.
_JINJA_PIECE = re.compile(
    r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|(?P<close>-?\}\})|(?P<up>[\[({])|(?P<down>[\])}])|[^'"\[\](){}-]+|-""",
    re.DOTALL,
)

#: What could begin or end a part of a template.
_MARKS = re.compile(r"[${}]+")

#: How many texts are kept as read. One document asks for the same texts several times.
_CACHED_TEXTS = 256


class TextPart:
    """Literal text: ``text`` is what it stands for, ``$${{`` being ``${{``."""

    __slots__ = ("end", "start", "text")

    def __init__(self, text: str, start: int, end: int) -> None:
        self.text = text
        self.start = start
        self.end = end


class ExpressionPart:
    """``${{ ... }}``: ``node`` is its expression."""

    __slots__ = ("end", "node", "start")

    def __init__(self, node: Expression, start: int, end: int) -> None:
        self.node = node
        self.start = start
        self.end = end


class JinjaPart:
    """``{{ ... }}``: ``text`` is all of it, with its braces."""

    __slots__ = ("end", "start", "text")

    def __init__(self, text: str, start: int, end: int) -> None:
        self.text = text
        self.start = start
        self.end = end


#: A part of a template; ``start`` and ``end`` are its place in the text, and places leave no gap.
Part = Union[TextPart, ExpressionPart, JinjaPart]


class Template:
    """A text in parts.

    * ``is_whole``: the text is one expression with at most white space around it, so its type is kept
    * ``is_plain``: nothing but literal text
    """

    __slots__ = ("is_plain", "is_whole", "parts", "source")

    def __init__(self, source: str, parts: tuple[Part, ...]) -> None:
        self.source = source
        self.parts = parts
        self.is_plain = all(isinstance(part, TextPart) for part in parts)
        solid = [part for part in parts if not (isinstance(part, TextPart) and not part.text.strip())]
        self.is_whole = len(solid) == 1 and isinstance(solid[0], ExpressionPart)

    @property
    def expressions(self) -> tuple[Expression, ...]:
        """The expressions, in the order of the text."""
        return tuple(part.node for part in self.parts if isinstance(part, ExpressionPart))

    def render(self, contexts: Mapping[str, Any]) -> Any:
        """Give the value: of any type when the template is whole, else a text with Jinja left as it is.

        :raises ExpressionError: an expression could not be evaluated
        """
        from airflow_stagecoach.expressions._evaluate import evaluate

        if self.is_whole:
            value = evaluate(self.expressions[0], contexts)
            # A text that the filter `rstr` marked is only quoted inside other text.
            return str(value) if isinstance(value, str) else value
        return "".join(
            to_text(evaluate(part.node, contexts)) if isinstance(part, ExpressionPart) else part.text
            for part in self.parts
        )


@lru_cache(maxsize=_CACHED_TEXTS)
def parse_template(text: str, jinja: bool = True) -> Template:
    """Take a text apart.

    :param jinja: whether ``{{ }}`` is a Jinja part; false where Jinja does not work, as in Python code
    :raises ExpressionSyntaxError: an expression is wrong or has no end; the span is in the whole text
    """
    parts: list[Part] = []
    for kind, start, end in split(text, jinja):
        if kind == "expression":
            from airflow_stagecoach.expressions._parser import parse_braces

            node, _ = parse_braces(text, start)
            parts.append(ExpressionPart(node, start, end))
        elif kind == "jinja":
            parts.append(JinjaPart(text[start:end], start, end))
        else:
            parts.append(TextPart(text[start:end].replace("$${{", "${{"), start, end))
    return Template(text, tuple(parts))


def split(text: str, jinja: bool = True) -> Iterator[tuple[str, int, int]]:
    """Give kind (``text``, ``expression``, ``jinja``), start and end of every part, without parsing any.

    :raises ExpressionSyntaxError: a part has no end
    """
    opening = _OPENING if jinja else _OPENING_NO_JINJA
    text_start = position = 0
    while True:
        match = opening.search(text, position)
        if match is None:
            break
        mark = match.group()
        if mark == "$${{":
            position = match.end()
            continue
        start = match.start()
        end = _end_of_expression(text, start) if mark == "${{" else _end_of_jinja(text, start)
        if start > text_start:
            yield "text", text_start, start
        yield ("expression" if mark == "${{" else "jinja"), start, end
        text_start = position = end
    if text_start < len(text):
        yield "text", text_start, len(text)


def _end_of_expression(text: str, start: int) -> int:
    """Give the place after the ``}}`` that closes the ``${{`` at ``start``."""
    # Here, as wherever an expression is met: most texts have none.
    from airflow_stagecoach.expressions._tokenizer import tokenize_braces

    return tokenize_braces(text, start + 3)[1]


def _end_of_jinja(text: str, start: int) -> int:
    """Give the place after the ``}}`` that closes the ``{{`` at ``start``; brackets are balanced."""
    depth = 0
    position = start + 2
    while True:
        match = _JINJA_PIECE.match(text, position)
        if match is None:
            break
        position = match.end()
        if match.lastgroup == "close":
            if depth == 0:
                return position
            position = match.start() + (2 if match.group().startswith("-") else 1)
            depth -= 1
        elif match.lastgroup == "up":
            depth += 1
        elif match.lastgroup == "down":
            if depth == 0:
                break
            depth -= 1
    raise ExpressionSyntaxError(
        "this {{ of Jinja has no end",
        text,
        (start, start + 2),
        "close it with }}, or write ${{ '{{' }} for the braces themselves",
    )


def render(value: Any, contexts: Mapping[str, Any], jinja: bool = True) -> Any:
    """Evaluate every ``${{ }}`` inside a value: a text, or maps and lists with texts inside.

    A text that is one expression becomes a value of any type; keys of maps are left alone; Jinja parts stay
    as they are. The result is never rendered again.

    :raises ExpressionError: an expression is wrong or could not be evaluated
    """
    if isinstance(value, str):
        if "${{" not in value:
            return value
        return parse_template(value, jinja).render(contexts)
    return _walk(value, lambda item: render(item, contexts, jinja))


def render_jinja(value: Any, function: Callable[[str], str]) -> Any:
    """Replace every ``{{ }}`` inside a value by the text that ``function`` gives for it.

    Expressions are left as they are, for ``render``. What ``function`` gives is written so that ``render``
    gives exactly that text, whatever it holds. Not for conditions and code, in which Jinja does not work.

    :param function: takes what stands between the braces, as in `` ds ``
    :raises ExpressionSyntaxError: a part has no end
    """
    if isinstance(value, str):
        if "{{" not in value:
            return value
        pieces = [
            escape(function(value[start + 2 : end - 2])) if kind == "jinja" else value[start:end]
            for kind, start, end in split(value)
        ]
        text = "".join(pieces)
        # A text with Jinja in it stays a text, also when one expression is all that is left.
        return text + "${{ '' }}" if parse_template(text).is_whole and text != value else text
    return _walk(value, lambda item: render_jinja(item, function))


def escape(text: str) -> str:
    """Give a template that renders to exactly ``text``, also when other template text stands around it."""
    escaped = _MARKS.sub(lambda match: "${{ '" + match.group() + "' }}", text)
    # An expression that stands alone is the whole value, without the blanks around it: give it company.
    return escaped if escaped == text or text == text.strip() else escaped + "${{ '' }}"


def _walk(value: Any, change: Callable[[Any], Any]) -> Any:
    """Give a value with ``change`` applied to what its maps and lists hold."""
    if isinstance(value, Mapping):
        return {key: change(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return [change(item) for item in value]
    return value
