"""Reads misspelt keys as they were meant.

The misspelling is the one fault; what only follows from it is not told, and what stands below is checked.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_stagecoach.document.positions import canonical
from airflow_stagecoach.document.repair import copy_of

if TYPE_CHECKING:
    from airflow_stagecoach.document.problems import Problem
    from airflow_stagecoach.document.source import Path

_MEANT = re.compile(r"did you mean '(.+)'\?")
#: Misspelt keys may stand below misspelt keys, but hardly deeper than this.
_MAX_DEPTH = 3


class Respelling:
    """The keys of one workflow that were read as other ones; ``prefix`` is the path to it in its document."""

    def __init__(self, prefix: Path) -> None:
        self._prefix = prefix
        self._written: dict[tuple[str, ...], str] = {}
        self._passes = 0

    def apply(self, value: Any, problems: list[Problem]) -> tuple[Any, list[Problem]]:
        """A copy of a workflow with the keys as they were meant, and the problems that are settled by it."""
        settled: list[Problem] = []
        self._passes += 1
        if self._passes > _MAX_DEPTH:
            return value, settled
        result = copy_of(value)
        for problem in problems:
            meant = _MEANT.fullmatch(problem.hint or "") if problem.code == "unknown-key" else None
            if meant is not None and _rename(result, problem.path[len(self._prefix) :], meant[1]):
                self._written[_plain((*problem.path[:-1], meant[1]))] = str(problem.path[-1])
                settled.append(problem)
        return result if settled else value, [self.as_written(problem) for problem in settled]

    def is_bad_guess(self, problem: Problem) -> bool:
        """Whether a value does not fit the key that was guessed: then the guess is most likely wrong."""
        return problem.code in ("wrong-type", "empty-value") and _plain(problem.path) in self._written

    def as_written(self, problem: Problem) -> Problem:
        """The same problem with the keys that stand in the document in its path."""
        if not self._written:
            return problem
        plain = _plain(problem.path)
        path = tuple(
            self._written.get(plain[: index + 1], part) if isinstance(part, str) else part
            for index, part in enumerate(problem.path)
        )
        return replace(problem, path=path)


def _plain(path: Path) -> tuple[str, ...]:
    return tuple(canonical(str(part)) for part in path)


def _rename(value: Any, path: Path, meant: str) -> bool:
    """Give the key at the end of a path another name, unless that is taken."""
    for part in path[:-1]:
        if isinstance(value, dict):
            value = next((value[key] for key in value if canonical(str(key)) == canonical(str(part))), None)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        else:
            return False
    if not isinstance(value, dict) or any(canonical(str(key)) == canonical(meant) for key in value):
        return False
    entries = [(meant if str(key) == path[-1] else key, item) for key, item in value.items()]
    value.clear()
    value.update(entries)
    return meant in value
