"""Teardown stages under Airflow's own scheduler: when they run, and what they change."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from e2e_client import Client, Run

#: Job -> its keys and the states that its tasks end in. `T` is a teardown, `F` a stage that fails.
#: A list: one state for each leg.
TABLE: dict[str, tuple[str, dict[str, Any]]] = {
    "ok": ("stages: [OK a, OK b, T c]", {"a": "success", "b": "success", "c": "success"}),
    "failed": ("stages: [F a, OK b, T c]", {"a": "failed", "b": "upstream_failed", "c": "success"}),
    "two": (
        "stages: [F a, FT c, T d]",
        {"a": "failed", "c": "failed", "d": "success"},
    ),
    "dirty": ("stages: [OK a, FT c]", {"a": "success", "c": "failed"}),
    "after-dirty": (
        "needs: dirty, if: \"${{ needs.dirty.result == 'success' }}\", stages: [OK a]",
        {"a": "success"},
    ),
    "skipped": ("if: '1 == 2', stages: [OK a, T c]", {"a": "skipped", "c": "skipped"}),
    "stopped": ("needs: failed, stages: [OK a, T c]", {"a": "upstream_failed", "c": "upstream_failed"}),
    "anyway": (
        "needs: failed, trigger-rule: all_done, stages: [OK a, T c]",
        {"a": "success", "c": "success"},
    ),
    "nothing": ("stages: [IF a, IF b, T c]", {"a": "skipped", "b": "skipped", "c": "skipped"}),
    "something": ("stages: [IF a, OK b, T c]", {"a": "skipped", "b": "success", "c": "success"}),
    "judges": (
        "stages: [F a, {name: c, teardown: true, if: failure(), sleep: 0}, "
        "{name: d, teardown: true, if: success(), sleep: 0}]",
        {"a": "failed", "c": "success", "d": "skipped"},
    ),
    "tolerated": ("continue-on-error: true, stages: [F a, T c]", {"a": "failed", "c": "success"}),
    "late": ("timeout: 2s, stages: [{name: a, bash: sleep 300}, T c]", {"a": "failed", "c": "success"}),
    "legs": (
        "strategy: {matrix: {x: [0, 1, 2]}}, stages: [F1 a, OK b, T c]",
        {
            "a": ["skipped", "failed", "skipped"],
            "b": ["success", "upstream_failed", "success"],
            "c": ["success"] * 3,
        },
    ),
    "no-legs": (
        "needs: list, strategy: {matrix: {x: '${{ fromJson(\"[]\") }}'}}, stages: [OK a, T c]",
        {"c": "skipped"},
    ),
    "later-legs": (
        "needs: list, strategy: {matrix: {x: '${{ needs.list.outputs.xs }}'}, max-parallel: 1}, "
        "stages: [F1 a, OK b, T c]",
        {
            "a": ["skipped", "failed", "skipped"],
            "b": ["success", "upstream_failed", "success"],
            "c": ["success"] * 3,
        },
    ),
    "list": ("stages: [{name: a, run: 'xs = [0, 1, 2]'}]", {"a": "success"}),
}
SHORT = {
    "OK": "{{name: {0}, sleep: 0}}",
    "IF": "{{name: {0}, if: '1 == 2', sleep: 0}}",
    "F": "{{name: {0}, raise: asked to}}",
    "F1": "{{name: {0}, if: '${{{{ matrix.x == 1 }}}}', raise: asked to}}",
    "T": "{{name: {0}, teardown: true, sleep: 0}}",
    "FT": "{{name: {0}, teardown: true, raise: asked to}}",
}


def document(name: str, jobs: dict[str, tuple[str, Any]]) -> str:
    """A workflow of jobs whose stages are written short."""
    lines = [f"{name}:", "  type: Workflow", "  jobs:"]
    for job, (body, _) in jobs.items():
        head, _, stages = body.partition("stages: [")
        for word, form in SHORT.items():
            for stage in "abcd":
                stages = stages.replace(f" {word} {stage}", f" {form.format(stage)}")
                if stages.startswith(f"{word} {stage}"):
                    stages = form.format(stage) + stages[len(f"{word} {stage}") :]
        lines.append(f"    {job}: {{{head}stages: [{stages}}}")
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def table(client: Client) -> Run:
    """One run of all jobs."""
    client.drop("teardown_table.yaml", document("teardown-table", TABLE))
    client.wait_for_dag("teardown-table")
    return client.run("teardown-table", timeout=400)


@pytest.fixture(scope="module")
def states(table: Run, client: Client) -> dict[str, Any]:
    """The states of its tasks."""
    return client.states(table)


@pytest.mark.parametrize("job", TABLE)
def test_states(states: dict[str, Any], job: str) -> None:
    expected = TABLE[job][1]
    assert {stage: states[f"{job}.{stage}"] for stage in expected} == expected


def test_what_followers_see(states: dict[str, Any]) -> None:
    """A failed clean-up does not fail its job, a clean-up that succeeds does not heal it."""
    assert states["tolerated.__tolerated__"] == "success"
    assert states["legs.__result__"] == "upstream_failed"
    assert states["nothing.__result__"] == "skipped"


def test_a_slot_is_held_until_its_teardown_has_ended(table: Run, client: Client) -> None:
    tasks = client.tasks(table)

    def moment(stage: str, index: int, key: str) -> datetime:
        return datetime.fromisoformat(tasks[f"later-legs.{stage}", index].raw[key])

    for index in (1, 2):
        assert moment("a", index, "start_date") >= moment("c", index - 1, "end_date")


CLEAN_RUN = """
    clean-run:
      type: Workflow
      jobs:
        good: {stages: [{name: a, sleep: 0}]}
        dirty: {needs: good, stages: [{name: a, sleep: 0}, {name: c, teardown: true, raise: asked to}]}
        tolerated: {continue-on-error: true, stages: [{name: a, raise: asked to}, {name: c, teardown: true, sleep: 0}]}
