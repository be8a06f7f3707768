"""What a process writes: logged line by line, the end of it kept. Memory stays bounded."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Callable

#: How much of a stream is kept for the outputs, in bytes.
KEPT = 64 * 1024

#: A line without end is logged in pieces of so many characters.
LONGEST_LINE = 16 * 1024


class Stream:
    """One of a process's two streams.

    :param log: takes one line at a time
    """

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._line: list[str] = []
        self._line_length = 0
        self._tail = bytearray()
        self.size = 0

    def feed(self, data: bytes) -> None:
        """Take what was read."""
        self.size += len(data)
        self._tail += data
        if len(self._tail) > 4 * KEPT:
            del self._tail[:-KEPT]
        self._emit(self._decoder.decode(data))

    def close(self) -> None:
        """Log what stands after the last newline."""
        self._emit(self._decoder.decode(b"", final=True))
        self._flush()

    def _emit(self, text: str) -> None:
        first, *others = text.split("\n")
        self._append(first)
        if not others:
            return
        self._flush(ended=True)
        last = others.pop()
        for line in others:
            if len(line) <= LONGEST_LINE:  # The usual case, made short: there may be millions.
                self._log(line[:-1] if line.endswith("\r") else line)
            else:
                self._append(line)
                self._flush(ended=True)
        self._append(last)

    def _append(self, text: str) -> None:
        while self._line_length + len(text) > LONGEST_LINE:
            room = LONGEST_LINE - self._line_length
            self._line.append(text[:room])
            self._flush()
            text = text[room:]
        if text:
            self._line.append(text)
            self._line_length += len(text)

    def _flush(self, ended: bool = False) -> None:
        line = "".join(self._line)
        self._line.clear()
        self._line_length = 0
        if line or ended:
            self._log(line[:-1] if line.endswith("\r") else line)

    def text(self, limit: int = KEPT) -> str | None:
        """The last ``limit`` bytes as text, with a mark when something was cut; None when empty.

        The last newline is stripped. NUL characters, which databases refuse, are replaced.
        """
        kept = bytes(self._tail[-limit:])
        cut = self.size - len(kept)
        if cut:
            # Start on a whole character.
            start = next((at for at in range(min(4, len(kept))) if kept[at] & 0xC0 != 0x80), 0)
            kept, cut = kept[start:], cut + start
        text = kept.decode("utf-8", errors="replace").replace("\0", "\ufffd")
        if text.endswith("\n"):
            text = text[: -2 if text.endswith("\r\n") else -1]
        if cut:
            return f"[the first {cut} bytes are left out]\n{text}"
        return text or None
