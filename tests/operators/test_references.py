"""Tests of airflow_stagecoach.operators._references."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_stagecoach.operators._references import python_references, spec_references


@pytest.mark.parametrize(
    ("source", "paths"),
    [
        ("x = needs.split.outputs.parts", {("needs", "split", "outputs", "parts")}),
        ("x = needs['split']['outputs'][\"parts\"]", {("needs", "split", "outputs", "parts")}),
        ("x = needs['a-b'].result", {("needs", "a-b", "result")}),
        ("for job in needs.values(): pass", {("needs", None)}),
        ("x = stages.get('a')", {("stages", None)}),
        ("x = needs[name]", {("needs", None)}),
        ("x = context['needs']['a'].result", {("needs", "a", "result")}),
        ("x = context.get('attempt')", {("needs", None), ("jobs", None), ("stages", None)}),
        ("x = context['attempt']", set()),
        ("x = params.region", set()),
        ("print(1)", set()),
    ],
)
def test_names_in_python_source(source: str, paths: set[tuple[str | None, ...]]) -> None:
    assert python_references(source) == paths


@pytest.mark.parametrize(
    ("spec", "paths"),
    [
        ({"kind": "bash", "bash": "echo ${{ stages.a.outputs.b }}"}, {("stages", "a", "outputs", "b")}),
        ({"kind": "bash", "if": "needs.a.result == 'x'"}, {("needs", "a", "result")}),
        (
            {
                "kind": "foreach",
                "foreach": "${{ params.x }}",
                "stages": [{"kind": "bash", "env": {"A": "${{ vars.v }}"}}],
            },
            {("params", "x"), ("vars", "v")},
        ),
        (
            {
                "kind": "case",
                "case": "${{ params.x }}",
                "match": [{"case": 1, "stages": [{"kind": "bash", "bash": "${{ secrets.s }}"}]}],
            },
            {("params", "x"), ("secrets", "s")},
        ),
        (
            {"kind": "parallel", "parallel": {"b": [{"kind": "python", "run": "needs.j.outputs.o"}]}},
            {("needs", "j", "outputs", "o")},
        ),
        (
            {
                "kind": "case",
                "case": 1,
                "match": [{"else": [{"kind": "empty", "echo": "${{ conn.c.host }}"}]}],
            },
            {("conn", "c", "host")},
        ),
    ],
)
def test_names_in_a_stage(spec: dict[str, Any], paths: set[tuple[str | None, ...]]) -> None:
    assert spec_references(spec) == paths
