"""The emulated backend is held to the contract like every other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_stagecoach.backends.conformance import BackendConformance
from airflow_stagecoach.backends.emulated import EmulatedBackend

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.runs


class TestEmulated(BackendConformance):
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path) -> None:
        self._folder = str(tmp_path / "emulated")

    def backend(self) -> EmulatedBackend:
        return EmulatedBackend(folder=self._folder)
