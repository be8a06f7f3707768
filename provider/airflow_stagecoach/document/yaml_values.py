"""From YAML nodes to values, by our own rules, under limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

if TYPE_CHECKING:
    from airflow_stagecoach.document.source import Source
#: Levels of nesting, values after every alias is written out, characters of a key.
MAX_DEPTH = 64
MAX_NODES = 50_000
MAX_KEY = 256
#: Whole numbers beyond 64 bits reach neither JSON consumers nor databases unharmed.
MAX_INT = 2**63 - 1


class Budget:
    """Counts values and depth as if every alias were written out, without writing it out."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._measured: dict[int, tuple[int, int]] = {}
        self._open: set[int] = set()
        self._total = 0

    def fits(self, root: Node) -> bool:
        """Whether a document is within the limits; notes why not."""
        try:
            size, depth = self._measure(root)
        except RecursionError:
            size, depth = 0, MAX_DEPTH + 1
        except _EndlessError as endless:
            start, end = self._source.span(endless.node)
            self._source.add("alias-loop", "an alias stands inside its own anchor", start, end)
            return False
        self._total += size
        start, _ = self._source.span(root)
        if depth > MAX_DEPTH:
            self._source.add("too-deep", f"nested deeper than {MAX_DEPTH} levels", start, start + 1)
            return False
        if self._total > MAX_NODES:
            message = f"the document has more than {MAX_NODES} values once its aliases are written out"
            self._source.add("too-many", message, start, start + 1)
            return False
        return True

    def _measure(self, node: Node) -> tuple[int, int]:
        if isinstance(node, ScalarNode):
            return 1, 0
        key = id(node)
        known = self._measured.get(key)
        if known is not None:
            return known
        if key in self._open:
            raise _EndlessError(node)
        self._open.add(key)
        size, depth = 1, 0
        children = node.value if isinstance(node, SequenceNode) else [n for pair in node.value for n in pair]
        for child in children:
            child_size, child_depth = self._measure(child)
            size += child_size
            depth = max(depth, child_depth)
        self._open.discard(key)
        self._measured[key] = size, depth + 1
        return size, depth + 1


class _EndlessError(Exception):
    """An alias to something that is not finished yet."""

    def __init__(self, node: Node) -> None:
        super().__init__("endless")
        self.node = node


_TAG = "tag:yaml.org,2002:"


class Builder:
    """Builds the value of one document; faults become diagnostics and the value null."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._built: dict[int, Any] = {}

    def build(self, node: Node) -> Any:
        """The value of a node: dict, list, str, int, float, bool or None."""
        if isinstance(node, ScalarNode):
            return self._scalar(node)
        key = id(node)
        if key in self._built:
            return self._built[key]
        value: Any
        if isinstance(node, SequenceNode):
            if node.tag != _TAG + "seq":
                self._bad_tag(node)
            value = [self.build(child) for child in node.value]
        else:
            assert isinstance(node, MappingNode)
            value = self._map(node)
        self._built[key] = value
        return value

    def _map(self, node: MappingNode) -> dict[str, Any]:
        if node.tag != _TAG + "map":
            self._bad_tag(node)
        value: dict[str, Any] = {}
        seen: dict[str, Node] = {}
        merged: list[Any] = []
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                start, end = self._source.span(key_node)
                hint = "quote a text that begins with {{ or [" if start else None
                self._source.add("bad-key", "a key must be text, found a map or list", start, end, hint)
                continue
            if key_node.tag == _TAG + "merge":
                merged.append((key_node, self.build(value_node)))
                continue
            key: str = key_node.value
            if len(key) > MAX_KEY:
                start, end = self._source.span(key_node)
                self._source.add("bad-key", f"a key may have at most {MAX_KEY} characters", start, end)
                continue
            if key in seen:
                first, column = self._source.text.place(self._source.span(seen[key])[0])
                start, end = self._source.span(key_node)
                self._source.add(
                    "duplicate-key",
                    f"key '{key}' stands twice in this map, first in line {first}, column {column}",
                    start,
                    end,
                    "remove one of the two",
                )
                continue
            seen[key] = key_node
            value[key] = self.build(value_node)
        for key_node, other in merged:
            for part in other if isinstance(other, list) else [other]:
                if not isinstance(part, dict):
                    start, end = self._source.span(key_node)
                    self._source.add("bad-key", "'<<' merges a map, or a list of maps", start, end)
                    continue
                for name, item in part.items():
                    value.setdefault(name, item)
        self._source.lines[id(value)] = node.start_mark.line + 1
        return value

    def _scalar(self, node: ScalarNode) -> Any:
        tag, text = node.tag, node.value
        if tag == _TAG + "str":
            return text
        if tag == _TAG + "bool" and text.lower() in ("true", "false"):
            return text.lower() == "true"
        if tag == _TAG + "null":
            return None
        if tag == _TAG + "int":
            return self._int(node)
        if tag == _TAG + "float":
            return self._float(node)
        if tag == _TAG + "merge":
            return text
        self._bad_tag(node)
        return None

    def _int(self, node: ScalarNode) -> int | None:
        text = node.value
        try:
            number = int(text, {"0o": 8, "0x": 16}.get(text[:2], 10)) if len(text) <= 40 else MAX_INT + 1
        except ValueError:
            self._bad_tag(node)
            return None
        if abs(number) > MAX_INT:
            message = "a whole number may have at most 64 bits"
            self._source.add(
                "bad-number", message, *self._source.span(node), "quote it, so that it stays text"
            )
            return None
        return number

    def _float(self, node: ScalarNode) -> float | None:
        try:
            number = float(node.value) if len(node.value) <= 400 else float("inf")
        except ValueError:
            number = float("nan")
        if number != number or number in (float("inf"), float("-inf")):
            message = "infinite numbers and 'not a number' cannot be stored"
            self._source.add(
                "bad-number", message, *self._source.span(node), "quote it, so that it stays text"
            )
            return None
        return number

    def _bad_tag(self, node: Node) -> None:
        start, end = self._source.span(node)
        shown = node.tag.replace(_TAG, "!!")[:60]
        self._source.add("yaml-tag", f"tag '{shown}' is not allowed here", start, end, "remove the tag")
