"""YAML text to plain values with positions, under limits.

libyaml composes the nodes (they carry their positions anyway); values are built from them by our own rules:
YAML 1.2 booleans (only ``true`` and ``false``), no timestamps, keys are always the text as written. Positions
are looked up only when something is wrong, except for the line of each map that the plan keeps.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import yaml

from airflow_stagecoach.document.diagnostics import Diagnostic
from airflow_stagecoach.document.yaml_values import MAX_DEPTH, MAX_NODES, Budget, Builder

if TYPE_CHECKING:
    from yaml.nodes import Node

try:
    from yaml import CSafeLoader as _BaseLoader
except ImportError:  # PyYAML without libyaml
    from yaml import SafeLoader as _BaseLoader  # type: ignore[assignment] # the same interface, slower

#: Bytes of a file.
MAX_BYTES = 1 << 20
#: ``---`` documents of a file.
MAX_DOCUMENTS = 100
#: Characters of a text that cannot hold too many values to compose.
SMALL = 100_000
#: A file with more syntax errors or duplicate keys is not listed to the end.
MAX_DIAGNOSTICS = 100

Path = tuple["str | int", ...]


class _Loader(_BaseLoader):
    """libyaml's loader with the implicit types of YAML 1.2."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's way


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"), list("tTfF")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:null", re.compile(r"(?:~|null|Null|NULL|)\Z"), ["~", "n", "N", ""]
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int",
    re.compile(r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z"),
    list("-+0123456789"),
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"
    ),
    list("-+0123456789."),
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile(r"<<\Z"), ["<"])


class Text:
    """The lines of a document, and the offset of a place in it."""

    def __init__(self, text: str) -> None:
        self.text = text
        # The line breaks that YAML knows, so that numbers agree with libyaml's marks.
        self._starts = [0, *(m.end() for m in re.finditer(r"\r\n|[\n\r\x85\u2028\u2029]", text))]

    def line(self, number: int) -> str:
        """Line ``number`` (from 1) without its line break; empty past the end."""
        if not 1 <= number <= len(self._starts):
            return ""
        end = self._starts[number] if number < len(self._starts) else len(self.text)
        return self.text[self._starts[number - 1] : end].rstrip("\r\n\x85\u2028\u2029")

    def offset(self, line: int, column: int) -> int:
        """The offset of a line and column, both from 0 as libyaml counts them."""
        start = self._starts[line] if line < len(self._starts) else len(self.text)
        return min(start + column, len(self.text))

    def place(self, offset: int) -> tuple[int, int]:
        """Line and column, both from 1, of an offset."""
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1


@dataclass
class Document:
    """One ``---`` part of a file: its value and the node it came from."""

    value: Any
    node: Node


@dataclass
class Source:
    """A file as read: its documents and what was wrong with the YAML itself."""

    file: str
    text: Text
    documents: list[Document] = field(default_factory=list)
    diagnostics: list[Diagnostic] = field(default_factory=list)
    #: Every map built from YAML -> its line, from 1.
    lines: dict[int, int] = field(default_factory=dict)

    def diagnostic(
        self, code: str, message: str, start: int, end: int, hint: str | None = None, path: Path = ()
    ) -> Diagnostic:
        """A diagnostic for the offsets ``start`` to ``end``; a span of several lines ends with the first."""
        line, column = self.text.place(start)
        shown = self.text.line(line)
        end_line, end_column = self.text.place(max(end, start))
        if end_line != line:
            end_column = len(shown.rstrip()) + 1
        return Diagnostic(
            code=code,
            message=message,
            file=self.file,
            line=line,
            column=column,
            end_column=max(end_column, column + 1),
            hint=hint,
            source_line=shown,
            path=path,
        )

    def add(self, code: str, message: str, start: int, end: int, hint: str | None = None) -> None:
        """Note a fault of the YAML itself."""
        if len(self.diagnostics) < MAX_DIAGNOSTICS:
            self.diagnostics.append(self.diagnostic(code, message, start, end, hint))

    def span(self, node: Node) -> tuple[int, int]:
        """The offsets of a node in the text."""
        start = self.text.offset(node.start_mark.line, node.start_mark.column)
        end = self.text.offset(node.end_mark.line, node.end_mark.column)
        # A block ends where the next thing begins: give the blank end back.
        while end > start and self.text.text[end - 1].isspace():
            end -= 1
        return start, max(end, start)


def read(data: str | bytes, file: str, *, max_bytes: int = MAX_BYTES) -> Source:
    """The documents of a YAML text or file content, each with its nodes, and every fault of the YAML.

    Never raises for what the text holds. A fault in one ``---`` document does not hide the others.
    """
    size = len(data) if isinstance(data, bytes) else len(data.encode("utf-8", "surrogatepass"))
    if size > max_bytes:
        source = Source(file, Text(""))
        source.diagnostics.append(
            Diagnostic(
                "too-large",
                f"the file has {size} bytes, the limit is {max_bytes}",
                file,
                hint="move data out of the document, for instance into a file beside it",
            )
        )
        return source
    if isinstance(data, bytes):
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            source = Source(file, Text(""))
            source.diagnostics.append(
                Diagnostic(
                    "encoding", "the file is UTF-16, expected UTF-8", file, hint="save the file as UTF-8"
                )
            )
            return source
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            source = Source(file, Text(data.decode("utf-8", "replace")))
            start = len(data[: error.start].decode("utf-8", "replace"))
            message = f"byte 0x{data[error.start]:02x} is not UTF-8"
            source.add("encoding", message, start, start + 1, "save the file as UTF-8")
            return source
    else:
        text = data
    source = Source(file, Text(text.removeprefix("\ufeff")))
    text = source.text.text
    bad = _NOT_YAML.search(text)
    if bad is not None:
        message = f"character U+{ord(bad.group()):04X} is not allowed in YAML"
        source.add(
            "yaml-syntax",
            message,
            bad.start(),
            bad.end(),
            "remove it; in double quotes it may be written \\x..",
        )
        return source
    nodes = _compose_all(text, source)
    budget = Budget(source)
    for node in nodes:
        if node is None:
            continue
        if not budget.fits(node):
            break
        source.documents.append(Document(Builder(source).build(node), node))
    return source


