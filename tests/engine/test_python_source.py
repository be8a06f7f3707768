from __future__ import annotations

import textwrap
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_stagecoach import expressions
from airflow_stagecoach.engine.errors import StageError
from airflow_stagecoach.engine.python_source import prepare
from tests.engine.harness import python, run


def evaluate(source: str, **params: Any) -> dict[str, Any]:
    """Run source with params; give its names."""
    prepared = prepare(source, "<test>", lambda text: expressions.render(text, {"params": params}))
    names: dict[str, Any] = dict(prepared.values)
    exec(prepared.code, names)
    return names


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = ${{ params.v }}", 7),
        ("x = ${{ params.v }}*2", 14),
        ("x=[${{ params.v }},${{params.v}}]", [7, 7]),
        ("x = '${{ params.v }}'", "7"),
        ("x = 'a${{ params.v }}b${{ params.v }}'", "a7b7"),
        ('x = """a\n${{ params.v }}"""', "a\n7"),
        ("x = f'{1 + 1}-${{ params.v }}-{ ${{ params.v }} }'", "2-7-7"),
        ("y = 3\nx = f'{y:>${{ params.v }}}'", "      3"),
        ("x = f'{{${{ params.v }}}}'", "{7}"),
        ("x = r'\\n${{ params.v }}'", "\\n7"),
        ("x = b'<${{ params.v }}>'", b"<7>"),
        ("x = 'a' '${{ params.v }}' \"b\"", "a7b"),
        ("def f():\n    '''doc ${{ params.v }}'''\nx = f.__doc__", "doc 7"),
        ("x = 1 # ${{ params.nope }}", 1),
        ("x = '$${{ params.v }}'", "${{ params.v }}"),
        ("x = {'a': {'b': 1}}", {"a": {"b": 1}}),
        ("x = {${{ params.v }}: '${{ params.v }}'}", {7: "7"}),
        ("x = ${{ params.v == 7 }}", True),
        ("x = '${{ null }}'", ""),
        ("x = '${{ true }}'", "true"),
        ("x = (lambda: ${{ params.v }})()", 7),
        ("x = ${{\n params.v\n}} + 1", 8),
        ("x = '${{ toJson(params) }}'", '{"v": 7}'),
    ],
)
def test_values_stand_where_the_code_has_them(source: str, expected: Any) -> None:
    names = evaluate(source, v=7)
    assert names["x"] == expected
    assert type(names["x"]) is type(expected)


@settings(deadline=None)
@given(value=st.text(), quote=st.sampled_from(["'", '"', "'''", '"""']))
def test_a_value_in_a_literal_is_always_that_text(value: str, quote: str) -> None:
    assert evaluate(f"x = {quote}<${{{{ params.v }}}}>{quote}", v=value)["x"] == f"<{value}>"


@settings(deadline=None)
@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)
def test_a_value_outside_literals_is_that_very_value(value: Any) -> None:
    names = evaluate("x = ${{ params.v }}\ny = [${{ params.v }}][0]", v=value)
    assert names["x"] == value
    assert names["y"] == value
    assert type(names["x"]) is type(value)


@pytest.mark.parametrize(
    "value", ["'; import os; os.abort() #", '"""', "\\", "__expression_0__", "${{ params.w }}", "\n"]
)
def test_values_are_never_code(value: str) -> None:
    assert evaluate("x = '${{ params.v }}'\ny = ${{ params.v }}", v=value, w="no")["x"] == value


def test_the_authors_own_names_may_look_like_placeholders() -> None:
    names = evaluate("__expression_0__ = 5\nx = '__expression_0__', ${{ params.v }}", v=1)
    assert names["x"] == ("__expression_0__", 1)


@pytest.mark.parametrize(
    "source",
    [
        "${{ params.v }} = 1",
        "x_${{ params.v }} = 1",
        "x = y${{ params.v }}",
        "x = y.${{ params.v }}",
        "def ${{ params.v }}(): pass",
        "def f(${{ params.v }}): pass",
        "f(${{ params.v }}=1)",
        "import ${{ params.v }}",
        "from a import b as ${{ params.v }}",
        "del ${{ params.v }}",
        "for ${{ params.v }} in []: pass",
        "global ${{ params.v }}",
        "class A(metaclass=x): ${{ params.v }}: int = 1",
        "match 1:\n  case ${{ params.v }}: pass",
        "match 1:\n  case {'a': 1, **${{ params.v }}}: pass",
    ],
)
def test_an_expression_is_no_name(source: str) -> None:
    with pytest.raises(StageError, match=r"run: line \d+: an expression stands for a value"):
        evaluate(source, v="x")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = 1\nx = = 2\n", "line 2: invalid syntax: x = = 2"),
        ("x = ${{\n\n params.v }}\n\nif:\n", "line 5: "),
        ("return 1", "line 1: 'return' outside function"),
        ("x = '${{ params.v }}' +", "line 1: "),
        ("x = '\0'", "null bytes"),
    ],
)
def test_what_is_no_python_is_told_with_its_line(source: str, message: str) -> None:
    with pytest.raises(StageError) as caught:
        evaluate(source, v=1)
    assert message in str(caught.value)
    assert "__expression" not in str(caught.value)


def test_a_malformed_expression() -> None:
    error = run(python("x = ${{ params. }}")).error
    assert error["type"] == "ExpressionSyntaxError"


def test_lines_stay_right_after_an_expression_over_several_lines() -> None:
    source = textwrap.dedent(
        """\
        a = ${{
            params.v
        }}
        b = '${{ params.v
        }}'
        def f():
            raise ValueError(a)
        f()
        """
    )
    ran = run(python(source, id="w"), contexts={"params": {"v": 1}})
    text = "\n".join(ran.texts)
    assert 'File "<stage w>", line 8, in <module>\n    f()' in text
    assert 'File "<stage w>", line 7, in f\n    raise ValueError(a)' in text


def test_a_traceback_marks_no_wrong_text() -> None:
    ran = run(python("x = [${{ params.v }}, 1/0]", id="w"), contexts={"params": {"v": 1}})
    text = "\n".join(ran.texts)
    assert "line 1, in <module>\n    x = [${{ params.v }}, 1/0]\n" in text
    marks = [line for line in ran.texts if line.strip() and set(line.strip()) <= set("~^")]
    assert marks == []
