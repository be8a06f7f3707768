"""Durations: a number of seconds, ``10m``, ``1h30m``, ``2d`` or ISO 8601 ``PT10M``."""

from __future__ import annotations

import re

#: No duration is longer: Airflow keeps them as timedelta, and a year is already a mistake.
MAX_SECONDS = 366 * 86400

_SHORT = re.compile(
    r"(?:(?P<w>\d{1,9}(?:\.\d{1,9})?)w)?\s*(?:(?P<d>\d{1,9}(?:\.\d{1,9})?)d)?\s*(?:(?P<h>\d{1,9}(?:\.\d{1,9})?)h)?\s*"
    r"(?:(?P<m>\d{1,9}(?:\.\d{1,9})?)m)?\s*(?:(?P<s>\d{1,9}(?:\.\d{1,9})?)s)?\s*(?:(?P<ms>\d{1,9})ms)?",
    re.IGNORECASE | re.ASCII,
)
_ISO = re.compile(
    r"P(?:(?P<w>\d{1,9})W)?(?:(?P<d>\d{1,9}(?:\.\d{1,9})?)D)?"
    r"(?:T(?:(?P<h>\d{1,9}(?:\.\d{1,9})?)H)?(?:(?P<m>\d{1,9}(?:\.\d{1,9})?)M)?(?:(?P<s>\d{1,9}(?:\.\d{1,9})?)S)?)?",
    re.ASCII,
)
_NUMBER = re.compile(r"\d{1,12}(?:\.\d{1,9})?", re.ASCII)
_SECONDS = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1, "ms": 0.001}

EXPECTED = "a number of seconds or a duration such as 10m"


def parse_duration(value: object) -> float:
    """The seconds that a duration of a document stands for.

    ``value`` is a number (seconds) or a text: ``'90'``, ``'10m'``, ``'1h30m'``, ``'2d'``, ``'PT10M'``. A
    boolean is refused, as is anything negative or longer than :data:`MAX_SECONDS`. The result is an ``int``
    where it is whole. Raises ValueError with a message that ends in what was found.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"expected {EXPECTED}")
    seconds: float = _parse_text(value.strip()) if isinstance(value, str) else value
    if seconds != seconds or seconds < 0:
        raise ValueError(f"expected {EXPECTED}, not below zero")
    if seconds > MAX_SECONDS:
        raise ValueError("a duration may be at most 366 days")
    return int(seconds) if seconds == int(seconds) else seconds


def _parse_text(text: str) -> float:
    if _NUMBER.fullmatch(text):
        return float(text)
    if len(text) <= 80:
        for pattern in (_SHORT, _ISO):
            match = pattern.fullmatch(text)
            if match is not None and any(match.groups()):
                return sum(
                    float(number) * _SECONDS[unit] for unit, number in match.groupdict().items() if number
                )
    raise ValueError(f"expected {EXPECTED}")
