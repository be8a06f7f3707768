"""From the path of a fault to its place in the text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

if TYPE_CHECKING:
    from airflow_stagecoach.document.source import Path, Source

#: Two spellings of one key.
_SAME = {
    "condition": "if",
    "with_": "with",
    "raise_": "raise",
    "else_": "else",
    "tz": "timezone",
    "cronjob": "cron",
}


def canonical(key: str) -> str:
    """One spelling for all spellings of a key of ours."""
    key = key.replace("-", "_")
    return _SAME.get(key, key)


def locate(
    source: Source,
    root: Node,
    path: Path,
    *,
    on_key: bool = False,
    span: tuple[int, int] | None = None,
) -> tuple[int, int]:
    """The offsets of the place that ``path`` leads to.

    ``on_key`` gives the last key instead of its value. ``span`` is a part of the text at the end of the path
    (offsets into the value), for instance of an expression. Where the path leads nowhere (a key that is
    missing), the last place on the way is given.
    """
    node: Node = root
    key_node: Node | None = None
    for depth, part in enumerate(path):
        step = _step(node, part)
        if step is None:
            if depth and isinstance(node, (MappingNode, SequenceNode)):
                start, end = source.span(key_node or node)
                return (start, end) if key_node is not None else (start, _first_end(source, node))
            break
        key_node, node = step
    if on_key and key_node is not None:
        return source.span(key_node)
    start, end = source.span(node)
    if isinstance(node, ScalarNode):
        return _inside(source.text.text, node, start, end, span) if span is not None else (start, end)
    if key_node is not None:
        return source.span(key_node)
    return start, _first_end(source, node)


def _first_end(source: Source, node: Node) -> int:
    """Where the first key or entry of a map or list ends: a caret below all of it would say little."""
    while isinstance(node, (MappingNode, SequenceNode)) and node.value:
        first = node.value[0]
        node = first[0] if isinstance(first, tuple) else first
    return source.span(node)[1]


def _step(node: Node, part: str | int) -> tuple[Node | None, Node] | None:
    if isinstance(part, int):
        if isinstance(node, SequenceNode):
            return (None, node.value[part]) if part < len(node.value) else None
        # One value may stand in place of a list of one.
        return (None, node) if part == 0 else None
    if not isinstance(node, MappingNode):
        return None
    wanted = canonical(str(part))
    second: tuple[Node, Node] | None = None
    merged: list[Node] = []
    for key_node, value_node in node.value:
        if not isinstance(key_node, ScalarNode):
            continue
        if key_node.tag.endswith(":merge"):
            merged += value_node.value if isinstance(value_node, SequenceNode) else [value_node]
        if key_node.value == str(part):
            return key_node, value_node
        if second is None and canonical(key_node.value) == wanted:
            second = key_node, value_node
    if second is not None:
        return second
    for other in merged:
        step = _step(other, part)
        if step is not None:
            return step
    return None


def _inside(text: str, node: ScalarNode, start: int, end: int, span: tuple[int, int]) -> tuple[int, int]:
    """The place of a part of a scalar: its characters are followed through quotes and indentation."""
    value: str = node.value
    first, last = max(0, span[0]), min(len(value), max(span[1], span[0] + 1))
    raw = text[start:end]
    if node.style == '"' and "\\" in raw:
        at = raw.find(value[first:last])
        return (start + at, start + at + last - first) if at >= 0 else (start, end)
    position = 0
    if node.style in ("|", ">"):
        position = raw.find("\n") + 1
    elif node.style in ("'", '"'):
        position = 1
    begin = None
    for index in range(last):
        character = value[index]
        if character == "\n" and node.style not in ("|", ">"):
            character = " "
        at = raw.find(character, position)
        if at < 0 and character == " ":
            at = raw.find("\n", position)
        if at < 0:
            break
        if index == first:
            begin = at
        position = at + 1
    if begin is None:
        return start, end
    return start + begin, start + max(position, begin + 1)
