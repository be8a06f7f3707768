from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_stagecoach.engine.transport import dump, load


@settings(max_examples=40, deadline=None)  # a loaded machine is no fault
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.text()
        | st.datetimes()
        | st.dates()
        | st.times()
        | st.decimals(allow_nan=False),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_types_survive_the_way(value: Any) -> None:
    assert load(dump(value)) == value


def test_zones_and_durations() -> None:
    zone = datetime.timezone(datetime.timedelta(hours=7))
    value = [datetime.datetime(2026, 1, 1, tzinfo=zone), datetime.timedelta(seconds=1.5), Decimal("1.10")]
    assert load(dump(value)) == value


@pytest.mark.parametrize(
    "value",
    [
        {"$type": "nonsense", "value": 1},
        {"$type": "datetime", "value": "x"},
        {"$type": [], "value": 1},
        {"$type": "date"},
    ],
)
def test_maps_that_only_look_alike(value: Any) -> None:
    assert load(dump(value)) == value


def test_other_mappings_and_what_cannot_travel() -> None:
    from types import MappingProxyType

    assert load(dump({"a": MappingProxyType({"b": 1})})) == {"a": {"b": 1}}
    with pytest.raises(TypeError, match="function"):
        dump({"a": dump})
