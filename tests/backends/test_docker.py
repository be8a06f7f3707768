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

#: Tests of the kit whose units are one bash stage.
_BASH_ALONE = {
    "test_bash",
    "test_a_failing_script",
    "test_a_timeout",
    "test_output_comes_while_it_is_written",
    "test_every_line_once_and_in_order",
    "test_binary_output_and_a_last_line_without_an_end",
    "test_stop",
    "test_the_next_try_finds_what_runs",
    "test_one_try_is_never_started_twice",
}


class TestWithoutPython(BackendConformance):
    """Bash stages need nothing but a shell; what needs Python is tested above."""

    @pytest.fixture(autouse=True)
    def started(self, engine: DockerEngine, request: pytest.FixtureRequest) -> None:
        if request.node.name not in _BASH_ALONE:
            pytest.skip("needs Python")
        self._url = engine.url

    def backend(self) -> DockerBackend:
        return DockerBackend({"image": images.BUSYBOX, "host": self._url, "pull": "never"})


class TestDocker(BackendConformance):
    @pytest.fixture(autouse=True)
    def started(self, engine: DockerEngine) -> None:
        self._url = engine.url

    def backend(self) -> DockerBackend:
        return DockerBackend({"image": images.PYTHON, "host": self._url, "pull": "never"})
