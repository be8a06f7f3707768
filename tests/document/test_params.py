from __future__ import annotations

import json
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_stagecoach.document.params import TYPES, ParamError, coerce, coerce_all, json_schema, to_json

if TYPE_CHECKING:
    from airflow_stagecoach.document.plan import ParamPlan

UTC = timezone.utc


def plan(of: str, **keys: Any) -> ParamPlan:
    return {"type": of, **keys}  # type: ignore[typeddict-item] # keys are checked by what they do


@pytest.mark.parametrize(
    ("of", "value", "result"),
    [
        (plan("str"), "foo", "foo"),
        (plan("str"), {"foo": "bar"}, "{'foo': 'bar'}"),
        (plan("str"), None, None),
        (plan("str"), 5, "5"),
        (plan("str"), True, "true"),
        (plan("datetime"), "2024-01-01", datetime(2024, 1, 1, tzinfo=UTC)),
        (plan("datetime"), datetime(2024, 1, 1), datetime(2024, 1, 1, tzinfo=UTC)),
        (plan("datetime"), date(2024, 1, 1), datetime(2024, 1, 1, tzinfo=UTC)),
        (plan("datetime"), "2024-01-01T03:04:00+07:00", datetime(2023, 12, 31, 20, 4, tzinfo=UTC)),
        (plan("datetime"), "2024-01-01T03:04:05Z", datetime(2024, 1, 1, 3, 4, 5, tzinfo=UTC)),
        (plan("date"), "2024-02-29", date(2024, 2, 29)),
        (plan("date"), datetime(2024, 2, 29, 5), date(2024, 2, 29)),
        (plan("int"), "1", 1),
        (plan("int"), " -7 ", -7),
        (plan("int"), 10**20, 10**20),
        (plan("float"), "1.5", 1.5),
        (plan("float"), 2, 2.0),
        (plan("float"), "1e3", 1000.0),
        (plan("float"), 1.23456789, 1.234568),
        (plan("float", precision=2), 1.239, 1.24),
        (plan("decimal"), 1, Decimal("1.000000")),
        (plan("decimal", precision=2), "1.015", Decimal("1.02")),
        (plan("decimal", precision=0), "2", Decimal(2)),
        (plan("bool"), "true", True),
        (plan("bool"), "False", False),
        (plan("bool"), False, False),
        (plan("choice", options=["foo", "bar"]), "foo", "foo"),
        (plan("choice", options=[1, 2]), "2", 2),
        (plan("choice", options=[1, "1"]), "1", "1"),
        (plan("choice", options=["a"]), None, None),
        (plan("array", default=[1]), "[1, 2, 3]", [1, 2, 3]),
        (plan("array", default=[1]), None, [1]),
        (plan("array"), None, []),
        (plan("array"), (1, 2), [1, 2]),
        (plan("map", default={"key": "value"}), {1: "test"}, {1: "test"}),
        (plan("map", default={"key": "value"}), None, {"key": "value"}),
        (plan("map"), None, {}),
        (plan("map"), '{"a": [1]}', {"a": [1]}),
    ],
)
def test_coerce(of: ParamPlan, value: Any, result: Any) -> None:
    found = coerce(of, value)
    assert (type(found), found) == (type(result), result)


@pytest.mark.parametrize(
    ("of", "value", "message"),
    [
        (plan("date"), 2024, "expected a date such as 2024-12-31, found the number 2024"),
        (plan("date"), "2024", "expected a date such as 2024-12-31, found '2024'"),
        (plan("date"), "2023-02-29", "the day 2023-02-29 does not exist, found '2023-02-29'"),
        (plan("datetime"), "2024", "expected a date or a time such as"),
        (plan("datetime"), "0001-01-01T00:00:00+23:00", "out of range"),
        (plan("int"), 1.0, "expected a whole number, found the number 1.0"),
        (plan("int"), True, "expected a whole number, found true"),
        (plan("int"), "1.0", "expected a whole number, found '1.0'"),
        (plan("int"), "١", "expected a whole number"),
        (plan("float"), "nan", "expected a number, found 'nan'"),
        (plan("float"), float("inf"), "expected a finite number"),
        (plan("float"), True, "expected a number, found true"),
        (plan("decimal"), "a1.015", "expected a decimal number, found 'a1.015'"),
        (plan("decimal"), "9" * 29, "at most 28 digits"),
        (plan("bool"), 1, "expected true or false, found the number 1"),
        (plan("bool"), "yes", "expected true or false, found 'yes'"),
        (plan("choice", options=["foo", "bar"]), "baz", "expected foo or bar, found 'baz'"),
        (plan("choice", options=["1"]), 1, "expected 1, found the number 1"),
        (plan("array"), "foo", "expected a list, or a list as JSON text, found 'foo'"),
        (plan("array"), '{"a": 1}', "expected a list"),
        (plan("array"), "[" * 100_000, "expected a list"),
        (plan("map"), 100, "expected a map, or a map as JSON text, found the number 100"),
        (plan("map"), "[1]", "expected a map"),
        (plan("str", required=True), None, "a required param cannot be null"),
    ],
)
def test_refuse(of: ParamPlan, value: Any, message: str) -> None:
    with pytest.raises(ParamError) as error:
        coerce(of, value)
    assert message in str(error.value)


