"""Tests run beside an Airflow of their own: a home that is thrown away, no settings of the machine."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

# Airflow reads its environment when it is first imported, which any test module may do.
for _name in [name for name in os.environ if name.startswith(("AIRFLOW__", "_AIRFLOW"))]:
    del os.environ[_name]
_home = tempfile.TemporaryDirectory(prefix="stagecoach-tests-", ignore_cleanup_errors=True)
os.environ["AIRFLOW_HOME"] = _home.name
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "False"

HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where several processes share the tests: one has all that need an Airflow, which it starts once.

    It gets them first, since they take longest. The rest is dealt out by module.
    """
    items.sort(key=lambda item: HERE / "e2e" not in item.path.parents)
    for item in items:
        end_to_end = HERE / "e2e" in item.path.parents
        item.add_marker(pytest.mark.xdist_group("e2e" if end_to_end else str(item.path.relative_to(HERE))))
