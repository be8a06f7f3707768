"""Amounts of a machine: cores (``0.5``, ``"500m"``) and bytes (``512Mi``, ``1G``).

The units are those of Kubernetes: ``K M G T`` are powers of 1000, ``Ki Mi Gi Ti`` of 1024.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction

#: Kubernetes counts cores in thousandths, and no machine has more.
MIN_CPU = 0.001
MAX_CPU = 4096
#: Below it nothing starts: a unit was forgotten.
MIN_BYTES = 1 << 20
MAX_BYTES = 1 << 60

CPU_EXPECTED = 'a number of cores such as 0.5 or "500m"'
BYTES_EXPECTED = "an amount such as 512Mi, 1G or a number of bytes"

_UNITS = {
    "": 1,
    "k": 1000,
    "K": 1000,
    "M": 1000**2,
    "G": 1000**3,
    "T": 1000**4,
    "Ki": 1 << 10,
    "Mi": 1 << 20,
    "Gi": 1 << 30,
    "Ti": 1 << 40,
}
_AMOUNT = re.compile(r"(\d{1,20}(?:\.\d{1,9})?)\s*([A-Za-z]*)", re.ASCII)


class QuantityError(ValueError):
    """An amount that cannot be meant; ``hint`` says what to write."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


def parse_cpu(value: object) -> float:
    """The cores that a value stands for: a number, or text such as ``"0.5"`` or ``"500m"``.

    The result is a whole number of thousandths, an ``int`` where it is whole. Raises :class:`QuantityError`.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise QuantityError(f"expected {CPU_EXPECTED}")
    if isinstance(value, str):
        match = _AMOUNT.fullmatch(value.strip())
        if match is None or match[2] not in ("", "m"):
            hint = f"write {match[1]}" if match is not None and match[2] else None
            raise QuantityError(f"expected {CPU_EXPECTED}", hint)
        cores = Fraction(match[1]) / (1000 if match[2] else 1)
    else:
        if not math.isfinite(value):
            raise QuantityError(f"expected {CPU_EXPECTED}")
        cores = Fraction(repr(value)) if isinstance(value, float) else Fraction(value)
    if not Fraction("0.001") <= cores <= MAX_CPU:
        raise QuantityError(f"expected between {MIN_CPU} and {MAX_CPU} cores")
    if (cores * 1000).denominator != 1:
        raise QuantityError("cores are counted in thousandths")
    return int(cores) if cores.denominator == 1 else float(cores)


def parse_bytes(value: object, least: int = MIN_BYTES) -> int:
    """The bytes that a value stands for: a whole number, or text such as ``"512Mi"`` or ``"1.5G"``.

    A part of a byte is rounded up; less than ``least`` is no amount. Raises :class:`QuantityError`.
    """
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise QuantityError(f"expected {BYTES_EXPECTED}")
    if isinstance(value, str):
        match = _AMOUNT.fullmatch(value.strip())
        if match is None:
            raise QuantityError(f"expected {BYTES_EXPECTED}")
        unit = _UNITS.get(match[2])
        if unit is None:
            raise QuantityError(f"expected {BYTES_EXPECTED}", _meant(match[1], match[2]))
        amount = math.ceil(Fraction(match[1]) * unit)
    else:
        amount = value
    if amount < least:
        bare = amount > 0 and str(value).strip().isdigit()
        shown = "1Mi" if least == MIN_BYTES else f"{least} bytes"
        raise QuantityError(f"expected at least {shown}", f"write {amount}Mi" if bare else None)
    if amount > MAX_BYTES:
        raise QuantityError("expected at most 1048576Ti")
    return amount


def _meant(number: str, unit: str) -> str | None:
    """``512m``, ``512MB``, ``2gib``: the same with our unit."""
    letter = unit[:1].upper()
    rest = unit[1:].lower()
    if letter not in "KMGT" or rest not in ("", "b", "i", "ib"):
        return None
    return f"write {number}{letter}i" if rest in ("", "i", "ib") else f"write {number}{letter}"
