"""Errors as data: what is wrong, where in which text, and what to write instead.

* ``ExpressionError`` -- an expression could not be evaluated
    * ``ExpressionSyntaxError`` -- a text is no expression at all

Rendering comes second: ``str(error)`` shows the line and marks the place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Tuple

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Start and end (exclusive) of a place in a text.
Span = Tuple[int, int]

_LINE_WIDTH = 100


class ExpressionError(Exception):
    """An expression could not be evaluated.

    :param message: one sentence, without the place
    :param source: the whole text in which the expression stands
    :param span: start and end (exclusive) of the place in ``source``
    :param hint: what to write instead
    """

    def __init__(
        self, message: str, source: str = "", span: Span | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, source, span, hint)
        self.message = message
        self.source = source
        self.span = span
        self.hint = hint

    def at(self, source: str, start: int, end: int) -> ExpressionError:
        """Give this error with its place, unless it has one already."""
        if self.span is None:
            self.source = source
            self.span = (start, end)
            self.args = (self.message, source, self.span, self.hint)  # what a pickled copy is made from
        return self

    def __str__(self) -> str:
        return describe_problem(self.message, self.source, self.span, self.hint)


class ExpressionSyntaxError(ExpressionError):
    """A text is not an expression; ``span`` is always set."""


def describe_problem(message: str, source: str, span: Span | None, hint: str | None) -> str:
    """Give the text of a problem: the message, the line with the place marked, the hint."""
    lines = [message]
    if source and span is not None:
        lines += _marked_line(source, span)
    if hint:
        lines.append("hint: " + hint)
    return "\n".join(lines)


def _marked_line(source: str, span: Span) -> list[str]:
    """Give the line where ``span`` starts and a line of carets below it; long lines are cut."""
    start, end = span
    line_start = source.rfind("\n", 0, start) + 1
    line_end = source.find("\n", start)
    if line_end < 0:
        line_end = len(source)
    if line_end - line_start > _LINE_WIDTH:
        line_start = max(line_start, start - _LINE_WIDTH // 2)
        line_end = min(line_end, line_start + _LINE_WIDTH)
    width = max(1, min(end, line_end) - start)
    # A tab before the place stays a tab in the line of carets, so that both line up.
    lead = "".join("\t" if char == "\t" else " " for char in source[line_start:start])
    return ["    " + source[line_start:line_end], "    " + lead + "^" * width]


def nearest(word: str, known: Iterable[Any]) -> str | None:
    """Give the word of ``known`` that is spelled most like ``word``, or None when none is close."""
    # Imported here because only errors need it.
    from difflib import get_close_matches

    words = [name for name in known if isinstance(name, str)]
    folded = {name.lower().replace("_", "-"): name for name in words}
    same = folded.get(word.lower().replace("_", "-"))
    if same is not None and same != word:
        return same
    found = get_close_matches(word, words, n=1, cutoff=0.6)
    return found[0] if found else None


def did_you_mean(word: str, known: Iterable[Any], limit: int = 8) -> str | None:
    """Give a hint for an unknown word: the nearest spelling, else the words there are, else None."""
    words = sorted(name for name in known if isinstance(name, str))
    close = nearest(word, words)
    if close is not None:
        return "did you mean '{}'?".format(close)
    if not words:
        return None
    more = ", ..." if len(words) > limit else ""
    return "known here: " + ", ".join(words[:limit]) + more
