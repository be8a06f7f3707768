"""Names shown to people and names of folders."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

#: GitHub Actions cuts the names of its matrix jobs at the same length.
_LONGEST_LEG_NAME = 100


def leg_name(matrix: Mapping[str, Any]) -> str:
    """``{"partition": "a", "mode": "fast"}`` -> ``a / fast``."""
    name = " / ".join(_text(value) for value in matrix.values())
    return name if len(name) <= _LONGEST_LEG_NAME else name[: _LONGEST_LEG_NAME - 3] + "..."


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={_text(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_text(item) for item in value)
    return "null" if value is None else str(value)


def folder_name(text: str) -> str:
    """A text as the name of a folder: safe characters, and a digest where that changed it."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip(".")[:80]
    if safe == text:
        return safe
    return f"{safe}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
