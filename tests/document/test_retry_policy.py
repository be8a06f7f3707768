from __future__ import annotations

import sys
import textwrap
from typing import TYPE_CHECKING, Any

import pytest

from airflow_stagecoach.document import DocumentError, Job, Retry, Workflow, load
from airflow_stagecoach.document.retry_policy import PolicyError, policy_check, policy_class

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODULE = """
    from airflow.sdk import RetryPolicy
    from airflow.sdk.definitions.retry_policy import RetryDecision

    class Patient(RetryPolicy):
        def __init__(self, pause, *, most=3):
            self.pause = pause

        def evaluate(self, exception, try_number, max_tries, context=None):
            return RetryDecision.retry()

    class Plain(RetryPolicy):
        def evaluate(self, exception, try_number, max_tries, context=None):
            return RetryDecision.default()

    class Unfinished(RetryPolicy):
        pass

    class Stranger:
        pass

    patient = 5
"""


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A dags folder that is not on the path, with modules that no other test has."""
    (tmp_path / "sc_policies.py").write_text(textwrap.dedent(MODULE))
    (tmp_path / "sc_broken.py").write_text("raise RuntimeError('no')\n")
    (tmp_path / "sc_needs.py").write_text("import sc_not_installed\n")
    yield tmp_path
    assert str(tmp_path) not in sys.path
    for name in [name for name in sys.modules if name.startswith("sc_")]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("policy", "arguments"),
    [
        ("sc_policies:Patient", {"pause": 5}),
        ("sc_policies:Patient", {"pause": 5, "most": 2}),
        ("sc_policies:Plain", {}),
        ("airflow.sdk:ExceptionRetryPolicy", {"rules": []}),
    ],
)
def test_good(root: Path, policy: str, arguments: dict[str, Any]) -> None:
    assert policy_class(policy, arguments, [root]).__name__ == policy.partition(":")[2]


@pytest.mark.parametrize(
    ("policy", "arguments", "path", "message", "hint"),
    [
        ("sc_nothing:Patient", {}, "policy", "there is no module 'sc_nothing'", "it must be importable from the dags folder or be installed, on workers too"),
        ("sc_nothing.more:Patient", {}, "policy", "there is no module 'sc_nothing'", "it must be importable from the dags folder or be installed, on workers too"),
        ("sc_needs:Patient", {}, "policy", "there is no module 'sc_not_installed'", "sc_needs needs it"),
        ("sc_broken:Patient", {}, "policy", "module 'sc_broken' cannot be imported: RuntimeError: no", None),
        ("sc_policies:Patent", {}, "policy", "module 'sc_policies' has no 'Patent'", "did you mean 'Patient'?"),
        ("sc_policies:Zzz", {}, "policy", "module 'sc_policies' has no 'Zzz'", "its policies are Patient, Plain, Unfinished"),
        ("sc_policies:Stranger", {}, "policy", "'Stranger' is no retry policy", "derive it from airflow.sdk.RetryPolicy and define evaluate()"),
        ("sc_policies:patient", {}, "policy", "'patient' is no retry policy", "derive it from airflow.sdk.RetryPolicy and define evaluate()"),
        ("sc_policies:Unfinished", {}, "policy", "'Unfinished' does not define evaluate()", None),
        ("sc_policies:Patient", {}, "policy", "'Patient' needs other arguments: missing a required argument: 'pause'", "it takes pause, most: write with: {...}"),
        ("sc_policies:Patient", {"most": 1}, "with", "'Patient' needs other arguments: missing a required argument: 'pause'", "it takes pause, most: write with: {...}"),
        ("sc_policies:Patient", {"pauze": 1}, "with.pauze", "'Patient' takes no argument 'pauze'", "did you mean 'pause'?"),
        ("sc_policies:Plain", {"x": 1}, "with.x", "'Plain' takes no argument 'x'", "it takes no arguments"),
    ],
)  # fmt: skip
def test_refused(
    root: Path, policy: str, arguments: dict[str, Any], path: str, message: str, hint: str | None
) -> None:
    with pytest.raises(PolicyError) as error:
        policy_class(policy, arguments, [root])
    assert (".".join(error.value.path), str(error.value), error.value.hint) == (path, message, hint)


DOCUMENT = """\
name: w
defaults:
  retry: {max: 1, backoff: custom, policy: sc_policies:Patent}
jobs:
  j:
    retry: {max: 1, backoff: custom, policy: sc_policies:Patient, with: {pauze: 1}}
    stages:
      - bash: x
      - {bash: x, retry: {max: 1, backoff: custom, policy: sc_none:Patient}}
"""


def test_the_place_in_the_document(root: Path) -> None:
    found = load(DOCUMENT, "f.yml", policies=policy_check([root])).diagnostics
    assert [(one.line, one.column, one.code) for one in found] == [
        (3, 44, "bad-policy"),
        (6, 74, "bad-policy"),
        (9, 60, "bad-policy"),
    ]


def test_nothing_is_imported_unless_asked(root: Path) -> None:
    (plan,) = load(DOCUMENT, "f.yml").plans
    assert plan["jobs"][0]["stages"][0]["retry"] == {
        "max": 1,
        "delay": 10,
        "backoff": "custom",
        "policy": "sc_policies:Patient",
        "with_": {"pauze": 1},
    }
    assert not [name for name in sys.modules if name.startswith("sc_")]


def test_a_workflow_of_python(root: Path) -> None:
    retry = Retry(max=1, backoff="custom", policy="sc_policies:Patient", delay=5)
    workflow = Workflow(name="w", jobs=[Job(id="j", retry=retry, stages=[{"bash": "x"}])])
    assert workflow.plan()["jobs"][0]["stages"][0]["retry"]["delay"] == 5
    with pytest.raises(DocumentError, match="missing a required argument: 'pause'"):
        workflow.plan(policies=policy_check([root]))
