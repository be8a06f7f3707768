from __future__ import annotations

import pytest

from airflow_stagecoach.document.sniff import is_ours


@pytest.mark.parametrize(
    "data",
    [
        b"name: a\ntype: Workflow\njobs: {}\n",
        b"w:\n  type:   'Workflow'  # ours\n",
        b'w: {"type": "Workflow", jobs: {}}',
        b"{type: Workflow}",
        b"name: a\r\ntype: Workflow\r\n",
        b"name: a\njobs:\n  j:\n    stages:\n      - bash: x\n",
        b"jobs: {a: {stages: [{bash: x}]}}",
    ],
)
def test_ours(data: bytes) -> None:
    assert is_ours(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"kind: Workflow\napiVersion: argoproj.io/v1alpha1\n",
        b"type: WorkflowTemplate\n",
        b"subtype: Workflow\n",
        b"on: push\njobs:\n  a:\n    steps:\n      - run: x\n",
        b"stages: [build]\nbuild:\n  script: x\n",
        b"default:\n  tasks:\n    a: {operator: x}\n",
        b"\x00\xff" * 1000,
    ],
)
def test_not_ours(data: bytes) -> None:
    assert not is_ours(data)
