"""A PostgreSQL server of the benchmarks' own, thrown away afterwards. Airflow's SQLite is for trying out."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_stagecoach.cli.local_airflow import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Given to the database's drivers by Airflow, instead of SQLite's.
CONNECT_ARGS: dict[str, object] = {}


def find_binaries() -> Path | None:
    """Find the folder with ``initdb`` and ``postgres``; Debian keeps it away from PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)
    on_path = shutil.which("initdb")
    if on_path:
        found.append(Path(on_path))
    return found[0].parent if found else None


@contextlib.contextmanager
def server(folder: Path) -> Iterator[dict[str, str] | None]:
    """Run a server, and give the options by which Airflow uses it; None where there is no PostgreSQL.

    :param folder: for its data. As root, the server runs as the user ``postgres``, which must be
        able to enter the folder.
    """
    binaries = find_binaries()
    if binaries is None:
        yield None
        return
    user = _user()
    data, port = folder / "postgres", free_port()
    data.mkdir()
    if user:
        # A temporary folder is its owner's alone; another user must be let through.
        for parent in (folder, *folder.parents):
            if parent.stat().st_uid == os.geteuid() and not parent.stat().st_mode & 0o001:
                parent.chmod(parent.stat().st_mode | 0o011)
        shutil.chown(data, user)

    def run(*command: str) -> None:
        subprocess.run(
            command,
            check=True,
            user=user,
            cwd=data,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            timeout=120,
            env={**os.environ, "LC_ALL": "C"},
        )

    run(str(binaries / "initdb"), "-D", str(data / "db"), "-U", "airflow", "-A", "trust", "-E", "UTF8")
    options = (
        f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={data} -c max_connections=200"
    )
    control = str(binaries / "pg_ctl")
    run(control, "-D", str(data / "db"), "-l", str(data / "log"), "-w", "-o", options, "start")
    try:
        yield {
            "database.sql_alchemy_conn": f"postgresql+psycopg2://airflow@127.0.0.1:{port}/postgres",
            "database.sql_alchemy_conn_async": f"postgresql+asyncpg://airflow@127.0.0.1:{port}/postgres",
            "database.sql_alchemy_connect_args": f"{__name__}.CONNECT_ARGS",
            "database.sql_alchemy_connect_args_async": f"{__name__}.CONNECT_ARGS",
        }
    finally:
        run(control, "-D", str(data / "db"), "-m", "immediate", "-w", "stop")


def _user() -> str | None:
    """Give the user to run as: PostgreSQL refuses to be root."""
    if os.geteuid() != 0:
        return None
    return pwd.getpwnam("postgres").pw_name
