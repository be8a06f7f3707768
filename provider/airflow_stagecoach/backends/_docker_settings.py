"""What may stand under ``runs-on: {type: docker, with: ...}``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


def _kebab(name: str) -> str:
    return name.rstrip("_").replace("_", "-")


class Tls(BaseModel):
    """Certificates for a daemon that listens on TCP."""

    model_config = ConfigDict(extra="forbid", alias_generator=_kebab, populate_by_name=True)

    ca_cert: str
    client_cert: str
    client_key: str
    verify: bool = True


class DockerConfig(BaseModel):
    """Settings under ``runs-on: {type: docker, with: ...}``."""

    model_config = ConfigDict(extra="forbid", alias_generator=_kebab, populate_by_name=True)

    image: str | None = Field(
        None, min_length=1, description="with Python 3.8 or newer; needed by all but `image:` stages"
    )
    host: str | None = Field(None, description="of the daemon; DOCKER_HOST or the local socket if absent")
    tls: Tls | None = Field(None, description="certificates, for a daemon on another machine")
    conn: str | None = Field(None, description="Airflow connection of the registry that the image is in")
    pull: Literal["always", "missing", "never"] = Field("missing", description="when the image is pulled")
    platform: str | None = Field(None, description="such as linux/arm64")
    entrypoint: str | list[str] | None = Field(None, description="stands before the command of the engine")
    user: str | None = Field(None, description="name or id, and group")
    working_dir: str | None = Field(None, description="scratch folder of the stages, in place of our own")
    env: dict[str, str] = Field(default_factory=dict, description="environment of the container")
    volumes: list[Annotated[str, Field(pattern=r"^[^:]+:[^:]+(:[^:]+)?$")]] = Field(
        default_factory=list, description="name-or-path:path[:ro], on the daemon"
    )
    network: str | None = Field(None, description="such as host, none or a network's name")
    extra_hosts: dict[str, str] = Field(default_factory=dict, description="host name -> address")
    gpus: int | Literal["all"] | None = Field(None, description="how many, or all")
    shm_size: str | int | None = Field(None, description="size of /dev/shm")
    privileged: bool = False
    cap_add: list[str] = Field(default_factory=list)
    cap_drop: list[str] = Field(default_factory=list)
    auto_remove: Literal["always", "on-success", "never"] = Field(
        "always", description="whether the container goes when it has ended"
    )
    ship: list[str] = Field(default_factory=list, description="patterns of files beside the document")
