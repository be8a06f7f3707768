"""A fault with the path of keys that leads to it, before it has a place in a text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_stagecoach.document.diagnostics import Diagnostic

if TYPE_CHECKING:
    from pydantic import ValidationError

    from airflow_stagecoach.document.source import Path


@dataclass(frozen=True)
class Problem:
    """One fault. ``on_key`` points at the last key of ``path``, not its value; ``span`` at a part of that."""

    code: str
    message: str
    path: Path
    hint: str | None = None
    on_key: bool = False
    span: tuple[int, int] | None = None

    def without_position(self) -> Diagnostic:
        """The diagnostic of a model that was built in Python: it has a path, but no text."""
        return Diagnostic(self.code, self.message, hint=self.hint, path=self.path)


def problems_of(error: ValidationError, prefix: Path = ()) -> list[Problem]:
    """The problems that validation found; ``prefix`` leads from the root of the document to the model."""
    problems = []
    for detail in error.errors(include_url=False, include_input=False):
        path = (*prefix, *detail["loc"])
        context = detail.get("ctx") or {}
        if detail["type"] == "stagecoach":
            problems.append(
                Problem(
                    context["code"],
                    context["message"],
                    path,
                    context["hint"],
                    context["on_key"],
                    context["span"],
                )
            )
        else:
            problems.append(Problem("bad-value", detail["msg"], path))
    return problems
