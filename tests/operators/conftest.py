"""Fixtures of the operators' tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .receiver import Receiver

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    found.server.shutdown()
    found.server.server_close()
