"""The same on PostgreSQL, Airflow's database in real life: a wide matrix, two runs at once."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from e2e_client import Client

from airflow_stagecoach.cli.local_airflow import LocalAirflow

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.postgres

REPOSITORY = Path(__file__).parents[2]

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


@pytest.fixture(scope="module")
def postgres_client() -> Iterator[Client]:
    """A client of an Airflow whose database is PostgreSQL."""
    pytest.importorskip("psycopg2")
    pytest.importorskip("asyncpg")
    # Not pytest's own folder: PostgreSQL runs as another user, who may not enter that one.
    root = Path(tempfile.mkdtemp(prefix="stagecoach-postgres-"))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(REPOSITORY))
        patch.setenv("PYTHONPATH", str(REPOSITORY))
        from benchmarks import postgres

        try:
            with postgres.server(root) as options:
                if options is None:
                    pytest.skip("there is no PostgreSQL on this machine")
                dags = root / "dags"
                dags.mkdir()
                airflow = LocalAirflow(root / "home", dags, options={"core.parallelism": "6", **options})
                airflow.start()
                try:
                    yield Client(airflow.url, dags)
                finally:
                    airflow.stop()
        finally:
            shutil.rmtree(root, ignore_errors=True)


def test_two_runs_of_a_wide_matrix_at_once(postgres_client: Client) -> None:
    client = postgres_client
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
