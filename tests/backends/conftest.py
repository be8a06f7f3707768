"""The Docker engine that the tests of this folder share."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.backends.docker_engine import DockerEngine, why_not

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def engine() -> Iterator[DockerEngine]:
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    # Not pytest's folder: the path of a socket has at most 107 characters.
    with DockerEngine(Path(tempfile.mkdtemp(prefix="sc-docker-"))) as started:
        yield started
