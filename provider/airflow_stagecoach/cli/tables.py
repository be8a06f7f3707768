"""Tables, moments, durations and sizes for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def table(heads: Sequence[str], rows: Iterable[Sequence[object]], indent: str = "") -> str:
    """Columns as wide as their widest cell; the last one is left as it is. ``None`` is an empty cell."""
    lines = [list(heads), *(["" if cell is None else str(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    return "".join(
        indent
        + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        + "\n"
        for line in lines
    )


def moment(text: str | None) -> str:
    """An ISO 8601 time to the second, its zone as it was; nothing when it is not known."""
    if text is None:
        return ""
    from datetime import datetime

    return datetime.fromisoformat(text).isoformat(timespec="seconds")


def duration(seconds: float | None) -> str:
    """``0.5 s``, ``12 s``, ``3 m 05 s``, ``2 h 03 m``, ``1 d 02 h``; nothing when it is not known."""
    if seconds is None:
        return ""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} m {whole % 60:02} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02} m"
    return f"{whole // 86400} d {whole % 86400 // 3600:02} h"


def size(count: float | None) -> str:
    """Bytes: ``812 B``, ``1.5 KiB``, ``200 MiB``."""
    if count is None:
        return ""
    unit = "B"
    for larger in ("KiB", "MiB", "GiB"):
        if count < 1024:
            break
        count, unit = count / 1024, larger
    return f"{count:.0f} {unit}" if count >= 10 or unit == "B" else f"{count:.1f} {unit}"
