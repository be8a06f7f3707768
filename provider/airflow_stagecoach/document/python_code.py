"""Python in ``run:`` must compile; its expressions are values, so a name stands for each of them."""

from __future__ import annotations

import re
import warnings

_EXPRESSION = re.compile(r"(?<!\$)\$\{\{(?:'(?:[^'\n]|'')*'|\"[^\"\n]*\"|[^'\"])*?\}\}", re.DOTALL)
_PLACEHOLDER = "_"


#: Words that begin a line of a shell script and no statement of Python.
_SHELL = re.compile(
    r"(?:echo|cd|set|export|source|mkdir|rm|cp|mv|ls|cat|curl|wget|git|make|npm|yarn|pip|uv|pytest|tox|docker"
    r"|kubectl|aws|gcloud|dbt|airflow|sudo|bash|sh|python3?|\./\S+)[ \t]+\S|\./\S+\s*$"
)


def shell_hint(source: str) -> str | None:
    """What to write instead, where code that is not Python looks like a shell script."""
    looks_so = any(_SHELL.match(line.strip()) for line in source.splitlines())
    return "`run` is Python; a shell script is written bash: ..." if looks_so else None


def syntax_fault(source: str) -> tuple[str, tuple[int, int]] | None:
    """The first syntax error of Python code with expressions: its message and its offsets in ``source``.

    Every expression counts as a name of the same length, so that offsets stay right.
    """
    plain = _EXPRESSION.sub(lambda match: _PLACEHOLDER * (match.end() - match.start()), source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(plain, "<run>", "exec", dont_inherit=True)
    except SyntaxError as error:
        start = _offset(plain, error.lineno or 1, error.offset or 1)
        end = _offset(plain, error.end_lineno or 0, error.end_offset or 0) if error.end_lineno else start + 1
        return f"this is not Python: {error.msg}", (start, max(end, start + 1))
    except (ValueError, RecursionError, MemoryError) as error:
        return f"this is not Python: {error}", (0, 1)
    return None


def _offset(text: str, line: int, column: int) -> int:
    """The offset of a line and column (from 1) as a syntax error counts them."""
    position = 0
    for _ in range(line - 1):
        following = text.find("\n", position)
        if following < 0:
            break
        position = following + 1
    return min(position + max(column - 1, 0), max(len(text) - 1, 0))
