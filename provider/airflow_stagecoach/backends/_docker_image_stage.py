"""Containers of ``image:`` stages in Docker: what is asked for, and what is read when one has ended."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from airflow_stagecoach.backends._docker_files import read_file
from airflow_stagecoach.backends._docker_output import messages
from airflow_stagecoach.backends._image_stage import Ended
from airflow_stagecoach.backends.failures import BackendFailure
from airflow_stagecoach.backends.shipment import FOLDER, OUTPUT_FILE
from airflow_stagecoach.engine.bash import LARGEST_OUTPUT
from airflow_stagecoach.engine.failures import shorten

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from docker import APIClient

    from airflow_stagecoach.engine.contract import Container, Error

#: What the daemon says where the program of a container cannot be run.
_NO_PROGRAM = re.compile(
    r"no command specified|exec: \"(?P<program>[^\"]*)\"|exec format error", re.IGNORECASE
)

#: Label of such a container: nothing in it tells that it was stopped from outside.
LABEL = "stagecoach.image-stage"

#: How the daemon numbers streams.
_STREAMS = {1: "stdout", 2: "stderr"}

#: What is put behind the name of one that we have stopped.
STOPPED = "-stopped"


def requested(container: Container, env: Mapping[str, str]) -> dict[str, Any]:
    """What is asked of the daemon in place of what runs the engine.

    :param env: of the settings; that of the stage comes after it
    """
    return {
        "image": container["image"],
        "entrypoint": container.get("entrypoint"),
        "command": container.get("command"),
        "environment": {**env, **container["env"]},
        "working_dir": container["folder"],
    }


def explain(error: Exception, container: Container) -> Error | None:
    """What it means that such a container could not be started; ``None`` for what has other causes."""
    try:
        from docker.errors import APIError
    except ImportError:
        return None
    text = " ".join(str(error.explanation or error).split()) if isinstance(error, APIError) else ""
    found = _NO_PROGRAM.search(text)
    if found is None:
        return None
    program = found.group("program") or (container.get("entrypoint") or container.get("command") or [""])[0]
    message = f"image {container['image']!r} cannot run {program!r}: {shorten(text)}"
    hint = "look at `entrypoint`, `command` and `working-directory`"
    if "no command specified" in text.lower():
        message, hint = f"image {container['image']!r} has no program of its own", "write `command`"
    return BackendFailure(f"{message} ({hint})", category="configuration", reason="StartError").error


def ended(client: APIClient, container: str) -> Ended:
    """What a container has left that has ended."""
    state = client.inspect_container(container)["State"]
    times = (_moment(state["StartedAt"]), _moment(state["FinishedAt"]))
    written = read_file(client, container, f"{FOLDER}/{OUTPUT_FILE}", LARGEST_OUTPUT + 1)
    return Ended(*times, _output(client, container), written or b"")


def _output(client: APIClient, container: str) -> Iterator[tuple[str, bytes]]:
    from docker.errors import APIError

    try:
        for message in messages(client, container, None):
            yield _STREAMS.get(message.stream, "stdout"), message.text
    except APIError as error:
        # A log driver that only passes output on; that is said where it is passed on here.
        if "does not support reading" not in str(error.explanation):
            raise


def _moment(stamp: str) -> str:
    """``2026-01-31T00:00:00.123456789Z`` as results have it."""
    whole, _, fraction = stamp.rstrip("Z").partition(".")
    return f"{whole}.{fraction[:6]:0<6}+00:00"
