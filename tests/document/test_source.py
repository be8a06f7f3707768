from __future__ import annotations

import time
from typing import Any

import pytest

from airflow_stagecoach.document.source import Text, read


def value(text: str | bytes) -> Any:
    source = read(text, "f.yml")
    assert source.diagnostics == []
    return source.documents[0].value if source.documents else None


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("a: on", {"a": "on"}),
        ("on: yes", {"on": "yes"}),
        ("{no: off, y: n}", {"no": "off", "y": "n"}),
        ("[true, True, FALSE, 'true', truE]", [True, True, False, "true", "truE"]),
        ("[~, null, Null, NULL, '', nul]", [None, None, None, None, "", "nul"]),
        ("a:", {"a": None}),
        ("[1, -1, +1, 0, 007, 0o17, 0x1F, 1_000, 0b1]", [1, -1, 1, 0, 7, 15, 31, "1_000", "0b1"]),
        ("[1.5, .5, 1., 1e3, -2.5E-1, 1.2.3]", [1.5, 0.5, 1.0, 1000.0, -0.25, "1.2.3"]),
        (
            "[2024-01-01, 2024-01-01T00:00:00Z, 18:05, 1:30:00]",
            ["2024-01-01", "2024-01-01T00:00:00Z", "18:05", "1:30:00"],
        ),
        ("[10m, 10 m, '10m', 1, 2, 3]", ["10m", "10 m", "10m", 1, 2, 3]),
        ("1, 2, 3", "1, 2, 3"),
        ("{1: a, true: b, 1.0: c}", {"1": "a", "true": "b", "1.0": "c"}),
        ("a: &x {k: 1}\nb: {<<: *x, l: 2}", {"a": {"k": 1}, "b": {"l": 2, "k": 1}}),
        ("a: &x {k: 1}\nb: {k: 2, <<: [*x]}", {"a": {"k": 1}, "b": {"k": 2}}),
        ("!!str 5", "5"),
        ("a: |\n  x\n  y\n", {"a": "x\ny\n"}),
        ("\ufeffa: 1", {"a": 1}),
        (b"\xef\xbb\xbfa: 1", {"a": 1}),
        ("", None),
        ("# only a comment", None),
    ],
)
def test_values(text: str | bytes, result: Any) -> None:
    found = value(text)
    assert repr(found) == repr(result)


def test_several_documents() -> None:
    source = read("a: 1\n---\nb: 2\n---\n", "f.yml")
    assert [document.value for document in source.documents] == [{"a": 1}, {"b": 2}, None][
        : len(source.documents)
    ]


@pytest.mark.parametrize(
    ("text", "code", "message", "place"),
    [
        (
            "a: 1\nb: 2\na: 3",
            "duplicate-key",
            "key 'a' stands twice in this map, first in line 1, column 1",
            (3, 1, 2),
        ),
        (
            "x: {a: 1, 'a': 2}",
            "duplicate-key",
            "key 'a' stands twice in this map, first in line 1, column 5",
            (1, 11, 14),
        ),
        ("{{ ds }}: 1", "bad-key", "a key must be text, found a map or list", (1, 1, 9)),
        (
            "a: !!python/object:os.system x",
            "yaml-tag",
            "tag '!!python/object:os.system' is not allowed here",
            (1, 4, 31),
        ),
        ("a: !foo x", "yaml-tag", "tag '!foo' is not allowed here", (1, 4, 10)),
        ("a: 99999999999999999999", "bad-number", "a whole number may have at most 64 bits", (1, 4, 24)),
        ("a: .inf", "bad-number", "infinite numbers and 'not a number' cannot be stored", (1, 4, 8)),
        ("a: 1e999", "bad-number", "infinite numbers and 'not a number' cannot be stored", (1, 4, 9)),
        ("a: &x\n  b: *x", "alias-loop", "an alias stands inside its own anchor", (1, 4, 6)),
        ("a: *x", "yaml-syntax", "this is not YAML: found undefined alias", (1, 4, 5)),
        ("a:\n\tb: 1", "yaml-syntax", "this is not YAML: while scanning for the next token", (2, 1, 2)),
        ("a: [1", "yaml-syntax", "this is not YAML: while parsing a flow sequence", None),
        (
            "a: b: c",
            "yaml-syntax",
            "this is not YAML: mapping values are not allowed in this context",
            (1, 5, 6),
        ),
        ("a: x\0y", "yaml-syntax", "character U+0000 is not allowed in YAML", (1, 5, 6)),
        (b"a: \xff", "encoding", "byte 0xff is not UTF-8", (1, 4, 5)),
        ("a: {<<: 5}", "bad-key", "'<<' merges a map, or a list of maps", (1, 5, 7)),
    ],
)
def test_faults(text: str | bytes, code: str, message: str, place: tuple[int, int, int] | None) -> None:
    (first,) = read(text, "f.yml").diagnostics
    assert (first.code, first.message[: len(message)]) == (code, message)
    if place is not None:
        assert (first.line, first.column, first.end_column) == place


def test_a_tab_has_a_hint() -> None:
    (first,) = read("a:\n\tb: 1", "f.yml").diagnostics
    assert first.hint == "indent with spaces, YAML allows no tab there"


def test_a_broken_document_hides_no_other() -> None:
    source = read("a: 1\n---\nb: [\n---\nc: 3\n", "f.yml")
    assert [document.value for document in source.documents] == [{"a": 1}, {"c": 3}]
    assert [diagnostic.line for diagnostic in source.diagnostics] == [4]


def laughs() -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (laughs(), "too-many"),
        ("[" * 300_000, "too-deep"),
        ("- " * 300_000, "too-deep"),
        ("{a: " * 200_000, "too-deep"),
        ("? " * 300_000, "too-deep"),
        ("".join(" " * n + "a:\n" for n in range(1000)), "too-deep"),
        ("a: " + "9" * 900_000, "bad-number"),
        ("? " + "k" * 500, "bad-key"),
        ("- x\n" * 200_000, "too-many"),
        ("---\n- x\n" * 10_000, "too-many"),
        ("x" * (1 << 20) + "x", "too-large"),
        ("a: b: c\n" * 100_000, "yaml-syntax"),
        ("%" * 500_000, "yaml-syntax"),
        ("&a " * 300_000, "yaml-syntax"),
    ],
)
def test_hostile_input_is_refused_soon(text: str, code: str) -> None:
    start = time.process_time()
    source = read(text, "f.yml")
    assert time.process_time() - start < 1
    assert source.diagnostics[0].code == code
    assert not source.documents or code in ("bad-number", "bad-key")


def test_lines_are_counted_as_yaml_counts_them() -> None:
    text = Text("a\r\nb\nc\rd\u2028e")
    assert [text.line(number) for number in range(7)] == ["", "a", "b", "c", "d", "e", ""]
    assert text.place(text.offset(3, 0)) == (4, 1)
