"""Which values of the contexts an expression names, so that only those need to be fetched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Iterator, Optional, Tuple

from airflow_stagecoach.expressions._nodes import Field, Index, Literal, Name, Node, Path, Step, children
from airflow_stagecoach.expressions._parser import parse_condition
from airflow_stagecoach.expressions._templates import parse_template

#: A context and what follows it; None stands for a name that only a run can tell.
Reference = Tuple[Optional[str], ...]


def references(value: Any, condition: bool = False) -> set[Reference]:
    """Give every path that a value names, such as ``("needs", "split", "outputs", "partitions")``.

    A path stands for all that is below it: ``("needs",)`` comes from ``toJson(needs)``. A segment that is
    computed, and ``.*``, is None; an index from the end too. What stands inside ``{{ }}`` of Jinja counts as
    well, so that code and texts need no telling apart.

    :param value: a text, or maps and lists with texts inside
    :param condition: whether the texts are conditions
    :raises ExpressionSyntaxError: an expression is wrong
    """
    found: set[Reference] = set()
    for node in _expressions(value, condition):
        _collect(node, found)
    return found


def _expressions(value: Any, condition: bool) -> Iterator[Node]:
    """Give every expression inside a value."""
    if isinstance(value, str):
        if condition:
            yield parse_condition(value)
        elif "${{" in value:
            yield from parse_template(value, jinja=False).expressions
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _expressions(item, condition)
    elif isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        for item in value:
            yield from _expressions(item, condition)


def _collect(node: Node, found: set[Reference]) -> None:
    """Add the paths named in a node and below it."""
    if isinstance(node, Path) and isinstance(node.base, Name):
        found.add((node.base.name, *(_segment(step) for step in node.steps)))
        for step in node.steps:
            _collect(step, found)
        return
    if isinstance(node, Name):
        found.add((node.name,))
    for child in children(node):
        _collect(child, found)


def _segment(step: Step) -> str | None:
    """Give the name that a step reads, or None when it is not known."""
    if isinstance(step, Field):
        return step.name
    if isinstance(step, Index) and isinstance(step.key, Literal):
        key = step.key.value
        if isinstance(key, str) or (type(key) is int and key >= 0):
            return str(key)
    return None
