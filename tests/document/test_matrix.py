from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_stagecoach.document.matrix import MatrixError, expand, same


@pytest.mark.parametrize(
    ("matrix", "include", "exclude", "legs"),
    [
        ({}, None, None, [{}]),
        (None, None, None, [{}]),
        ({"a": []}, None, None, []),
        ({"sleep": ["3", "1", "0.1"]}, None, None, [{"sleep": "3"}, {"sleep": "1"}, {"sleep": "0.1"}]),
        # The older engine ran one empty leg; an empty matrix here skips the job.
        ({"t": ["c"], "s": ["csv"], "p": [1]}, None, [{"t": "c", "s": "csv", "p": 1}], []),
        ({"t": ["c"], "p": [1]}, [{"t": "c", "p": 1}], None, [{"t": "c", "p": 1}]),
        (
            {"a": [1, 2], "b": [3, 4]},
            None,
            None,
            [{"a": 1, "b": 3}, {"a": 1, "b": 4}, {"a": 2, "b": 3}, {"a": 2, "b": 4}],
        ),
        ({"a": [1, 2], "b": [3, 4]}, None, [{"a": 1}], [{"a": 2, "b": 3}, {"a": 2, "b": 4}]),
        ({"a": [1]}, None, [{"a": "1"}], [{"a": 1}]),
        ({"a": [1]}, None, [{"a": True}], [{"a": 1}]),
        ({"a": [1]}, [{"b": 2}], None, [{"a": 1, "b": 2}]),
        ({"a": [1]}, [{"a": 2}], None, [{"a": 1}, {"a": 2}]),
        ({"a": [1]}, [{"b": 2}, {"b": 3}], None, [{"a": 1, "b": 3}]),
        ({"a": [1]}, [{"a": 2}, {"b": 5}], None, [{"a": 1, "b": 5}, {"a": 2}]),
        ({}, [{"a": 1}, {"a": 2}], None, [{"a": 1}, {"a": 2}]),
        ({"a": [1]}, [{"a": 9}], [{"a": 1}], [{"a": 9}]),
        ({"a": [[1, 2], {"x": 1}, None]}, None, None, [{"a": [1, 2]}, {"a": {"x": 1}}, {"a": None}]),
        ({"a": [[1, 2], [3]]}, None, [{"a": [1, 2]}], [{"a": [3]}]),
        ({"n": range(3)}, None, None, [{"n": 0}, {"n": 1}, {"n": 2}]),
        ({"a": [1, 1]}, None, None, [{"a": 1}, {"a": 1}]),
    ],
)
def test_expand(matrix: Any, include: Any, exclude: Any, legs: list[dict[str, Any]]) -> None:
    assert expand(matrix, include, exclude) == legs


def test_the_example_of_github() -> None:
    """The documentation of GitHub Actions shows six combinations of fruit and animal."""
    include = [
        {"color": "green"},
        {"color": "pink", "animal": "cat"},
        {"fruit": "apple", "shape": "circle"},
        {"fruit": "banana"},
        {"fruit": "banana", "animal": "cat"},
    ]
    assert expand({"fruit": ["apple", "pear"], "animal": ["cat", "dog"]}, include) == [
        {"fruit": "apple", "animal": "cat", "color": "pink", "shape": "circle"},
        {"fruit": "apple", "animal": "dog", "color": "green", "shape": "circle"},
        {"fruit": "pear", "animal": "cat", "color": "pink"},
        {"fruit": "pear", "animal": "dog", "color": "green"},
        {"fruit": "banana"},
        {"fruit": "banana", "animal": "cat"},
    ]


@pytest.mark.parametrize(
    ("matrix", "include", "exclude", "path", "message"),
    [
        ({"a": 1}, None, None, ("matrix", "a"), "the values of matrix axis 'a' must be a list"),
        ({"a": "xy"}, None, None, ("matrix", "a"), "the values of matrix axis 'a' must be a list"),
        ([1], None, None, ("matrix",), "the matrix must be a map of axes"),
        ({"a": [1]}, {"a": 1}, None, ("include",), "'include' must be a list of maps"),
        ({"a": [1]}, None, [1], ("exclude", 0), "an entry of 'exclude' must be a map of axes"),
        ({"a": [1]}, None, [{}], ("exclude", 0), "an entry of 'exclude' is empty"),
        ({"a": [1]}, [{}], None, ("include", 0), "an entry of 'include' is empty"),
        ({"a": [1]}, None, [{"b": 1}], ("exclude", 0, "b"), "the matrix has no axis 'b' to exclude"),
    ],
)
def test_errors(matrix: Any, include: Any, exclude: Any, path: tuple[Any, ...], message: str) -> None:
    with pytest.raises(MatrixError) as error:
        expand(matrix, include, exclude)
    assert str(error.value) == message
    assert error.value.path == path


def test_more_than_the_limit_is_an_error() -> None:
    assert len(expand({"a": range(10)}, limit=10)) == 10
    with pytest.raises(MatrixError, match="the matrix has 11 legs, the limit is 10"):
        expand({"a": range(11)}, limit=10)


def test_a_huge_product_is_refused_before_it_is_made() -> None:
    with pytest.raises(MatrixError, match="more than can be computed"):
        expand({f"a{n}": range(100) for n in range(50)})


def test_legs_share_nothing() -> None:
    legs = expand({"a": [1, 2]})
    legs[0]["a"] = 5
    assert legs[1] == {"a": 2}


_VALUES = st.sampled_from([0, 1, True, "1", "x", None])
_ENTRY = st.dictionaries(st.sampled_from("abcz"), _VALUES, min_size=1, max_size=3)


def reference(matrix: dict[str, list[Any]], include: list[Any], exclude: list[Any]) -> list[dict[str, Any]]:
    """The rule of GitHub's documentation, written out slowly."""
    if not matrix and not include:
        return [{}]
    originals = (
        [dict(zip(matrix, values, strict=True)) for values in product(*matrix.values())] if matrix else []
    )
    originals = [
        leg for leg in originals if not any(all(same(leg[k], v) for k, v in e.items()) for e in exclude)
    ]
    result = [dict(leg) for leg in originals]
    extra = []
    for entry in include:
        matches = [
            n
            for n, leg in enumerate(originals)
            if not any(k in leg and not same(leg[k], v) for k, v in entry.items())
        ]
        for n in matches:
            result[n] |= entry
        if not matches:
            extra.append(dict(entry))
    return result + extra


@given(
    st.dictionaries(st.sampled_from("abc"), st.lists(_VALUES, max_size=4), max_size=3),
    st.lists(_ENTRY, max_size=4),
    st.lists(_ENTRY, max_size=3),
)
def test_against_the_reference(matrix: dict[str, list[Any]], include: list[Any], exclude: list[Any]) -> None:
    exclude = [entry for entry in exclude if entry.keys() <= matrix.keys()]
    assert repr(expand(matrix, include, exclude)) == repr(reference(matrix, include, exclude))
