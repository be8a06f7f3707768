"""Stages that write much: the log has it, and the worker stays small."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from e2e_client import Installation, Run

pytestmark = pytest.mark.postgres

#: The parent of the script is the task's process: its largest size so far, in KiB.
DOCUMENT = r"""
noisy:
  type: Workflow
  jobs:
    quiet:
      stages: [{name: Quiet, id: noise, bash: 'SIZE'}]
    many-lines:
      stages:
        - name: 100 MB
          id: noise
          bash: |
            head -c 100000000 /dev/zero | tr '\0' x | fold -w 4000
            echo; echo the end
            SIZE
    one-line:
      stages:
        - name: A line of 10 MB
          id: noise
          bash: |
            head -c 10000000 /dev/zero | tr '\0' y; echo
            echo the end
            SIZE
    binary:
      stages:
        - name: Binary
          id: noise
          bash: |
            head -c 300000 /dev/urandom
            printf '\0\xff\xfe\033[31m\r\n'; echo; echo the end
            SIZE
""".replace("SIZE", 'echo "peak=$(awk "/VmHWM/ {print \\$2}" /proc/$PPID/status)" >> "$STAGE_OUTPUT"')

JOBS = ("many-lines", "one-line", "binary")


@pytest.fixture(scope="module")
def run(installation: Installation) -> Run:
    client = installation.client
    client.drop("noisy.yaml", DOCUMENT)
    client.wait_for_dag("noisy")
    return client.wait_for_run(client.trigger("noisy"), timeout=400)


@pytest.mark.parametrize("job", JOBS)
def test_output(job: str, run: Run, installation: Installation) -> None:
    client = installation.client
    assert client.states(run)[f"{job}.noise"] == "success"
    outputs = client.xcom(run, f"{job}.noise")
    assert outputs["stdout"].endswith("the end")
    assert len(outputs["stdout"]) < 80_000, "the last of it is kept"
    quiet = int(client.xcom(run, "quiet.noise")["peak"])
    assert int(outputs["peak"]) - quiet < 100_000, "KiB: output is not collected in memory"


def test_the_log_has_it(run: Run, installation: Installation) -> None:
    folder = installation.airflow.home / "logs" / f"dag_id={run.dag_id}" / f"run_id={run.run_id}"
    (log,) = (folder / "task_id=many-lines.noise").glob("*.log")
    assert log.stat().st_size > 100_000_000
    for job in ("one-line", "binary"):
        assert "the end" in installation.client.log(run, f"{job}.noise")
