"""The same on PostgreSQL, Airflow's database in real life: a wide matrix, two runs at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from e2e_client import Installation

pytestmark = pytest.mark.postgres

DOCUMENT = r"""
wide:
  type: Workflow
  params: {add: {type: int, default: 0}}
  jobs:
    numbers:
      stages: [{name: Numbers, id: numbers, run: "numbers = list(range(20))"}]
    square:
      needs: numbers
      strategy:
        matrix: {n: "${{ needs.numbers.outputs.numbers }}"}
        max-parallel: 6
        fail-fast: true
      stages:
        - name: "Square ${{ matrix.n }}"
          id: square
          bash: echo "square=$((N * N + ADD))" >> "$STAGE_OUTPUT"
          env: {N: "${{ matrix.n }}", ADD: "${{ params.add }}"}
    total:
      needs: square
      stages:
        - name: Total
          id: total
          run: total = sum(int(leg["outputs"]["square"]) for leg in ${{ needs.square.legs }})
    clean:
      needs: [numbers, total]
      if: always()
      stages: [{name: Clean, id: clean, retry: {max: 1, delay: 1s}, bash: "test ${{ run.try_number }} = 2"}]
"""


def test_two_runs_of_a_wide_matrix_at_once(installation: Installation) -> None:
    client = installation.client
    client.drop("wide.yaml", DOCUMENT)
    client.wait_for_dag("wide")
    runs = {add: client.trigger("wide", {"add": add}) for add in (0, 10)}
    for add, started in runs.items():
        run = client.wait_for_run(started, timeout=300)
        states = client.states(run)
        assert run.state == "success", states
        assert states["square.square"] == ["success"] * 20
        tasks = client.tasks(run)
        assert [tasks["square.square", index].name for index in range(20)] == [str(n) for n in range(20)]
        assert client.xcom(run, "total.total") == {"total": 2470 + 20 * add}
        assert tasks["clean.clean", -1].try_number == 2
