"""Tests run beside an Airflow of their own: a home that is thrown away, no settings of the machine."""

from __future__ import annotations

import os
import tempfile

# Airflow reads its environment when it is first imported, which any test module may do.
for _name in [name for name in os.environ if name.startswith(("AIRFLOW__", "_AIRFLOW"))]:
    del os.environ[_name]
_home = tempfile.TemporaryDirectory(prefix="stagecoach-tests-", ignore_cleanup_errors=True)
os.environ["AIRFLOW_HOME"] = _home.name
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "False"
