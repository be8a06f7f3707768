"""The level of a line where there is nothing but text: ``::error::the script ended with exit code 3``.

The marks are those of GitHub Actions. What a stage itself writes in that shape is
marked as well, so that it comes out as it was written.
"""

from __future__ import annotations

from typing import Tuple

_LEVELS = ("info", "debug", "warning", "error")


def marked(text: str, level: str) -> str:
    """A line with its level in front, where that is not ``info``.

    >>> marked("exit code 3", "error"), marked("rows: 3", "info"), marked("::error::mine", "info")
    ('::error::exit code 3', 'rows: 3', '::info::::error::mine')
    """
    if level != "info" or unmarked(text) != (text, "info"):
        return f"::{level}::{text}"
    return text


def unmarked(line: str) -> Tuple[str, str]:
    """The text and the level of a line that :func:`marked` gave."""
    if line.startswith("::"):
        level, mark, text = line[2:].partition("::")
        if mark and level in _LEVELS:
            return text, level
    return line, "info"
