from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_stagecoach.document import load

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_stagecoach.document import Diagnostic


@pytest.fixture
def problems() -> Callable[[str], list[Diagnostic]]:
    """The diagnostics of a text that somebody named as a document."""

    def find(text: str) -> list[Diagnostic]:
        loaded = load(text, "f.yml", explicit=True)
        assert bool(loaded.diagnostics) != bool(loaded.plans)
        return loaded.diagnostics

    return find
