"""Which names an expression may use where."""

# Documents and messages stay on one line:

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_stagecoach.document.cycles import cycles

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_stagecoach.document import Diagnostic

    Find = Callable[[str], list[Diagnostic]]

FRAME = """\
name: w
params: {p: str, n: int, flag: bool, d: date, any: {type: choice, options: [1, x]}, c: {type: choice, options: [eu, us]}}
env: {W: "@workflow@"}
jobs:
  first:
    stages: [{id: s, bash: x}]
  second:
    needs: first
    stages: [{id: s, bash: x}]
    outputs: {o: "@second_outputs@"}
  other:
    stages: [{id: s, bash: x}]
  job:
    name: "@name@"
    needs: second
    if: "@if@"
    env: {J: "@job_env@"}
    strategy:
      matrix: {a: [1, 2], b: ["@matrix@"]}
      max-parallel: "@max@"
    stages:
      - {id: one, bash: "@one@", env: {S: "@env@"}, outputs: {r: "@stage_outputs@"}, if: "@stage_if@"}
      - {id: "two-${{ matrix.a }}", name: "@stage_name@", echo: "@echo@"}
      - id: each
        foreach: "@foreach@"
        stages:
          - {id: in1, bash: "@in1@"}
          - {id: in2, bash: "@in2@"}
      - id: par
        parallel: {b: [{raise: "@branch@"}]}
      - id: until
        until: "@until@"
        item: "@item@"
        stages: [{id: loop, bash: "@looped@"}]
      - id: case
        case: "@case@"
        match: [{case: 1, stages: [{bash: "@cased@"}]}]
      - id: py
        run: "x = 1 # @py@"
      - {id: call, uses: a/b@c, with: {x: "@with@"}}
      - {id: trig, trigger: other, params: {x: "@trigger@"}}
      - {id: ask, approval: "@ask@"}
    outputs: {o: "@outputs@"}
"""
NEUTRAL = {
    "if": "true",
    "stage_if": "true",
    "until": "loop > 2",
    "max": "${{ params.n }}",
    "foreach": "${{ fromJson(params.p) }}",
}


def document(**expressions: str) -> str:
    text = FRAME
    for name, expression in expressions.items():
        assert f"@{name}@" in text
        shown = expression if name in ("if", "stage_if", "until") else f"${{{{ {expression} }}}}"
        text = text.replace(f"@{name}@", shown)
    for name, neutral in NEUTRAL.items():
        text = text.replace(f"@{name}@", neutral)
    import re

    return re.sub(r"@[a-z0-9_]+@", "x", text)


@pytest.fixture
def messages(problems: Find) -> Callable[..., list[str]]:
    return lambda **expressions: [found.message for found in problems(document(**expressions))]


@pytest.mark.parametrize(
    ("place", "expression"),
    [
        ("workflow", "params.p"),
        ("workflow", "env.HOME"),
        ("workflow", "vars.x"),
        ("workflow", "secrets.x"),
        ("workflow", "conn.db.password"),
        ("workflow", "run.ds"),
        ("name", "params.p"),
        ("if", "needs.second.result == 'success'"),
        ("if", "${{ needs.second.outputs.o }} == 'x' and ${{ params.flag }}"),
        ("if", "'${{ params.p }}' == 'x'"),
        ("if", "always() && jobs.first.result == 'failure'"),
        ("if", "params.d == null"),
        ("matrix", "needs.second.outputs.o"),
        ("max", "jobs.first.outputs.anything"),
        ("job_env", "matrix.a"),
        ("one", "matrix.a + 1"),
        ("one", "needs.second.legs[0].result"),
        ("one", "strategy.job-index"),
        ("one", "params.c == 'eu' || params.c == null"),
        ("if", "needs.second.result == 'failure' || needs.second.result == 'cancelled'"),
        ("if", "needs.second.state == 'failed'"),
        ("one", "params.any == 1 || params.any == 'x'"),
        ("one", "secrets.token"),
        ("env", "conn.db.password"),
        ("stage_outputs", "outputs.stdout"),
        ("stage_outputs", "conn.db.host"),
        ("stage_if", "failure() || stages?"),
        ("stage_name", "stages.one.outputs.stdout"),
        ("foreach", "stages.one.outputs.list"),
        ("in1", "item"),
        ("in1", "stages.two-1.outputs.x"),
        ("in2", "stages.in1.outputs.x"),
        ("in2", "stages.one.outputs.x + loop"),
        ("branch", "branch"),
        ("until", "item == stages.loop.outputs.x"),
        ("looped", "loop"),
        ("case", "stages.one.outcome"),
        ("cased", "case"),
        ("py", "stages.case.outputs.case"),
        ("with", "secrets.token"),
        ("outputs", "stages.py.outputs.x"),
        ("outputs", "matrix.b"),
        ("second_outputs", "stages.s.outputs.stdout"),
    ],
)
def test_allowed(messages: Callable[..., list[str]], place: str, expression: str) -> None:
    assert messages(**{place: expression}) == []


