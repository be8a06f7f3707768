"""Tokens into nodes: one function per line of the grammar, which is its docstring.

Reading holds no state but the place in the list of tokens, and never looks at values.
"""

from __future__ import annotations

from typing import Any, Callable, NoReturn

from airflow_stagecoach.expressions._errors import ExpressionSyntaxError
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
)
from airflow_stagecoach.expressions._tokenizer import (
    Token,
    tokenize_braces,
    tokenize_condition,
    tokenize_expression,
)

#: How deep parentheses, brackets and prefixes may nest.
MAX_DEPTH = 32

#: Longest number, in characters.
_MAX_NUMBER = 100

_CONSTANTS = {"true": True, "false": False, "null": None, "True": True, "False": False, "None": None}
_COMPARISONS = frozenset(("==", "!=", "<", "<=", ">", ">=", "in"))
_PLAIN_NAMES = {"END": "the end", "BRACES_END": "}}", "QUOTE_END": "the end of the text"}


def parse(source: str) -> Expression:
    """Read one expression, without braces around it.

    :raises ExpressionSyntaxError: the text is no expression
    """
    return Parser(source, tokenize_expression(source)).parse_whole(0, len(source))


def parse_braces(source: str, start: int) -> tuple[Expression, int]:
    """Read the expression of ``${{ ... }}``; ``start`` is the place of the ``$`` in ``source``.

    :returns: the expression, and the place after ``}}``
    :raises ExpressionSyntaxError: the text is no expression, or it has no end
    """
    tokens, end = tokenize_braces(source, start + 3)
    return Parser(source, tokens).parse_whole(start, end), end


def parse_condition(source: str) -> Expression:
    """Read the text of an ``if`` or ``until``: an expression in which ``${{ }}`` may stand as a value.

    ``${{ params.env }} == 'prod'`` is ``(params.env) == 'prod'``; inside a quoted text braces become part
    of that text, as in ``'${{ params.env }}' == 'prod'``.

    :raises ExpressionSyntaxError: the text is no expression
    """
    return Parser(source, tokenize_condition(source)).parse_whole(0, len(source))


