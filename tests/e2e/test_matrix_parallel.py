"""max-parallel holds exactly: never more legs at once, and no worker waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from e2e_client import Installation, Run

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


pytestmark = pytest.mark.postgres


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
