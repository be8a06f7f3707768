"""Retries with exact delays, clearing, and jobs that handle the failure of others."""

from __future__ import annotations

import itertools
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from e2e_client import PATIENCE, wait

if TYPE_CHECKING:
    from pathlib import Path

    from e2e_client import Client, Run

RETRIES = r"""
retries:
  type: Workflow
  params: {good: {type: str, required: true}}
  env: {GOOD: "${{ params.good }}"}
  jobs:
    exact:
      stages:
        - name: Flaky
          id: flaky
          retry: {max: 3, backoff: custom, delays: [2s, 6s, 4s]}
          bash: 'test -e "$GOOD"'
        - {name: After, id: after, run: "tries = ${{ run.try_number }}"}
    never:
      stages: [{name: Never, id: never, retry: {max: 5, delay: 1s, never: [PermissionError]}, run: "raise PermissionError('no')"}]
    only:
      stages: [{name: Only, id: only, retry: {max: 5, delay: 1s, on: [75]}, bash: "test ${{ run.try_number }} -ge 2 && exit 76; exit 75"}]
"""

CLEARED = r"""
cleared:
  type: Workflow
  params: {good: {type: str, required: true}}
  env: {GOOD: "${{ params.good }}"}
  jobs:
    before:
      stages: [{name: Before, id: before, echo: before}]
    fails:
      needs: before
      stages:
        - {name: First, id: first, echo: first}
        - {name: Fail, id: fail, bash: 'test -e "$GOOD" && echo mended'}
        - {name: Last, id: last, run: "found = ${{ stages.fail.outputs.stdout }}"}
    after:
      needs: fails
      stages: [{name: After, id: after, run: "found = ${{ needs.fails.outputs.found }}"}]
    clean:
      needs: [fails, after]
      if: always()
      stages: [{name: Clean, id: clean, run: "how = ${{ needs.fails.result }}"}]
"""

#: How much later than asked a try may start: the scheduler looks every second or so, and a busy machine
#: takes its time to start a worker. How exact the delays are is shown by `tests/operators/test_retry.py`.
LATE = 40.0


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("good") / "good"


@pytest.fixture(scope="module")
def cleared(client: Client, good: Path) -> Run:
    client.drop("retries.yaml", RETRIES + CLEARED)
    client.wait_for_dag("retries")
    client.wait_for_dag("cleared")
    return client.trigger("cleared", {"good": str(good)})


@pytest.fixture(scope="module")
def retries(client: Client, good: Path, cleared: Run) -> Run:
    return client.run("retries", {"good": str(good)}, timeout=240)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def pauses(client: Client, run: Run, task_id: str) -> list[float]:
    """Seconds between the end of each try and the start of the next."""
    path = f"/dags/{run.dag_id}/dagRuns/{run.run_id}/taskInstances/{task_id}/tries"
    tries: list[dict[str, Any]] = sorted(
        client.get(path)["task_instances"], key=lambda one: int(one["try_number"])
    )
    return [
        (moment(after["start_date"]) - moment(before["end_date"])).total_seconds()
        for before, after in itertools.pairwise(tries)
    ]


def test_delays_are_exact(client: Client, retries: Run) -> None:
    assert retries.state == "failed"
    found = pauses(client, retries, "exact.flaky")
    assert len(found) == 3
    for pause, wanted in zip(found, (2, 6, 4), strict=True):
        assert wanted <= pause < wanted + LATE


def test_what_is_not_repeated(client: Client, retries: Run) -> None:
    tasks = client.tasks(retries)
    assert tasks["never.never", -1].try_number == 1
    assert tasks["only.only", -1].try_number == 2


def test_clearing_a_failed_stage(client: Client, cleared: Run, good: Path) -> None:
    """The stage that failed and all that follows it run again; what had succeeded does not."""
    run = client.wait_for_run(cleared)
    assert run.state == "failed"
    states = client.states(run)
    assert {name: state for name, state in states.items() if "__" not in name} == {
        "before.before": "success",
        "fails.first": "success",
        "fails.fail": "failed",
        "fails.last": "upstream_failed",
        "after.after": "upstream_failed",
        "clean.clean": "success",
    }
    assert client.xcom(run, "clean.clean") == {"how": "failure"}
    good.touch()
    run = client.clear(run, "fails.fail", timeout=120)
    assert run.state == "success", client.states(run)
    assert set(client.states(run).values()) == {"success"}
    assert client.xcom(run, "after.after") == {"found": "mended"}
    assert client.xcom(run, "clean.clean") == {"how": "success"}
    tasks = client.tasks(run)
    assert {name: tasks[name, -1].try_number for name in ("fails.first", "fails.fail", "clean.clean")} == {
        "fails.first": 1,
        "fails.fail": 2,
        "clean.clean": 2,
    }


def test_clearing_starts_the_series_of_retries_again(client: Client, retries: Run, good: Path) -> None:
    good.unlink(missing_ok=True)
    client.clear(retries, "exact.flaky")
    # It may be missed waiting: the delay is short.
    wait(
        lambda: client.tasks(retries)["exact.flaky", -1].try_number >= 6,
        "it is not tried again",
        PATIENCE,
        lambda: client.states(retries),
    )
    good.touch()
    task = client.wait_for_task(retries, "exact.flaky", {"success"})
    assert 6 <= task.try_number <= 8, "three retries again"
    # Four tries before the clear, so the fifth pause is the first of the new series.
    assert 2 <= pauses(client, retries, "exact.flaky")[4] < 2 + LATE
    client.wait_for_task(retries, "exact.after", {"success"})
