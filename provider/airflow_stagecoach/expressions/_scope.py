"""What is known about the contexts before anything runs: the input of ``check``.

A **shape** says what a value will be: a ``Kind``, a ``Record`` when its fields are known, or ``Words`` when
it is one of a few texts.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Callable, Mapping, Union

if TYPE_CHECKING:
    from collections.abc import Sequence


class Kind(str, enum.Enum):
    """The kinds of values that the language tells apart, and ``ANYTHING`` for not known yet."""

    ANYTHING = "anything"
    NULL = "null"
    BOOLEAN = "boolean"
    NUMBER = "number"
    TEXT = "text"
    DATE = "date"
    LIST = "list"
    MAP = "map"


class Record:
    """A map of which fields are known.

    :param fields: name of each field and its shape
    :param noun: what a field is called in messages: ``job``, ``stage``, ``param``, ``matrix axis``
    :param closed: whether ``fields`` are all there are; an unknown field of a closed record is a problem
    :param unavailable: names that exist but not here, with the reason: ``"stage 'b' runs later"``
    :param advice: gives the hint for an unavailable name
    """

    __slots__ = ("advice", "closed", "fields", "noun", "unavailable")

    def __init__(
        self,
        fields: Mapping[str, Shape],
        noun: str = "field",
        closed: bool = True,
        unavailable: Mapping[str, str] | None = None,
        advice: Callable[[str], str | None] | None = None,
    ) -> None:
        self.fields = fields
        self.noun = noun
        self.closed = closed
        self.unavailable: Mapping[str, str] = unavailable or {}
        self.advice = advice

    def __repr__(self) -> str:
        return "Record({!r}, noun={!r}, closed={!r})".format(dict(self.fields), self.noun, self.closed)


class Words:
    """A text that is one of a few: a result, the option of a choice. Null is possible too."""

    __slots__ = ("words",)

    def __init__(self, words: Sequence[str]) -> None:
        self.words = tuple(words)

    def __repr__(self) -> str:
        return "Words({!r})".format(self.words)


#: What a value will be.
Shape = Union[Kind, Record, Words]


class Scope:
    """The names that an expression may use at one place of a document.

    :param contexts: name of each context and its shape: ``{"params": Record({...}, noun="param")}``
    :param unavailable: contexts that exist but not at this place, with the reason
    :param status: whether ``success() failure() always() cancelled()`` may be called here
    """

    __slots__ = ("contexts", "status", "unavailable")

    def __init__(
        self,
        contexts: Mapping[str, Shape],
        unavailable: Mapping[str, str] | None = None,
        status: bool = False,
    ) -> None:
        self.contexts = contexts
        self.unavailable: Mapping[str, str] = unavailable or {}
        self.status = status


class Problem:
    """One thing that ``check`` found wrong.

    :param message: one sentence, without the place
    :param span: start and end (exclusive) in ``source``
    :param hint: what to write instead, or None
    :param source: the text in which it was found, exactly as it was given
    :param path: keys and indexes that lead from the checked value to that text; () for the value itself
    """

    __slots__ = ("hint", "message", "path", "source", "span")

    def __init__(
        self,
        message: str,
        span: tuple[int, int],
        hint: str | None = None,
        source: str = "",
        path: Sequence[str | int] = (),
    ) -> None:
        self.message = message
        self.span = span
        self.hint = hint
        self.source = source
        self.path = tuple(path)

    def __str__(self) -> str:
        from airflow_stagecoach.expressions._errors import describe_problem

        return describe_problem(self.message, self.source, self.span, self.hint)

    def __repr__(self) -> str:
        return "Problem({!r}, {!r}, hint={!r}, path={!r})".format(
            self.message, self.span, self.hint, self.path
        )
