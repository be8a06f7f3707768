"""What can be known to be wrong before anything runs: names, kinds, arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Callable

from airflow_stagecoach.expressions._errors import ExpressionError, ExpressionSyntaxError, did_you_mean
from airflow_stagecoach.expressions._evaluate import evaluate, written_before
from airflow_stagecoach.expressions._explain import (
    explain_boolean,
    explain_never,
    explain_order,
    explain_unknown_filter,
    explain_unknown_function,
    explain_unknown_name,
)
from airflow_stagecoach.expressions._filters import FILTERS, find_registered
from airflow_stagecoach.expressions._functions import STATUS_FUNCTIONS, find_function
from airflow_stagecoach.expressions._lookup import DATE_FIELDS, whole_number
from airflow_stagecoach.expressions._nodes import (
    Arithmetic,
    Call,
    Choice,
    Comparison,
    Expression,
    Field,
    Filter,
    Index,
    ListLiteral,
    Literal,
    Logic,
    MapLiteral,
    Name,
    Negative,
    Node,
    Not,
    Path,
    Star,
    Step,
    Text,
    children,
)
from airflow_stagecoach.expressions._operators import explain_kinds
from airflow_stagecoach.expressions._parser import parse_condition
from airflow_stagecoach.expressions._scope import Kind, Problem, Record, Scope, Shape, Words
from airflow_stagecoach.expressions._templates import parse_template
from airflow_stagecoach.expressions._values import describe, kind_of, name_kind

#: Kinds that are never equal to one another; null may be compared with anything.
_DISTINCT = frozenset((Kind.BOOLEAN, Kind.NUMBER, Kind.TEXT, Kind.DATE, Kind.LIST, Kind.MAP))


def check(value: Any, scope: Scope, condition: bool = False, jinja: bool = True) -> list[Problem]:
    """Give what is wrong with the expressions inside a value, as far as it can be known without a run.

    Reported are: bad syntax; unknown contexts, functions, filters and fields of closed records; a wrong
    number of arguments; status functions where there is no status; operators between kinds that never fit;
    fixed values that a function refuses; a condition that is not a boolean.

    :param value: a text, or maps and lists with texts inside
    :param condition: whether the texts are conditions (``if``, ``until``)
    :param jinja: as for ``parse_template``
    :returns: problems in the order of the texts; empty when nothing is known to be wrong
    """
    problems: list[Problem] = []
    _check_value(value, scope, condition, jinja, (), problems)
    return problems


def _check_value(
    value: Any,
    scope: Scope,
    condition: bool,
    jinja: bool,
    path: tuple[str | int, ...],
    problems: list[Problem],
) -> None:
    if isinstance(value, str):
        if condition or "${{" in value or (jinja and "{{" in value):
            problems += _check_text(value, scope, condition, jinja, path)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            _check_value(item, scope, condition, jinja, (*path, key), problems)
    elif isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        for index, item in enumerate(value):
            _check_value(item, scope, condition, jinja, (*path, index), problems)
    elif condition and not isinstance(value, bool):
        problems.append(
            Problem(
                "a condition is an expression or true or false, not {}".format(describe(value)),
                (0, 0),
                path=path,
            )
        )


def _check_text(
    source: str, scope: Scope, condition: bool, jinja: bool, path: tuple[str | int, ...]
) -> list[Problem]:
    try:
        expressions = (parse_condition(source),) if condition else parse_template(source, jinja).expressions
    except ExpressionSyntaxError as error:
        return [Problem(error.message, error.span or (0, len(source)), error.hint, source, path)]
    checker = _Checker(scope, source, path)
    for expression in expressions:
        checker.check(expression, condition)
    return sorted(checker.problems, key=lambda problem: problem.span)


class _Checker:
    """Walks the expressions of one text. Each rule gives the shape of its node and notes problems."""

    def __init__(self, scope: Scope, source: str, path: tuple[str | int, ...]) -> None:
        self.scope = scope
        self.source = source
        self.path = path
        self.problems: list[Problem] = []

    def check(self, expression: Expression, condition: bool) -> None:
        """Check one expression."""
        body = expression.body
        shape = self.shape(body)
        kind = _kind(shape)
        if condition and kind not in (Kind.BOOLEAN, Kind.ANYTHING):
            written = self.source[body.start : body.end]
            self.note(
                body,
                "the condition gives {}, not true or false".format(name_kind(kind)),
                explain_boolean(kind, written, *shape.words[:1] if isinstance(shape, Words) else ()),
            )
        self.try_constants(body)

    def note(self, node: Node, message: str, hint: str | None = None) -> None:
        """Add a problem."""
        self.problems.append(Problem(message, (node.start, node.end), hint, self.source, self.path))

    def shape(self, node: Node) -> Shape:
        """Give what is known about the value of a node."""
        return _RULES[type(node)](self, node)

    def try_constants(self, node: Node) -> None:
        """Evaluate the parts that name nothing: what they raise now they would raise in every run."""
        if isinstance(node, Literal):
            return
        if not _is_constant(node):
            for child in children(node):
                self.try_constants(child)
            return
        if any(node.start <= one.span[0] and one.span[1] <= node.end for one in self.problems):
            return
        try:
            evaluate(Expression(node, self.source, node.start, node.end), {})
        except ExpressionError as error:
            span = error.span or (node.start, node.end)
            self.problems.append(Problem(error.message, span, error.hint, self.source, self.path))

    # -- rules

    def literal(self, node: Literal) -> Shape:
        """Give the kind of a literal."""
        return kind_of(node.value)

    def name(self, node: Name) -> Shape:
        """Look a context up."""
        if node.name in self.scope.contexts:
            return self.scope.contexts[node.name]
        if node.name in self.scope.unavailable:
            message = "'{}' is not available here: {}".format(node.name, self.scope.unavailable[node.name])
            self.note(node, message)
        else:
            written = self.source[node.start :]
            self.note(node, *explain_unknown_name(node.name, self.scope.contexts, written))
        return Kind.ANYTHING

    def path_shape(self, node: Path) -> Shape:
        """Follow a path as far as its shape is known."""
        shape = self.shape(node.base)
        spread = False
        for step in node.steps:
            if isinstance(step, Index):
                self.shape(step.key)
            if isinstance(step, Star):
                if not spread:
                    self.step(shape, step, node)
                spread = True
            elif not spread:
                shape = self.step(shape, step, node)
        return Kind.LIST if spread else shape

    def step(self, shape: Shape, step: Step, node: Path) -> Shape:
        """Give the shape one step further on."""
        if shape is Kind.ANYTHING or (
            isinstance(step, Field) and step.optional and not isinstance(shape, Record)
        ):
            return Kind.ANYTHING
        if isinstance(step, Star):
            if not isinstance(shape, Record) and shape not in (Kind.LIST, Kind.MAP):
                self.note(
                    step,
                    "{} is {} and has no items".format(
                        written_before(node, step, self.source), name_kind(_kind(shape))
                    ),
                )
            return Kind.ANYTHING
        if isinstance(step, Index) and not isinstance(step.key, Literal):
            return Kind.ANYTHING
        if isinstance(shape, Record):
            return self.field(shape, step)
        key: Any = step.name if isinstance(step, Field) else _literal(step)
        if shape is Kind.MAP:
            return Kind.ANYTHING
        if shape is Kind.LIST:
            number = whole_number(key) if isinstance(step, Field) else key if type(key) is int else None
            if number is None:
                self.note(
                    step,
                    "{} is a list and has no '{}'".format(written_before(node, step, self.source), key),
                    "write [0] for an item, .* for all items",
                )
            return Kind.ANYTHING
        if shape is Kind.DATE and key in DATE_FIELDS:
            return Kind.NUMBER
        hint = did_you_mean(key, DATE_FIELDS) if shape is Kind.DATE and isinstance(key, str) else None
        self.note(
            step,
            "{} is {} and has no '{}'".format(
                written_before(node, step, self.source), name_kind(_kind(shape)), key
            ),
            hint,
        )
        return Kind.ANYTHING

    def field(self, record: Record, step: Field | Index) -> Shape:
        """Look a field of a record up."""
        name = step.name if isinstance(step, Field) else str(_literal(step))
        optional = isinstance(step, Field) and step.optional
        if name in record.fields:
            # An optional field may be missing all the same, so nothing is known about what follows.
            return Kind.ANYTHING if optional else record.fields[name]
        if optional:
            return Kind.ANYTHING
        if name in record.unavailable:
            message = "{} '{}' is not available here: {}".format(record.noun, name, record.unavailable[name])
            self.note(step, message, record.advice(name) if record.advice is not None else None)
        elif record.closed:
            self.note(step, "unknown {} '{}'".format(record.noun, name), did_you_mean(name, record.fields))
        return Kind.ANYTHING

    def call(self, node: Call) -> Shape:
        """Check a call."""
        for argument in node.arguments:
            self.shape(argument)
        function = find_function(node.function)
        if function is None:
            self.note(node, *explain_unknown_function(node.function))
            return Kind.ANYTHING
        problem = function.count_problem(len(node.arguments))
        if problem is not None:
            self.note(node, problem)
        if function.name in STATUS_FUNCTIONS and not self.scope.status:
            self.note(
                node,
                "{}() cannot be used here".format(function.name),
                "only the `if` of a job or a stage has a status",
            )
        return function.result

    def filter(self, node: Filter) -> Shape:
        """Check a filter."""
        value = self.shape(node.value)
        if isinstance(value, Words):  # What a filter makes of it may be another text.
            value = Kind.TEXT
        shapes = [self.shape(argument) for argument in node.arguments]
        shapes += [self.shape(argument) for _, argument in node.keywords]
        builtin = FILTERS.get(node.name)
        if builtin is None:
            if find_registered(node.name) is None:
                written = self.written(node.arguments[0]) if node.arguments else ""
                self.note(node, *explain_unknown_filter(node.name, written))
            return Kind.ANYTHING
        problem = builtin.argument_problem(len(node.arguments), [name for name, _ in node.keywords])
        if problem is not None:
            self.note(node, problem)
        if node.name == "coalesce" and shapes and shapes[0] is value:
            return value
        return builtin.result

    def negation(self, node: Not) -> Shape:
        """Check ``!``."""
        self.shape(node.operand)
        return Kind.BOOLEAN

    def negative(self, node: Negative) -> Shape:
        """Check the minus sign."""
        kind = _kind(self.shape(node.operand))
        if kind not in (Kind.NUMBER, Kind.ANYTHING):
            self.note(node, "{} has no negative".format(name_kind(kind)))
        return Kind.NUMBER

    def logic(self, node: Logic) -> Shape:
        """Check ``&&`` and ``||``: their kind is known when all operands have it."""
        kinds = {_kind(self.shape(operand)) for operand in node.operands}
        return kinds.pop() if len(kinds) == 1 else Kind.ANYTHING

    def comparison(self, node: Comparison) -> Shape:
        """Check that two kinds can be equal, or have an order."""
        shapes = self.shape(node.left), self.shape(node.right)
        left, right = _kind(shapes[0]), _kind(shapes[1])
        operator = node.operator
        if operator in ("in", "not in"):
            if isinstance(node.right, ListLiteral):
                self.never(shapes[0], node.left, node.right.items)
            if right in (Kind.NUMBER, Kind.BOOLEAN, Kind.NULL, Kind.DATE):
                self.note(node, "'in' needs a list, a text or a map, not {}".format(name_kind(right)))
            elif right is Kind.TEXT and left in _DISTINCT - {Kind.TEXT}:
                message = "'in' looks for a text in a text, not for {}".format(name_kind(left))
                self.note(node, message, "write: str(x) in text")
        elif operator in ("==", "!="):
            if left is not right and left in _DISTINCT and right in _DISTINCT:
                message = "{} is never equal to {}".format(name_kind(left), name_kind(right))
                self.note(node, message, self.equality_hint(node, left, right))
            self.never(shapes[0], node.left, [node.right])
            self.never(shapes[1], node.right, [node.left])
        elif Kind.ANYTHING not in (left, right):
            if left is not right:
                message = "{} and {} have no order".format(name_kind(left), name_kind(right))
                written = (self.written(node.left), self.written(node.right))
                self.note(node, message, explain_order(left, right, *written))
            elif left not in (Kind.NUMBER, Kind.TEXT, Kind.DATE):
                self.note(node, "{} has no order".format(name_kind(left)))
        return Kind.BOOLEAN

    def never(self, shape: Shape, node: Node, others: Sequence[Node]) -> None:
        """Note that a value of few texts is compared with other fixed texts alone."""
        if not isinstance(shape, Words) or not others:
            return
        texts = [other for other in others if isinstance(other, Literal) and isinstance(other.value, str)]
        if len(texts) == len(others) and not any(text.value in shape.words for text in texts):
            for text in texts:
                self.note(text, *explain_never(self.written(node), shape.words, text.value))

    def equality_hint(self, node: Comparison, left: Kind, right: Kind) -> str | None:
        """Say how to compare two kinds that are never equal."""
        text, other, kind = node.left, node.right, right
        if left is not Kind.TEXT:
            text, other, kind = node.right, node.left, left
        if Kind.TEXT not in (left, right):
            return None
        if isinstance(text, Literal):
            if kind is Kind.NUMBER:
                return "write the number without quotes"
            if kind is Kind.BOOLEAN:
                return "write {}, or !{} for the opposite".format(self.written(other), self.written(other))
        if kind is Kind.BOOLEAN:
            return "write bool({})".format(self.written(text))
        return explain_order(left, right, self.written(node.left), self.written(node.right))

    def written(self, node: Node) -> str:
        """Give how the document writes a node."""
        return self.source[node.start : node.end]

    def arithmetic(self, node: Arithmetic) -> Shape:
        """Check ``+ - * / %``."""
        kind = _kind(self.shape(node.first))
        for operator, operand in node.rest:
            other = _kind(self.shape(operand))
            if Kind.ANYTHING in (kind, other):
                kind = Kind.ANYTHING if operator == "+" else Kind.NUMBER
                continue
            allowed = (Kind.NUMBER, Kind.TEXT, Kind.LIST) if operator == "+" else (Kind.NUMBER,)
            if kind is not other or kind not in allowed:
                self.note(node, *explain_kinds(operator, kind, other))
                return Kind.ANYTHING
        return kind

    def choice(self, node: Choice) -> Shape:
        """Check ``test ? yes : no``."""
        self.shape(node.test)
        kinds = {_kind(self.shape(node.yes)), _kind(self.shape(node.no))}
        return kinds.pop() if len(kinds) == 1 else Kind.ANYTHING

    def list_literal(self, node: ListLiteral) -> Shape:
        """Check the items of a list."""
        for item in node.items:
            self.shape(item)
        return Kind.LIST

    def map_literal(self, node: MapLiteral) -> Shape:
        """Check the keys and values of a map."""
        for key, item in node.items:
            self.shape(key)
            self.shape(item)
        return Kind.MAP

    def quoted(self, node: Text) -> Shape:
        """Check the parts of a text."""
        for part in node.parts:
            self.shape(part)
        return Kind.TEXT


def _kind(shape: Shape) -> Kind:
    if isinstance(shape, Record):
        return Kind.MAP
    return Kind.TEXT if isinstance(shape, Words) else shape


def _literal(step: Index) -> Any:
    assert isinstance(step.key, Literal), "the caller asks only for fixed keys"
    return step.key.value


def _is_constant(node: Node) -> bool:
    """Whether a node names no context and calls nothing whose result varies."""
    if isinstance(node, (Name, Field, Index, Star)):
        return False
    if isinstance(node, Call):
        function = find_function(node.function)
        if function is None or not function.pure:
            return False
    if isinstance(node, Filter) and node.name not in FILTERS:
        return False
    return all(_is_constant(child) for child in children(node))


_RULES: dict[type[Node], Callable[[_Checker, Any], Shape]] = {
    Literal: _Checker.literal,
    Name: _Checker.name,
    Path: _Checker.path_shape,
    Call: _Checker.call,
    Filter: _Checker.filter,
    Not: _Checker.negation,
    Negative: _Checker.negative,
    Logic: _Checker.logic,
    Comparison: _Checker.comparison,
    Arithmetic: _Checker.arithmetic,
    Choice: _Checker.choice,
    ListLiteral: _Checker.list_literal,
    MapLiteral: _Checker.map_literal,
    Text: _Checker.quoted,
}
