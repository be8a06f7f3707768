"""Keeping secret values out of what is stored and shown.

Airflow masks logs. Outputs go to the metadata database, and ``stagecoach run``
has no masked log, so the values that a stage was given are replaced there.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_STARS = "***"

#: Shorter values would hide ordinary text; Airflow's own masker draws the line likewise.
_SHORTEST = 5


class Hider:
    """Replaces secret values by stars.

    :param contexts: the contexts of a stage; ``secrets``, and passwords and extras in ``conn``, are secret
    """

    def __init__(self, contexts: Mapping[str, Any]) -> None:
        values = sorted({v for v in _secret_values(contexts) if len(v) >= _SHORTEST}, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, values))) if values else None

    def text(self, text: str) -> str:
        """A text without secret values."""
        return text if self._pattern is None else self._pattern.sub(_STARS, text)

    def value(self, value: Any) -> Any:
        """A JSON-able value without secret values in its texts and keys."""
        if self._pattern is None:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.value(key): self.value(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.value(item) for item in value]
        return value


def _secret_values(contexts: Mapping[str, Any]) -> Iterator[str]:
    yield from _texts([contexts.get("secrets", {})])
    for connection in contexts.get("conn", {}).values():
        yield from _texts([connection.get("password"), connection.get("extra")])


def _texts(values: Iterable[Any]) -> Iterator[str]:
    for value in values:
        if isinstance(value, str):
            yield value
            # A script prints a value of several lines line by line.
            yield from value.splitlines()
        elif isinstance(value, dict):
            yield from _texts(value.values())
        elif isinstance(value, (list, tuple)):
            yield from _texts(value)
