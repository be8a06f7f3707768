from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_stagecoach.engine.errors import StorageError
from airflow_stagecoach.engine.values import View, storable, storable_outputs, view

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), inner)
    ),
)


@settings(max_examples=40, deadline=None)
@given(plain)
def test_plain_values_stay_as_they_are(value: Any) -> None:
    assert storable(value) == value
    assert json.loads(json.dumps(storable(value))) == value


@settings(max_examples=40, deadline=None)
@given(plain)
def test_a_view_is_an_equal_copy(value: Any) -> None:
    copy = view(value)
    assert copy == value
    assert json.dumps(copy) == json.dumps(value)


@pytest.mark.parametrize(
    "value",
    [
        object(),
        print,
        b"x",
        float("nan"),
        float("inf"),
        {None: 1},
        {(1,): 1},
        int,
        "\ud800",
        "\0",
        1j,
        {"a": object()},
    ],
)
def test_what_has_no_json_form(value: Any) -> None:
    with pytest.raises(StorageError):
        storable(value)


def test_subclasses_become_plain() -> None:
    class Text(str):
        pass

    class Number(int):
        pass

    found = storable([Text("a"), Number(3), View(a=View())])
    assert found == ["a", 3, {"a": {}}]
    assert [type(item) for item in found] == [str, int, dict]


def test_a_conversion_that_fails() -> None:
    class Broken:
        def model_dump(self, **keys: Any) -> Any:
            raise RuntimeError

    with pytest.raises(StorageError, match="Broken could not be converted"):
        storable(Broken())


def test_sets_have_a_stable_order() -> None:
    assert storable({"b", "a", "c"}) == ["a", "b", "c"]
    assert storable({1, "a"}) == [1, "a"]


def test_outputs_name_what_is_left_out() -> None:
    outputs, omitted = storable_outputs({"a": 1, "b": {"c": [print]}})
    assert outputs == {"a": 1}
    assert omitted == {"b": "at ['c'][0]: a value of type builtin_function_or_method has no JSON form"}


def test_view_of_nothing_has_helpful_errors() -> None:
    with pytest.raises(AttributeError, match="there is: nothing"):
        _ = View().x
    with pytest.raises(KeyError, match="did you mean 'region'"):
        View(region=1)["regoin"]
    assert View(a=1).get("b") is None


def test_copies_of_a_view_are_views_and_pickles_are_plain() -> None:
    original = view({"a": {"b": [1]}})
    for made in (original.copy(), copy.copy(original), copy.deepcopy(original)):
        assert made.a.b == [1]
    deep = copy.deepcopy(original)
    deep.a.b.append(2)
    assert original.a.b == [1]
    assert type(pickle.loads(pickle.dumps(original))) is dict
