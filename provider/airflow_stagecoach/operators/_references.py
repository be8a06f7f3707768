"""Which context values a stage names, so that only those are fetched.

A path such as ``("needs", "split", "outputs", "parts")`` stands for one value;
``None`` inside a path means "not known before it runs", so everything there is
fetched.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from airflow_stagecoach import expressions

if TYPE_CHECKING:
    from collections.abc import Iterable

Path = tuple[str | None, ...]

#: Contexts that Python code sees without writing an expression.
_PYTHON_NAMES = ("needs", "jobs", "stages")
_PYTHON_CHAIN = re.compile(
    r"\b(needs|jobs|stages|context)\b"
    r"((?:\s*\.\s*[A-Za-z_]\w*|\s*\[\s*(?:'[^'\n]*'|\"[^\"\n]*\")\s*\])*)"
)
_PYTHON_PART = re.compile(r"\.\s*([A-Za-z_]\w*)|\[\s*(?:'([^']*)'|\"([^\"]*)\")\s*\]")

#: Keys of a stage spec that hold conditions, and keys that hold nested stages.
_CONDITIONS = ("if", "until")
_NESTED = ("stages", "parallel", "match")


def spec_references(spec: dict[str, Any]) -> set[Path]:
    """Every context path that a stage spec names, its nested stages included."""
    found: set[Path] = set()
    _collect(spec, found)
    return found


def _collect(spec: dict[str, Any], found: set[Path]) -> None:
    for key, value in spec.items():
        if key in _CONDITIONS:
            found |= expressions.references(value, condition=True)
        elif key in _NESTED:
            for child in _children(value):
                _collect(child, found)
        elif key == "run":
            found |= expressions.references(value)
            found |= python_references(value)
        else:
            found |= expressions.references(value)


def _children(value: Any) -> Iterable[dict[str, Any]]:
    """Nested stage specs below ``stages`` (a list), ``parallel`` (a map of lists) or ``match``."""
    if isinstance(value, dict):
        for stages in value.values():
            yield from stages
        return
    for item in value:
        if "kind" in item:
            yield item
        else:  # one entry of `match`
            yield {"case": item.get("case")}
            yield from item.get("stages") or item.get("else") or ()


@lru_cache(maxsize=256)
def python_references(source: str) -> frozenset[Path]:
    """Paths that Python source names directly, e.g. ``needs.split.outputs["parts"]``.

    It reads text, not syntax: a name inside a comment only costs a needless fetch.
    """
    found: set[Path] = set()
    for name, chain in _PYTHON_CHAIN.findall(source):
        parts = [a or b or c for a, b, c in _PYTHON_PART.findall(chain)]
        if name == "context":
            if not parts or parts[0] == "get":
                found.update((context, None) for context in _PYTHON_NAMES)
                continue
            name, *parts = parts
            if name not in _PYTHON_NAMES:
                continue
        found.add((name, *_until_method(parts)) if parts else (name, None))
    return frozenset(found)


def _until_method(parts: list[str]) -> Iterable[str | None]:
    """Stop at a method of a mapping: what follows is not part of the path."""
    for part in parts:
        if part in ("get", "items", "keys", "values"):
            yield None
            return
        yield part
