"""The ``${{ }}`` language: parse, check, evaluate. Standard library only, Python 3.8 or newer.

Everything is imported when it is first used: a container whose unit has no expression pays for none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_stagecoach.expressions._check import check
    from airflow_stagecoach.expressions._conditions import evaluate_condition, status_functions
    from airflow_stagecoach.expressions._errors import ExpressionError, ExpressionSyntaxError
    from airflow_stagecoach.expressions._evaluate import evaluate
    from airflow_stagecoach.expressions._filters import register_filter, registered_filters, restore_filters
    from airflow_stagecoach.expressions._nodes import Expression, Node
    from airflow_stagecoach.expressions._parser import parse, parse_condition
    from airflow_stagecoach.expressions._references import references
    from airflow_stagecoach.expressions._scope import Kind, Problem, Record, Scope, Shape, Words
    from airflow_stagecoach.expressions._templates import (
        ExpressionPart,
        JinjaPart,
        Part,
        Template,
        TextPart,
        escape,
        parse_template,
        render,
        render_jinja,
    )
    from airflow_stagecoach.expressions._values import to_text

__all__ = [
    "Expression",
    "ExpressionError",
    "ExpressionPart",
    "ExpressionSyntaxError",
    "JinjaPart",
    "Kind",
    "Node",
    "Part",
    "Problem",
    "Record",
    "Scope",
    "Shape",
    "Template",
    "TextPart",
    "Words",
    "check",
    "escape",
    "evaluate",
    "evaluate_condition",
    "parse",
    "parse_condition",
    "parse_template",
    "references",
    "register_filter",
    "registered_filters",
    "render",
    "render_jinja",
    "restore_filters",
    "status_functions",
    "to_text",
]

#: Name -> the module that it is in.
_HOMES = {
    "Expression": "_nodes",
    "ExpressionError": "_errors",
    "ExpressionPart": "_templates",
    "ExpressionSyntaxError": "_errors",
    "JinjaPart": "_templates",
    "Kind": "_scope",
    "Node": "_nodes",
    "Part": "_templates",
    "Problem": "_scope",
    "Record": "_scope",
    "Scope": "_scope",
    "Shape": "_scope",
    "Template": "_templates",
    "TextPart": "_templates",
    "Words": "_scope",
    "check": "_check",
    "escape": "_templates",
    "evaluate": "_evaluate",
    "evaluate_condition": "_conditions",
    "parse": "_parser",
    "parse_condition": "_parser",
    "parse_template": "_templates",
    "references": "_references",
    "register_filter": "_filters",
    "registered_filters": "_filters",
    "render": "_templates",
    "render_jinja": "_templates",
    "restore_filters": "_filters",
    "status_functions": "_conditions",
    "to_text": "_values",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
