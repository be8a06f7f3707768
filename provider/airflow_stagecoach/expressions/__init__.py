"""The ``${{ }}`` language: parse, check, evaluate. Standard library only, Python 3.8 or newer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from airflow_stagecoach.expressions._check import check

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


def __getattr__(name: str) -> Any:
    # Checks are only made while a document is loaded; what runs stages does not pay for them.
    if name == "check":
        from airflow_stagecoach.expressions._check import check

        return check
    raise AttributeError("module '{}' has no attribute '{}'".format(__name__, name))