class Parser:
    """Reads one list of tokens from left to right."""

    __slots__ = ("depth", "position", "source", "tokens")

    def __init__(self, source: str, tokens: list[Token]) -> None:
        self.source = source
        self.tokens = tokens
        self.position = 0
        self.depth = 0

    # -- verbs

    def check(self, kind: str) -> bool:
        """Whether the next token is of this kind."""
        return self.tokens[self.position].kind == kind

    def accept(self, kind: str) -> Token | None:
        """Take the next token if it is of this kind."""
        token = self.tokens[self.position]
        if token.kind != kind:
            return None
        self.position += 1
        return token

    def expect(self, kind: str, opening: Token) -> Token:
        """Take the next token, which must be the one that closes ``opening``."""
        token = self.accept(kind)
        if token is None:
            self.fail_at_next(
                "expected '{}'".format(kind), "it closes the '{}' before it".format(opening.text)
            )
        return token

    def fail(self, message: str, span: tuple[int, int], hint: str | None = None) -> NoReturn:
        """Raise a syntax error at a place."""
        raise ExpressionSyntaxError(message, self.source, span, hint)

    def fail_at_next(self, message: str, hint: str | None = None) -> NoReturn:
        """Raise a syntax error that tells what stands there instead."""
        token = self.tokens[self.position]
        found = _PLAIN_NAMES.get(token.kind, "'{}'".format(token.text))
        self.fail("{}, found {}".format(message, found), (token.start, max(token.end, token.start + 1)), hint)

    def nested(self, rule: Callable[[], Node]) -> Node:
        """Apply a rule one level deeper."""
        if self.depth >= MAX_DEPTH:
            token = self.tokens[self.position]
            self.fail(
                "this is nested more than {} levels deep".format(MAX_DEPTH),
                (token.start, token.end),
                "do the work in a Python stage and use its outputs",
            )
        self.depth += 1
        node = rule()
        self.depth -= 1
        return node

    # -- grammar

    def parse_whole(self, start: int, end: int) -> Expression:
        """``whole = expression END``"""
        body = self.nested(self.parse_expression)
        if not self.check("END"):
            self.fail_after_expression()
        return Expression(body, self.source, start, end)

    def parse_expression(self) -> Node:
        """``expression = either ["?" expression ":" expression]``"""
        test = self.parse_either()
        question = self.accept("?")
        if question is None:
            return test
        yes = self.nested(self.parse_expression)
        if self.accept(":") is None:
            self.fail_at_next("expected ':'", "a choice is written: test ? value : other value")
        no = self.nested(self.parse_expression)
        return Choice(test, yes, no, test.start, no.end)

    def parse_either(self) -> Node:
        """``either = both (("||" | "or") both)*``"""
        first = self.parse_both()
        if not self.check("||"):
            return first
        operands = [first]
        while self.accept("||"):
            operands.append(self.parse_both())
        return Logic("||", tuple(operands), first.start, operands[-1].end)

    def parse_both(self) -> Node:
        """``both = inversion (("&&" | "and") inversion)*``"""
        first = self.parse_inversion()
        if not self.check("&&"):
            return first
        operands = [first]
        while self.accept("&&"):
            operands.append(self.parse_inversion())
        return Logic("&&", tuple(operands), first.start, operands[-1].end)

    def parse_inversion(self) -> Node:
        """``inversion = "not" inversion | comparison``"""
        word = self.accept("not")
        if word is None:
            return self.parse_comparison()
        operand = self.nested(self.parse_inversion)
        return Not(operand, word.start, operand.end)

    def parse_comparison(self) -> Node:
        """``comparison = sum [("==" | "!=" | "<" | "<=" | ">" | ">=" | "in" | "not" "in") sum]``"""
        left = self.parse_sum()
        operator = self.accept_comparison()
        if operator is None:
            return left
        right = self.parse_sum()
        place = self.tokens[self.position]
        if self.accept_comparison():
            self.fail(
                "comparisons do not chain",
                (place.start, place.end),
                "write a < b && b < c, or put one comparison in parentheses",
            )
        return Comparison(left, operator, right, left.start, right.end)

    def accept_comparison(self) -> str | None:
        """Take a comparison operator if one stands next."""
        kind = self.tokens[self.position].kind
        if kind in _COMPARISONS:
            self.position += 1
            return kind
        if kind == "not" and self.tokens[self.position + 1].kind == "in":
            self.position += 2
            return "not in"
        return None

    def parse_sum(self) -> Node:
        """``sum = product (("+" | "-") product)*``"""
        return self.parse_arithmetic(self.parse_product, ("+", "-"))

    def parse_product(self) -> Node:
        """``product = unary (("*" | "/" | "%") unary)*``"""
        return self.parse_arithmetic(self.parse_unary, ("*", "/", "%"))

    def parse_arithmetic(self, operand: Callable[[], Node], operators: tuple[str, ...]) -> Node:
        """Read operands of one precedence from left to right."""
        first = operand()
        if self.tokens[self.position].kind not in operators:
            return first
        rest: list[tuple[str, Node]] = []
        while self.tokens[self.position].kind in operators:
            operator = self.tokens[self.position].kind
            self.position += 1
            rest.append((operator, operand()))
        return Arithmetic(first, tuple(rest), first.start, rest[-1][1].end)

    def parse_unary(self) -> Node:
        """``unary = "!" unary | filtered``"""
        mark = self.accept("!")
        if mark is None:
            return self.parse_filtered()
        operand = self.nested(self.parse_unary)
        return Not(operand, mark.start, operand.end)

    def parse_filtered(self) -> Node:
        """``filtered = negation ("|" NAME ["(" arguments ")"])*``"""
        value = self.parse_negation()
        while self.accept("|"):
            name = self.accept("NAME")
            if name is None:
                self.fail_at_next("expected the name of a filter", "write || for 'or'")
            arguments: tuple[Node, ...] = ()
            keywords: tuple[tuple[str, Node], ...] = ()
            end = name.end
            opening = self.accept("(")
            if opening is not None:
                arguments, keywords = self.parse_arguments(opening)
                end = self.tokens[self.position - 1].end
            value = Filter(value, name.text, arguments, keywords, value.start, end)
        return value

    def parse_arguments(self, opening: Token) -> tuple[tuple[Node, ...], tuple[tuple[str, Node], ...]]:
        """``arguments = [argument ("," argument)*] ")" ; argument = [NAME "="] expression``"""
        arguments: list[Node] = []
        keywords: list[tuple[str, Node]] = []
        while not self.check(")"):
            token = self.tokens[self.position]
            if token.kind == "NAME" and self.tokens[self.position + 1].kind == "=":
                self.position += 2
                if any(name == token.text for name, _ in keywords):
                    self.fail("'{}' is given twice".format(token.text), (token.start, token.end))
                keywords.append((token.text, self.nested(self.parse_expression)))
            elif keywords:
                self.fail_at_next("expected name=value", "values without a name come first")
            else:
                arguments.append(self.nested(self.parse_expression))
            if not self.accept(","):
                break
        self.expect(")", opening)
        return tuple(arguments), tuple(keywords)

    def parse_negation(self) -> Node:
        """``negation = "-" negation | postfix``"""
        minus = self.accept("-")
        if minus is None:
            return self.parse_postfix()
        operand = self.nested(self.parse_negation)
        if isinstance(operand, Literal) and type(operand.value) in (int, float):
            return Literal(-operand.value, minus.start, operand.end)
        return Negative(operand, minus.start, operand.end)

    def parse_postfix(self) -> Node:
        """``postfix = primary (FIELD | STAR | "[" ("*" | expression) "]" | "(" arguments ")")*``"""
        base = self.parse_primary()
        steps: list[Step] = []
        while True:
            token = self.tokens[self.position]
            kind = token.kind
            if kind == "FIELD":
                self.position += 1
                text = token.text[1:].lstrip()
                optional = text.endswith("?")
                steps.append(Field(text[:-1] if optional else text, optional, token.start, token.end))
            elif kind == "[":
                self.position += 1
                steps.append(self.parse_index(token))
            elif kind == "STAR":
                self.position += 1
                steps.append(Star(token.start, token.end))
            elif kind == "(":
                base = self.parse_call(base, steps, token)
                steps = []
            elif steps:
                return Path(base, tuple(steps), base.start, steps[-1].end)
            else:
                return base

    def parse_index(self, opening: Token) -> Step:
        """``index = ("*" | expression) "]"``"""
        if self.accept("*"):
            return Star(opening.start, self.expect("]", opening).end)
        key = self.nested(self.parse_expression)
        return Index(key, opening.start, self.expect("]", opening).end)

    def parse_call(self, base: Node, steps: list[Step], opening: Token) -> Node:
        """``call = NAME FIELD* "(" arguments ")"``"""
        names = [base, *steps]
        if not isinstance(base, Name) or not all(
            isinstance(part, (Name, Field)) and not part.optional for part in names
        ):
            self.fail(
                "only a function can be called",
                (opening.start, opening.end),
                "values have no methods; a filter stands after |, as in: value | upper",
            )
        function = ".".join(part.name for part in names if isinstance(part, (Name, Field)))
        self.position += 1
        arguments, keywords = self.parse_arguments(opening)
        if keywords:
            self.fail(
                "a function takes no names for its values",
                (keywords[0][1].start, keywords[0][1].end),
                "leave out '{}='".format(keywords[0][0]),
            )
        return Call(function, arguments, base.start, self.tokens[self.position - 1].end)

    def parse_primary(self) -> Node:
        """``primary = NUMBER | TEXT | quoted | constant | NAME | list | map | group | braces``"""
        token = self.tokens[self.position]
        kind = token.kind
        self.position += 1
        if kind == "NAME":
            return self.name_or_constant(token)
        if kind == "TEXT":
            return Literal(_unquote(token.text), token.start, token.end)
        if kind == "NUMBER":
            return self.number(token)
        if kind == "(":
            inner = self.nested(self.parse_expression)
            self.expect(")", token)
            return inner
        if kind == "BRACES":
            inner = self.nested(self.parse_expression)
            if self.accept("BRACES_END") is None:
                self.fail_after_expression()
            return inner
        if kind == "[":
            return self.parse_list(token)
        if kind == "{":
            return self.parse_map(token)
        if kind == "QUOTE":
            return self.parse_quoted(token)
        self.position -= 1
        return self.fail_at_next("expected a value", _VALUE_HINTS.get(kind))

    def parse_list(self, opening: Token) -> Node:
        """``list = "[" [expression ("," expression)* [","]] "]"``"""
        items: list[Node] = []
        while not self.check("]"):
            items.append(self.nested(self.parse_expression))
            if not self.accept(","):
                break
        return ListLiteral(tuple(items), opening.start, self.expect("]", opening).end)

    def parse_map(self, opening: Token) -> Node:
        """``map = "{" [expression ":" expression ("," expression ":" expression)* [","]] "}"``"""
        if self.check("{"):
            self.fail(
                "{{ }} of Jinja does not work inside an expression or a condition",
                (opening.start, opening.end + 1),
                "use a context, as in: run.ds",
            )
        items: list[tuple[Node, Node]] = []
        while not self.check("}"):
            key = self.nested(self.parse_expression)
            if self.accept(":") is None:
                self.fail_at_next("expected ':'", "a map is written: {'key': value}")
            items.append((key, self.nested(self.parse_expression)))
            if not self.accept(","):
                break
        return MapLiteral(tuple(items), opening.start, self.expect("}", opening).end)

    def parse_quoted(self, opening: Token) -> Node:
        """``quoted = QUOTE (CHUNK | braces)* QUOTE_END``"""
        parts: list[Node] = []
        while not self.check("QUOTE_END"):
            chunk = self.accept("CHUNK")
            if chunk is None:
                parts.append(self.parse_primary())
            else:
                text = chunk.text.replace(opening.text * 2, opening.text).replace("$${{", "${{")
                parts.append(Literal(text, chunk.start, chunk.end))
        self.position += 1
        return Text(tuple(parts), opening.start, self.tokens[self.position - 1].end)

    # -- leaves

    def name_or_constant(self, token: Token) -> Node:
        """Give the node of a word."""
        name = token.text
        optional = name.endswith("?")
        if optional:
            name = name[:-1]
        if name in _CONSTANTS:
            if optional:
                self.fail(
                    "'?' glued to a word asks for optional access",
                    (token.end - 1, token.end),
                    "leave a space before ? to choose: {} ? value : other value".format(name),
                )
            return Literal(_CONSTANTS[name], token.start, token.end)
        return Name(name, optional, token.start, token.end)

    def number(self, token: Token) -> Node:
        """Give the node of a number: int or float."""
        text = token.text
        value: Any = None
        if len(text) <= _MAX_NUMBER:
            if text[:2] in ("0x", "0X"):
                value = int(text, 16)
            elif text.isdigit():
                value = int(text)
            else:
                value = float(text)
        if value is None or value == float("inf"):
            self.fail("this number is too large", (token.start, token.end), "write it as a text in quotes")
        return Literal(value, token.start, token.end)

    def fail_after_expression(self) -> NoReturn:
        """Raise the error for something that follows a complete expression."""
        hint = None
        before = self.tokens[self.position - 1]
        token = self.tokens[self.position]
        if before.text.endswith("?") and before.kind in ("NAME", "FIELD"):
            hint = "leave a space before ? to choose: a ? b : c"
        elif token.kind == "=":
            hint = "write == to compare"
        elif token.kind in ("NAME", "TEXT", "NUMBER"):
            hint = "join values with an operator, as in: a == b, a && b"
        self.fail_at_next("expected an operator or the end", hint)


_VALUE_HINTS = {
    "END": "write a value or an expression here",
    "FIELD": "write a name before the dot, or 0.5 for a number",
    "=": "write == to compare",
    "in": "write: value in list",
    "not": "put it in parentheses: (not x)",
    "&&": "write a value on both sides",
    "||": "write a value on both sides",
}


def _unquote(text: str) -> str:
    """Give the value of a quoted text: a doubled quote is one."""
    quote = text[0]
    inner = text[1:-1]
    return inner.replace(quote * 2, quote) if quote in inner else inner
