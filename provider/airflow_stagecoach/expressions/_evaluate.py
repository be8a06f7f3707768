"""Nodes and contexts into a value, with bounded work."""

from __future__ import annotations

from typing import Any, Callable, Mapping, NoReturn

from airflow_stagecoach.expressions._errors import ExpressionError
from airflow_stagecoach.expressions._explain import (
    explain_missing,
    explain_order,
    explain_unknown_filter,
    explain_unknown_function,
    explain_unknown_name,
)
from airflow_stagecoach.expressions._filters import FILTERS, find_registered
from airflow_stagecoach.expressions._functions import find_function
from airflow_stagecoach.expressions._lookup import MissingError, get_all, get_field, get_index
from airflow_stagecoach.expressions._nodes import (
    Arithmetic,
    Call,
    Choice,
    Comparison,
    Expression,
    Field,
    Filter,
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
from airflow_stagecoach.expressions._operators import calculate, negate
from airflow_stagecoach.expressions._scope import Kind
from airflow_stagecoach.expressions._values import (
    compare,
    describe,
    equal,
    is_true,
    kind_of,
    name_kind,
    to_text,
)

#: Most work of one evaluation: values visited, and characters in eights.
MAX_WORK = 1_000_000

#: Contexts whose values may be secret. Errors about expressions that name them show no values.
_SECRET_CONTEXTS = frozenset(("conn", "env", "secrets"))

_ORDERS: dict[str, Callable[[int], bool]] = {
    "<": lambda order: order < 0,
    "<=": lambda order: order <= 0,
    ">": lambda order: order > 0,
    ">=": lambda order: order >= 0,
}


def evaluate(node: Node, contexts: Mapping[str, Any]) -> Any:
    """Give the value of an expression.

    :param node: what ``parse`` gave, or an expression part of a template
    :param contexts: values by name; maps inside may be lazy, and only what is named is read.
        ``__status__`` holds ``success``, ``failure`` and ``cancelled`` for the functions of these names,
        ``__workspace__`` the base folder of ``hashFiles``
    :raises ExpressionError: something named is missing, kinds do not fit, or the work is too much
    """
    source, body = (node.source, node.body) if isinstance(node, Expression) else ("", node)
    try:
        return Evaluation(contexts, source).value(body)
    except RecursionError:
        message = "the expression or its values are nested too deep"
    except ArithmeticError:  # a Decimal that is no number, such as NaN, has no order and no whole part
        message = "a number is out of range"
    raise ExpressionError(message).at(source, body.start, body.end)


def written_before(path: Path, step: Step, source: str) -> str:
    """Give what the document writes before a step of a path, to name it in a message."""
    written = source[path.start : step.start].rstrip()
    # What stands in parentheses has its place without them.
    return written if written and isinstance(path.base, Name) else "the value"


def is_discreet(node: Node) -> bool:
    """Whether the values of an expression may be secret, so that errors must not show them."""
    if isinstance(node, Name) and node.name in _SECRET_CONTEXTS:
        return True
    return any(is_discreet(child) for child in children(node))


class Evaluation:
    """One evaluation: its contexts, and how much work it has done."""

    __slots__ = ("contexts", "source", "work")

    def __init__(self, contexts: Mapping[str, Any], source: str) -> None:
        self.contexts = contexts
        self.source = source
        self.work = 0

    # -- what functions and filters use

    def charge(self, amount: int) -> None:
        """Count work.

        :raises ExpressionError: it is more than ``MAX_WORK``
        """
        self.work += amount
        if self.work > MAX_WORK:
            raise ExpressionError(
                "the expression works on too much data",
                hint="do the work in a Python stage and use its outputs",
            )

    def measure(self, value: Any) -> None:
        """Charge for every value inside ``value``."""
        kind = kind_of(value)
        if kind is Kind.TEXT:
            self.charge(1 + len(value) // 8)
        elif kind in (Kind.LIST, Kind.MAP):
            self.charge(1)
            for item in value if kind is Kind.LIST else (value[key] for key in value):
                self.measure(item)
        else:
            self.charge(1)

    def text(self, value: Any) -> str:
        """Give a value as it stands inside a text, and charge for it."""
        self.measure(value)
        return to_text(value)

    def status(self, name: str) -> bool:
        """Give what ``success()``, ``failure()`` or ``cancelled()`` gives.

        :raises ExpressionError: there is no status at this place
        """
        status = self.contexts.get("__status__")
        if status is None:
            raise ExpressionError(
                "{}() cannot be used here".format(name), hint="only the `if` of a job or a stage has a status"
            )
        return bool(status.get(name))

    # -- evaluation

    def value(self, node: Node) -> Any:
        """Give the value of a node."""
        return _HANDLERS[type(node)](self, node)

    def literal(self, node: Literal) -> Any:
        """Give the value of a literal."""
        return node.value

    def name(self, node: Name) -> Any:
        """Give a context."""
        try:
            # Names of two underscores are for functions, not for documents.
            if not node.name.startswith("__"):
                return self.contexts[node.name]
        except KeyError:
            pass
        if node.optional:
            return None
        # Only a plain dict is asked for its names: another map may be lazy.
        known = self.contexts if isinstance(self.contexts, dict) else ()
        return self.fail(node, *explain_unknown_name(node.name, known, self.source[node.start :]))

    def path(self, node: Path) -> Any:
        """Give what a path leads to. After ``.*`` every step applies to each value that has it."""
        value = self.value(node.base)
        if value is None and isinstance(node.base, Name) and node.base.optional:
            return None
        many: list[Any] | None = None
        for step in node.steps:
            try:
                if many is not None:
                    self.charge(len(many))
                    many = self.spread(many, step)
                elif isinstance(step, Star):
                    found = get_all(value)
                    if found is None:
                        raise MissingError("is {} and has no items".format(describe(value)))
                    many = found
                else:
                    value = self.step(value, step)
                    if value is None and isinstance(step, Field) and step.optional:
                        return None
            except MissingError as missing:
                if isinstance(step, Field) and step.optional:
                    return None
                subject = written_before(node, step, self.source)
                raise ExpressionError(
                    "{} {}".format(subject, missing.predicate),
                    self.source,
                    (step.start, step.end),
                    explain_missing(subject, step) or missing.hint,
                ) from None
            except ExpressionError as error:
                raise error.at(self.source, step.start, step.end) from None
        if many is not None:
            self.charge(len(many))
        return value if many is None else many

    def step(self, value: Any, step: Step) -> Any:
        """Give the value one step further on."""
        if isinstance(step, Field):
            return get_field(value, step.name)
        assert not isinstance(step, Star), "the caller spreads"
        return get_index(value, self.value(step.key))

    def spread(self, values: list[Any], step: Step) -> list[Any]:
        """Apply a step to each value, leaving out those that do not have it."""
        found: list[Any] = []
        for value in values:
            if isinstance(step, Star):
                found.extend(get_all(value) or ())
                continue
            try:
                found.append(self.step(value, step))
            except MissingError:
                continue
        return found

    def call(self, node: Call) -> Any:
        """Call a function."""
        function = find_function(node.function)
        if function is None:
            self.fail(node, *explain_unknown_function(node.function))
        problem = function.count_problem(len(node.arguments))
        if problem is not None:
            self.fail(node, problem)
        arguments = [self.value(argument) for argument in node.arguments]
        try:
            return function.call(self, *arguments)
        except ExpressionError as error:
            raise error.at(self.source, node.start, node.end) from None

    def filter(self, node: Filter) -> Any:
        """Apply a filter."""
        builtin = FILTERS.get(node.name)
        if builtin is None and find_registered(node.name) is None:
            first = node.arguments[0] if node.arguments else None
            written = self.source[first.start : first.end] if first is not None else ""
            self.fail(node, *explain_unknown_filter(node.name, written))
        if builtin is not None:
            problem = builtin.argument_problem(len(node.arguments), [name for name, _ in node.keywords])
            if problem is not None:
                self.fail(node, problem)
        value = self.value(node.value)
        arguments = [self.value(argument) for argument in node.arguments]
        keywords = {name: self.value(argument) for name, argument in node.keywords}
        if builtin is None:
            return self.registered(node, value, arguments, keywords)
        try:
            return builtin.call(self, value, *arguments, **keywords)
        except MissingError as missing:
            self.fail(node, "the value {}".format(missing.predicate), hint=missing.hint)
        except ExpressionError as error:
            raise error.at(self.source, node.start, node.end) from None

    def registered(self, node: Filter, value: Any, arguments: list[Any], keywords: dict[str, Any]) -> Any:
        """Apply a filter of the site, which may fail in any way."""
        function = find_registered(node.name)
        assert function is not None, "the caller looked it up"
        try:
            return function(value, *arguments, **keywords)
        except ExpressionError as error:
            raise error.at(self.source, node.start, node.end) from None
        except Exception as error:
            message = "the filter '{}' failed: {}".format(node.name, type(error).__name__)
            if is_discreet(node):
                self.fail(node, message)
            self.fail(node, "{}: {}".format(message, error))

    def negation(self, node: Not) -> bool:
        """Give whether the operand counts as false."""
        return not is_true(self.value(node.operand))

    def negative(self, node: Negative) -> Any:
        """Give a number with the other sign."""
        value = self.value(node.operand)
        try:
            return negate(value)
        except ExpressionError as error:
            raise error.at(self.source, node.start, node.end) from None

    def logic(self, node: Logic) -> Any:
        """Give the first operand that decides, else the last; later ones are not evaluated."""
        wanted = node.operator == "||"
        value = None
        for operand in node.operands:
            value = self.value(operand)
            if is_true(value) is wanted:
                break
        return value

    def comparison(self, node: Comparison) -> bool:
        """Compare two values."""
        left, right = self.value(node.left), self.value(node.right)
        operator = node.operator
        try:
            if operator == "==":
                return equal(left, right, self.charge)
            if operator == "!=":
                return not equal(left, right, self.charge)
            if operator in _ORDERS:
                order = compare(left, right)
                return order is not None and _ORDERS[operator](order)
            return self.contains(right, left) is (operator == "in")
        except ExpressionError as error:
            if error.hint is None and operator in _ORDERS:
                error.hint = self.order_hint(node, kind_of(left), kind_of(right))
            raise error.at(self.source, node.start, node.end) from None

    def order_hint(self, node: Comparison, left: Kind, right: Kind) -> str | None:
        """Say what to write where two kinds have no order."""
        left_text = self.source[node.left.start : node.left.end] or "x"
        right_text = self.source[node.right.start : node.right.end] or "x"
        return explain_order(left, right, left_text, right_text)

    def contains(self, container: Any, item: Any) -> bool:
        """Whether ``item in container``: a part of a text, an item of a list, a key of a map."""
        kind = kind_of(container)
        if kind is Kind.LIST:
            return any(equal(one, item, self.charge) for one in container)
        if kind is Kind.MAP:
            return kind_of(item) not in (Kind.LIST, Kind.MAP) and item in container
        if kind is Kind.TEXT and kind_of(item) is Kind.TEXT:
            return item in container
        if kind is Kind.TEXT:
            raise ExpressionError(
                "'in' looks for a text in a text, not for {}".format(describe(item)),
                hint="write: str(x) in text",
            )
        raise ExpressionError("'in' needs a list, a text or a map, not {}".format(name_kind(kind)))

    def arithmetic(self, node: Arithmetic) -> Any:
        """Calculate from left to right."""
        value = self.value(node.first)
        for operator, operand in node.rest:
            other = self.value(operand)
            try:
                value = calculate(operator, value, other, self.charge)
            except ExpressionError as error:
                raise error.at(self.source, node.start, operand.end) from None
        return value

    def choice(self, node: Choice) -> Any:
        """Give one of two values; the other is not evaluated."""
        return self.value(node.yes if is_true(self.value(node.test)) else node.no)

    def list_literal(self, node: ListLiteral) -> list[Any]:
        """Make a list."""
        return [self.value(item) for item in node.items]

    def map_literal(self, node: MapLiteral) -> dict[Any, Any]:
        """Make a map; its keys are texts or numbers."""
        made: dict[Any, Any] = {}
        for key_node, item in node.items:
            key = self.value(key_node)
            if kind_of(key) not in (Kind.TEXT, Kind.NUMBER):
                self.fail(key_node, "{} cannot be the key of a map".format(describe(key)))
            made[key] = self.value(item)
        return made

    def quoted(self, node: Text) -> str:
        """Join the parts of a text."""
        return "".join(self.text(self.value(part)) for part in node.parts)

    def fail(self, node: Node, message: str, hint: str | None = None) -> NoReturn:
        """Raise an error at the place of a node."""
        raise ExpressionError(message, self.source, (node.start, node.end), hint) from None


_HANDLERS: dict[type[Node], Callable[[Evaluation, Any], Any]] = {
    Literal: Evaluation.literal,
    Name: Evaluation.name,
    Path: Evaluation.path,
    Call: Evaluation.call,
    Filter: Evaluation.filter,
    Not: Evaluation.negation,
    Negative: Evaluation.negative,
    Logic: Evaluation.logic,
    Comparison: Evaluation.comparison,
    Arithmetic: Evaluation.arithmetic,
    Choice: Evaluation.choice,
    ListLiteral: Evaluation.list_literal,
    MapLiteral: Evaluation.map_literal,
    Text: Evaluation.quoted,
}