_NOT_YAML = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_BOUNDARY = re.compile(r"^---(?=[ \t\r\n]|$)", re.MULTILINE)


def _compose_all(text: str, source: Source) -> list[Node | None]:
    """The root nodes of all documents; where the stream has a fault, each document is tried on its own."""
    try:
        return _compose(text)
    except _LimitError as error:
        _syntax_error(error, source)
        return []
    except yaml.YAMLError as error:
        bounds = [0, *(match.start() for match in _BOUNDARY.finditer(text)), len(text)]
        parts = [(a, text[a:b]) for a, b in pairwise(bounds) if text[a:b].strip()]
        if len(parts) < 2:
            _syntax_error(error, source)
            return []
    nodes: list[Node | None] = []
    for start, part in parts[:MAX_DIAGNOSTICS]:
        before = source.text.place(start)[0] - 1
        try:
            nodes += _compose("\n" * before + part)
        except yaml.YAMLError as error:
            _syntax_error(error, source)
    return nodes


def _compose(text: str) -> list[Node | None]:
    _check_size(text)
    loader = _Loader(text)
    nodes: list[Node | None] = []
    try:
        while loader.check_node():
            if len(nodes) == MAX_DOCUMENTS:
                raise _LimitError(f"more than {MAX_DOCUMENTS} documents in one file", loader.peek_event())
            nodes.append(loader.get_node())
    finally:
        loader.dispose()
    return nodes


class _LimitError(yaml.MarkedYAMLError):
    """A limit passed, found before any recursive or slow code sees the text."""

    def __init__(self, message: str, event: yaml.Event | None) -> None:
        super().__init__(problem=message)
        self.event = event


def _check_size(text: str) -> None:
    """Refuse deep nesting and very many values from the event stream, where they may be.

    Composing is recursive C code without a limit of its own, and slower than events.
    """
    brackets = text.count("[") + text.count("{")
    deepest = 2 * max((match.end() - match.start() for match in _INDENT.finditer(text)), default=0)
    if len(text) <= SMALL and brackets + deepest <= MAX_DEPTH:
        return
    depth = values = 0
    loader = _Loader(text)
    try:
        while loader.check_event():
            event = loader.get_event()
            if isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            elif isinstance(event, yaml.NodeEvent):
                values += 1
                depth += isinstance(event, yaml.CollectionStartEvent)
            if depth > MAX_DEPTH:
                raise _LimitError(f"nested deeper than {MAX_DEPTH} levels", event)
            if values > MAX_NODES:
                raise _LimitError(f"the file has more than {MAX_NODES} values", event)
    finally:
        loader.dispose()


_INDENT = re.compile(r"^[ \-?:\t]+", re.MULTILINE)

_HINTS = (
    ("'\\t'", "indent with spaces, YAML allows no tab there"),
    (
        "mapping values are not allowed",
        "quote a value that holds ': ' or write it below `|`; or check the indentation",
    ),
    ("could not find expected ':'", "a key needs a colon and a space after it: `key: value`"),
    ("'%'", "quote a text that begins with %"),
    ("'@'", 'quote a text that begins with @, for instance "@daily"'),
    ("'`'", "quote a text that begins with a backtick"),
    ("undefined alias", "an anchor (&name) must stand before its alias (*name), in the same document"),
    ("block end", "check the indentation: entries of one map or list begin in the same column"),
    ("block mapping", "check the indentation: entries of one map or list begin in the same column"),
    ("flow", "check that every bracket, brace and quote is closed; quote a text that begins with {{ or [ "),
    ("quoted scalar", "close the quote"),
)


def _syntax_error(error: yaml.YAMLError, source: Source) -> None:
    problem = " ".join(str(getattr(error, "problem", None) or error).split())
    context = " ".join(str(getattr(error, "context", None) or "").split())
    if isinstance(error, _LimitError) and error.event is not None:
        mark = error.event.start_mark
    else:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    start = source.text.offset(mark.line, mark.column) if mark is not None else 0
    if isinstance(error, _LimitError):
        source.add("too-deep" if "deeper" in problem else "too-many", problem, start, start + 1)
        return
    whole = f"{context}: {problem}" if context else problem
    hint = next((hint for word, hint in _HINTS if word in whole), None)
    if "\t" in source.text.line(source.text.place(start)[0])[: source.text.place(start)[1] + 1].split("#")[0]:
        hint = _HINTS[0][1]
    source.add("yaml-syntax", f"this is not YAML: {whole}", start, start + 1, hint)
