"""The Docker engine that the tests start, for measurements; its images are made of what this machine has."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.backends.docker_engine import DockerEngine


@contextlib.contextmanager
def docker_engine(say: Callable[[str], None]) -> Iterator[DockerEngine | None]:
    """Start an engine, and stop it with all that it runs; None where none can run.

    Its folder is not the measurements' own: the path of a socket has at most 107 characters.
    """
    from tests.backends.docker_engine import DockerEngine, why_not

    reason = why_not()
    if reason:
        say(f"no Docker engine, so nothing is measured in containers: {reason}")
        yield None
        return
    say("starting a Docker engine")
    with DockerEngine(Path(tempfile.mkdtemp(prefix="sc-docker-"))) as engine:
        yield engine
