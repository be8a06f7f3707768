"""The job of older documents (``runs-on: {type: k8s-job, with: {jobSpec: ...}}``) as a pod of ours.

Keys are written in camelCase or snake_case. What such a job left to the cluster and has another place
here (tries, names, selectors) is refused with what to write instead.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

#: The short word for a device, and its name in Kubernetes.
_GPU = "nvidia.com/gpu"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, populate_by_name=True)


def _refuse(hint: str, *allowed: Any) -> AfterValidator:
    """Take only the values that change nothing."""

    def check(value: Any) -> Any:
        if value is not None and value not in allowed:
            raise PydanticCustomError("older_key", "has no meaning here: {hint}", {"hint": hint})
        return value

    return AfterValidator(check)


class Quantities(_Part):
    """Amounts, as Kubernetes has them."""

    memory: str | None = None
    cpu: str | int | float | None = None
    gpu: int | None = None

    def native(self) -> dict[str, str]:
        """The same in the words of a container."""
        named = {"memory": self.memory, "cpu": self.cpu, _GPU: self.gpu}
        return {name: str(value) for name, value in named.items() if value is not None}


class ContainerResources(_Part):
    """What the container gets and may use at most."""

    limits: Quantities | None = None
    requests: Quantities | None = None


class Variable(_Part):
    """One variable of the environment."""

    name: str
    value: str


class Mount(_Part):
    """Where a volume is mounted."""

    name: str
    mount_path: str


class JobContainer(_Part):
    """The one container of the job."""

    image: str = Field(min_length=1)
    env: list[Variable] | None = None
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    resources: ContainerResources | None = None
    volume_mounts: list[Mount] | None = None


class HostPath(_Part):
    """A folder of the node."""

    path: str


class Claim(_Part):
    """A claim of storage."""

    claim_name: str


class JobVolume(_Part):
    """A volume: a folder of the node, or a claim."""

    name: str
    host_path: HostPath | None = None
    persistent_volume_claim: Claim | None = None

    @field_validator("persistent_volume_claim")
    @classmethod
    def _one_source(cls, value: Claim | None, info: ValidationInfo) -> Claim | None:
        if value is not None and info.data.get("host_path") is not None:
            raise PydanticCustomError("two_ways", "stands beside hostPath: write one of them")
        return value


class Toleration(_Part):
    """A taint that the pod bears."""

    key: str | None = None
    operator: Literal["Equal", "Exists"] | None = None
    value: str | None = None
    effect: str | None = None
    toleration_seconds: int | None = None


class TemplateMetadata(_Part):
    """What the pod is labelled with."""

    generate_name: Annotated[Any, _refuse("names come from the workflow and its stages, leave it out")] = None
    annotations: dict[str, str] | None = None
    namespace: Annotated[Any, _refuse("write namespace beside jobSpec", "default")] = None


class TemplateSpec(_Part):
    """The pod of the job."""

    active_deadline_seconds: int | None = Field(None, ge=1)
    node_selector: dict[str, str] | None = None
    tolerations: list[Toleration] | None = None
    volumes: list[JobVolume] | None = None
    service_account_name: str | None = None
    restart_policy: Annotated[Any, _refuse("write retry at the stage or the job", "Never")] = None
    container: JobContainer


class PodTemplate(_Part):
    """The template of the job's pod."""

    metadata: TemplateMetadata | None = None
    spec: TemplateSpec


class JobSpec(_Part):
    """A job, as older documents have it."""

    active_deadline_seconds: int | None = Field(None, ge=1)
    backoff_limit: Annotated[Any, _refuse("write retry: N at the stage or the job", 0)] = None
    ttl_seconds_after_finished: int | None = Field(None, ge=0)
    selector: Annotated[Any, _refuse("the cluster makes the selector, leave it out")] = None
    template: PodTemplate

    @field_validator("template")
    @classmethod
    def _mounts_are_there(cls, value: PodTemplate) -> PodTemplate:
        volumes = {one.name for one in value.spec.volumes or ()}
        mounted = {one.name for one in value.spec.container.volume_mounts or ()}
        for name in sorted(mounted ^ volumes):
            text = "is mounted, and not among volumes" if name in mounted else "is mounted nowhere"
            raise PydanticCustomError("mount", "volume {name} {text}", {"name": name, "text": text})
        return value

    @property
    def deadline(self) -> int | None:
        """The shorter one of the deadlines of job and pod, in seconds."""
        both = (self.active_deadline_seconds, self.template.spec.active_deadline_seconds)
        return min((one for one in both if one is not None), default=None)

    def pod(self) -> dict[str, Any]:
        """The job's pod as a PodTemplate."""
        spec = self.template.spec
        container = spec.container
        resources = container.resources or ContainerResources()
        given = {"limits": resources.limits, "requests": resources.requests}
        stage = {
            "name": "stage",
            "image": container.image,
            "imagePullPolicy": container.image_pull_policy,
            "env": _plain(container.env),
            "volumeMounts": _plain(container.volume_mounts),
            "resources": {name: one.native() for name, one in given.items() if one is not None} or None,
        }
        pod = {
            "nodeSelector": spec.node_selector,
            "tolerations": _plain(spec.tolerations),
            "serviceAccountName": spec.service_account_name,
            "volumes": _plain(spec.volumes),
        }
        annotations = self.template.metadata.annotations if self.template.metadata is not None else None
        return {
            **({"metadata": {"annotations": annotations}} if annotations else {}),
            "spec": {
                **{key: value for key, value in pod.items() if value},
                "containers": [{key: value for key, value in stage.items() if value}],
            },
        }


def _plain(parts: list[Any] | None) -> list[dict[str, Any]]:
    return [part.model_dump(by_alias=True, exclude_none=True) for part in parts or ()]
