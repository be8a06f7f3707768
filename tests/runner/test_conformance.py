"""The self-hosted backend is held to the contract, with a real runner."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_stagecoach.backends.conformance import BackendConformance
from airflow_stagecoach.backends.self_hosted import SelfHostedBackend

if TYPE_CHECKING:
    from tests.runner.server import Server

pytestmark = pytest.mark.runs


class TestSelfHosted(BackendConformance):
    @pytest.fixture(autouse=True)
    def runner(self, conn: str, shared: Server) -> None:
        self._conn = conn

    def backend(self) -> SelfHostedBackend:
        return SelfHostedBackend({"conn": self._conn, "labels": ["gpu"]})
