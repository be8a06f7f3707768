"""Conditions: the values of ``if``, ``condition`` and ``until``."""

from __future__ import annotations

from typing import Any, Mapping

from airflow_stagecoach.expressions._errors import ExpressionError
from airflow_stagecoach.expressions._evaluate import evaluate, is_discreet
from airflow_stagecoach.expressions._explain import explain_boolean
from airflow_stagecoach.expressions._functions import STATUS_FUNCTIONS
from airflow_stagecoach.expressions._nodes import Call, Node, children
from airflow_stagecoach.expressions._parser import parse_condition
from airflow_stagecoach.expressions._values import describe, kind_of, to_text

#: Longest value that an error shows, in characters.
_SHOWN = 40


def evaluate_condition(source: Any, contexts: Mapping[str, Any]) -> bool:
    """Give what a condition says.

    :param source: a boolean, or a text: an expression with or without braces, or one that has braces inside
    :raises ExpressionError: it could not be evaluated, or gave something that is neither true nor false
    """
    if isinstance(source, bool):
        return source
    if not isinstance(source, str):
        raise ExpressionError(
            "a condition is an expression or true or false, not {}".format(describe(source))
        )
    expression = parse_condition(source)
    value = evaluate(expression, contexts)
    if isinstance(value, bool):
        return value
    body = expression.body
    gave = describe(value) if is_discreet(body) else _show(value)
    raise ExpressionError(
        "the condition gave {}, not true or false".format(gave),
        source,
        (body.start, body.end),
        explain_boolean(kind_of(value), source[body.start : body.end]),
    )


def status_functions(condition: str | bool | None) -> set[str]:
    """Give which of ``success``, ``failure``, ``always`` and ``cancelled`` a condition calls.

    :param condition: as for ``evaluate_condition``; None, for no condition, calls none

    :raises ExpressionSyntaxError: the condition is no expression
    """
    if not isinstance(condition, str):
        return set()
    return _status_functions(parse_condition(condition))


def _status_functions(node: Node) -> set[str]:
    found: set[str] = set()
    if isinstance(node, Call) and node.function.lower() in STATUS_FUNCTIONS:
        found.add(node.function.lower())
    for child in children(node):
        found |= _status_functions(child)
    return found


def _show(value: Any) -> str:
    """Give a value's kind, and the value itself where it is short."""
    kind = describe(value)
    if value is None:
        return kind
    text = repr(str(value)) if isinstance(value, str) else to_text(value)
    if len(text) > _SHOWN:
        return kind
    return "{} {}".format(kind.replace("a ", "the ", 1), text)
