"""A private Airflow home for one ``stagecoach run``.

Airflow needs a migrated database. Making one takes seconds, so one per Airflow
version is kept in the user's cache folder, and each run gets a copy: runs side
by side do not meet, and the user's own Airflow is never touched.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Settings of the user's Airflow that must not reach a private one; connections and variables may.
_FOREIGN = ("AIRFLOW__", "AIRFLOW_HOME", "AIRFLOW_CONFIG", "_AIRFLOW")


def cache_folder() -> Path:
    """Where things are kept between runs: ``$XDG_CACHE_HOME/stagecoach``."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base, "stagecoach")


@contextlib.contextmanager
def private_home() -> Iterator[Path]:
    """Make this process's Airflow a private one; must be entered before Airflow is imported.

    :return: the home, removed at the end
    """
    home = Path(tempfile.mkdtemp(prefix="stagecoach-run-"))
    try:
        shutil.copyfile(_migrated_database(), home / "airflow.db")
        (home / "dags").mkdir()
        for name in list(os.environ):
            if name.startswith(_FOREIGN):
                del os.environ[name]
        os.environ.update(_settings(home))
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _settings(home: Path) -> dict[str, str]:
    bundle = {
        "name": "stagecoach-run",
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(home / "dags"), "refresh_interval": 0},
    }
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "CRITICAL",  # the run shows what matters itself
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([bundle]),
        "AIRFLOW__CORE__FERNET_KEY": "",
        "AIRFLOW__STAGECOACH__WORK_FOLDER": str(home / "work"),
    }


def _migrated_database() -> Path:
    """The kept database of this Airflow version, made when it is not there.

    :raises RuntimeError: Airflow could not make it
    """
    name = f"airflow-{version('apache-airflow-core')}-py{sys.version_info.major}.{sys.version_info.minor}"
    try:
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / f"{name}.lock", "w")  # noqa: SIM115  # held until the database is there
    except OSError:
        # No place to keep it: make one for this run alone.
        return _migrate(Path(tempfile.mkdtemp(prefix="stagecoach-home-")))
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        kept = folder / f"{name}.db"
        if not kept.exists():
            print("First run with this Airflow: preparing a database ...", file=sys.stderr)
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                os.replace(_migrate(Path(scratch)), kept)
        return kept


def _migrate(home: Path) -> Path:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(_FOREIGN)}
    (home / "dags").mkdir()
    done = subprocess.run(  # our own interpreter and arguments
        [sys.executable, "-m", "airflow", "db", "migrate"],
        env={**environment, **_settings(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(
            "Airflow cannot prepare a database:\n" + done.stdout.decode(errors="replace")[-2000:]
        )
    return home / "airflow.db"
