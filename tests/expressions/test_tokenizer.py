from __future__ import annotations

import pytest

from airflow_stagecoach.expressions import ExpressionSyntaxError
from airflow_stagecoach.expressions._tokenizer import (
    MAX_LENGTH,
    tokenize_braces,
    tokenize_condition,
    tokenize_expression,
)


def words(source: str) -> list[tuple[str, str]]:
    return [(token.kind, token.text) for token in tokenize_expression(source)[:-1]]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a-b", [("NAME", "a-b")]),
        ("a--b", [("NAME", "a--b")]),
        ("a - b", [("NAME", "a"), ("-", "-"), ("NAME", "b")]),
        ("a -b", [("NAME", "a"), ("-", "-"), ("NAME", "b")]),
        ("5-3", [("NUMBER", "5"), ("-", "-"), ("NUMBER", "3")]),
        ("a?", [("NAME", "a?")]),
        ("a ?", [("NAME", "a"), ("?", "?")]),
        ("a.b?.c", [("NAME", "a"), ("FIELD", ".b?"), ("FIELD", ".c")]),
        ("a.0.5", [("NAME", "a"), ("FIELD", ".0"), ("FIELD", ".5")]),
        ("a.2024-01-01", [("NAME", "a"), ("FIELD", ".2024-01-01")]),
        ("a.*", [("NAME", "a"), ("STAR", ".*")]),
        ("a.in", [("NAME", "a"), ("FIELD", ".in")]),
        ("or-else", [("NAME", "or-else")]),
        ("a or b", [("NAME", "a"), ("||", "or"), ("NAME", "b")]),
        ("1.5e-3", [("NUMBER", "1.5e-3")]),
        ("0xFF", [("NUMBER", "0xFF")]),
        ("'it''s'", [("TEXT", "'it''s'")]),
        ('"a ""b"""', [("TEXT", '"a ""b"""')]),
        ("''", [("TEXT", "''")]),
        ("région", [("NAME", "région")]),
        ("a<=b", [("NAME", "a"), ("<=", "<="), ("NAME", "b")]),
        ("a!=!b", [("NAME", "a"), ("!=", "!="), ("!", "!"), ("NAME", "b")]),
    ],
)
def test_tokens(source: str, expected: list[tuple[str, str]]) -> None:
    assert words(source) == expected


@pytest.mark.parametrize(
    ("source", "message", "span"),
    [
        ("a & b", "unexpected character '&'", (2, 3)),
        ("a @ b", "unexpected character '@'", (2, 3)),
        ("'abc", "this text has no closing quote", (0, 1)),
        ("'abc''", "this text has no closing quote", (0, 1)),
        ("x == “a”", "unexpected character '“'", (5, 6)),
        ("12abc", "'12abc' is not a number", (0, 5)),
        ("1.2.3", "'1.2.3' is not a number", (0, 5)),
        ("a + ${{ b }}", "unexpected character '$'", (4, 5)),
    ],
)
def test_bad_characters(source: str, message: str, span: tuple[int, int]) -> None:
    with pytest.raises(ExpressionSyntaxError) as caught:
        tokenize_expression(source)
    assert (caught.value.message, caught.value.span) == (message, span)


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("${{ a }} b }}", 8),
        ("${{ '}}' }}", 11),
        ('${{ "}}" }}', 11),
        ("${{ {'a': {'b': 1}}}} x", 21),
        ("${{a}}}}", 6),
    ],
)
def test_end_of_braces_is_found_by_tokens(text: str, end: int) -> None:
    tokens, found = tokenize_braces(text, 3)
    assert found == end
    assert tokens[-1].kind == "END"


def test_braces_without_end() -> None:
    with pytest.raises(ExpressionSyntaxError, match="has no end") as caught:
        tokenize_braces("a ${{ b", 5)
    assert caught.value.span == (2, 5)


def test_condition_with_braces_in_a_text() -> None:
    kinds = [token.kind for token in tokenize_condition("'a${{ x['k'] }}b' == ${{ y }}")]
    assert kinds == [
        *("QUOTE", "CHUNK", "BRACES", "NAME", "[", "TEXT", "]", "BRACES_END", "CHUNK", "QUOTE_END"),
        *("==", "BRACES", "NAME", "BRACES_END", "END"),
    ]


def test_length_is_bounded() -> None:
    with pytest.raises(ExpressionSyntaxError, match="at most 20000 characters"):
        tokenize_expression("a" * (MAX_LENGTH + 1))
    with pytest.raises(ExpressionSyntaxError, match="at most 20000 characters"):
        tokenize_braces("${{" + "a " * MAX_LENGTH + "}}", 3)
