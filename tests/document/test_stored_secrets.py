"""Secrets where they would be stored, and names that nobody can know before."""

# Documents stay on one line:

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_stagecoach.document.stored_secrets import secret_names

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_stagecoach.document import Diagnostic

    Find = Callable[[str], list[Diagnostic]]

FRAME = """\
name: w
env: {TOKEN: "${{ secrets.token }}", PASSWORD: "${{ conn.db.password }}", PLAIN: "${{ conn.db.host }}", COPY: "x-${{ env.TOKEN }}"}
concurrency: "@group@"
jobs:
  job:
    name: "@name@"
    env: {PLAIN: x, JOB: "${{ secrets.token }}", COPY: plain}
    strategy: {matrix: {a: ["@matrix@"]}, include: [{b: "@include@"}], max-parallel: "@max@"}
    stages:
      - {id: one, bash: "@bash@", name: "@stage_name@", env: {OWN: "${{ env.JOB }}", TOKEN: plain, E: "@env@"}, outputs: {x: "@stage_outputs@"}, notify: {failure: {webhook: "@url@", secret: "@secret@", headers: {A: "@header@"}}}}
      - {id: two, echo: "@echo@", env: {OWN: x}}
      - {id: each, foreach: "@foreach@", env: {OUTER: "${{ secrets.x }}"}, stages: [{id: in, echo: "@inner@"}]}
      - {id: until, until: "loop > 1", item: "@item@", stages: [{id: l, raise: "@raise@"}]}
      - {id: case, case: "@case@", match: [{case: "@match@", stages: [{id: c, echo: x}]}]}
      - {id: trigger, trigger: "@dag@", params: {x: "@params@"}}
      - {id: ask, approval: {subject: x, body: "@ask@"}}
      - {id: call, uses: a/b@c, with: {x: "@with@"}}
      - {id: py, run: "x = 1 # @run@", vars: {x: "@vars@"}}
    outputs: {o: "@outputs@"}
"""
NEUTRAL = {"max": "2", "foreach": "[1]", "url": "https://x.y"}
#: Where a secret would be stored -> what the message calls it.
STORED = {
    "group": "the name of a group",
    "name": "a name",
    "matrix": "a matrix",
    "include": "a matrix",
    "max": "the state of a matrix",
    "stage_name": "a name",
    "stage_outputs": "outputs",
    "echo": "the log",
    "foreach": "the items of foreach, which are outputs",
    "inner": "the log",
    "item": "the item of until, which is an output",
    "raise": "an error message",
    "case": "the case, which is an output",
    "match": "the case, which is an output",
    "dag": "the id of a DAG",
    "params": "the params of a run",
    "ask": "what the UI shows",
    "outputs": "outputs",
}
FREE = ("bash", "env", "with", "run", "vars", "url", "secret", "header")


def document(place: str, expression: str) -> str:
    import re

    text = FRAME.replace(f"@{place}@", f"${{{{ {expression} }}}}")
    for name, neutral in NEUTRAL.items():
        text = text.replace(f'"@{name}@"', neutral)
    return re.sub(r"@[a-z_]+@", "x", text)


@pytest.mark.parametrize(("place", "where"), STORED.items())
@pytest.mark.parametrize(
    "expression", ["secrets.x", "conn.db.password", "conn.db.extra.key", "toJson(conn.db)"]
)
def test_refused(problems: Find, place: str, where: str, expression: str) -> None:
    (found,) = problems(document(place, expression))
    if place == "group" and expression.startswith(("conn", "toJson")):
        assert "'conn' is not available here" in found.message
        return
    assert f"would be stored in {where}" in found.message
    assert f"@{place}@" in FRAME.splitlines()[found.line - 1]


@pytest.mark.parametrize("place", FREE)
@pytest.mark.parametrize("expression", ["secrets.x", "conn.db.password", "env.TOKEN"])
def test_free(problems: Find, place: str, expression: str) -> None:
    assert problems(document(place, expression)) == []


@pytest.mark.parametrize(
    ("place", "expression", "message"),
    [
        ("name", "env.TOKEN", "env.TOKEN holds a secret, which would be stored in a name"),
        ("name", "env.PASSWORD", "env.PASSWORD holds a secret, which would be stored in a name"),
        ("name", "env.JOB", "env.JOB holds a secret, which would be stored in a name"),
        ("name", "env.PLAIN", None),
        ("name", "env.COPY", None),
        ("outputs", "env.TOKEN", "env.TOKEN holds a secret, which would be stored in outputs"),
        ("outputs", "env.OWN", None),
        ("stage_outputs", "env.OWN", "env.OWN holds a secret, which would be stored in outputs"),
        ("stage_outputs", "env.TOKEN", None),
        ("echo", "env.OWN", None),
        ("echo", "env['TOKEN']", "env.TOKEN holds a secret, which would be stored in the log"),
        ("echo", "toJson(env)", "env.JOB holds a secret, which would be stored in the log"),
        ("inner", "env.OUTER", "env.OUTER holds a secret, which would be stored in the log"),
        ("params", "env.OUTER", None),
        ("params", "conn.db.host", None),
        ("params", "conn.db.login", None),
    ],
)  # fmt: skip
def test_secrets_in_env(problems: Find, place: str, expression: str, message: str | None) -> None:
    assert [found.message for found in problems(document(place, expression))] == (
        [message] if message else []
    )


@pytest.mark.parametrize(
    ("place", "expression", "message"),
    [
        ("bash", "secrets[matrix.a]", "name the variable: write secrets.NAME, it cannot be computed"),
        ("bash", "vars[matrix.a]", "name the variable: write vars.NAME, it cannot be computed"),
        ("with", "toJson(vars)", "name the variable: write vars.NAME, it cannot be computed"),
        ("env", "conn[matrix.a].host", "name the connection: write conn.NAME, it cannot be computed"),
        ("run", "keys(secrets)", "name the variable: write secrets.NAME, it cannot be computed"),
        ("bash", "vars['a b']", None),
        ("bash", "conn.db[matrix.a]", None),
    ],
)
def test_computed_names(problems: Find, place: str, expression: str, message: str | None) -> None:
    assert [found.message for found in problems(document(place, expression))] == (
        [message] if message else []
    )


def test_a_computed_name_in_a_condition(problems: Find) -> None:
    (found,) = problems("name: w\njobs: {j: {if: \"vars[params.x] == 'y'\", stages: [{bash: x}]}}\n")
    assert found.message == "name the variable: write vars.NAME, it cannot be computed"


def test_later_layers_hide_earlier_ones() -> None:
    layers = [
        {"A": "${{ secrets.a }}", "B": "${{ env.A }}"},
        {"A": "x", "C": "${{ env.A }}${{ env.B }}"},
        None,
    ]
    assert secret_names(layers) == {"B", "C"}
    assert secret_names([{"X": "${{ bad"}, {"Y": 5}]) == frozenset()
    assert secret_names([{"X": "${{ env.Y }}"}], frozenset({"Y"})) == {"X", "Y"}
