"""Jobs with a fallback, in real runs: who ran, who went on, and what is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.test_run import finish, start

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.runs

#: Each letter is a job with a fallback and a follower, which do not touch those of the others.
DOCUMENT = """
outcomes:
  type: Workflow
  jobs:
    good: {fallback: good-instead, stages: [{id: s, run: "x = 'main'"}]}
    good-instead: {stages: [{id: s, run: "x = 'fallback'"}]}
    good-next: {needs: good, stages: [{id: s, run: "got = ${{ needs.good.outputs.x }}\\ndegraded = ${{ needs.good.degraded }}"}]}

    both: {fallback: both-instead, stages: [{id: s, bash: exit 3}]}
    both-instead: {stages: [{id: s, bash: exit 4}]}
    both-next: {needs: both, stages: [{bash: echo no}]}
    both-always: {needs: both, trigger-rule: all_done, stages: [{id: s, run: "result = ${{ needs.both.result }}"}]}

    skipped: {if: "false", fallback: skipped-instead, stages: [{bash: echo no}]}
    skipped-instead: {stages: [{bash: echo no}]}
    skipped-next: {needs: skipped, stages: [{bash: echo no}]}

    never: {needs: both, fallback: never-instead, stages: [{bash: echo no}]}
    never-instead: {stages: [{bash: echo no}]}
    never-next: {needs: never, stages: [{bash: echo no}]}

    refused: {fallback: refused-instead, stages: [{bash: exit 5}]}
    refused-instead: {if: "false", stages: [{bash: echo no}]}
degraded:
  type: Workflow
  jobs:
    first: {stages: [{id: s, run: "xs = [5, 6]"}]}
    main:
      fallback: instead
      strategy: {matrix: {x: [1, 2, 3]}}
      retry: {max: 1, delay: 0}
      stages:
        - {id: s, bash: 'echo "$X" >> "$TRIES"; test "$X" != 2', env: {X: "${{ matrix.x }}", TRIES: "${{ params.file }}"}}
        - {id: late, if: always(), bash: 'sleep 1; echo late >> "$TRIES"', env: {TRIES: "${{ params.file }}"}}
    instead:
      needs: first
      strategy: {matrix: {y: "${{ needs.first.outputs.xs }}"}}
      stages:
        - id: s
          run: |
            x, why = ${{ matrix.y }}, ${{ needs.main.result }}
            before = sorted(open("${{ params.file }}").read().split())
    next:
      needs: main
      stages:
        - id: s
          run: |
            got, result, outcome = ${{ needs.main.outputs }}, ${{ needs.main.result }}, ${{ needs.main.outcome }}
            degraded, legs = ${{ needs.main.degraded }}, [leg["result"] for leg in ${{ needs.main.legs }}]
"""


@pytest.fixture
def run(tmp_path: Path) -> Any:
    file = tmp_path / "doc.yaml"
    file.write_text(DOCUMENT)

    def run(workflow: str, *arguments: str) -> tuple[int, Any, str]:
        return finish(start(str(file), "--workflow", workflow, "--json", *arguments))

    return run


def test_every_outcome(run: Any) -> None:
    code, outcome, _ = run("outcomes")
    assert (code, outcome["state"], outcome["errors"]) == (1, "failed", [])
    jobs = outcome["jobs"]
    assert {name: job["result"] for name, job in jobs.items()} == {
        "good": "success",
        "good-instead": "skipped",
        "good-next": "success",
        "both": "failure",
        "both-instead": "failure",
        "both-next": "upstream_failed",
        "both-always": "success",
        "skipped": "skipped",
        "skipped-instead": "skipped",
        "skipped-next": "skipped",
        "never": "upstream_failed",
        "never-instead": "skipped",
        "never-next": "upstream_failed",
        "refused": "failure",
        "refused-instead": "skipped",
    }
    assert jobs["good-next"]["outputs"] == {"got": "main", "degraded": False}
    assert jobs["both-always"]["outputs"] == {"result": "failure"}
    assert not [name for name, job in jobs.items() if "degraded" in job]
    assert outcome["record"]["degraded"] is False


def test_a_fallback_makes_the_run_a_degraded_success(run: Any, tmp_path: Path) -> None:
    code, outcome, _ = run("degraded", "-p", f"file={tmp_path / 'tries'}")
    assert (code, outcome["state"], outcome["errors"]) == (0, "success", [])
    jobs = outcome["jobs"]
    assert (jobs["main"]["result"], jobs["main"]["outcome"], jobs["main"]["degraded"]) == (
        "success",
        "failure",
        True,
    )
    before = ["1", "2", "2", "3", "late", "late", "late"]
    expected = {"x": 6, "why": "failure", "before": before}
    assert jobs["instead"]["outputs"] == expected, "the last try and the last stage of every leg came before"
    assert jobs["main"]["outputs"] == expected
    assert jobs["next"]["outputs"] == {
        "got": expected,
        "result": "success",
        "outcome": "failure",
        "degraded": True,
        "legs": ["success", "failure", "success"],
    }
    assert outcome["record"]["degraded"] is True
