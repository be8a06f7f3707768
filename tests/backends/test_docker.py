"""The docker backend, in a real engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_stagecoach.backends.conformance import BackendConformance
from airflow_stagecoach.backends.docker import DockerBackend
from tests.backends import images

if TYPE_CHECKING:
    from tests.backends.docker_engine import DockerEngine

pytestmark = pytest.mark.runs


class TestDocker(BackendConformance):
    @pytest.fixture(autouse=True)
    def started(self, engine: DockerEngine) -> None:
        self._url = engine.url

    def backend(self) -> DockerBackend:
        return DockerBackend({"image": images.PYTHON, "host": self._url, "pull": "never"})
