"""``retry: {on-oom}``: what it becomes, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_stagecoach.document import BashStage, OnOom, Retry, load
from airflow_stagecoach.document.diagnostics import DocumentError
from airflow_stagecoach.document.single import plan_single_stage

if TYPE_CHECKING:
    from airflow_stagecoach.document import Diagnostic


class Place:
    """The check of a backend's settings."""

    def __init__(self, *capabilities: str) -> None:
        self.capabilities = frozenset(capabilities)

    def __call__(self, settings: dict[str, Any]) -> dict[str, Any]:
        return settings


BACKENDS: Any = {
    "local": Place(),
    "docker": Place("memory", "image", "services"),
    "self-hosted": Place("memory", "memory-of-stages"),
    "toy": Place(),
    "silent": dict,
}


def loaded(text: str) -> Any:
    return load(f"name: w\ntype: Workflow\n{text}", "f.yml", explicit=True, backends=BACKENDS)


def one(text: str) -> Diagnostic:
    found = loaded(text).diagnostics
    assert len(found) == 1, "\n\n".join(diagnostic.render() for diagnostic in found)
    return found[0]  # type: ignore[no-any-return]  # of load


def stage(retry: str, more: str = "bash: x, resources: {memory: 1Gi}") -> str:
    return f"jobs: {{j: {{stages: [{{{more}, retry: {{{retry}}}}}]}}}}"


@pytest.mark.parametrize(
    ("written", "plan"),
    [
        ("{memory: x2, max: 16Gi}", {"factor": 2.0, "max": 16 << 30}),
        ("{memory: x1.5}", {"factor": 1.5}),
        ("{memory: '* 3'}", {"factor": 3.0}),
        ("{memory: +512Mi, max: 4Gi}", {"add": 512 << 20, "max": 4 << 30}),
        ("{memory: +1G}", {"add": 10**9}),
    ],
)
def test_the_plan(written: str, plan: dict[str, Any]) -> None:
    found = loaded(stage(f"max: 3, on-oom: {written}"))
    assert not found.diagnostics
    assert found.plans[0]["jobs"][0]["stages"][0]["retry"]["on_oom"] == plan


@pytest.mark.parametrize(
    ("retry", "code", "message", "hint"),
    [
        (
            "max: 3, on-oom: {memory: 2}",
            "bad-growth",
            "expected a factor such as x2 or x1.5, or an amount such as +512Mi",
            "write x2",
        ),
        ("max: 3, on-oom: {memory: 2x}", "bad-growth", "expected a factor", "write x2"),
        ("max: 3, on-oom: {memory: 150%}", "bad-growth", "expected a factor", "write x1.5"),
        ("max: 3, on-oom: {memory: 512Mi}", "bad-growth", "expected a factor", "write +512Mi"),
        ("max: 3, on-oom: {memory: double}", "bad-growth", "expected a factor", None),
        ("max: 3, on-oom: {memory: +512MB}", "bad-quantity", "expected an amount", "write +512M"),
        ("max: 3, on-oom: {memory: '+512'}", "bad-quantity", "expected at least 1Mi", "write +512Mi"),
        ("max: 3, on-oom: {memory: +512}", "bad-growth", "expected a factor", "write +512Mi"),
        ("max: 3, on-oom: {memory: x1}", "out-of-range", "a factor is above 1 and at most 100", None),
        ("max: 3, on-oom: {memory: x0.5}", "out-of-range", "a factor is above 1 and at most 100", None),
        ("max: 3, on-oom: {memory: x101}", "out-of-range", "a factor is above 1 and at most 100", None),
        ("max: 3, on-oom: {memory: [x2]}", "wrong-type", "expected a factor", None),
        (
            "max: 3, on-oom: {memory: '${{ params.x }}'}",
            "wrong-type",
            "must be known when the document is loaded",
            None,
        ),
        ("max: 3, on-oom: {memory: x2, max: lots}", "bad-quantity", "expected an amount", None),
        ("max: 3, on-oom: {max: 4Gi}", "missing-key", "on-oom needs 'memory'", "write memory: x2"),
        ("max: 3, on-oom: {factor: 2}", "unknown-key", "unknown key 'factor'", "write memory"),
        ("max: 3, on-oom: x2", "wrong-type", "expected on-oom", None),
        ("max: 3, oom: {memory: x2}", "unknown-key", "unknown key 'oom'", "write on-oom"),
        ("max: 0, on-oom: {memory: x2}", "bad-combination", "with max: 0 there is none", "raise max"),
        (
            "max: 3, never: [resource], on-oom: {memory: x2}",
            "bad-combination",
            "which `never: resource` forbids",
            "remove resource from never, or on-oom",
        ),
        ("max: 3, never: ['reason:OOMKilled'], on-oom: {memory: x2}", "bad-combination", "forbids", None),
        (
            "max: 3, rules: [{match: resource, action: fail}], on-oom: {memory: x2}",
            "bad-combination",
            "which this rule forbids",
            None,
        ),
        (
            "max: 3, on-oom: {memory: x2, max: 1Gi}",
            "out-of-range",
            "max 1Gi is not above the memory of the stage, 1Gi",
            "raise max",
        ),
        (
            "max: 3, on-oom: {memory: x2, max: 512Mi}",
            "out-of-range",
            "max 512Mi is not above the memory",
            "raise max",
        ),
    ],
)
def test_refused(retry: str, code: str, message: str, hint: str | None) -> None:
    found = one(stage(retry))
    assert found.code == code
    assert message in found.message
    if hint is not None:
        assert found.hint == hint