"""


def test_a_failed_teardown_does_not_fail_the_run(client: Client) -> None:
    client.drop("teardown_clean_run.yaml", CLEAN_RUN)
    client.wait_for_dag("clean-run")
    run = client.run("clean-run")
    states = client.states(run)
    assert (run.state, states["dirty.c"], states["tolerated.c"]) == ("success", "failed", "success")


#: Nothing waits for time here. Leg 0 of `fast` fails when leg 1 works; leg 1 of `slow` waits for leg 0's teardown.
STOPPED = """
    teardown-stopped:
      type: Workflow
      env: {{DIR: {folder}}}
      jobs:
        fast:
          strategy: {{matrix: {{x: [0, 1, 2, 3]}}, max-parallel: 2, fail-fast: true}}
          stages:
            - name: a
              env: {{X: "${{{{ matrix.x }}}}"}}
              timeout: 200
              bash: |
                if [ "$X" = 0 ]; then until [ -e "$DIR/works" ]; do sleep 0.2; done; exit 1; fi
                touch "$DIR/works"; sleep 300
            - {{name: c, teardown: true, sleep: 0}}
        slow:
          strategy: {{matrix: {{x: [0, 1]}}}}
          stages:
            - name: a
              env: {{X: "${{{{ matrix.x }}}}"}}
              timeout: 200
              bash: 'if [ "$X" = 1 ]; then until [ -e "$DIR/clean0" ]; do sleep 0.2; done; fi'
            - {{name: c, teardown: true, bash: 'touch "$DIR/clean${{{{ matrix.x }}}}"'}}
"""


def test_legs_that_fail_fast_stops(client: Client, tmp_path: Path) -> None:
    """A leg that worked is cleaned up, one that never began is left alone; other legs' ends are not awaited."""
    client.drop("teardown_stopped.yaml", STOPPED.format(folder=tmp_path))
    client.wait_for_dag("teardown-stopped")
    run = client.run("teardown-stopped", timeout=400)
    states = client.states(run)
    assert states["fast.a"] == ["failed", "skipped", "skipped", "skipped"]
    assert states["fast.c"] == ["success", "success", "skipped", "skipped"]
    assert states["slow.a"] == ["success", "success"]
    assert states["slow.c"] == ["success", "success"]


MARKED = """
    teardown-marked:
      type: Workflow
      jobs:
        one: {stages: [{name: a, bash: sleep 300}, {name: c, teardown: true, sleep: 0}]}
        two: {stages: [{name: a, bash: sleep 300}, {name: c, teardown: true, sleep: 0}]}
        legs: {needs: two, strategy: {matrix: {x: [1]}}, stages: [{name: a, sleep: 0}, {name: c, teardown: true, sleep: 0}]}
"""


def test_what_a_person_marks_as_failed_is_cleaned_up(client: Client) -> None:
    client.drop("teardown_marked.yaml", MARKED)
    client.wait_for_dag("teardown-marked")
    run = client.trigger("teardown-marked")
    client.wait_for_task(run, "one.a", {"running"})
    client.set_task_state(run, "one.a", "failed")
    client.wait_for_task(run, "one.c", {"success"})
    client.wait_for_task(run, "two.a", {"running"})
    client.set_state(run, "failed")
    run = client.wait_for_run(run)
    states = client.states(run)
    assert (states["two.a"], states["two.c"]) == ("failed", "success")
    assert (states["legs.a"], states["legs.c"]) == (["skipped"], ["skipped"])
    assert run.state == "failed", "Airflow alone would call it a success"
