"""The jobs of older documents."""

from __future__ import annotations

import re
from typing import Any

import pytest

from airflow_stagecoach.backends._kubernetes_settings import KubernetesConfig
from airflow_stagecoach.backends.kubernetes import KubernetesBackend
from airflow_stagecoach.backends.settings import BackendConfigError

WHOLE: dict[str, Any] = {
    "pvcClaimName": "runs",
    "config_path": "/opt/kube/config",
    "namespace": "reports",
    "jobSpec": {
        "activeDeadlineSeconds": 7200,
        "backoffLimit": 0,
        "ttlSecondsAfterFinished": 60,
        "template": {
            "metadata": {"generateName": None, "annotations": {"a": "b"}, "namespace": "default"},
            "spec": {
                "activeDeadlineSeconds": 100,
                "nodeSelector": {"disk": "ssd"},
                "tolerations": [{"key": "gpu", "operator": "Exists", "value": None, "effect": "NoSchedule"}],
                "volumes": [
                    {"name": "data", "hostPath": {"path": "/var/data"}},
                    {"name": "claim", "persistentVolumeClaim": {"claimName": "c"}},
                ],
                "serviceAccountName": "reporter",
                "restartPolicy": "Never",
                "container": {
                    "image": "etl:1",
                    "env": [{"name": "REGION", "value": "eu"}],
                    "imagePullPolicy": "IfNotPresent",
                    "resources": {
                        "limits": {"memory": "1Gi", "cpu": "250m", "gpu": 1},
                        "requests": {"memory": "1Gi", "cpu": 1, "gpu": None},
                    },
                    "volumeMounts": [
                        {"name": "data", "mountPath": "/data"},
                        {"name": "claim", "mountPath": "/claim"},
                    ],
                },
            },
        },
    },
}


def snake(value: Any) -> Any:
    """The same with keys in snake_case."""
    if isinstance(value, dict):
        return {
            re.sub(r"(?<!^)([A-Z])", lambda match: f"_{match[1].lower()}", key): snake(item)
            for key, item in value.items()
        }
    return [snake(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("config", [WHOLE, snake(WHOLE)], ids=["camelCase", "snake_case"])
def test_a_whole_job(config: dict[str, Any]) -> None:
    found = KubernetesConfig.model_validate(config)
    assert found.is_job
    assert (found.main_image, found.namespace, found.config_file) == ("etl:1", "reports", "/opt/kube/config")
    assert (found.deadline, found.seconds_to_live, found.pvc_claim_name) == (100, 60, "runs")
    assert found.template == {
        "metadata": {"annotations": {"a": "b"}},
        "spec": {
            "nodeSelector": {"disk": "ssd"},
            "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
            "serviceAccountName": "reporter",
            "volumes": [
                {"name": "data", "hostPath": {"path": "/var/data"}},
                {"name": "claim", "persistentVolumeClaim": {"claimName": "c"}},
            ],
            "containers": [
                {
                    "name": "stage",
                    "image": "etl:1",
                    "imagePullPolicy": "IfNotPresent",
                    "env": [{"name": "REGION", "value": "eu"}],
                    "volumeMounts": [
                        {"name": "data", "mountPath": "/data"},
                        {"name": "claim", "mountPath": "/claim"},
                    ],
                    "resources": {
                        "limits": {"memory": "1Gi", "cpu": "250m", "nvidia.com/gpu": "1"},
                        "requests": {"memory": "1Gi", "cpu": "1"},
                    },
                }
            ],
        },
    }


def test_the_least() -> None:
    found = KubernetesConfig.model_validate(
        {"jobSpec": {"template": {"spec": {"container": {"image": "etl:1"}}}}}
    )
    assert found.is_job
    assert found.template == {"spec": {"containers": [{"name": "stage", "image": "etl:1"}]}}
    assert (found.deadline, found.seconds_to_live) == (None, 86400)


def test_a_job_spec_as_a_pod() -> None:
    config = {"kind": "pod", "jobSpec": {"template": {"spec": {"container": {"image": "etl:1"}}}}}
    assert not KubernetesConfig.model_validate(config).is_job


CONTAINER = ("jobSpec", "template", "spec", "container")


@pytest.mark.parametrize(
    ("path", "value", "part"),
    [
        (("jobSpec", "backoffLimit"), 6, "write retry: N"),
        (("jobSpec", "selector"), {"matchLabels": {}}, "leave it out"),
        (("jobSpec", "parallelism"), 2, "is no setting"),
        (("jobSpec", "template", "metadata"), {"generateName": "x-"}, "names come from the workflow"),
        (("jobSpec", "template", "metadata"), {"namespace": "other"}, "write namespace beside jobSpec"),
        (("jobSpec", "template", "spec", "restartPolicy"), "OnFailure", "write retry at the stage"),
        ((*CONTAINER, "command"), ["x"], "is no setting"),
        ((*CONTAINER, "image"), "", "at least 1 character"),
        ((*CONTAINER, "env"), [{"name": "A"}], "is missing"),
        ((*CONTAINER, "volumeMounts"), [{"name": "v", "mountPath": "/v"}], "volume v is mounted, and not"),
        (
            ("jobSpec", "template", "spec", "volumes"),
            [{"name": "v", "hostPath": {"path": "/v"}}],
            "v is mounted nowhere",
        ),
        (("image",), "x", "stands beside image: write one of them"),
        (("pod",), {"spec": {}}, "stands beside pod: write one of them"),
        (("schedule",), "0 0 * * *", "write `on` in the workflow"),
    ],
)
def test_what_has_no_meaning_here(path: tuple[str, ...], value: Any, part: str) -> None:
    config: dict[str, Any] = {"jobSpec": {"template": {"spec": {"container": {"image": "etl:1"}}}}}
    place = config
    for step in path[:-1]:
        place = place.setdefault(step, {})
    place[path[-1]] = value
    with pytest.raises(BackendConfigError) as caught:
        KubernetesBackend(config)
    assert any(part in text for _, text in caught.value.problems), caught.value.problems


def test_expressions_wait_for_the_run() -> None:
    from airflow_stagecoach.importer.backends import check_settings

    config: dict[str, Any] = {
        "jobSpec": {
            "activeDeadlineSeconds": "${{ params.seconds }}",
            "template": {"spec": {"container": {"image": "etl:${{ params.tag }}"}}},
        },
    }
    assert check_settings("kubernetes", config) == config


def test_the_pod_that_is_merged() -> None:
    pytest.importorskip("airflow.providers.cncf.kubernetes")
    from airflow_stagecoach.backends._kubernetes_pod import Cargo, pod_of
    from airflow_stagecoach.backends._kubernetes_template import merged
    from airflow_stagecoach.backends.work import Work

    identity: Any = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1, "try_number": 1}
    found = KubernetesConfig.model_validate(WHOLE)
    work = Work.of(identity, {"stages": []})
    pod = merged(found, pod_of(work, found, Cargo([{}], []), grace=10))
    (stage,) = pod["spec"]["containers"]
    assert stage["image"] == "etl:1"
    assert {one["mountPath"] for one in stage["volumeMounts"]} >= {"/data", "/claim", "/tmp/run_logs"}
    assert stage["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert pod["spec"]["activeDeadlineSeconds"] == 100
