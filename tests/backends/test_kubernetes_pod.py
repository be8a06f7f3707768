"""What the cluster is asked for: settings, pods, jobs and secrets, without a cluster."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from pydantic import ValidationError

from airflow_stagecoach.backends import get_backend
from airflow_stagecoach.backends._kubernetes_pod import (
    LARGEST,
    SECRET_BYTES,
    Cargo,
    job_of,
    pod_of,
    resources_of,
    secrets_of,
    split,
)
from airflow_stagecoach.backends._kubernetes_script import PARTS
from airflow_stagecoach.backends._kubernetes_settings import KubernetesConfig
from airflow_stagecoach.backends._kubernetes_template import merged
from airflow_stagecoach.backends.failures import BackendFailure
from airflow_stagecoach.backends.kubernetes import KubernetesBackend
from airflow_stagecoach.backends.ownership import owner
from airflow_stagecoach.backends.settings import BackendConfigError
from airflow_stagecoach.backends.shipment import FOLDER, ShipmentError
from airflow_stagecoach.backends.work import Work

IDENTITY: Any = {
    "dag_id": "Report",
    "run_id": "r",
    "task_id": "job.stage",
    "map_index": -1,
    "try_number": 2,
}


def work(**more: Any) -> Work:
    unit: Any = {"stages": [{"kind": "bash", "id": "a", "bash": "true"}], "identity": IDENTITY, **more}
    return Work.of(IDENTITY, unit)


def settings(**values: Any) -> KubernetesConfig:
    named = {name.replace("_", "-"): value for name, value in values.items()}
    return KubernetesConfig.model_validate({"image": "x:1", **named})


def pod(of: KubernetesConfig, **more: Any) -> dict[str, Any]:
    return pod_of(work(**more), of, Cargo([{}], []), grace=10)


def stage(of: KubernetesConfig, **more: Any) -> dict[str, Any]:
    (container,) = pod(of, **more)["spec"]["containers"]
    return dict(container)


# -- settings ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "source", "read_only"),
    [
        ("pvc:data:/d", {"persistentVolumeClaim": {"claimName": "data"}}, False),
        ("pvc:data:/d:ro", {"persistentVolumeClaim": {"claimName": "data"}}, True),
        ("secret:tls:/d", {"secret": {"secretName": "tls"}}, False),
        ("config-map:conf:/d:ro", {"configMap": {"name": "conf"}}, True),
        ("host-path:/var/data:/d", {"hostPath": {"path": "/var/data"}}, False),
        ("empty-dir::/d", {"emptyDir": {}}, False),
        ("empty-dir:1Gi:/d", {"emptyDir": {"sizeLimit": "1Gi"}}, False),
    ],
)
def test_short_volumes(text: str, source: dict[str, Any], read_only: bool) -> None:
    (volume,) = settings(volumes=[text]).volumes
    assert (volume.source, volume.mount, volume.read_only) == (source, "/d", read_only)


@pytest.mark.parametrize(
    ("volume", "part"),
    [
        ("data:/d", "expected pvc:claim:/path"),
        ("pvc:data", "expected pvc:claim:/path"),
        ("pvc:data:d", "expected pvc:claim:/path"),
        ("pvc::/d", "expected a name after pvc:"),
        ("pvc:data:/d:rw", "expected pvc:claim:/path"),
        ({"mount": "/d"}, "expected one source beside mount, such as persistentVolumeClaim, found none"),
        ({"mount": "/d", "nfs": {}, "emptyDir": {}}, "found nfs, emptyDir"),
        ({"emptyDir": {}}, "Field required"),
        ({"emptyDir": {}, "mount": "d"}, "should match pattern"),
    ],
)
def test_volumes_that_are_none(volume: Any, part: str) -> None:
    with pytest.raises(ValidationError, match=r"volumes\.0") as caught:
        settings(volumes=[volume])
    assert part in str(caught.value)


@pytest.mark.parametrize(
    ("config", "path", "part"),
    [
        ({"image": ""}, ("image",), "at least 1 character"),
        ({"image": "x", "imagee": 1}, ("imagee",), "is no setting"),
        ({"image": "x", "kind": "cronjob"}, ("kind",), "'pod' or 'job'"),
        ({"image": "x", "start-timeout": "soon"}, ("start-timeout",), "a duration such as 10m"),
        ({"image": "x", "image-pull-policy": "missing"}, ("image-pull-policy",), "IfNotPresent"),
        ({"image": "x", "pod": {"specs": {}}}, ("pod",), "specs does not belong there"),
        ({"image": "x", "pod": {"spec": []}}, ("pod",), "spec must be a map"),
        ({"image": "x", "in-cluster": True, "config-file": "/k"}, ("config-file",), "beside in-cluster"),
        ({"image": "x", "in-cluster": True, "context": "c"}, ("context",), "beside in-cluster"),
        ({"image": "x", "mock": True}, ("mock",), "write emulate: true"),
        ({"image": "x", "schedule": "0 0 * * *"}, ("schedule",), "write `on`"),
        ({"image": "x", "mini_k8s_run_log_location": "/x"}, ("mini-k8s-run-log-location",), "Airflow keeps"),
        ({"image": "x", "pvc_claim_name": "c"}, ("pvc_claim_name",), "write volumes: [pvc:claim:/path]"),
    ],
)
def test_settings_that_do_not_fit(config: dict[str, Any], path: tuple[str, ...], part: str) -> None:
    with pytest.raises(BackendConfigError) as caught:
        KubernetesBackend(config)
    problems = {tuple(str(step).replace("_", "-") for step in at): text for at, text in caught.value.problems}
    assert part in problems[tuple(step.replace("_", "-") for step in path)]


@pytest.mark.parametrize(
    "config",
    [
        {"pod": {"spec": {"containers": [{"name": "stage", "image": "p"}, {"image": "other"}]}}},
        {"pod": {"spec": {"containers": [{"image": "p"}]}}},
        {"image": "p", "pod": {"spec": {"containers": [{"image": "other", "name": "stage"}]}}},
    ],
)
def test_where_the_image_may_stand(config: dict[str, Any]) -> None:
    assert KubernetesBackend(config).settings.main_image == "p"


@pytest.mark.parametrize(("value", "seconds"), [("10m", 600), (5, 5), ("PT1H", 3600), ("90", 90)])
def test_durations(value: Any, seconds: float) -> None:
    assert settings(start_timeout=value).start_timeout == seconds


def test_other_spellings() -> None:
    config = {"image": "x", "config_path": "/k", "service_account": "s", "node-selector": {"a": "b"}}
    found = KubernetesConfig.model_validate(config)
    assert (found.config_file, found.service_account, found.node_selector) == ("/k", "s", {"a": "b"})


def test_the_registry_knows_it() -> None:
    assert isinstance(get_backend("kubernetes", {"image": "x"}), KubernetesBackend)


def test_emulated() -> None:
    backend = get_backend("kubernetes", {"image": "x", "ship": ["*.sql"]}, emulate=True)
    assert backend.type == "emulated"


# -- pods -------------------------------------------------------------------------------------


def test_a_plain_pod() -> None:
    found = pod(settings())
    container = found["spec"].pop("containers")[0]
    assert found["spec"] == {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 10,
        "volumes": [
            {"name": "stagecoach", "emptyDir": {}},
            {"name": "stagecoach-unit", "projected": {"sources": [{"secret": {"name": f"{work().name}-0"}}]}},
        ],
    }
    assert container["command"][:2] == ["/bin/sh", "-c"]
    assert container["volumeMounts"] == [
        {"name": "stagecoach", "mountPath": FOLDER},
        {"name": "stagecoach-unit", "mountPath": PARTS, "readOnly": True},
    ]
    assert {key for key in container if key not in ("command", "volumeMounts")} == {
        "name",
        "image",
        "terminationMessagePath",
        "terminationMessagePolicy",
    }


def test_names_and_labels() -> None:
    metadata = pod(settings(labels={"team": "a", "stagecoach.key": "forged"}, annotations={"b": "c"}))[
        "metadata"
    ]
    assert metadata["name"] == work().name
    assert metadata["labels"] == {"team": "a", **work().labels()}
    assert owner(metadata["annotations"]) == IDENTITY
    assert metadata["annotations"]["b"] == "c"


@pytest.mark.parametrize(
    ("given", "path", "expected"),
    [
        ({"service_account": "s"}, "serviceAccountName", "s"),
        ({"node_selector": {"a": "b"}}, "nodeSelector", {"a": "b"}),
        ({"tolerations": [{"operator": "Exists"}]}, "tolerations", [{"operator": "Exists"}]),
        ({"affinity": {"nodeAffinity": {}}}, "affinity", {"nodeAffinity": {}}),
        ({"priority_class": "high"}, "priorityClassName", "high"),
        ({"image_pull_secrets": ["a", "b"]}, "imagePullSecrets", [{"name": "a"}, {"name": "b"}]),
        ({"active_deadline": "1h"}, "activeDeadlineSeconds", 3600),
        ({"active_deadline": 0.2}, "activeDeadlineSeconds", 1),
    ],
)
def test_short_keys_of_the_pod(given: dict[str, Any], path: str, expected: Any) -> None:
    assert pod(settings(**given))["spec"][path] == expected


@pytest.mark.parametrize(
    ("given", "key", "expected"),
    [
        ({"env": {"A": "1"}}, "env", [{"name": "A", "value": "1"}]),
        (
            {"secrets": {"P": "db/password"}},
            "env",
            [{"name": "P", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}}],
        ),
        (
            {"secrets": ["db", "s3"]},
            "envFrom",
            [{"secretRef": {"name": "db"}}, {"secretRef": {"name": "s3"}}],
        ),
        ({"image_pull_policy": "Never"}, "imagePullPolicy", "Never"),
        ({"user": 1000}, "securityContext", {"runAsUser": 1000}),
        ({"user": "0:5"}, "securityContext", {"runAsUser": 0, "runAsGroup": 5}),
        ({"entrypoint": "tini"}, "command", ["tini"]),
        ({"entrypoint": ["tini", "--"]}, "command", ["tini", "--"]),
    ],
)
def test_short_keys_of_the_container(given: dict[str, Any], key: str, expected: Any) -> None:
    assert stage(settings(**given))[key] == expected


def test_an_entrypoint_gets_our_command() -> None:
    assert stage(settings(entrypoint="tini"))["args"] == stage(settings())["command"]
    assert "args" not in stage(settings())


def test_volumes_are_mounted() -> None:
    nfs = {"name": "files", "nfs": {"server": "s", "path": "/p"}, "mount": "/n", "sub-path": "a"}
    found = pod(settings(volumes=["pvc:c:/d:ro", nfs]))["spec"]
    assert found["volumes"][2:] == [
        {"name": "stagecoach-volume-1", "persistentVolumeClaim": {"claimName": "c"}},
        {"name": "files", "nfs": {"server": "s", "path": "/p"}},
    ]
    assert found["containers"][0]["volumeMounts"][2:] == [
        {"name": "stagecoach-volume-1", "mountPath": "/d", "readOnly": True},
        {"name": "files", "mountPath": "/n", "subPath": "a"},
    ]


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        ({}, {}),
        ({"cpu": 0.5}, {"requests": {"cpu": "500m"}, "limits": {"cpu": "500m"}}),
        ({"memory": 1024.0}, {"requests": {"memory": "1024"}, "limits": {"memory": "1024"}}),
        (
            {"memory": 1024, "limits": {"memory": 2048, "cpu": 2}},
            {"requests": {"memory": "1024"}, "limits": {"memory": "2048", "cpu": "2000m"}},
        ),
        (
            {"ephemeral_storage": 10},
            {"requests": {"ephemeral-storage": "10"}, "limits": {"ephemeral-storage": "10"}},
        ),
        ({"gpu": 2, "enforce": "strict"}, {"limits": {"nvidia.com/gpu": "2"}}),
    ],
)
def test_resources(plan: dict[str, Any], expected: Any) -> None:
    assert resources_of(plan) == expected
    assert stage(settings(), resources=plan).get("resources", {}) == expected


def test_a_job_makes_one_pod_once() -> None:
    config = settings(kind="job", ttl="2h")
    found = job_of(work(), config, pod(config))
    spec = found["spec"]
    assert (spec["parallelism"], spec["completions"], spec["backoffLimit"]) == (1, 1, 0)
    assert spec["ttlSecondsAfterFinished"] == 7200
    assert "name" not in spec["template"]["metadata"]
    assert spec["template"]["metadata"]["labels"] == found["metadata"]["labels"] == work().labels()
    assert spec["template"]["spec"]["containers"][0]["env"] == [
        {"name": "STAGECOACH_POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}}
    ]


# -- secrets ----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, SECRET_BYTES, SECRET_BYTES + 1, 3 * SECRET_BYTES])
def test_parts(size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    parts = split(data[:size])
    assert b"".join(parts) == data[:size]
    assert max(map(len, parts)) <= SECRET_BYTES


def test_too_much_to_travel() -> None:
    with pytest.raises(ShipmentError, match=r"16\.0 MB, more than the 16 MB that travel to Kubernetes"):
        split(bytes(LARGEST + 1))


def test_secrets_hold_the_parts() -> None:
    first, second = secrets_of(work(), Cargo([{"part-000": b"one"}, {"part-001": b"two"}], []))
    assert [one["metadata"]["name"] for one in (first, second)] == [f"{work().name}-0", f"{work().name}-1"]
    assert base64.b64decode(second["data"]["part-001"]) == b"two"
    assert first["metadata"]["labels"] == work().labels()
    assert owner(first["metadata"]["annotations"]) == IDENTITY


def test_secrets_of_a_job_name_its_pod() -> None:
    owners = [{"kind": "Job"}]
    cargo = Cargo([{"part-000": b"1"}, {"part-001": b"2"}], [])
    first, second = secrets_of(work(), cargo, pod={"name": "p-x", "uid": "u-1"}, owners=owners)
    assert base64.b64decode(first["data"]["pod"]) == b"u-1\n"
    assert "pod" not in second["data"]
    for one in (first, second):
        assert one["metadata"]["annotations"]["stagecoach.pod"] == "p-x"
        assert one["metadata"]["ownerReferences"] == owners


# -- what is shown ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["pod", "job"])
def test_no_secret_is_shown(kind: str) -> None:
    contexts = {"secrets": {"T": "hunter2-hunter2"}}
    backend = KubernetesBackend({"image": "x", "kind": kind, "env": {"TOKEN": "Bearer hunter2-hunter2"}})
    shown = backend.render(work(contexts=contexts))
    assert "hunter2" not in json.dumps(shown)
    assert "Bearer ***" in json.dumps(shown[kind])
    assert shown["secrets"] == [f"{work().name}-0"]


# -- the author's own words -------------------------------------------------------------------


def merge(config: dict[str, Any]) -> dict[str, Any]:
    pytest.importorskip("airflow.providers.cncf.kubernetes")
    found = settings(**config)
    return merged(found, pod(found))


def test_a_template_is_merged() -> None:
    template = {
        "metadata": {"labels": {"team": "a"}, "annotations": {"n": "1"}},
        "spec": {
            "runtimeClassName": "gvisor",
            "nodeSelector": {"disk": "ssd"},
            "volumes": [{"name": "v", "emptyDir": {}}],
            "containers": [
                {"name": "proxy", "image": "envoy"},
                {
                    "name": "stage",
                    "image": "of-the-template",
                    "env": [{"name": "B", "value": "2"}],
                    "volumeMounts": [{"name": "v", "mountPath": "/v"}],
                    "securityContext": {"readOnlyRootFilesystem": True},
                    "resources": {"limits": {"cpu": 2}},
                },
            ],
        },
    }
    found = merge({"pod": template, "env": {"A": "1"}})
    ours, proxy = found["spec"]["containers"]
    assert (ours["name"], ours["image"], proxy["name"]) == ("stage", "x:1", "proxy")
    assert {one["name"] for one in ours["env"]} == {"A", "B"}
    assert {one["name"] for one in ours["volumeMounts"]} == {"v", "stagecoach", "stagecoach-unit"}
    assert {one["name"] for one in found["spec"]["volumes"]} == {"v", "stagecoach", "stagecoach-unit"}
    assert ours["securityContext"] == {"readOnlyRootFilesystem": True}
    assert ours["resources"] == {"limits": {"cpu": "2"}}
    assert found["spec"]["runtimeClassName"] == "gvisor"
    assert found["spec"]["nodeSelector"] == {"disk": "ssd"}
    assert found["metadata"]["labels"] == {"team": "a", **work().labels()}
    assert found["metadata"]["annotations"]["n"] == "1"
    assert found["metadata"]["name"] == work().name


def test_the_first_container_is_ours() -> None:
    found = merge({"pod": {"spec": {"containers": [{"name": "main", "tty": True}]}}})
    (ours,) = found["spec"]["containers"]
    assert (ours["name"], ours["tty"]) == ("stage", True)


def test_a_template_without_containers() -> None:
    found = merge({"pod": {"spec": {"hostNetwork": True}}})
    assert found["spec"]["hostNetwork"] is True
    assert found["spec"]["containers"][0]["image"] == "x:1"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"pod": {"spec": {"node_selector": {}}}},
            "pod.spec.node_selector is no field of Kubernetes: did you mean nodeSelector?",
        ),
        (
            {"pod": {"spec": {"containers": [{"name": "stage"}, {"name": "b", "images": "x"}]}}},
            "pod.spec.containers[1].images is no field of Kubernetes: did you mean image?",
        ),
        ({"pod": {"metadata": {"label": {}}}}, "did you mean labels?"),
        (
            {"pod": {"spec": {"hostNetwork": "yes"}}},
            "pod.spec.hostNetwork: expected true or false, found text",
        ),
        (
            {"pod": {"spec": {"containers": [{"env": [{"name": "A", "value": 5}]}]}}},
            "pod.spec.containers[0].env[0].value: expected text, found a number",
        ),
        ({"pod": {"spec": {"volumes": {}}}}, "pod.spec.volumes: expected a list, found a map"),
        ({"pod": {"spec": {"affinity": []}}}, "pod.spec.affinity: expected a map, found a list"),
        ({"pod": {"spec": {"priority": True}}}, "expected a whole number, found true or false"),
        ({"pod": {"spec": {"restartPolicy": "Always"}}}, "can only be Never: write retry"),
        ({"pod": {"metadata": {"name": "x"}}}, "pod.metadata.name cannot be set"),
        ({"pod": {"spec": {"containers": [{"command": ["x"]}]}}}, "command of our container in pod cannot"),
        ({"volumes": [{"mount": "/d", "pvc": {}}]}, "volumes[0].pvc is no field of Kubernetes"),
        ({"tolerations": [{"tolerationSecond": 5}]}, "did you mean tolerationSeconds?"),
        ({"affinity": {"node": {}}}, "affinity.node is no field of Kubernetes"),
    ],
)
def test_fields_that_kubernetes_does_not_have(config: dict[str, Any], message: str) -> None:
    with pytest.raises(BackendFailure) as caught:
        merge(config)
    assert message in str(caught.value)
    assert caught.value.error["category"] == "configuration"
