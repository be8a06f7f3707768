"""Keeping secret values out of what is stored and shown.

Airflow masks logs. Outputs go to the metadata database, ``stagecoach run`` has no
masked log, and a container knows nothing of Airflow: there the values that a
stage was given are replaced.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Mapping, Set

if TYPE_CHECKING:
    from typing import Iterable, Iterator

_STARS = "***"

#: Shorter values would hide ordinary text; Airflow's own masker draws the line likewise.
_SHORTEST = 5

#: Characters of a piece of base64 that is hidden wherever it stands.
_SHORTEST_ENCODED = 8


class Hider:
    """Replaces secret values by stars, also where they are encoded.

    :param contexts: the contexts of a stage; ``secrets``, and passwords and extras in ``conn``, are secret
    """

    def __init__(self, contexts: Mapping[str, Any]) -> None:
        values = set(_secret_values(contexts))
        found = sorted({form for value in values for form in forms(value)}, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, found))) if found else None

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to hide."""
        return self._pattern is None

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


def forms(value: str) -> Set[str]:
    """A secret value and what it looks like in JSON, in a URL, in Python and in base64.

    Of a value with several lines also each line: a script prints it line by line.
    Values shorter than five characters have no forms.
    """
    import json
    from urllib.parse import quote, quote_plus

    found: Set[str] = set()
    for text in {value, value.strip(), *(line.strip() for line in value.splitlines())}:
        if len(text) < _SHORTEST:
            continue
        found |= {text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}
        found |= {repr(text)[1:-1], quote(text), quote(text, safe=""), quote_plus(text)}
        found |= set(_encoded(text.encode("utf-8", "surrogateescape")))
    return found


def _encoded(data: bytes) -> Iterator[str]:
    """The value in base64, alone and inside a longer text, where it may begin at any of three places."""
    import base64

    for alphabet in (base64.b64encode, base64.urlsafe_b64encode):
        yield alphabet(data).decode()
        for before in range(3):
            text = alphabet(bytes(before) + data).decode()
            # The first characters also hold what stands before, the last ones what comes after.
            start = (0, 2, 3)[before]
            end = (len(data) + before) // 3 * 4 + (0, 1, 2)[(len(data) + before) % 3]
            piece = text[start:end]
            if len(piece) >= _SHORTEST_ENCODED:
                yield piece


def _secret_values(contexts: Mapping[str, Any]) -> Iterator[str]:
    yield from _texts([contexts.get("secrets", {})])
    for connection in contexts.get("conn", {}).values():
        yield from connection_secrets(connection)


def connection_secrets(connection: Mapping[str, Any]) -> Iterator[str]:
    """What is secret of a connection: its password, alone and as HTTP sends it, and its extra."""
    password, login = connection.get("password"), connection.get("login")
    yield from _texts([password, connection.get("extra")])
    if password and login:
        import base64

        yield base64.b64encode(f"{login}:{password}".encode()).decode()


def _texts(values: Iterable[Any]) -> Iterator[str]:
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            yield from _texts(value.values())
        elif isinstance(value, (list, tuple)):
            yield from _texts(value)
