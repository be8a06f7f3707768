"""JSON Schemas in a few words, for tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_WORDS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "object": "map",
    "array": "list",
    "null": "null",
}


def schema_words(schema: Mapping[str, Any], definitions: Mapping[str, Any] | None = None) -> str:
    """A JSON Schema in a few words, literal values as code.

    :param definitions: of the schema, whose keys are told; without them a reference is told by name
    """
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        keys = (definitions or {}).get(name, {}).get("properties")
        return f"map of {', '.join(keys)}" if keys else f"map, see {name.lower()}"
    if "enum" in schema:
        return " ".join(f"`{item}`" for item in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "anyOf" in schema:
        words = dict.fromkeys(schema_words(option, definitions) for option in schema["anyOf"])
        return " or ".join(words)
    types = schema.get("type", [])
    text = " or ".join(_WORDS[name] for name in ([types] if isinstance(types, str) else types)) or "anything"
    if "minimum" in schema and "maximum" in schema and schema["maximum"] <= 10_000:
        text += f", {schema['minimum']} to {schema['maximum']}"
    items = schema.get("items")
    if schema.get("type") == "array" and isinstance(items, dict) and "$ref" in items:
        text = "list of stages" if "Stage" in items["$ref"] else "list of entries"
    return text
