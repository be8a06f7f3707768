"""A run as text and as Markdown: what stands there, and that it stays short."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_stagecoach.cli.runs_markdown import render_markdown
from airflow_stagecoach.cli.runs_text import render_text
from airflow_stagecoach.operators._records import run_record
from airflow_stagecoach.operators._records_facts import RunFacts, TaskFacts
from tests.factory.plans import job, stage, workflow
from tests.operators.test_records import at, facts, failed, task, told


def legs(count: int, failing: set[int], running: set[int] = frozenset()) -> tuple[Any, RunFacts]:  # type: ignore[assignment]  # an empty set
    strategy = {"legs": [{"p": f"part-{number}"} for number in range(count)], "axes": ["p"]}
    found = facts(state="running" if running else "failed")
    for number in range(count):
        state = "failed" if number in failing else "running" if number in running else "success"
        one = task("j.s", state, index=number)
        found.tasks.setdefault("j.s", {})[number] = one
        if number in failing:
            found.xcoms["j.s", number, "record"] = failed(one)[0] | {"map_index": number}
        elif number not in running:
            found.xcoms["j.s", number, "record"] = told(one, "success", metrics={"rows": 2})
    return workflow(job("j", stage("s"), strategy=strategy)), found


GOLDEN = """\
wf  r1
failed, 1 m 40 s, 3/3 stages done, 4 tries, 2 failed, failures: 1 component
rows: 4

JOB       RESULT   STAGES  TRIES  TOOK
j         failure  3/3     4      12 s
  part-0  success  1/1     1      2.0 s
  part-1  failure  1/1     2      12 s   component, exit, exit code 7
  part-2  success  1/1     1      2.0 s

j / part-1 / s: component, exit, exit code 7, try 2 of 2
  no
"""

GOLDEN_MARKDOWN = """\
# wf

Run `r1`: failed, 1 m 40 s, 3/3 stages done, 4 tries, 2 failed, failures: 1 component.

| job | result | stages | tries | took | reason |
| --- | --- | --- | --- | --- | --- |
| j | failure | 3/3 | 4 | 12 s |  |
| &nbsp;&nbsp;&nbsp;&nbsp;part-0 | success | 1/1 | 1 | 2.0 s |  |
| &nbsp;&nbsp;&nbsp;&nbsp;part-1 | failure | 1/1 | 2 | 12 s | component, exit, exit code 7 |
| &nbsp;&nbsp;&nbsp;&nbsp;part-2 | success | 1/1 | 1 | 2.0 s |  |

| metric | value |
| --- | --- |
| rows | 4 |

## Failures

**j / part-1 / s**: component, exit, exit code 7, try 2 of 2

```text
no
```
"""


def three_legs() -> dict[str, Any]:
    plan, found = legs(3, set())
    plan["jobs"][0]["stages"][0]["retry"] = {"max": 1, "delay": 1}
    one = task("j.s", "failed", index=1, tries=2, max_tries=1)
    found.tasks["j.s"][1] = one
    record, report = failed(one)
    found.xcoms["j.s", 1, "record"] = record | {"tries": 2, "max_tries": 2}
    found.xcoms["j.s", 1, "error"] = report
    return run_record(plan, found, at(200))


def test_text() -> None:
    assert render_text(three_legs()) == GOLDEN


def test_markdown() -> None:
    assert render_markdown(three_legs()) == GOLDEN_MARKDOWN


def test_many_legs_are_folded() -> None:
    run = run_record(*legs(1000, {7, 900}, {3}), at(200))
    text = render_text(run)
    rows = [line.split() for line in text.splitlines() if line.startswith("  ")]
    assert [row[0] for row in rows[:3]] == ["part-3", "part-7", "part-900"]
    assert "  997 more legs  997 success\n" in text
    assert len(text.splitlines()) < 20


@pytest.mark.parametrize("render", [render_text, render_markdown])
def test_many_failures_are_bounded(render: Any) -> None:
    text = render(run_record(*legs(1000, set(range(1000))), at(200)))
    assert len(text.splitlines()) < 160
    assert "980 more" in text


def test_what_runs_waits_for() -> None:
    plan = workflow(job("j", stage("s"), stage("t")))
    rows = (task("j.s", "up_for_retry", next_try=at(60.25), max_tries=1), TaskFacts("j.t", -1, None))
    text = render_text(run_record(plan, facts(*rows, state="running"), at(200)))
    assert f"j / s: failed, waits for its next try at {at(60).isoformat()}" in text
    assert "j    retrying      0/2" in text
    assert "  t  pending" in text


def test_names_and_messages_do_not_become_markup() -> None:
    plan, found = legs(1, {0})
    plan["jobs"][0]["strategy"]["legs"] = [{"p": "a|b *c* <d>"}]
    record = found.xcoms["j.s", 0, "record"]
    record["error"]["message"] = "```\n# not a head\n```"
    text = render_markdown(run_record(plan, found, at(200)))
    assert "a\\|b \\*c\\* &lt;d>" in text
    assert "\n````text\n```\n# not a head\n```\n````\n" in text


@pytest.mark.parametrize("render", [render_text, render_markdown])
def test_a_fallback_is_named(render: Any) -> None:
    plan = workflow(job("a", stage("s"), fallback="r"), job("r", stage("s"), needs=["a"], fallback_of="a"))
    rows = (task("a.s", "failed"), task("r.__gate__", "success"), task("r.s", "success"))
    text = render(run_record(plan, facts(*rows, state="success"), at(200)))
    assert "success, degraded, " in text
    (line,) = (line for line in text.splitlines() if "fallback: r" in line)
    assert "success (failure)" in line
