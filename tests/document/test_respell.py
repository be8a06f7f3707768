"""Misspelt keys: one fault each, and what stands below them is checked all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_stagecoach.document import Diagnostic

    Find = Callable[[str], list[Diagnostic]]


def told(problems: Find, text: str) -> list[tuple[int, int, str]]:
    return [(found.line, found.column, found.message) for found in problems(text)]


@pytest.mark.parametrize(
    ("job", "message"),
    [
        (
            "{stratagy: {matrix: {a: [1]}}, stages: [{bash: 'echo ${{ matrix.a }}'}]}",
            "unknown key 'stratagy' in a job",
        ),
        (
            "{strategy: {matirx: {a: [1]}}, stages: [{bash: 'echo ${{ matrix.a }}'}]}",
            "unknown key 'matirx' in a strategy",
        ),
        ("{stages: [{bsah: x, shell: sh}]}", "unknown key 'bsah' in an empty stage"),
        (
            "{stages: [{foreach: [1], stags: [{echo: '${{ item }}'}]}]}",
            "unknown key 'stags' in a foreach stage",
        ),
        (
            "{stages: [{id: a, oututs: {b: 1}, echo: x}, {echo: '${{ stages.a.outputs.b }}'}]}",
            "unknown key 'oututs' in an empty stage",
        ),
        ("{stage: [{echo: x}]}", "unknown key 'stage' in a job"),
        ("{stage: [{echo: x}], stages: [{echo: y}]}", "unknown key 'stage' in a job"),
        ("{needs: [], stages: [{echo: x}], stratagy: [1]}", "unknown key 'stratagy' in a job"),
    ],
)
def test_what_follows_from_it_is_not_told(problems: Find, job: str, message: str) -> None:
    assert [found.message for found in problems(f"name: w\njobs: {{j: {job}}}\n")] == [message]


def test_what_stands_below_is_checked_at_its_place(problems: Find) -> None:
    text = """\
wide:
  type: Workflow
  jobs:
    j:
      stratagy:
        matrix: 5
        max_paralel: 0
      stages:
        - bsah: echo ${{ matrix.b }} ${{ nix.x }}
          timeout: 10x
        - foreach: [1]
          stags:
            - {name: x, ecoh: "${{ nothing.x }}"}
"""
    assert told(problems, text) == [
        (5, 7, "unknown key 'stratagy' in a job"),
        (6, 17, "expected a map of axes or an expression, found the number 5"),
        (7, 9, "unknown key 'max_paralel' in a strategy"),
        (7, 22, "expected a whole number from 1 to 10000, found 0"),
        (9, 11, "unknown key 'bsah' in an empty stage"),
        (9, 42, "unknown name 'nix'"),
        (10, 20, "expected a number of seconds or a duration such as 10m, found '10x'"),
        (12, 11, "unknown key 'stags' in a foreach stage"),
        (13, 25, "unknown key 'ecoh' in an empty stage"),
        (13, 36, "unknown name 'nothing'"),
    ]


def test_two_keys_that_mean_the_same(problems: Find) -> None:
    text = "name: w\njobs: {j: {stags: [{echo: x}], satges: [{echo: x}]}}\n"
    assert [message for _, _, message in told(problems, text)] == [
        "unknown key 'stags' in a job",
        "unknown key 'satges' in a job",
    ]


def test_endless_misspelling_ends(problems: Find) -> None:
    inner = "{echo: x}"
    for _ in range(6):
        inner = f"{{foreach: [1], stags: [{inner}]}}"
    messages = [message for _, _, message in told(problems, f"name: w\njobs: {{j: {{stags: [{inner}]}}}}\n")]
    assert messages[0] == "unknown key 'stags' in a job"
    assert len(messages) >= 3
