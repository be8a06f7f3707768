"""A continuous workflow and ``max-active-runs``."""

from __future__ import annotations

import pytest

from airflow_stagecoach.document import load

TEXT = (
    "w:\n  type: Workflow\n  on: {on}\n  max-active-runs: {most}\n  jobs: {{j: {{stages: [{{echo: hi}}]}}}}\n"
)


@pytest.mark.parametrize("on", ["'@continuous'", "{continuous: true}"])
def test_a_continuous_workflow_runs_one_at_a_time(on: str) -> None:
    (diagnostic,) = load(TEXT.format(on=on, most=2), "f.yaml").diagnostics
    assert diagnostic.message == "a continuous workflow runs one at a time"
    assert diagnostic.line == 4
    assert load(TEXT.format(on=on, most=1), "f.yaml").diagnostics == []