@pytest.mark.parametrize(
    ("place", "expression", "message"),
    [
        ("workflow", "matrix.a", "'matrix' is not available here: this is the same for every job"),
        ("workflow", "params.q", "unknown param 'q'"),
        ("workflow", "param.p", "unknown name 'param'"),
        ("workflow", "run.logical-date", "unknown field of run 'logical-date'"),
        ("if", "matrix.a == 1", "'matrix' is not available here: this is evaluated once, before the matrix"),
        (
            "if",
            "stages.one.result == 'x'",
            "'stages' is not available here: this is evaluated before the stages",
        ),
        ("if", "needs.second.result == 'failed'", "needs.second.result is never 'failed'"),
        ("if", "needs.second.outcome in ['succes']", "needs.second.outcome is never 'succes'"),
        ("stage_if", "params.c == 'asia'", "params.c is never 'asia'"),
        ("outputs", "stages.one.result == 'skippd'", "stages.one.result is never 'skippd'"),
        ("if", "needs.first.result == 'x'", "job 'first' is not available here: job 'job' does not need it"),
        ("if", "needs.secnd.result == 'x'", "unknown job 'secnd'"),
        ("if", "needs.second.status == 'x'", "unknown field of a job 'status'"),
        ("if", "needs.second.outputs.x == 'x'", "unknown output 'x'"),
        (
            "if",
            "jobs.other.result == 'x'",
            "job 'other' is not available here: it need not end before job 'job' starts",
        ),
        ("if", "params.n == 'x'", "a number is never equal to a text"),
        ("if", "params.n", "the condition gives a number, not true or false"),
        ("if", "'x'", "the condition gives a text, not true or false"),
        ("if", "1 +", None),
        (
            "matrix",
            "secrets.x",
            "'secrets' is not available here: a secret would be stored in a matrix, use it in `env`",
        ),
        ("max", "matrix.a", "'matrix' is not available here: this is evaluated once, before the matrix"),
        ("one", "matrix.c", "unknown matrix axis 'c'"),
        ("one", "stages.one.outputs.x", "stage 'one' is not available here: it is this stage itself"),
        ("one", "stages.par.outputs.x", "stage 'par' is not available here: it runs later"),
        ("one", "item", "'item' is not available here: it exists only inside foreach and until"),
        ("one", "branch", "'branch' is not available here: it exists only inside parallel"),
        ("one", "outputs.x", "'outputs' is not available here: it exists only in the `outputs` of a stage"),
        ("one", "always()", None),
        ("one", "foo(1)", "unknown function 'foo'"),
        ("one", "params.p | uper", "unknown filter 'uper'"),
        (
            "stage_outputs",
            "secrets.x",
            "'secrets' is not available here: a secret would be stored in outputs, use it in `env`",
        ),
        ("stage_outputs", "conn.db.password", "the password of a connection would be stored in outputs"),
        (
            "echo",
            "secrets.x",
            "'secrets' is not available here: a secret would be stored in the log, use it in `env`",
        ),
        (
            "stage_name",
            "secrets.x",
            "'secrets' is not available here: a secret would be stored in a name, use it in `env`",
        ),
        (
            "branch",
            "secrets.x",
            "'secrets' is not available here: a secret would be stored in an error message, use it in `env`",
        ),
        (
            "trigger",
            "conn.db.password",
            "the password of a connection would be stored in the params of a run",
        ),
        (
            "ask",
            "secrets.x",
            "'secrets' is not available here: a secret would be stored in what the UI shows, use it in `env`",
        ),
        (
            "outputs",
            "secrets.x",
            "'secrets' is not available here: a secret would be stored in outputs, use it in `env`",
        ),
        ("foreach", "item", "'item' is not available here: it exists only inside foreach and until"),
        ("in1", "stages.in2.outputs.x", "stage 'in2' is not available here: it runs later"),
        ("until", "loop", "the condition gives a number, not true or false"),
        ("cased", "item", "'item' is not available here: it exists only inside foreach and until"),
        ("py", "params.q", "unknown param 'q'"),
        ("outputs", "stages.nothing.outputs.x", None),
    ],
)
def test_refused(
    messages: Callable[..., list[str]], place: str, expression: str, message: str | None
) -> None:
    found = messages(**{place: expression})
    if place == "outputs" and message is None:
        # A stage of this job has an id that only a leg knows.
        assert found == []
        return
    assert len(found) == 1
    assert message is None or found[0] == message


