"""Containers of ``image:`` stages in Kubernetes: what is asked for, and what is read when one has ended.

Nothing of ours is in such a container. Its environment and the files of ``ship`` lie in secrets, and
the file behind ``$STAGE_OUTPUT`` is the one that Kubernetes keeps of a container: its last message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_stagecoach.backends._kubernetes_status import container_status
from airflow_stagecoach.backends.shipment import FOLDER, OUTPUT_FILE, ShipmentError, pack_image_stage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow_stagecoach.backends._image_stage import Ended
    from airflow_stagecoach.backends._kubernetes_settings import KubernetesConfig
    from airflow_stagecoach.backends.work import Work
    from airflow_stagecoach.engine.contract import Container

#: Annotation of the pod of such a stage.
IMAGE_STAGE = "stagecoach.image-stage"

#: Bytes of outputs that Kubernetes keeps. Of a longer file it keeps so many of the last ones.
LARGEST_OUTPUT = 4096

#: Bytes of one secret, and what a file takes in it beside its own bytes.
_SECRET_BYTES, _ENTRY = 900_000, 100


class Files(NamedTuple):
    """What ``ship`` brings into the container.

    :ivar secrets: of each secret: key -> data
    :ivar items: of each secret: where its keys lie below the folder of the document, as a volume has it
    """

    secrets: list[dict[str, bytes]]
    items: list[list[dict[str, Any]]]


def environment(work: Work, settings: KubernetesConfig) -> dict[str, bytes]:
    """The variables of the container, as the data of a secret."""
    container: Container = work.unit["container"]
    env = {**settings.env, **container["env"]}
    return {name: value.encode("utf-8", "surrogateescape") for name, value in env.items()}


def files(work: Work, settings: KubernetesConfig) -> Files:
    """The files of ``ship``.

    :raises ShipmentError: one is too large for a secret; see also :func:`~.shipment.pack_image_stage`
    """
    import io
    import tarfile

    found = Files([], [])
    room = 0
    with tarfile.open(fileobj=io.BytesIO(pack_image_stage(work.unit, ship=settings.ship))) as archive:
        for member in archive:
            folder, _, name = member.name.partition("/")
            if folder != "document" or not member.isfile():
                continue
            size = member.size + len(name) + _ENTRY
            if size > _SECRET_BYTES:
                raise ShipmentError(
                    f"ship: {name!r} takes {member.size / 1e6:.1f} MB, more than the "
                    f"{_SECRET_BYTES / 1e6:.1f} MB that a file beside an image stage may have; "
                    "put it into the image or a volume"
                )
            if size > room:
                found.secrets.append({})
                found.items.append([])
                room = _SECRET_BYTES
            room -= size
            data = archive.extractfile(member)
            key = f"file-{len(found.secrets[-1]):04}"
            found.secrets[-1][key] = b"" if data is None else data.read()
            found.items[-1].append({"key": key, "path": name, "mode": member.mode & 0o777})
    return found


def requested(container: Container, env_secret: str) -> dict[str, Any]:
    """What is asked of the cluster in place of what runs the engine.

    :param env_secret: name of the secret with the environment
    """
    return {
        "image": container["image"],
        "command": literal(container.get("entrypoint") or ()),
        "args": literal(container.get("command") or ()),
        "workingDir": container["folder"],
        "envFrom": [{"secretRef": {"name": env_secret}}],
        "terminationMessagePath": f"{FOLDER}/{OUTPUT_FILE}",
    }


def literal(texts: Iterable[str]) -> list[str]:
    """Texts in which Kubernetes puts in no variables: it knows ``$(NAME)``."""
    return [text.replace("$", "$$") if "$(" in text or "$$" in text else text for text in texts]


def is_image_stage(pod: Mapping[str, Any]) -> bool:
    """Whether a pod is that of an ``image:`` stage."""
    return IMAGE_STAGE in (pod["metadata"].get("annotations") or {})


def written(pod: Mapping[str, Any]) -> bytes:
    """What the container wrote to ``$STAGE_OUTPUT``."""
    ended = (container_status(pod).get("state") or {}).get("terminated") or {}
    return str(ended.get("message") or "").encode()


def ended(pod: Mapping[str, Any], lines: Iterable[str]) -> Ended:
    """What a container has left that has ended.

    :param lines: its whole output
    """
    from airflow_stagecoach.backends._image_stage import Ended

    state = (container_status(pod).get("state") or {}).get("terminated") or {}
    began, over = (str(state.get(key) or "").replace("Z", "+00:00") for key in ("startedAt", "finishedAt"))
    if began.startswith("1970-"):  # It never ran.
        began = over
    output = (("stdout", f"{line}\n".encode("utf-8", "surrogateescape")) for line in lines)
    return Ended(began, over, output, written(pod))
