"""An Airflow home with real runs in its database, made without any server, and commands in it."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

#: Runs every workflow of a document with ``dag.test()`` and leaves the database behind.
_MAKE = """
import os, shutil, sys
from pathlib import Path
from airflow_stagecoach.cli import run_home
home, file = Path(sys.argv[1]), Path(sys.argv[2])
(home / "dags").mkdir(parents=True)
shutil.copyfile(run_home._migrated_database(), home / "airflow.db")
os.environ.update(run_home._settings(home))
from airflow_stagecoach import document
from airflow_stagecoach.cli.run_local import Session
from airflow_stagecoach.operators import _local
loaded = document.load(file.read_bytes(), str(file))
assert not loaded.diagnostics, document.render_diagnostics(loaded.diagnostics)
_local.session = session = Session(loaded.plans, file, {})
for plan in loaded.plans:
    session.run(plan, {})
"""

#: Runs several commands in one process: importing Airflow costs more than they do.
_COMMANDS = """
import contextlib, io, json, sys
from airflow_stagecoach.cli.main import main
done = []
for words in json.loads(sys.stdin.read()):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(words)
    done.append([code, out.getvalue(), err.getvalue()])
sys.__stdout__.write(json.dumps(done))
"""


class AirflowHome:
    """A home, and commands in it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")},
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        }

    @classmethod
    def with_runs(cls, home: Path, document: str) -> AirflowHome:
        """Make a home, and run every workflow of a document once."""
        file = home.parent / "document.yaml"
        file.write_text(document)
        made = cls(home)
        subprocess.run(
            [sys.executable, "-c", _MAKE, str(home), str(file)],
            env=made.environment,
            check=True,
            timeout=400,
            capture_output=True,
        )
        return made

    def commands(self, *commands: str) -> list[tuple[int, str, str]]:
        """Run commands one after the other; exit code, stdout and stderr of each."""
        done = subprocess.run(
            [sys.executable, "-c", _COMMANDS],
            env=self.environment,
            input=json.dumps([command.split() for command in commands]),
            text=True,
            check=True,
            timeout=400,
            stdout=subprocess.PIPE,
        )
        return [(code, out, err) for code, out, err in json.loads(done.stdout)]

    def sql(self, statement: str, *values: Any) -> None:
        """Change the database."""
        with sqlite3.connect(self.home / "airflow.db") as connection:
            changed = connection.execute(statement, values).rowcount
        connection.close()
        assert changed, statement

    def forget_records(self, dag_id: str) -> None:
        """Delete what workers told, as if they had been killed."""
        self.sql(
            f"DELETE FROM {self._xcoms()} WHERE \"key\" = 'record' AND"
            + (
                " dag_id = ?"
                if self._xcoms() == "xcom"
                else " task_instance_id IN (SELECT id FROM task_instance WHERE dag_id = ?)"
            ),
            dag_id,
        )

    def _xcoms(self) -> str:
        """The table of XComs: every try has its own from Airflow 3.4 on."""
        with sqlite3.connect(self.home / "airflow.db") as connection:
            found = connection.execute("SELECT name FROM sqlite_master WHERE name = 'xcom_v2'").fetchone()
        connection.close()
        return "xcom_v2" if found else "xcom"
