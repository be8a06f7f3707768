"""Arithmetic: ``+ - * / %`` and the minus sign, with bounded results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_stagecoach.expressions._errors import ExpressionError
from airflow_stagecoach.expressions._scope import Kind
from airflow_stagecoach.expressions._values import kind_of, name_kind, same_number_type

if TYPE_CHECKING:
    from typing import Callable

#: Largest whole number that arithmetic gives, in bits.
_MAX_BITS = 4096


def calculate(operator: str, left: Any, right: Any, charge: Callable[[int], None]) -> Any:
    """Give ``left operator right``.

    ``+`` adds numbers and joins two texts or two lists; the others take numbers. ``/`` of whole numbers is
    whole when it comes out even; ``%`` has the sign of the divisor, as in Python.

    :param charge: called with the size of a joined text or list before it is made
    :raises ExpressionError: wrong kinds, a division by zero, or too large a result
    """
    kind, other = kind_of(left), kind_of(right)
    if kind is Kind.NUMBER and other is Kind.NUMBER:
        return _number(operator, left, right)
    if operator == "+" and kind is other and kind in (Kind.TEXT, Kind.LIST):
        size = len(left) + len(right)
        if kind is Kind.TEXT:
            charge(size // 8)
            return str(left) + str(right)
        charge(size)
        return list(left) + list(right)
    message, hint = explain_kinds(operator, kind, other)
    raise ExpressionError(message, hint=hint)


def explain_kinds(operator: str, kind: Kind, other: Kind) -> tuple[str, str]:
    """Give message and hint of the error for an operator between kinds that it does not take."""
    message = "{} and {} cannot be joined by '{}'".format(name_kind(kind), name_kind(other), operator)
    if operator != "+":
        hint = "it takes two numbers; int(x) or float(x) reads a number from a text"
    elif Kind.TEXT in (kind, other):
        hint = "str(x) makes a text, int(x) a number; format('{0} {1}', a, b) joins anything"
    else:
        hint = "it takes two numbers, two texts or two lists"
    return message, hint


def negate(value: Any) -> Any:
    """Give ``-value`` of a number.

    :raises ExpressionError: it is none
    """
    if kind_of(value) is not Kind.NUMBER:
        raise ExpressionError(
            "{} has no negative".format(name_kind(kind_of(value))),
            hint="int(x) or float(x) reads a number from a text",
        )
    return -value


def _number(operator: str, left: Any, right: Any) -> Any:
    left, right = same_number_type(left, right)
    if operator == "*" and isinstance(left, int) and isinstance(right, int):
        _check_bits(left.bit_length() + right.bit_length())
    if operator in "/%" and right == 0:
        raise ExpressionError("division by zero")
    try:
        if operator == "+":
            result = left + right
        elif operator == "-":
            result = left - right
        elif operator == "*":
            result = left * right
        elif operator == "%":
            result = left % right
        elif isinstance(left, int) and isinstance(right, int) and left % right == 0:
            result = left // right
        else:
            result = left / right
    except ArithmeticError:  # an int too large for a float, or a decimal out of range
        raise ExpressionError("the result of '{}' is out of range".format(operator)) from None
    if isinstance(result, int):
        _check_bits(result.bit_length())
    elif result in (float("inf"), float("-inf")) and isinstance(result, float):
        raise ExpressionError("the result of '{}' is too large".format(operator))
    return result


def _check_bits(bits: int) -> None:
    if bits > _MAX_BITS + 1:
        raise ExpressionError("the result is too large a number")
