"""Running an example takes a process and seconds, so these tests can be left out: ``-m "not runs"``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker of the slow tests of this folder."""
    config.addinivalue_line("markers", "runs: runs a document with `stagecoach run` (5 to 10 seconds)")
