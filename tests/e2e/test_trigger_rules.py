"""Every trigger rule over every mixture of results, under Airflow's own scheduler."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from e2e_client import Client, Run

#: needs (S succeeded, F failed, K skipped) -> what becomes of a job with each rule.
NEEDS = ("S", "F", "K", "SF", "SK", "FK", "SFK")
TABLE = {
    "all_success": "run upf skip upf skip upf upf",
    "all_failed": "skip run skip skip skip skip skip",
    "all_done": "run run run run run run run",
    "one_success": "run upf skip run run upf run",
    "one_failed": "skip run skip run skip run run",
    "none_failed": "run upf run upf run upf upf",
    "none_skipped": "run run skip run skip skip skip",
}
STATE = {"run": "success", "upf": "upstream_failed", "skip": "skipped"}


def document(name: str, s: str, f: str, k: str, rules: dict[str, str]) -> str:
    """A workflow with three jobs S, F, K and a follower for every cell of the table."""
    lines = [f"{name}:", "  type: Workflow", "  jobs:", *(f"    {line}" for line in (s + f + k).splitlines())]
    for rule in rules:
        for needs in NEEDS:
            lines += [
                f"    {rule}-{needs}:",
                f"      needs: [{', '.join(needs)}]",
                f"      trigger-rule: {rule}",
                "      stages: [{name: s, sleep: 0}]",
            ]
    return "\n".join(lines) + "\n"


PLAIN = (
    "S:\n  stages: [{name: a, sleep: 0}, {name: b, if: false, sleep: 0}]\n",
    "F:\n  stages: [{name: a, raise: asked to}, {name: b, sleep: 0}]\n",
    "K:\n  if: '1 == 2'\n  stages: [{name: a, sleep: 0}]\n",
)


#: Of each job that has a fallback: the job, its fallback, and what becomes of them and of a follower.
FALLBACKS = {
    "sleep: 0": ("sleep: 0", "run", "skip", "run"),
    "raise: one": ("sleep: 0", "failed", "run", "run"),
    "raise: two": ("raise: three", "failed", "failed", "upf"),
    "if: false": ("sleep: 0", "skip", "skip", "skip"),
}


def with_fallbacks() -> str:
    """Jobs ``mN`` with fallbacks ``rN`` and followers ``nN``."""
    lines = []
    for number, (main, (standin, *_)) in enumerate(FALLBACKS.items()):
        lines += [
            f"    m{number}: {{fallback: r{number}, stages: [{{name: s, {main}}}]}}",
            f"    r{number}: {{stages: [{{name: s, {standin}}}]}}",
            f"    n{number}: {{needs: m{number}, stages: [{{name: s, sleep: 0}}]}}",
        ]
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def plain(client: Client) -> Run:
    """A run over jobs without a matrix."""
    client.drop("rules_plain.yaml", document("rules-plain", *PLAIN, TABLE) + with_fallbacks())
    client.wait_for_dag("rules-plain")
    return client.run("rules-plain", timeout=400)


@pytest.mark.parametrize("rule", TABLE)
def test_every_rule_over_plain_jobs(plain: Run, client: Client, rule: str) -> None:
    states = client.states(plain)
    found = {needs: states[f"{rule}-{needs}.s"] for needs in NEEDS}
    assert found == {needs: STATE[word] for needs, word in zip(NEEDS, TABLE[rule].split(), strict=True)}


def test_fallbacks(plain: Run, client: Client) -> None:
    states = client.states(plain)
    words = {**STATE, "failed": "failed"}
    for number, (main, (_, *expected)) in enumerate(FALLBACKS.items()):
        assert [states[f"{job}{number}.s"] for job in "mrn"] == [words[word] for word in expected], main


def test_the_run_fails_although_clean_up_succeeds(plain: Run) -> None:
    assert plain.state == "failed"


#: Legs that fail at once beside legs that take their time: nobody may start before those have ended.
SLOW = (
    "S:\n  strategy: {matrix: {x: [1, 2]}}\n  stages: [{name: a, sleep: 0}, {name: b, if: '${{ matrix.x == 1 }}', sleep: 0}]\n",
    "F:\n  strategy: {matrix: {x: [1, 2, 3]}}\n  stages:\n"
    "    - {name: a, if: '${{ matrix.x == 1 }}', raise: asked to}\n"
    "    - {name: b, id: b, sleep: 8}\n",
    "K:\n  strategy: {matrix: {x: [1, 2]}}\n  stages: [{name: a, if: '${{ matrix.x > 5 }}', sleep: 0}]\n",
)
EARLY_RULES = {rule: TABLE[rule] for rule in ("all_done", "all_failed", "one_failed", "none_skipped")}


@pytest.fixture(scope="module")
def matrix(client: Client) -> Run:
    """A run over jobs with a matrix, and only rules that could start too early."""
    client.drop("rules_matrix.yaml", document("rules-matrix", *SLOW, EARLY_RULES))
    client.wait_for_dag("rules-matrix")
    return client.run("rules-matrix", timeout=400)


@pytest.mark.parametrize("rule", EARLY_RULES)
def test_rules_over_jobs_with_a_matrix(matrix: Run, client: Client, rule: str) -> None:
    states = client.states(matrix)
    found = {needs: states[f"{rule}-{needs}.s"] for needs in NEEDS}
    assert found == {needs: STATE[word] for needs, word in zip(NEEDS, TABLE[rule].split(), strict=True)}


def test_legs_are_independent(matrix: Run, client: Client) -> None:
    states = client.states(matrix)
    assert states["F.a"] == ["failed", "skipped", "skipped"]
    assert states["F.b"] == ["upstream_failed", "success", "success"]
    assert states["S.b"] == ["success", "skipped"]
    assert states["S.__result__"] == "success"


def test_nobody_starts_on_a_failure_before_all_legs_have_ended(matrix: Run, client: Client) -> None:
    tasks = client.tasks(matrix)
    ended = max(tasks["F.b", index].raw["end_date"] for index in (1, 2))
    starts = {
        task_id: task.raw["start_date"]
        for (task_id, _), task in tasks.items()
        if task.state == "success"
        and any(task_id == f"{rule}-{needs}.s" for rule in EARLY_RULES for needs in NEEDS if "F" in needs)
    }
    assert starts
    assert {task_id: start for task_id, start in starts.items() if start < ended} == {}
