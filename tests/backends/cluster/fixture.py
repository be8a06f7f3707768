"""The cluster that tests share, as a plugin: ``pytest_plugins = ["tests.backends.cluster.fixture"]``."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import pytest

from tests.backends.cluster.cluster import BUILD_PATIENCE, PATIENCE, Cluster, why_not

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put tests that use the cluster last: what it consists of may still be being built."""
    items.sort(key=_uses_cluster)
    # The first of each process waits for it.
    for _, group in groupby(filter(_uses_cluster, items), _needs_airflow):
        next(group).add_marker(pytest.mark.timeout(BUILD_PATIENCE + 4 * PATIENCE))


def _uses_cluster(item: pytest.Item) -> bool:
    return "cluster" in getattr(item, "fixturenames", ())


def _needs_airflow(item: pytest.Item) -> bool:
    return item.path.parent.name == "e2e"


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    started = Cluster()
    try:
        started.__enter__()
    except RuntimeError as error:
        # A machine where namespaces are forbidden, say. That it stops working later is no skip.
        pytest.skip(f"no Kubernetes cluster starts here: {error}")
    yield started
    started.__exit__()
