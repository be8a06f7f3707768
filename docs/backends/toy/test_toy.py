"""The toy backend is held to the contract."""

from __future__ import annotations

from pathlib import Path

import pytest
from stagecoach_backend_toy import ToyBackend

from airflow_stagecoach.backends.conformance import BackendConformance


class TestToy(BackendConformance):
    @pytest.fixture(autouse=True)
    def place(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    def backend(self) -> ToyBackend:
        return ToyBackend({"folder": str(self.folder)})
