"""``fallback`` of a job: what it becomes, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_stagecoach.document import load

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_stagecoach.document import Diagnostic

STAGES = "stages: [{bash: x}]"


def document(jobs: Mapping[str, str]) -> str:
    lines = [
        f"  {name}: {{{keys}{', ' if keys else ''}{STAGES if 'stages:' not in keys else ''}}}"
        for name, keys in jobs.items()
    ]
    return "\n".join(["name: w", "type: Workflow", "jobs:", *(line.replace(", }", "}") for line in lines)])


def loaded(**jobs: str) -> Any:
    return load(document(jobs), "f.yml", explicit=True)


def one(jobs: Mapping[str, str]) -> Diagnostic:
    found = loaded(**jobs).diagnostics
    assert len(found) == 1, "\n\n".join(diagnostic.render() for diagnostic in found)
    return found[0]  # type: ignore[no-any-return]  # of load


def test_the_plan() -> None:
    found = loaded(a="fallback: r", r="needs: c", c="", b="needs: a")
    assert not found.diagnostics
    jobs = {job["id"]: job for job in found.plans[0]["jobs"]}
    assert jobs["a"]["fallback"] == "r"
    assert jobs["r"]["fallback_of"] == "a"
    assert jobs["r"]["needs"] == ["a", "c"], "a fallback comes after its job"
    assert jobs["b"]["needs"] == ["a"]
    assert not {"fallback", "fallback_of"} & (jobs["b"].keys() | jobs["c"].keys())


@pytest.mark.parametrize(
    "jobs",
    [
        {"a": "fallback: r", "r": "needs: a"},
        {"r": "", "a": "fallback: r"},
        {"a": "fallback: r", "r": "if: params.x == 1"},
        {"a": "fallback: r", "r": "strategy: {matrix: {x: [1, 2]}}"},
        {"a": "fallback: r", "r": "continue-on-error: true", "b": "needs: a"},
        {"a": "fallback: r", "r": "needs: c", "c": "", "b": "needs: [a, c]"},
        {
            "a": "fallback: r",
            "r": "",
            "b": "needs: a, fallback: s",
            "s": "",
            "c": "needs: [a, b], trigger-rule: all_done",
        },
        {
            "a": "fallback: r, stages: [{bash: x, id: s}]",
            "r": "stages: [{echo: '${{ needs.a.result }} ${{ needs.a.degraded }}'}]",
        },
        {"a": "fallback: r", "r": "", "b": "needs: a, if: '!needs.a.degraded'"},
    ],
)
def test_accepted(jobs: dict[str, str]) -> None:
    assert not loaded(**jobs).diagnostics


@pytest.mark.parametrize(
    ("jobs", "code", "message", "hint"),
    [
        (
            {"a": "fallback: b"},
            "unknown-fallback",
            "the fallback 'b' of job 'a' does not exist",
            "the jobs are a",
        ),
        (
            {"a": "fallback: repare", "repair": ""},
            "unknown-fallback",
            "the fallback 'repare' of job 'a' does not exist",
            "did you mean 'repair'?",
        ),
        (
            {"a": "fallback: a"},
            "bad-fallback",
            "job 'a' cannot be its own fallback",
            "for another try write retry",
        ),
        (
            {"a": "fallback: r", "b": "fallback: r", "r": ""},
            "bad-fallback",
            "job 'r' is the fallback of 'a' already",
            "write a job of its own for this one",
        ),
        (
            {"a": "fallback: r", "r": "fallback: s", "s": ""},
            "bad-fallback",
            "job 'r' is a fallback and names one itself",
            "remove the fallback of 'r'",
        ),
        ({"a": "fallback: [r]", "r": ""}, "wrong-type", "expected text, found a list", None),
        (
            {"a": "fallback-job: r", "r": ""},
            "unknown-key",
            "unknown key 'fallback-job' in a job",
            "write fallback",
        ),
        (
            {"a": "fallback: r", "r": "", "b": "needs: r"},
            "bad-fallback",
            "job 'b' needs 'r', which runs only when 'a' has failed",
            "write needs: [a], which has succeeded when either did; needs.a.degraded tells",
        ),
        (
            {"a": "fallback: r, continue-on-error: true", "r": ""},
            "bad-combination",
            "'fallback' and 'continue-on-error' both say what a failure of this job means",
            "keep one of them",
        ),
        (
            {"a": "fallback: r", "r": "trigger-rule: all_done"},
            "bad-combination",
            "job 'r' is the fallback of 'a', so it starts when that has failed",
            "remove trigger-rule",
        ),
        (
            {"a": "fallback: r", "r": "if: failure()"},
            "bad-combination",
            "job 'r' is the fallback of 'a', so it starts when that has failed",
            "write an `if` without success(), failure() and the like, or none",
        ),
        (
            {"a": "fallback: r", "b": "needs: a", "r": "needs: b"},
            "needs-cycle",
            "these jobs wait for each other, because of this fallback: b -> r -> b",
            "whoever needs 'a' waits for its fallback 'r', too",
        ),
    ],
)
def test_refused(jobs: dict[str, str], code: str, message: str, hint: str | None) -> None:
    found = one(jobs)
    assert (found.code, found.message) == (code, message)
    if hint is not None:
        assert found.hint == hint


@pytest.mark.parametrize(
    "jobs",
    [
        {"a": "fallback: r, needs: r", "r": ""},
        {"a": "fallback: r", "r": "fallback: a"},
        {"a": "fallback: r, needs: b", "b": "needs: r", "r": ""},
        {"a": "fallback: r", "r": "needs: c", "c": "needs: d", "d": "needs: a"},
        {"a": "fallback: r", "r": "needs: b", "b": "fallback: s", "s": "needs: a"},
    ],
)
def test_jobs_that_wait_for_themselves(jobs: dict[str, str]) -> None:
    assert {found.code for found in loaded(**jobs).diagnostics} <= {"needs-cycle", "bad-fallback"}
    assert not loaded(**jobs).plans


def test_a_fallback_that_cannot_be_read_is_not_told_as_missing() -> None:
    found = loaded(a="fallback: r", r="stages: 5").diagnostics
    assert [one.code for one in found] == ["wrong-type"]