def test_the_hint_names_the_nearest_option() -> None:
    with pytest.raises(ParamError) as error:
        coerce(plan("choice", options=["asia", "europe"]), "europ")
    assert error.value.hint == "did you mean 'europe'?"


def test_all_params_of_a_workflow() -> None:
    plans = {"a": plan("int", default=1), "b": plan("str"), "c": plan("date", required=True)}
    assert coerce_all(plans, {"c": "2024-01-02"}) == {"a": 1, "b": None, "c": date(2024, 1, 2)}
    with pytest.raises(ParamError, match="param 'c' is required"):
        coerce_all(plans, {})
    with pytest.raises(ParamError, match="param 'a': expected a whole number, found 'x'"):
        coerce_all(plans, {"a": "x", "c": "2024-01-02"})
    with pytest.raises(ParamError, match="unknown param 'bb'") as error:
        coerce_all(plans, {"bb": 1, "c": "2024-01-02"})
    assert error.value.hint == "did you mean 'b'?"


def test_without_params_any_name_may_be_passed() -> None:
    assert coerce_all(None, {"x": 1}) == {"x": 1}
    with pytest.raises(ParamError, match="unknown param 'x'"):
        coerce_all({}, {"x": 1})


@pytest.mark.parametrize(
    ("of", "schema"),
    [
        (plan("int", default=1, desc="n"), {"type": "integer", "description": "n"}),
        (plan("int"), {"type": ["integer", "null"]}),
        (plan("int", required=True), {"type": "integer"}),
        (plan("bool", default=False), {"type": "boolean"}),
        (plan("datetime", required=True), {"type": "string", "format": "date-time"}),
        (plan("choice", options=["a", "b"]), {"type": ["string", "null"], "enum": ["a", "b", None]}),
        (plan("choice", options=[1, "b"], default=1), {"type": ["integer", "string"], "enum": [1, "b"]}),
    ],
)
def test_json_schema(of: ParamPlan, schema: dict[str, Any]) -> None:
    assert json_schema(of) == schema


@pytest.mark.parametrize("of", TYPES)
def test_a_schema_accepts_what_its_type_gives(of: str) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    values = {"str": "x", "int": 1, "float": 1.5, "decimal": "1.5", "bool": True, "date": "2024-01-01"}
    values |= {"datetime": "2024-01-01T00:00:00+00:00", "choice": "a", "map": {"a": 1}, "array": [1]}
    of_plan = plan(of, options=["a"]) if of == "choice" else plan(of)
    value = to_json(coerce(of_plan, values[of]))
    assert json.loads(json.dumps(value)) == value
    jsonschema.validate(value, json_schema(of_plan))
    jsonschema.validate(None, json_schema(of_plan))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(None, json_schema({**of_plan, "required": True}))


@given(
    st.sampled_from(TYPES), st.text() | st.integers() | st.floats() | st.booleans() | st.lists(st.integers())
)
def test_nothing_but_param_error(of: str, value: Any) -> None:
    try:
        result = coerce(plan(of, options=["a", 1]) if of == "choice" else plan(of), value)
    except ParamError:
        return
    json.dumps(to_json(result))


@given(st.datetimes(timezones=st.just(UTC)), st.integers(-12, 12))
def test_datetimes_keep_their_moment(moment: datetime, hours: int) -> None:
    moment = moment.replace(microsecond=0, year=2000 + moment.year % 100 if moment.day < 29 else 2000)
    text = moment.astimezone(timezone(timedelta(hours=hours))).isoformat()
    assert coerce(plan("datetime"), text) == moment