@pytest.mark.parametrize(
    ("place", "expression", "hint"),
    [
        ("if", "needs.first.result", "write jobs.first, or add it to needs: [second, first]"),
        ("if", "needs.other.result", "add it to needs: [second, other]"),
        ("if", "jobs.other.result", "add it to needs: [second, other]"),
        ("if", "needs.job.result", None),
        ("second_outputs", "needs.job.result", None),
        ("second_outputs", "jobs.job.result", None),
        ("second_outputs", "needs.other.result", "add it to needs: [first, other]"),
    ],
)
def test_how_to_reach_another_job(problems: Find, place: str, expression: str, hint: str | None) -> None:
    found = problems(document(**{place: expression}))[0]
    assert "is not available here" in found.message
    assert found.hint == hint


def test_a_misspelt_need_is_one_fault(problems: Find) -> None:
    text = "name: w\njobs:\n  one: {stages: [{echo: x}]}\n"
    text += "  two: {needs: onee, stages: [{echo: '${{ needs.one.result }}'}]}\n"
    (found,) = problems(text)
    assert (found.code, found.hint) == ("unknown-need", "did you mean 'one'?")


def test_the_place_is_inside_a_block(problems: Find) -> None:
    text = "name: w\njobs:\n  j:\n    stages:\n      - bash: |\n          echo a\n            echo ${{ nix.x }}\n"
    (found,) = problems(text)
    assert (found.line, found.column, found.end_column) == (7, 22, 25)


@pytest.mark.parametrize(
    ("line", "column"),
    [
        ('      - bash: "echo ${{ nix.x }}"', 25),
        ("      - bash: 'it''s ${{ nix.x }}'", 26),
        ("      - bash: echo ${{ nix.x }}", 24),
        ('      - bash: "\\techo ${{ nix.x }}"', 27),
    ],
)
def test_the_place_is_inside_a_line(problems: Find, line: str, column: int) -> None:
    (found,) = problems(f"name: w\njobs:\n  j:\n    stages:\n{line}\n")
    assert (found.line, found.column) == (5, column)


def test_params_are_open_without_params(problems: Find) -> None:
    assert problems("name: w\njobs: {j: {stages: [{bash: '${{ params.anything }}'}]}}\n") == []


def test_no_matrix_no_axis(problems: Find) -> None:
    (found,) = problems("name: w\njobs: {j: {stages: [{bash: '${{ matrix.a }}'}]}}\n")
    assert found.message == "unknown matrix axis 'a'"


def test_an_axis_that_only_the_run_knows(problems: Find) -> None:
    job = "{strategy: {matrix: '${{ fromJson(params.m) }}'}, stages: [{bash: '${{ matrix.a }}'}]}"
    assert problems(f"name: w\njobs: {{j: {job}}}\n") == []


def test_an_axis_of_include(problems: Find) -> None:
    job = "{strategy: {matrix: {a: [1]}, include: [{b: 2}]}, stages: [{bash: '${{ matrix.b }}'}]}"
    assert problems(f"name: w\njobs: {{j: {job}}}\n") == []


def test_cycles() -> None:
    assert cycles({"a": [], "b": ["a"]}) == []
    assert cycles({"a": ["b"], "b": ["a"]}) == [["a", "b"]]
    assert cycles({"a": ["b"], "b": ["c"], "c": ["b"]}) == [["b", "c"]]
    chain: dict[str, list[str]] = {str(n): [str(n + 1)] for n in range(5000)}
    assert cycles({**chain, "5000": []}) == []