OOM = "max: 3, on-oom: {memory: x2}"


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        (
            stage(OOM, "bash: x"),
            "missing-key",
            "'on-oom' raises the memory of a stage, and the stage is given none",
        ),
        (stage(OOM, "bash: x, resources: {cpu: 1}"), "missing-key", "the stage is given none"),
        (stage(OOM, "echo: x"), "bad-combination", "an empty stage has no memory of its own"),
        (stage(OOM, "trigger: other"), "bad-combination", "has no memory of its own that could grow"),
        (stage(OOM, "operator: a.b.C"), "bad-combination", "has no memory of its own that could grow"),
        (
            f"jobs: {{j: {{retry: {{{OOM}}}, stages: [{{bash: x}}]}}}}",
            "missing-key",
            "stage 1 of job 'j' is given none",
        ),
        (
            f"jobs: {{j: {{retry: {{{OOM}}}, stages: [{{echo: x}}]}}}}",
            "bad-combination",
            "no stage of this job takes it from here",
        ),
        (
            f"defaults: {{retry: {{{OOM}}}}}\njobs: {{j: {{stages: [{{echo: x}}]}}}}",
            "bad-combination",
            "no stage takes it from here",
        ),
        (
            f"defaults: {{retry: {{{OOM}}}}}\njobs: {{j: {{stages: [{{bash: x}}, {{run: 'x = 1'}}]}}}}",
            "missing-key",
            "stage 1 of job 'j' is given none",
        ),
        (
            f"jobs: {{j: {{stages: [{{foreach: [1], resources: {{memory: 1Gi}}, stages: [{{bash: x, retry: {{{OOM}}}}}]}}]}}}}",
            "not-nested",
            "a stage inside another one has no memory of its own that could grow",
        ),
        (
            f"jobs: {{j: {{runs-on: toy, resources: {{memory: 1Gi}}, retry: {{{OOM}}}, stages: [{{bash: x}}]}}}}",
            "bad-combination",
            "runs-on: toy does not say that it limits memory",
        ),
        (
            f"jobs: {{j: {{runs-on: docker, granularity: job, resources: {{memory: 1Gi}}, retry: {{{OOM}}}, stages: [{{bash: x}}]}}}}",
            "bad-combination",
            "with granularity: job all stages run in one place, which docker gives its memory before the first",
        ),
        (
            f"jobs: {{j: {{runs-on: docker, services: {{db: 'postgres:17'}}, resources: {{memory: 1Gi}}, stages: [{{bash: x, retry: {{{OOM}}}}}]}}}}",
            "bad-combination",
            "with services all stages run in one place",
        ),
    ],
)
def test_where_nothing_could_grow(text: str, code: str, message: str) -> None:
    found = one(text)
    assert found.code == code
    assert message in found.message, found.render()


@pytest.mark.parametrize(
    "text",
    [
        stage(OOM),
        stage(OOM, "run: x = 1, resources: {limits: {memory: 1Gi}}"),
        stage(OOM, "image: busybox, resources: {memory: 64Mi}"),
        stage(OOM, "foreach: [1], resources: {memory: 1Gi}, stages: [{bash: x}]"),
        f"jobs: {{j: {{resources: {{memory: 1Gi}}, retry: {{{OOM}}}, stages: [{{echo: x}}, {{bash: x}}]}}}}",
        f"defaults: {{retry: {{{OOM}}}, resources: {{memory: 1Gi}}}}\njobs: {{j: {{stages: [{{bash: x}}]}}, k: {{stages: [{{echo: x}}]}}}}",
        f"defaults: {{retry: {{{OOM}}}}}\njobs: {{j: {{stages: [{{bash: x, resources: {{memory: 1Gi}}}}, {{bash: y, retry: 1}}]}}}}",
        *(
            f"jobs: {{j: {{runs-on: {place}, resources: {{memory: 1Gi}}, retry: {{{OOM}}}, stages: [{{bash: x}}]}}}}"
            for place in ("local", "docker", "self-hosted", "silent", "{type: toy, emulate: true}")
        ),
        *(
            f"jobs: {{j: {{runs-on: {place}, granularity: job, resources: {{memory: 1Gi}}, retry: {{{OOM}}}, stages: [{{bash: x}}]}}}}"
            for place in ("local", "self-hosted")
        ),
        stage("max: 3, on: [network], on-oom: {memory: x2}"),
    ],
)
def test_accepted(text: str) -> None:
    assert not loaded(text).diagnostics


def test_in_python() -> None:
    retry = Retry(max=3, on_oom=OnOom(memory="x2", max="4Gi"))
    stage = BashStage(name="s", bash="x", retry=retry, resources={"memory": "1Gi"})
    assert plan_single_stage(stage, "s")["retry"]["on_oom"] == {"factor": 2.0, "max": 4 << 30}
    with pytest.raises(DocumentError, match="is given none"):
        plan_single_stage(BashStage(name="s", bash="x", retry=retry), "s")
