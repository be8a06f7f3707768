"""What the cluster is asked to create for a piece of work: a pod, or a job with one, and secrets.

Plain data in the words of Kubernetes. What travels lies in secrets, which are mounted into the pod.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_stagecoach.backends import _kubernetes_image_stage
from airflow_stagecoach.backends._kubernetes_image_stage import literal
from airflow_stagecoach.backends._kubernetes_script import MESSAGE, PARTS, POD_UID, UNIT_VOLUME, script
from airflow_stagecoach.backends._kubernetes_services import add_services
from airflow_stagecoach.backends._kubernetes_settings import STAGE
from airflow_stagecoach.backends.ownership import owner_labels
from airflow_stagecoach.backends.shipment import FOLDER, ShipmentError, pack_unit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_stagecoach.backends._kubernetes_settings import KubernetesConfig
    from airflow_stagecoach.backends._services import Service
    from airflow_stagecoach.backends.work import Work

#: Bytes of one secret: Kubernetes takes a mebibyte, with everything around.
SECRET_BYTES = 900_000

#: Bytes that travel with a stage.
LARGEST = 16_000_000

#: Label of all that was made for a task, and of a pod whose result was taken.
KEY, TRY, DONE = "stagecoach.key", "stagecoach.try", "stagecoach.done"

#: Annotation of a pod: in how many secrets its unit lies.
SECRETS = "stagecoach.secrets"

#: Annotation of the secrets of a job: name of the pod that does the work.
CHOSEN = "stagecoach.pod"

#: Where older documents find their claim: folders of the container.
_CLAIM_PATHS = tuple(f"/tmp/{name}" for name in ("run_logs", "catalog"))  # noqa: S108  # not of this machine

_GPU = "nvidia.com/gpu"


def labels_of(work: Work) -> dict[str, str]:
    """By what everything that was made for a piece of work is found; empty ones are left out."""
    return {name: value for name, value in work.labels().items() if value}


def split(archive: bytes) -> list[bytes]:
    """What travels, in parts that fit into secrets.

    :raises ShipmentError: it is too much
    """
    if len(archive) > LARGEST:
        raise ShipmentError(
            f"the stage and its files take {len(archive) / 1e6:.1f} MB, more than the {LARGEST / 1e6:.0f} MB "
            "that travel to Kubernetes; put large files into the image or a volume"
        )
    return [archive[start : start + SECRET_BYTES] for start in range(0, len(archive), SECRET_BYTES)]


class Cargo(NamedTuple):
    """What lies in the secrets of a piece of work, besides logins.

    :ivar secrets: of each secret: key -> data
    :ivar files: of an ``image:`` stage: of each secret but the first, where its keys are mounted
    """

    secrets: list[dict[str, bytes]]
    files: list[list[dict[str, Any]]]


def cargo_of(work: Work, settings: KubernetesConfig) -> Cargo:
    """What travels: the engine with its unit, or environment and files of an ``image:`` stage.

    :raises ShipmentError: it is too much
    """
    if "container" in work.unit:
        files = _kubernetes_image_stage.files(work, settings)
        return Cargo([_kubernetes_image_stage.environment(work, settings), *files.secrets], files.items)
    parts = split(pack_unit(work.unit, workdir=settings.working_dir, ship=settings.ship))
    return Cargo([{f"part-{number:03}": part} for number, part in enumerate(parts)], [])


def secrets_of(
    work: Work,
    cargo: Cargo,
    logins: Sequence[bytes] = (),
    *,
    pod: Mapping[str, Any] | None = None,
    owners: Any = None,
) -> list[dict[str, Any]]:
    """The secrets in which a unit travels, and those with logins of registries.

    :param pod: of a job: the one pod that shall do the work
    :param owners: owner references; the cluster removes the secrets with these
    """
    found = []
    for number, data in enumerate((*cargo.secrets, *({".dockerconfigjson": login} for login in logins))):
        annotations = owner_labels(work.identity)
        if pod is not None:
            annotations[CHOSEN] = pod["name"]
            if number == 0:
                data = {**data, "pod": f"{pod['uid']}\n".encode()}
        metadata = {"name": f"{work.name}-{number}", "labels": labels_of(work), "annotations": annotations}
        if owners is not None:
            metadata["ownerReferences"] = owners
        is_login = number >= len(cargo.secrets)
        found.append(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": metadata,
                "type": "kubernetes.io/dockerconfigjson" if is_login else "Opaque",
                "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
            }
        )
    return found


def pod_of(work: Work, settings: KubernetesConfig, cargo: Cargo, *, grace: float) -> dict[str, Any]:
    """Our part of the pod: metadata and spec, to be merged with what the author writes under ``pod``.

    :param cargo: what lies in its secrets
    :param grace: seconds between SIGTERM and SIGKILL
    :raises ServiceFailed: a service asks for what a pod cannot give
    """
    services: list[Service] = list(work.unit.get("services") or ())
    volumes, mounts = _volumes(work, settings, cargo)
    secrets = len(cargo.secrets)
    logins = [f"{work.name}-{secrets + number}" for number in range(len(registries(work)))]
    spec = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": int(grace),
        "activeDeadlineSeconds": _whole(settings.deadline),
        "serviceAccountName": settings.service_account,
        "nodeSelector": settings.node_selector,
        "tolerations": settings.tolerations,
        "affinity": settings.affinity,
        "priorityClassName": settings.priority_class,
        "imagePullSecrets": [{"name": name} for name in (*settings.image_pull_secrets, *logins)],
        "volumes": volumes,
        "containers": [_container(work, settings, mounts)],
    }
    add_services(spec, services)
    return {
        "metadata": {
            "name": work.name,
            "labels": {**settings.labels, **labels_of(work)},
            "annotations": {
                **settings.annotations,
                **owner_labels(work.identity),
                SECRETS: str(secrets + len(logins)),
                **({_kubernetes_image_stage.IMAGE_STAGE: "true"} if "container" in work.unit else {}),
            },
        },
        "spec": _filled(spec),
    }


def registries(work: Work) -> list[str]:
    """The Airflow connections of registries from which images of services come."""
    services: list[Service] = list(work.unit.get("services") or ())
    return list(dict.fromkeys(service["conn"] for service in services if service["conn"]))


def job_of(work: Work, settings: KubernetesConfig, pod: Mapping[str, Any]) -> dict[str, Any]:
    """A job that makes the pod, once."""
    metadata = {key: value for key, value in pod["metadata"].items() if key not in ("name", "namespace")}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": work.name,
            "labels": labels_of(work),
            "annotations": owner_labels(work.identity),
        },
        "spec": {
            "parallelism": 1,
            "completions": 1,
            # Another try is Airflow's to decide.
            "backoffLimit": 0,
            "ttlSecondsAfterFinished": int(settings.seconds_to_live),
            "template": {"metadata": metadata, "spec": pod["spec"]},
        },
    }


def resources_of(resources: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """``resources`` of a stage as those of a container; without a limit the request is the limit.

    :param resources: a ``ResourcesPlan``; cores and bytes
    """
    limits = resources.get("limits") or {}
    found: dict[str, dict[str, str]] = {"requests": {}, "limits": {}}
    for ours, native in (("cpu", "cpu"), ("memory", "memory"), ("ephemeral_storage", "ephemeral-storage")):
        for kind, amount in (
            ("requests", resources.get(ours)),
            ("limits", limits.get(ours, resources.get(ours))),
        ):
            if amount is not None:
                found[kind][native] = f"{round(amount * 1000)}m" if ours == "cpu" else str(int(amount))
    if resources.get("gpu"):
        found["limits"][_GPU] = str(resources["gpu"])
    return {kind: amounts for kind, amounts in found.items() if amounts}


def _container(work: Work, settings: KubernetesConfig, mounts: list[dict[str, Any]]) -> dict[str, Any]:
    entrypoint = settings.entrypoint
    command = literal([entrypoint] if isinstance(entrypoint, str) else entrypoint or ())
    run = ["/bin/sh", "-c", script(work.name, settings.result_wait, services=bool(work.unit.get("services")))]
    user, _, group = str("" if settings.user is None else settings.user).partition(":")
    security = {"runAsUser": int(user) if user else None, "runAsGroup": int(group) if group else None}
    container: dict[str, Any] = {
        "name": STAGE,
        "image": settings.main_image,
        "imagePullPolicy": settings.image_pull_policy,
        # Without an entrypoint of the author ours stands in place of the image's.
        "command": command or run,
        "args": run if command else None,
        "env": _environment(work, settings),
        "envFrom": (
            [{"secretRef": {"name": name}} for name in settings.secrets]
            if isinstance(settings.secrets, list)
            else None
        ),
        "resources": resources_of(work.unit.get("resources") or {}),
        "securityContext": {key: value for key, value in security.items() if value is not None},
        "volumeMounts": mounts,
        "terminationMessagePath": MESSAGE,
        "terminationMessagePolicy": "File",
    }
    own = work.unit.get("container")
    if own is not None:
        requested = _kubernetes_image_stage.requested(own, f"{work.name}-0")
        container = {
            **container,
            **requested,
            "envFrom": [*(container["envFrom"] or ()), *requested["envFrom"]],
        }
    return _filled(container)


def _environment(work: Work, settings: KubernetesConfig) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    own = work.unit.get("container")
    if own is None:
        found += [{"name": name, "value": literal([value])[0]} for name, value in settings.env.items()]
    if isinstance(settings.secrets, dict):
        for name, place in settings.secrets.items():
            if own is not None and name in own["env"]:
                continue  # The stage has its own.
            secret, _, key = place.partition("/")
            found.append({"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}})
    if settings.is_job and own is None:
        found.append({"name": POD_UID, "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}})
    return found


def _volumes(
    work: Work, settings: KubernetesConfig, cargo: Cargo
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Volumes of the pod, and where they are mounted in our container."""
    volumes: list[dict[str, Any]] = [{"name": "stagecoach", "emptyDir": {}}]
    names = [f"{work.name}-{number}" for number in range(len(cargo.secrets))]
    if "container" in work.unit:
        # Of the folder with our files only two parts are there, each a volume.
        mounts: list[dict[str, Any]] = [{"name": "stagecoach", "mountPath": settings.workdir}]
        sources: list[dict[str, Any]] = [
            {"secret": {"name": name, "items": items}}
            for name, items in zip(names[1:], cargo.files, strict=True)
        ]
        path = f"{FOLDER}/document"
    else:
        mounts = [{"name": "stagecoach", "mountPath": FOLDER}]
        sources = [{"secret": {"name": name}} for name in names]
        path = PARTS
    if sources:
        volumes.append({"name": UNIT_VOLUME, "projected": {"sources": sources}})
        mounts.append({"name": UNIT_VOLUME, "mountPath": path, "readOnly": True})
    for number, entry in enumerate(settings.volumes, 1):
        name = entry.name or f"stagecoach-volume-{number}"
        volumes.append({"name": name, **entry.source})
        mount = {
            "name": name,
            "mountPath": entry.mount,
            "readOnly": entry.read_only or None,
            "subPath": entry.sub_path,
        }
        mounts.append({key: value for key, value in mount.items() if value is not None})
    if settings.pvc_claim_name is not None:
        name = "stagecoach-claim"
        volumes.append({"name": name, "persistentVolumeClaim": {"claimName": settings.pvc_claim_name}})
        mounts += [{"name": name, "mountPath": path} for path in _CLAIM_PATHS]
    return volumes, mounts


def _filled(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is not said."""
    return {key: value for key, value in values.items() if value not in (None, [], {}, "")}


def _whole(seconds: float | None) -> int | None:
    return None if seconds is None else max(1, int(seconds))
