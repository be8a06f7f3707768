"""Params: what the trigger form is made of, what is refused, and what stages see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from e2e_client import Client, Run

DOCUMENT = r"""
typed:
  type: Workflow
  params:
    text: {type: str, desc: Any text, default: hello}
    must: {type: str, required: true}
    number: {type: int, default: 3}
    ratio: {type: float, default: 0.5}
    price: {type: decimal, precision: 2, default: "19.90"}
    flag: {type: bool, default: false}
    day: {type: date, default: 2024-02-29}
    moment: {type: datetime, default: "2024-02-29T12:00:00Z"}
    region: {type: choice, options: [eu, us], default: eu}
    settings: {type: map, default: {a: 1}}
    names: {type: array, default: [x, y]}
    maybe: str
  jobs:
    look:
      stages:
        - name: Look
          id: look
          run: |
            types = {name: type(value).__name__ for name, value in params.items()}
            next_day = ${{ params.day | fmt('%d.%m.%Y') }}
            year = ${{ params.moment }}.year
            doubled = params.number * 2
            price = str(params.price * 2)
        - {name: Show, id: show, bash: 'echo "$A"', env: {A: "${{ params.day }} ${{ params.flag }} ${{ params.maybe }} ${{ params.names }}"}}
open:
  type: Workflow
  jobs: {look: {stages: [{name: Look, id: look, run: "given = dict(params)"}]}}
closed:
  type: Workflow
  params: {known: {type: str, default: x}}
  jobs: {look: {stages: [{name: Look, id: look, run: "given = dict(params)"}]}}
"""


@pytest.fixture(scope="module")
def typed(client: Client) -> str:
    client.drop("typed.yaml", DOCUMENT)
    for dag_id in ("open", "closed", "typed"):
        client.wait_for_dag(dag_id)
    return "typed"


@pytest.fixture(scope="module")
def given(client: Client, typed: str) -> Run:
    return client.trigger(typed, {"must": "x", "day": "2026-11-20", "moment": "2026-11-20T10:00:00+02:00"})


@pytest.fixture(scope="module")
def plain(client: Client, typed: str, given: Run) -> Run:
    return client.trigger(typed, {"must": "x"})


WRONG: dict[str, list[Any]] = {
    "text": [1, None, ["x"]],
    "must": [None, 1],
    "number": ["3", 1.5, True, None],
    "ratio": ["0.5", None],
    "price": ["cheap", True],
    "flag": ["true", 1],
    "day": ["2024-02-30", "tomorrow", 5],
    "moment": ["2024-13-01T00:00:00Z", "noon", "2024-02-29T25:00:00Z"],
    "region": ["asia", None],
    "settings": [[1], "a"],
    "names": [{"a": 1}, "x"],
    "maybe": [1],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in WRONG for value in WRONG[name]])
def test_wrong_values_are_refused(client: Client, typed: str, name: str, value: Any) -> None:
    with pytest.raises(httpx.HTTPStatusError) as refused:
        client.trigger(typed, {"must": "x", name: value})
    assert refused.value.response.status_code in (400, 422)
    assert name in refused.value.response.text


def test_a_missing_required_param_is_refused(client: Client, typed: str) -> None:
    with pytest.raises(httpx.HTTPStatusError, match="400"):
        client.trigger(typed)


FORM: dict[str, dict[str, Any]] = {
    "text": {"type": "string", "description": "Any text"},
    "must": {"type": "string"},
    "number": {"type": "integer"},
    "ratio": {"type": "number"},
    "flag": {"type": "boolean"},
    "day": {"type": "string", "format": "date"},
    "moment": {"type": "string", "format": "date-time"},
    "region": {"type": "string", "enum": ["eu", "us"]},
    "settings": {"type": "object"},
    "names": {"type": "array"},
    "maybe": {"type": ["string", "null"]},
}


@pytest.mark.parametrize("name", FORM)
def test_the_form(client: Client, typed: str, name: str) -> None:
    """The controls of Airflow's form follow from type, format and enum."""
    param = client.get(f"/dags/{typed}/details")["params"][name]
    schema = {**param["schema"]}
    if param.get("description"):
        schema.setdefault("description", param["description"])
    assert {key: value for key, value in schema.items() if key in (*FORM[name], "enum", "format")} == FORM[
        name
    ]


def test_defaults_and_types(client: Client, plain: Run) -> None:
    run = client.wait_for_run(plain)
    assert run.state == "success"
    seen = client.xcom(run, "look.look")
    assert seen == {
        "types": {
            "text": "str",
            "must": "str",
            "number": "int",
            "ratio": "float",
            "price": "Decimal",
            "flag": "bool",
            "day": "date",
            "moment": "datetime",
            "region": "str",
            "settings": seen["types"]["settings"],
            "names": seen["types"]["names"],
            "maybe": "NoneType",
        },
        "next_day": "29.02.2024",
        "year": 2024,
        "doubled": 6,
        "price": "39.80",
    }
    assert client.xcom(run, "look.show")["stdout"] == '2024-02-29 false  ["x", "y"]'


def test_given_values(client: Client, given: Run) -> None:
    run = client.wait_for_run(given)
    seen = client.xcom(run, "look.look")
    assert (seen["next_day"], seen["year"]) == ("20.11.2026", 2026)


def test_open_and_closed_params(client: Client, typed: str) -> None:
    run = client.run("open", {"anything": [1]})
    assert client.xcom(run, "look.look") == {"given": {"anything": [1]}}
    run = client.run("closed", {"knwon": "y"})
    assert run.state == "failed"
    assert "did you mean 'known'" in client.log(run, "look.look")
