"""Errors as data: where, what, and what to write instead; one renderer for terminal, Airflow and JSON.

The manner is actionlint's::

    report.yml:7:5: unknown key 'stage' in a job [unknown-key]
      |
    7 |     stage:
      |     ^~~~~
    hint: did you mean 'stages'?
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: Longer source lines are cut around the caret: a hostile line must not fill a screen.
MAX_LINE_SHOWN = 160
#: Words that are compared with a misspelt one.
MAX_WORDS = 1000


@dataclass(frozen=True)
class Diagnostic:
    """One error of a document.

    ``line`` and ``column`` count from 1; ``end_column`` is the first column after the span; all three are 0
    for an error without a position (a model built in Python, a file that cannot be decoded at all).
    ``source_line`` is the line as it stands in the document, ``path`` the keys that lead to the place.
    """

    code: str
    message: str
    file: str = ""
    line: int = 0
    column: int = 0
    end_column: int = 0
    hint: str | None = None
    source_line: str | None = None
    path: tuple[str | int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The diagnostic as a JSON-able map; keys as the attributes."""
        return {
            "code": self.code,
            "message": self.message,
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "end_column": self.end_column,
            "hint": self.hint,
            "source_line": self.source_line,
            "path": list(self.path),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Diagnostic:
        """The inverse of :meth:`to_json`, for caches."""
        return cls(**{**data, "path": tuple(data.get("path") or ())})

    def in_file(self, file: str) -> Diagnostic:
        """The same diagnostic for another file name."""
        return replace(self, file=file)

    def render(self) -> str:
        """The diagnostic as text of one to five lines, without a final line break."""
        where = f"{self.file or '<document>'}:{self.line}:{self.column}" if self.line else self.file
        head = f"{where}: {self.message} [{self.code}]" if where else f"{self.message} [{self.code}]"
        lines = [head]
        if self.line and self.source_line is not None:
            lines += self._snippet()
        if not self.line and self.path:
            lines.append(f"at: {render_path(self.path)}")
        if self.hint:
            lines.append(f"hint: {self.hint}")
        return "\n".join(lines)

    def _snippet(self) -> list[str]:
        """The source line with the span marked below; tabs are kept, so that the mark stays below it."""
        text = "".join(
            c if c.isprintable() or c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in self.source_line or ""
        )
        start = max(0, min(self.column - 1, len(text)))
        end = max(start + 1, min(self.end_column - 1, len(text)))
        if len(text) > MAX_LINE_SHOWN:
            left = max(0, min(start - MAX_LINE_SHOWN // 2, len(text) - MAX_LINE_SHOWN))
            right = left + MAX_LINE_SHOWN
            cut_left = "..." if left else ""
            cut_right = "..." if right < len(text) else ""
            text = cut_left + text[left:right] + cut_right
            start, end = start - left + len(cut_left), min(end - left, MAX_LINE_SHOWN) + len(cut_left)
        number = str(self.line)
        gutter = " " * len(number)
        pad = "".join("\t" if c == "\t" else " " for c in text[:start]).ljust(start)
        return [f"{gutter} |", f"{number} | {text}".rstrip(), f"{gutter} | {pad}^{'~' * (end - start - 1)}"]


class DocumentError(ValueError):
    """A document or a model built in Python is wrong; ``diagnostics`` holds every error found."""

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        self.diagnostics = list(diagnostics)
        super().__init__(render_diagnostics(self.diagnostics))


def render_diagnostics(diagnostics: Iterable[Diagnostic]) -> str:
    """All diagnostics as text, a blank line between two; empty text for none."""
    return "\n\n".join(diagnostic.render() for diagnostic in diagnostics)


def diagnostics_to_json(diagnostics: Iterable[Diagnostic]) -> list[dict[str, Any]]:
    """All diagnostics as a JSON-able list."""
    return [diagnostic.to_json() for diagnostic in diagnostics]


def render_path(path: Sequence[str | int]) -> str:
    """A path of keys as a person writes it: ``jobs.build.stages[0].bash``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that ``word`` most likely means, or None; case and ``-``/``_`` do not count."""
    return _nearest(word[:80], tuple(known))


@lru_cache(maxsize=256)
def _nearest(word: str, known: tuple[str, ...]) -> str | None:
    """One mistake is often made many times, and comparing words is slow."""
    from difflib import get_close_matches

    by_plain: dict[str, str] = {}
    for candidate in known[:MAX_WORDS]:
        by_plain.setdefault(_plain(candidate), candidate)
    found = get_close_matches(_plain(word), list(by_plain), n=1, cutoff=0.6)
    return by_plain[found[0]] if found else None


def _plain(text: str) -> str:
    return text.lower().replace("_", "-")


def did_you_mean(word: str, known: Iterable[str], otherwise: str | None = None) -> str | None:
    """The hint ``did you mean 'x'?``, or ``otherwise`` where nothing is near."""
    found = nearest(word, known)
    return f"did you mean '{found}'?" if found is not None else otherwise


def one_of(words: Iterable[str]) -> str:
    """``a, b or c``, for messages."""
    items = list(words)
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} or {items[-1]}"


def found(value: Any) -> str:
    """What a value is, in plain words and bounded: ``text 'abc'``, ``the number 5``, ``a list``, ``null``."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        text = repr(value)
        return f"the number {text if len(text) <= 30 else text[:27] + '...'}"
    if isinstance(value, str):
        if not value:
            return "an empty text"
        first = value if len(value) <= 40 else value[:37] + "..."
        return f"'{' '.join(first.split())}'"
    if isinstance(value, dict):
        return "a map"
    if isinstance(value, (list, tuple)):
        return "a list"
    return f"a Python {type(value).__name__}"
