"""The nodes of a parsed expression. They hold no behaviour: evaluation and checks live elsewhere.

Chains (``a.b.c``, ``a + b - c``, ``a || b || c``, ``x | f | g``) are one node with many parts, so the
height of a tree is bounded by the nesting of the text and never by its length.
"""

from __future__ import annotations

from typing import Any, Union


class Node:
    """A part of an expression; ``start`` and ``end`` are its place in the text it was parsed from."""

    __slots__ = ("end", "start")

    def __init__(self, start: int, end: int) -> None:
        self.start = start
        self.end = end

    def __repr__(self) -> str:
        parts = ", ".join(repr(getattr(self, name)) for name in self.__slots__)
        return "{}({})".format(type(self).__name__, parts)


class Expression(Node):
    """A whole expression. ``source`` is the text that all places refer to, with what stands around it."""

    __slots__ = ("body", "source")

    def __init__(self, body: Node, source: str, start: int, end: int) -> None:
        super().__init__(start, end)
        self.body = body
        self.source = source


class Literal(Node):
    """``1``, ``'text'``, ``true``, ``null``."""

    __slots__ = ("value",)

    def __init__(self, value: Any, start: int, end: int) -> None:
        super().__init__(start, end)
        self.value = value


class Name(Node):
    """A context: ``params``. ``optional`` is true for ``params?``."""

    __slots__ = ("name", "optional")

    def __init__(self, name: str, optional: bool, start: int, end: int) -> None:
        super().__init__(start, end)
        self.name = name
        self.optional = optional


class Field(Node):
    """The step ``.name``, ``.name?`` or ``.0`` of a path."""

    __slots__ = ("name", "optional")

    def __init__(self, name: str, optional: bool, start: int, end: int) -> None:
        super().__init__(start, end)
        self.name = name
        self.optional = optional


class Index(Node):
    """The step ``[key]`` of a path."""

    __slots__ = ("key",)

    def __init__(self, key: Node, start: int, end: int) -> None:
        super().__init__(start, end)
        self.key = key


class Star(Node):
    """The step ``.*`` or ``[*]`` of a path: every value."""

    __slots__ = ()


#: One step of a path.
Step = Union[Field, Index, Star]


class Path(Node):
    """``base`` followed by at least one step."""

    __slots__ = ("base", "steps")

    def __init__(self, base: Node, steps: tuple[Step, ...], start: int, end: int) -> None:
        super().__init__(start, end)
        self.base = base
        self.steps = steps


class Call(Node):
    """``function(arguments)``; a function's name may hold a dot: ``datetime.now``."""

    __slots__ = ("arguments", "function")

    def __init__(self, function: str, arguments: tuple[Node, ...], start: int, end: int) -> None:
        super().__init__(start, end)
        self.function = function
        self.arguments = arguments


class Filter(Node):
    """``value | name(arguments, keyword=value)``."""

    __slots__ = ("arguments", "keywords", "name", "value")

    def __init__(
        self,
        value: Node,
        name: str,
        arguments: tuple[Node, ...],
        keywords: tuple[tuple[str, Node], ...],
        start: int,
        end: int,
    ) -> None:
        super().__init__(start, end)
        self.value = value
        self.name = name
        self.arguments = arguments
        self.keywords = keywords


class Not(Node):
    """``!operand`` or ``not operand``."""

    __slots__ = ("operand",)

    def __init__(self, operand: Node, start: int, end: int) -> None:
        super().__init__(start, end)
        self.operand = operand


class Negative(Node):
    """``-operand``."""

    __slots__ = ("operand",)

    def __init__(self, operand: Node, start: int, end: int) -> None:
        super().__init__(start, end)
        self.operand = operand


class Logic(Node):
    """Two or more operands joined by one of ``&&`` and ``||``."""

    __slots__ = ("operands", "operator")

    def __init__(self, operator: str, operands: tuple[Node, ...], start: int, end: int) -> None:
        super().__init__(start, end)
        self.operator = operator
        self.operands = operands


class Comparison(Node):
    """``left operator right`` with ``== != < <= > >= in`` or ``not in``."""

    __slots__ = ("left", "operator", "right")

    def __init__(self, left: Node, operator: str, right: Node, start: int, end: int) -> None:
        super().__init__(start, end)
        self.left = left
        self.operator = operator
        self.right = right


class Arithmetic(Node):
    """``first`` followed by pairs of an operator of one precedence (``+ -`` or ``* / %``) and an operand."""

    __slots__ = ("first", "rest")

    def __init__(self, first: Node, rest: tuple[tuple[str, Node], ...], start: int, end: int) -> None:
        super().__init__(start, end)
        self.first = first
        self.rest = rest


class Choice(Node):
    """``test ? yes : no``."""

    __slots__ = ("no", "test", "yes")

    def __init__(self, test: Node, yes: Node, no: Node, start: int, end: int) -> None:
        super().__init__(start, end)
        self.test = test
        self.yes = yes
        self.no = no


class ListLiteral(Node):
    """``[a, b]``."""

    __slots__ = ("items",)

    def __init__(self, items: tuple[Node, ...], start: int, end: int) -> None:
        super().__init__(start, end)
        self.items = items


class MapLiteral(Node):
    """``{'key': value}``."""

    __slots__ = ("items",)

    def __init__(self, items: tuple[tuple[Node, Node], ...], start: int, end: int) -> None:
        super().__init__(start, end)
        self.items = items


class Text(Node):
    """A quoted text of a condition that holds ``${{ }}``: every part becomes text, and they are joined."""

    __slots__ = ("parts",)

    def __init__(self, parts: tuple[Node, ...], start: int, end: int) -> None:
        super().__init__(start, end)
        self.parts = parts


def children(node: Node) -> tuple[Node, ...]:
    """Give the nodes directly below ``node``, in the order of the text; steps of a path are among them."""
    if isinstance(node, (Literal, Name, Field, Star)):
        return ()
    if isinstance(node, Path):
        return (node.base, *node.steps)
    if isinstance(node, Index):
        return (node.key,)
    if isinstance(node, Call):
        return node.arguments
    if isinstance(node, Filter):
        return (node.value, *node.arguments, *(value for _, value in node.keywords))
    if isinstance(node, (Not, Negative)):
        return (node.operand,)
    if isinstance(node, Logic):
        return node.operands
    if isinstance(node, Comparison):
        return (node.left, node.right)
    if isinstance(node, Arithmetic):
        return (node.first, *(operand for _, operand in node.rest))
    if isinstance(node, Choice):
        return (node.test, node.yes, node.no)
    if isinstance(node, ListLiteral):
        return node.items
    if isinstance(node, MapLiteral):
        return tuple(part for pair in node.items for part in pair)
    if isinstance(node, Text):
        return node.parts
    assert isinstance(node, Expression), "every kind of node is listed above: {!r}".format(node)
    return (node.body,)
