"""max-parallel holds exactly, fail-fast stops everything of its job and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest
from e2e_client import PATIENCE, moment, processes, wait

if TYPE_CHECKING:
    from pathlib import Path

    from e2e_client import Client, Installation, Run

PARALLEL = r"""
parallel-NAME:
  type: Workflow
  params: {limit: {type: int, default: 4}}
  jobs:
    make:
      stages: [{name: Make, id: make, run: "numbers = list(range(COUNT))\nlimit = 3"}]
    legs:
      needs: make
      granularity: GRANULARITY
      strategy:
        matrix: {n: MATRIX}
        max-parallel: LIMIT
      stages:
        - {name: First, id: first, if: "${{ matrix.n != 4 }}", sleep: 0.2}
        - {name: Second, id: second, bash: "test $N != 5", env: {N: "${{ matrix.n }}"}}
        - {name: Third, id: third, echo: done}
"""


class Kind(NamedTuple):
    """A way to say `max-parallel`, and what it comes to."""

    granularity: str
    count: int
    matrix: str
    written: str
    limit: int


MADE = '"${{ needs.make.outputs.numbers }}"'

KINDS = {
    "static": Kind("stage", 30, str(list(range(30))), "4", 4),
    "run-time": Kind("stage", 6, MADE, '"${{ needs.make.outputs.limit }}"', 3),
    "whole": Kind("job", 14, MADE, '"${{ params.limit }}"', 4),
}


@pytest.fixture(scope="module")
def runs(installation: Installation) -> dict[str, Run]:
    """All at once, so that the workers are many and the machine is busy."""
    text = ""
    for name, kind in KINDS.items():
        text += (
            PARALLEL.replace("NAME", name)
            .replace("COUNT", str(kind.count))
            .replace("GRANULARITY", kind.granularity)
            .replace("MATRIX", kind.matrix)
            .replace("LIMIT", kind.written)
        )
    installation.client.drop("parallel.yaml", text)
    for name in KINDS:
        installation.client.wait_for_dag(f"parallel-{name}")
    return {name: installation.client.trigger(f"parallel-{name}") for name in KINDS}


@pytest.mark.parametrize("name", KINDS)
def test_max_parallel_is_exact(name: str, runs: dict[str, Run], installation: Installation) -> None:
    kind = KINDS[name]
    run = installation.client.wait_for_run(runs[name], timeout=400)
    states = installation.client.states(run)
    assert states["legs.__slot__"] == ["success"] * kind.count
    expected = ["failed" if n == 5 else "success" for n in range(kind.count)]
    if kind.granularity == "job":
        assert states["legs.__stages__"] == expected
    else:
        assert states["legs.first"] == ["skipped" if n == 4 else "success" for n in range(kind.count)]
        assert states["legs.second"] == expected
        assert states["legs.third"] == ["upstream_failed" if n == 5 else "success" for n in range(kind.count)]
    # Airflow's own times: what never started has none of its own.
    rows = installation.query(
        "select map_index, min(start_date), max(end_date) from task_instance where dag_id = %s and run_id = %s"
        " and task_id like 'legs.%%' and task_id not like '%%.\\_\\_slot\\_\\_' and pid is not null"
        " group by map_index",
        run.dag_id,
        run.run_id,
    )
    assert sorted(row[0] for row in rows if row[0] >= 0) == list(range(kind.count))
    events = sorted(event for index, start, end in rows if index >= 0 for event in ((start, 1), (end, -1)))
    peak = now = 0
    for _, change in events:
        now += change
        peak = max(peak, now)
    assert peak == kind.limit, "never more, and no slower than allowed"
    waited = installation.query(
        "select count(*) from task_instance where dag_id = %s and run_id = %s and task_id = 'legs.__slot__'"
        " and pid is not null",
        run.dag_id,
        run.run_id,
    )
    assert waited == [(0,)], "no slot was ever in a worker"


FAIL_FAST = r"""
fail-fast:
  type: Workflow
  env: {KILL_TEST: "${{ run.id }}"}
  jobs:
    legs:
      strategy:
        matrix: {n: [bad, long-1, long-2, late-1, late-2]}
        max-parallel: 3
        fail-fast: true
      stages:
        - name: Work
          id: work
          env: {KILL_JOB: "${{ matrix.n }}"}
          bash: |
            case $KILL_JOB in
            bad) while [ ! -e "$GO" ]; do sleep 0.2; done; exit 3 ;;
            *) sleep 300 & sleep 300 ;;
            esac
        - {name: After, id: after, echo: never}
    other:
      stages: [{name: Other, id: other, sleep: 8}]
    look:
      needs: legs
      if: failure()
      stages: [{name: Look, id: look, run: "how = [leg['result'] for leg in ${{ needs.legs.legs }}]"}]
"""


def running(run: Run, leg: str) -> list[int]:
    return processes(KILL_TEST=run.run_id, KILL_JOB=leg)


def test_fail_fast(client: Client, tmp_path: Path) -> None:
    go = tmp_path / "go"
    client.drop("fail-fast.yaml", FAIL_FAST.replace("$GO", str(go)))
    client.wait_for_dag("fail-fast")
    run = client.trigger("fail-fast")
    wait(
        lambda: len(running(run, "long-1")) >= 3 and len(running(run, "long-2")) >= 3,
        "the legs do not run",
        PATIENCE,
        lambda: client.states(run),
    )
    go.touch()
    failed = client.wait_for_task(run, "legs.work", {"failed"}, map_index=0)
    run = client.wait_for_run(run)
    assert run.state == "failed"
    states = client.states(run)
    assert states["legs.work"] == ["failed", "skipped", "skipped", "skipped", "skipped"]
    assert states["legs.after"] == ["upstream_failed", "skipped", "skipped", "skipped", "skipped"]
    assert states["other.other"] == "success"
    assert client.xcom(run, "look.look")["how"] == ["failure", *["cancelled"] * 4]
    end = moment(failed.raw["end_date"])
    tasks = client.tasks(run)
    for index in (1, 2):
        late = moment(tasks["legs.work", index].raw["end_date"]) - end
        assert late.total_seconds() < 45, "10 on a quiet machine; what is not stopped works for 300"
    for index in (3, 4):
        assert tasks["legs.work", index].raw["pid"] is None, "it never started"
    assert [running(run, f"long-{n}") for n in (1, 2)] == [[], []]
