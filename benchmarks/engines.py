"""The places that the tests start, for measurements; their images are made of what this machine has."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.backends.cluster.cluster import Cluster
    from tests.backends.docker_engine import DockerEngine


@contextlib.contextmanager
def docker_engine(say: Callable[[str], None]) -> Iterator[DockerEngine | None]:
    """Start a Docker engine, and stop it with all that it runs; None where none can run.

    Its folder is not the measurements' own: the path of a socket has at most 107 characters.
    """
    import pytest
    from tests.backends.docker_engine import DockerEngine, why_not

    say("starting a Docker engine")
    with contextlib.ExitStack() as stack:
        engine, reason = None, why_not()
        if reason is None:
            folder = Path(tempfile.mkdtemp(prefix="sc-docker-"))
            try:
                engine = stack.enter_context(DockerEngine(folder))
            except pytest.skip.Exception as error:
                reason = str(error)
        if reason is not None:
            say(f"nothing is measured in its containers: {reason}")
        yield engine


@contextlib.contextmanager
def cluster(say: Callable[[str], None]) -> Iterator[Cluster | None]:
    """Start a Kubernetes cluster of one node, and stop it with all that it runs; None where none can run."""
    from tests.backends.cluster.cluster import Cluster, why_not

    say("starting a Kubernetes cluster")
    with contextlib.ExitStack() as stack:
        started, reason = None, why_not()
        if reason is None:
            try:
                started = stack.enter_context(Cluster())
            except RuntimeError as error:
                reason = str(error)
        if reason is not None:
            say(f"nothing is measured in its pods: {reason}")
        yield started
