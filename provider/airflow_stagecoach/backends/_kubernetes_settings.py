"""What may stand under ``runs-on: {type: kubernetes, with: ...}``."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticCustomError

from airflow_stagecoach.backends._kubernetes_job_spec import JobSpec
from airflow_stagecoach.backends.shipment import FOLDER

#: Name of our container in a pod.
STAGE = "stage"

#: What may stand in ``pod``, as in a PodTemplate.
_POD_KEYS = ("metadata", "spec")

_VOLUME = re.compile(r"(pvc|secret|config-map|host-path|empty-dir):([^:]*):(/[^:]*?)(:ro)?")

#: Short word -> source of a volume, and the key of its name there.
_SOURCES = {
    "pvc": ("persistentVolumeClaim", "claimName"),
    "secret": ("secret", "secretName"),
    "config-map": ("configMap", "name"),
    "host-path": ("hostPath", "path"),
    "empty-dir": ("emptyDir", "sizeLimit"),
}


def _kebab(name: str) -> str:
    return name.rstrip("_").replace("_", "-")


def _seconds(value: Any) -> Any:
    """A duration of a document in seconds."""
    from airflow_stagecoach.document.durations import parse_duration

    try:
        return parse_duration(value)
    except ValueError as error:
        raise PydanticCustomError("duration", "{why}", {"why": str(error)}) from None


def _refuse(hint: str) -> AfterValidator:
    """A key of older documents that has no meaning here."""

    def check(value: Any) -> Any:
        if value is not None:
            raise PydanticCustomError("older_key", "has no meaning here: {hint}", {"hint": hint})
        return value

    return AfterValidator(check)


def _volume(value: Any) -> Any:
    """``pvc:claim:/path:ro`` as a map."""
    if not isinstance(value, str):
        return value
    found = _VOLUME.fullmatch(value)
    if found is None:
        raise PydanticCustomError(
            "volume",
            "expected pvc:claim:/path, secret:name:/path, config-map:name:/path, host-path:/there:/path "
            "or empty-dir::/path, each with :ro at its end if it shall not be written, or a map",
        )
    source, key = _SOURCES[found[1]]
    if not found[2] and found[1] != "empty-dir":
        raise PydanticCustomError("volume", "expected a name after {word}:", {"word": found[1]})
    return {
        source: {key: found[2]} if found[2] else {},
        "mount": found[3],
        "read-only": found[4] is not None,
    }


class Volume(BaseModel):
    """A volume as Kubernetes has it (``name`` may be left out), and where it is mounted."""

    model_config = ConfigDict(extra="allow", alias_generator=_kebab, populate_by_name=True)

    name: str | None = Field(None, description="of the volume; one of ours if absent")
    mount: str = Field(pattern=r"^/|\$\{\{", description="path in the container")
    read_only: bool = Field(False, description="it cannot be written there")
    sub_path: str | None = Field(None, description="a folder or file of the volume, in place of all of it")

    @property
    def source(self) -> dict[str, Any]:
        """What the volume is: one key, such as ``persistentVolumeClaim``."""
        return self.model_extra or {}

    @model_validator(mode="after")
    def _one_source(self) -> Volume:
        if len(self.source) != 1:
            raise PydanticCustomError(
                "volume",
                "expected one source beside mount, such as persistentVolumeClaim, found {found}",
                {"found": ", ".join(self.source) or "none"},
            )
        return self


Duration = Annotated[
    float, BeforeValidator(_seconds), WithJsonSchema({"type": ["number", "string"], "minimum": 0})
]
VolumeEntry = Annotated[
    Volume,
    BeforeValidator(_volume),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": "^(pvc|secret|config-map|host-path|empty-dir):"},
                {"type": "object", "required": ["mount"]},
            ]
        }
    ),
]

_Mock = SkipJsonSchema[Annotated[Any, _refuse("write emulate: true beside type")]]
_Schedule = SkipJsonSchema[Annotated[Any, _refuse("write `on` in the workflow")]]
_RunLog = SkipJsonSchema[
    Annotated[Any, _refuse("Airflow keeps logs and records; for files of yours write volumes")]
]
_Catalog = SkipJsonSchema[
    Annotated[Any, _refuse("for files of yours write volumes: [host-path:/there:/path]")]
]


class KubernetesConfig(BaseModel):
    """Settings under ``runs-on: {type: kubernetes, with: ...}``."""

    model_config = ConfigDict(extra="forbid", alias_generator=_kebab, populate_by_name=True)

    image: str | None = Field(
        None, min_length=1, description="with Python 3.8 or newer; needed by all but `image:` stages"
    )
    kind: Literal["pod", "job"] | None = Field(None, description="pod, or a job of batch/v1; pod if absent")
    namespace: str | None = Field(
        None, min_length=1, description="that of the connection, or of the worker's own pod, if absent"
    )
    conn: str = Field("kubernetes_default", min_length=1, description="Airflow connection of the cluster")
    in_cluster: bool | None = Field(None, description="the cluster that the worker runs in")
    config_file: str | None = Field(
        None,
        alias="config-file",
        validation_alias=AliasChoices("config-file", "config_file", "config_path", "configPath"),
        description="kubeconfig, on workers and triggerers",
    )
    context: str | None = Field(None, description="of the kubeconfig")
    env: dict[str, str] = Field(default_factory=dict, description="environment of the container")
    secrets: list[str] | dict[str, Annotated[str, Field(pattern=r"^[^/]+/[^/]+$|\$\{\{")]] = Field(
        default_factory=list,
        description="environment from secrets of the cluster: names, or variable -> name/key",
    )
    volumes: list[VolumeEntry] = Field(
        default_factory=list, description="pvc:claim:/path[:ro] and the like, or maps as Kubernetes has them"
    )
    service_account: str | None = Field(None, description="of the pod")
    node_selector: dict[str, str] = Field(default_factory=dict, description="labels that the node must have")
    tolerations: list[dict[str, Any]] = Field(default_factory=list, description="as Kubernetes has them")
    affinity: dict[str, Any] | None = Field(None, description="as Kubernetes has it")
    priority_class: str | None = Field(None, description="name of the priority class")
    image_pull_secrets: list[str] = Field(
        default_factory=list, description="names of secrets with logins of registries"
    )
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = Field(
        None, description="when the image is pulled"
    )
    labels: dict[str, str] = Field(default_factory=dict, description="of the pod")
    annotations: dict[str, str] = Field(default_factory=dict, description="of the pod")
    user: int | Annotated[str, Field(pattern=r"^\d+(:\d+)?$")] | None = Field(
        None, description="number of the user, and of the group: 1000:1000"
    )
    working_dir: str | None = Field(None, description="scratch folder of the stages, in place of our own")
    entrypoint: str | list[str] | None = Field(None, description="stands before the command of the engine")
    active_deadline: Duration | None = Field(
        None, description="longest time that the pod may take, enforced by the cluster"
    )
    start_timeout: Duration = Field(600, description="longest time in which the pod has to start")
    result_wait: Duration = Field(600, description="how long a large result waits to be taken")
    ttl: Duration = Field(
        86400, description="kind job: the cluster removes an ended job after this time by itself"
    )
    auto_remove: Literal["always", "on-success", "never"] = Field(
        "always", description="whether the pod goes when it has ended"
    )
    pod: dict[str, Any] | None = Field(
        None,
        description="a PodTemplate: {metadata, spec}; our container is the one named stage, or the first",
    )
    job_spec: JobSpec | None = Field(None, alias="jobSpec", description="a job as older documents have it")
    pvc_claim_name: str | None = Field(
        None,
        alias="pvc_claim_name",
        validation_alias=AliasChoices("pvc_claim_name", "pvcClaimName"),
        description="with jobSpec: mounted at /tmp/run_logs and /tmp/catalog",
    )
    ship: list[str] = Field(default_factory=list, description="patterns of files beside the document")

    # Of older documents.
    mock: _Mock = None
    schedule: _Schedule = None
    mini_k8s_run_log_location: _RunLog = None
    mini_k8s_catalog_location: _Catalog = None

    @field_validator("pod")
    @classmethod
    def _is_a_template(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        for key in value or ():
            if key not in _POD_KEYS:
                raise PydanticCustomError(
                    "pod", "{key} does not belong there: expected metadata and spec", {"key": str(key)}
                )
        for key in _POD_KEYS:
            part = (value or {}).get(key, {})
            if not isinstance(part, dict) and "${{" not in str(part):
                raise PydanticCustomError("pod", "{key} must be a map", {"key": key})
        return value

    @field_validator("config_file", "context")
    @classmethod
    def _one_cluster(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and info.data.get("in_cluster"):
            raise PydanticCustomError("two_ways", "stands beside in-cluster: write one of them")
        return value

    @field_validator("job_spec")
    @classmethod
    def _one_way(cls, value: JobSpec | None, info: ValidationInfo) -> JobSpec | None:
        for other in ("image", "pod"):
            if isinstance(value, JobSpec) and info.data.get(other) is not None:
                message = "stands beside {other}: write one of them"
                raise PydanticCustomError("two_ways", message, {"other": other})
        return value

    @field_validator("pvc_claim_name")
    @classmethod
    def _with_job_spec(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and info.data.get("job_spec", True) is None:
            raise PydanticCustomError("older_key", "belongs to jobSpec: write volumes: [pvc:claim:/path]")
        return value

    @property
    def template(self) -> dict[str, Any]:
        """What the pod is to be merged with: ``pod``, or what ``jobSpec`` says of it."""
        if self.job_spec is not None:
            return self.job_spec.pod()
        return self.pod or {}

    @property
    def main_image(self) -> str:
        """The image of our container, wherever it is said."""
        return self.image or image_of(self.template) or ""

    @property
    def workdir(self) -> str:
        """The scratch folder of the stages."""
        return self.working_dir or f"{FOLDER}/work"

    @property
    def is_job(self) -> bool:
        """Whether it is a job of batch/v1."""
        return (self.kind or ("job" if self.job_spec is not None else "pod")) == "job"

    @property
    def deadline(self) -> float | None:
        """Seconds that the pod may take."""
        if self.active_deadline is not None or self.job_spec is None:
            return self.active_deadline
        return self.job_spec.deadline

    @property
    def seconds_to_live(self) -> float:
        """Seconds that an ended job stays there."""
        said = self.job_spec.ttl_seconds_after_finished if self.job_spec is not None else None
        return self.ttl if said is None else said


def stage_container(template: dict[str, Any] | None) -> dict[str, Any]:
    """Our container in a pod: the one named ``stage``, else the first; empty when there is none."""
    spec = (template or {}).get("spec")
    containers = spec.get("containers") if isinstance(spec, dict) else None
    found = [one for one in containers if isinstance(one, dict)] if isinstance(containers, list) else []
    named = [one for one in found if one.get("name") == STAGE]
    return (named or found or [{}])[0]


def image_of(template: dict[str, Any] | None) -> str | None:
    """The image that a pod names for our container."""
    image = stage_container(template).get("image")
    return str(image) if image else None
