"""max-parallel holds exactly, fail-fast stops everything of its job and nothing else."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import pytest
from e2e_client import processes, wait

if TYPE_CHECKING:
    from pathlib import Path

    from e2e_client import Client, Run

PARALLEL = r"""
parallel-{kind}:
  type: Workflow
  params: {{limit: {{type: int, default: 3}}}}
  jobs:
    make:
      stages: [{{name: Make, id: make, run: "numbers = list(range({legs}))\nlimit = 2"}}]
    legs:
      {needs}
      strategy:
        matrix: {{n: {matrix}}}
        max-parallel: {limit}
      stages:
        - {{name: First, id: first, if: "${{{{ matrix.n != 4 }}}}", sleep: 0.3}}
        - {{name: Second, id: second, bash: "test $N != 5", env: {{N: "${{{{ matrix.n }}}}"}}}}
"""

#: Kind -> the matrix, the limit and what it is, whether the job needs the other.
KINDS = {
    "static": (str(list(range(12))), "3", 3, ""),
    "run-time": ('"${{ needs.make.outputs.numbers }}"', "2", 2, "needs: make"),
    "expression": ('"${{ needs.make.outputs.numbers }}"', '"${{ params.limit }}"', 3, "needs: make"),
}
LEG_COUNT = {"static": 12, "run-time": 8, "expression": 8}


@pytest.fixture(scope="module")
def runs(client: Client) -> dict[str, Run]:
    documents = [
        PARALLEL.format(kind=kind, matrix=matrix, limit=limit, needs=needs, legs=LEG_COUNT[kind])
        for kind, (matrix, limit, _, needs) in KINDS.items()
    ]
    client.drop("parallel.yaml", "".join(documents))
    for kind in KINDS:
        client.wait_for_dag(f"parallel-{kind}")
    return {kind: client.trigger(f"parallel-{kind}") for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_max_parallel_is_exact(kind: str, runs: dict[str, Run], client: Client) -> None:
    run = client.wait_for_run(runs[kind], timeout=300)
    limit = KINDS[kind][2]
    states = client.states(run)
    count = LEG_COUNT[kind]
    assert states["legs.__slot__"] == ["success"] * count
    assert states["legs.second"] == ["failed" if n == 5 else "success" for n in range(count)]
    assert states["legs.first"] == ["skipped" if n == 4 else "success" for n in range(count)]
    tasks = client.tasks(run)
    events = []
    for n in range(count):
        stages = [tasks[f"legs.{stage}", n].raw for stage in ("first", "second")]
        events.append((min(moment(stage["start_date"]) for stage in stages), 1))
        events.append((max(moment(stage["end_date"]) for stage in stages), -1))
    peak = now = 0
    for _, change in sorted(events):
        now += change
        peak = max(peak, now)
    assert peak == limit, "never more, and no slower than allowed"


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


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def running(run: Run, leg: str) -> list[int]:
    return processes(KILL_TEST=run.run_id, KILL_JOB=leg)


def test_fail_fast(client: Client, tmp_path: Path, runs: dict[str, Run]) -> None:
    for run in runs.values():  # they would take the slots of the legs
        client.wait_for_run(run, timeout=300)
    go = tmp_path / "go"
    client.drop("fail-fast.yaml", FAIL_FAST.replace("$GO", str(go)))
    client.wait_for_dag("fail-fast")
    run = client.trigger("fail-fast")
    wait(
        lambda: len(running(run, "long-1")) >= 3 and len(running(run, "long-2")) >= 3,
        "the legs do not run",
        90,
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
        assert late.total_seconds() < 10
    for index in (3, 4):
        assert tasks["legs.work", index].raw["pid"] is None, "it never started"
    assert [running(run, f"long-{n}") for n in (1, 2)] == [[], []]
