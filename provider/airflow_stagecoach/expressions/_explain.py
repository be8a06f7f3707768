"""Messages about mistakes that evaluation meets and that checks find before: one wording for both."""

from __future__ import annotations

from typing import Iterable, Sequence

from airflow_stagecoach.expressions._errors import did_you_mean, nearest
from airflow_stagecoach.expressions._filters import FILTERS, find_registered, registered_filters
from airflow_stagecoach.expressions._foreign import explain_date_filter, explain_foreign_name
from airflow_stagecoach.expressions._functions import FUNCTIONS, find_function
from airflow_stagecoach.expressions._nodes import Field, Step
from airflow_stagecoach.expressions._scope import Kind

#: Longest piece of a document that a hint repeats, in characters.
_LONGEST_EXAMPLE = 40

#: Contexts that the site fills, and where in Airflow.
_OF_THE_SITE = {
    "vars": ("variable", "Admin, Variables"),
    "secrets": ("variable", "Admin, Variables"),
    "conn": ("connection", "Admin, Connections"),
}


def explain_unknown_name(name: str, known: Iterable[str], source: str) -> tuple[str, str | None]:
    """Give message and hint of the error for a name that is no context.

    ``known`` are those there are, ``source`` is the text of the document from the name on.
    """
    message = "unknown name '{}'".format(name)
    names = [word for word in known if not word.startswith("__")]
    foreign = explain_foreign_name(source, names)
    if foreign is not None:
        return message, foreign
    if "-" in name and name.split("-")[0] in names:
        written = name.replace("-", " - ")
        return message, "a hyphen belongs to the name; to subtract write: {}".format(written)
    for function in FUNCTIONS:
        if function == name or function.startswith(name + "."):
            return message, "{0}() is a function: write {0}()".format(function)
    close = nearest(name, names)
    if close is not None:
        return message, "did you mean '{}'?".format(close)
    quoted = "a text stands in quotes: '{}'".format(name)
    return message, "; ".join([quoted, *filter(None, [did_you_mean(name, names)])])


def explain_missing(subject: str, step: Step) -> str | None:
    """Give the hint for a name that a context does not have, where the site has to give it.

    ``subject`` is what stands before the step, as written: ``conn``.
    """
    if subject not in _OF_THE_SITE or not isinstance(step, Field):
        return None
    what, where = _OF_THE_SITE[subject]
    return "Airflow has no {} '{}': make it under {}, or write {}.{}? where it may be missing".format(
        what, step.name, where, subject, step.name
    )


def explain_unknown_function(name: str) -> tuple[str, str | None]:
    """Give message and hint of the error for a function that does not exist."""
    message = "unknown function '{}'".format(name)
    if name in FILTERS or find_registered(name) is not None:
        return message, "it is a filter: write value | {}".format(name)
    owner, _, last = name.rpartition(".")
    if owner and last in FILTERS:
        return message, "values have no methods; write: {} | {}".format(owner, last)
    if owner and last in FUNCTIONS:
        return message, "values have no methods; write: {}({})".format(last, owner)
    return message, did_you_mean(name, FUNCTIONS)


def explain_unknown_filter(name: str, argument: str) -> tuple[str, str | None]:
    """Give message and hint of the error for a filter that does not exist; ``argument`` is its first."""
    message = "unknown filter '{}'".format(name)
    date = explain_date_filter(name, argument)
    if date is not None:
        return message, date
    function = find_function(name)
    if function is not None:
        return message, "it is a function: write {}(value)".format(function.name)
    close = nearest(name, [*FILTERS, *registered_filters()])
    return message, "did you mean '{}'?".format(
        close
    ) if close else "a single | is a filter; 'or' is written ||"


def explain_never(written: str, words: Sequence[str], text: str) -> tuple[str, str]:
    """Give message and hint for a comparison with a text that a value never is; ``words`` it may be."""
    close = nearest(text, words)
    hint = "did you mean '{}'?".format(close) if close else "it is one of: {}".format(", ".join(words))
    return "{} is never '{}'".format(written, text), hint


def explain_order(left: Kind, right: Kind, left_text: str, right_text: str) -> str | None:
    """Say how to compare two kinds that have no order; the texts are how the document writes the two."""
    kinds = {left, right}
    if kinds == {Kind.NUMBER, Kind.TEXT}:
        text = left_text if left is Kind.TEXT else right_text
        return "write int({0}) or float({0}) to compare numbers".format(text)
    if kinds == {Kind.DATE, Kind.TEXT}:
        date = left_text if left is Kind.DATE else right_text
        return "write {} | fmt('%Y-%m-%d') to compare texts".format(date)
    if Kind.NULL in kinds:
        absent = left_text if left is Kind.NULL else right_text
        return "give null a value first: {} | coalesce(0)".format(absent)
    return None


def explain_boolean(kind: Kind, written: str, word: str = "yes") -> str:
    """Say how to make a condition of a value of this kind; ``written`` is how the document writes it.

    ``word`` is a text that it may be.
    """
    if not written or len(written) > _LONGEST_EXAMPLE:
        written = "x"
    if kind is Kind.NUMBER:
        return "compare it, as in: {} != 0".format(written)
    if kind is Kind.TEXT:
        return "compare it, as in: {} == '{}'".format(written, word)
    if kind is Kind.NULL:
        return "compare it, as in: {} != null".format(written)
    if kind in (Kind.LIST, Kind.MAP):
        return "compare its length, as in: len({}) > 0".format(written)
    return "compare it, as in: {} > datetime.now()".format(written)
