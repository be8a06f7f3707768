"""Patterns that people build from jobs: each healthy, failing and skipped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from e2e_client import Client, Run

HEALTHY, FAILING, SKIPPED = "healthy", "failing", "skipped"
VARIANTS = (HEALTHY, FAILING, SKIPPED)

#: A step that does what the variant says; as a job it is skipped by its `if`.
STEP = "stages: [{name: Step, id: step, bash: 'test $VARIANT != failing'}]"
IF = "if: \"${{ params.variant != 'skipped' }}\""

PATTERNS = {
    "fan": """
    split: {stages: [{name: Split, id: split, run: "parts = [] if params.variant == 'skipped' else [1, 2, 3]"}]}
    work:
      needs: split
      strategy: {matrix: {part: "${{ needs.split.outputs.parts }}"}, max-parallel: 2}
      stages: [{name: Work, id: work, bash: 'test "$VARIANT$PART" != failing2 && echo "part=$PART" >> "$STAGE_OUTPUT"', env: {PART: "${{ matrix.part }}"}}]
    join: {needs: work, stages: [{name: Join, id: join, run: "parts = [leg['outputs']['part'] for leg in ${{ needs.work.legs }}]"}]}
""",
    "breaker": f"""
    call: {{continue-on-error: true, {IF}, {STEP}}}
    fallback: {{needs: call, if: "${{{{ needs.call.outcome == 'failure' }}}}", stages: [{{name: Fall back, id: step, echo: fallback}}]}}
    finish: {{needs: [call, fallback], trigger-rule: none_failed, stages: [{{name: Finish, id: step, run: "how = ${{{{ needs.call.outcome }}}}"}}]}}
""",
    "handled": f"""
    call: {{{IF}, {STEP}}}
    handle: {{needs: call, if: failure(), stages: [{{name: Handle, id: step, echo: handled}}]}}
    finish: {{needs: [call, handle], trigger-rule: one_success, stages: [{{name: Finish, id: step, echo: finish}}]}}
""",
    "clean": f"""
    make: {{stages: [{{name: Make, id: step, echo: made}}]}}
    work: {{needs: make, {IF}, {STEP}}}
    clean: {{needs: [make, work], trigger-rule: all_done, stages: [{{name: Clean, id: step, run: "how = ${{{{ needs.work.result }}}}"}}]}}
""",
    "choice": f"""
    check: {{{IF}, stages: [{{name: Check, id: step, run: "large = params.variant == 'failing'"}}]}}
    large: {{needs: check, if: "${{{{ needs.check.outputs.large }}}}", {STEP}}}
    small: {{needs: check, if: "${{{{ !needs.check.outputs.large }}}}", {STEP}}}
    after: {{needs: [large, small], trigger-rule: none_failed_min_one_success, stages: [{{name: After, id: step, echo: after}}]}}
    never: {{needs: [large, small], stages: [{{name: Never, id: step, echo: never}}]}}
""",
}

#: Pattern -> variant -> (state of each job's only or last stage, state of the run).
EXPECTED: dict[str, dict[str, tuple[dict[str, Any], str]]] = {
    "fan": {
        HEALTHY: ({"work.work": ["success"] * 3, "join.join": "success"}, "success"),
        FAILING: ({"work.work": ["success", "failed", "success"], "join.join": "upstream_failed"}, "failed"),
        SKIPPED: ({"work.work": "skipped", "join.join": "skipped"}, "success"),
    },
    "breaker": {
        HEALTHY: ({"call.step": "success", "fallback.step": "skipped", "finish.step": "success"}, "success"),
        FAILING: ({"call.step": "failed", "fallback.step": "success", "finish.step": "success"}, "success"),
        SKIPPED: ({"call.step": "skipped", "fallback.step": "skipped", "finish.step": "success"}, "success"),
    },
    "handled": {
        HEALTHY: ({"call.step": "success", "handle.step": "skipped", "finish.step": "success"}, "success"),
        FAILING: ({"call.step": "failed", "handle.step": "success", "finish.step": "success"}, "failed"),
        SKIPPED: ({"call.step": "skipped", "handle.step": "skipped", "finish.step": "skipped"}, "success"),
    },
    "clean": {
        HEALTHY: ({"work.step": "success", "clean.step": "success"}, "success"),
        FAILING: ({"work.step": "failed", "clean.step": "success"}, "failed"),
        SKIPPED: ({"work.step": "skipped", "clean.step": "success"}, "success"),
    },
    "choice": {
        HEALTHY: (
            {
                "large.step": "skipped",
                "small.step": "success",
                "after.step": "success",
                "never.step": "skipped",
            },
            "success",
        ),
        FAILING: (
            {
                "large.step": "failed",
                "small.step": "skipped",
                "after.step": "upstream_failed",
                "never.step": "upstream_failed",
            },
            "failed",
        ),
        SKIPPED: (
            {
                "large.step": "skipped",
                "small.step": "skipped",
                "after.step": "skipped",
                "never.step": "skipped",
            },
            "success",
        ),
    },
}


@pytest.fixture(scope="module")
def runs(client: Client) -> dict[tuple[str, str], Run]:
    client.drop(
        "patterns.yaml",
        "".join(
            f"pattern-{name}:\n  type: Workflow\n"
            "  params: {variant: {type: choice, options: [healthy, failing, skipped], default: healthy}}\n"
            f'  env: {{VARIANT: "${{{{ params.variant }}}}"}}\n  jobs:\n{jobs}'
            for name, jobs in PATTERNS.items()
        ),
    )
    for name in PATTERNS:
        client.wait_for_dag(f"pattern-{name}")
    return {
        (name, variant): client.trigger(f"pattern-{name}", {"variant": variant})
        for variant in VARIANTS
        for name in PATTERNS
    }


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", PATTERNS)
def test_a_pattern(client: Client, runs: dict[tuple[str, str], Run], name: str, variant: str) -> None:
    run = client.wait_for_run(runs[name, variant], timeout=300)
    states = client.states(run)
    expected, state = EXPECTED[name][variant]
    assert {task_id: states.get(task_id) for task_id in expected} == expected
    assert run.state == state


def test_what_followers_know(client: Client, runs: dict[tuple[str, str], Run]) -> None:
    assert client.xcom(runs["fan", HEALTHY], "join.join") == {"parts": ["1", "2", "3"]}
    assert {variant: client.xcom(runs["breaker", variant], "finish.step")["how"] for variant in VARIANTS} == {
        HEALTHY: "success",
        FAILING: "failure",
        SKIPPED: "skipped",
    }
    assert {variant: client.xcom(runs["clean", variant], "clean.step")["how"] for variant in VARIANTS} == {
        HEALTHY: "success",
        FAILING: "failure",
        SKIPPED: "skipped",
    }
