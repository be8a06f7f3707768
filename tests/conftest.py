"""Tests run beside an Airflow of their own: a home that is thrown away, no settings of the machine."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

# Airflow reads its environment when it is first imported, which any test module may do.
for _name in [name for name in os.environ if name.startswith(("AIRFLOW__", "_AIRFLOW"))]:
    del os.environ[_name]
_home = tempfile.TemporaryDirectory(prefix="stagecoach-tests-", ignore_cleanup_errors=True)
os.environ["AIRFLOW_HOME"] = _home.name
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "False"

HERE = Path(__file__).parent


def _share(nodeid: str) -> str:
    """What one process has as a whole, where several share the tests: an Airflow, a cluster, else a module."""
    file, _, test = nodeid.partition("::")
    if file.startswith("tests/e2e/"):
        return "e2e"
    if "test_kubernetes" in (Path(file).name[: len("test_kubernetes")], test.partition("[")[0]):
        return "kubernetes"
    return file


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest."""
    items.sort(key=lambda item: HERE / "e2e" not in item.path.parents)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Deal the tests out to the processes of ``-n``."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _share(nodeid)

    return Scheduling(config, log)
