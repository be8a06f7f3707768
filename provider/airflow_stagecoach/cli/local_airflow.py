"""A complete Airflow on this machine, in a folder of its own, for the demo and for tests.

``airflow standalone`` would do nearly the same, but leaves processes behind
when it is stopped. Here every component is a process of ours, in a session of
its own, so that it can be ended with all that it started.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: Given to SQLite by Airflow: seconds that a writer waits for another one before "database is locked".
SQLITE_CONNECT_ARGS = {"timeout": 60}

_AUTH_MANAGER = "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager"

# Loaded before any fork: a forked child of a process with threads should do as little as possible.
_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1

#: The same for the API that people and the UI use: it may hold the lock itself while it waits for it
#: (Airflow writes its audit log on the event loop), so it must give up before the tasks do.
SQLITE_CONNECT_ARGS_OF_UI = {"timeout": 4}

#: In the order in which they start. Tasks' logs are read from disk, so no log servers are needed.
#: Tasks have an API server of their own: what people click must not make them wait.
COMPONENTS = {
    "api-server": ["api-server", "--apps", "core"],
    "execution-api": ["api-server", "--apps", "execution"],
    "scheduler": ["scheduler", "--skip-serve-logs"],
    "dag-processor": ["dag-processor"],
    "triggerer": ["triggerer", "--skip-serve-logs"],
}

#: In the environment of all that an Airflow of ours starts. AIRFLOW_HOME would not do: who looks at it
#: with Airflow's own commands sets that too.
MARK = "STAGECOACH_LOCAL_AIRFLOW"

#: Seconds between SIGTERM and SIGKILL. The scheduler waits for its running tasks.
GRACE = 10.0


class AirflowStartError(RuntimeError):
    """Airflow did not come up; the text says which component, and ends with its last lines."""


class LocalAirflow:
    """An Airflow with SQLite and LocalExecutor, reachable from this machine only, without login.

    :param home: its AIRFLOW_HOME; made when it is not there, used again when it is
    :param dags_folder: the folder of its documents and Python files
    :param port: of the UI and the API; 0 picks a free one
    :param options: more of Airflow's configuration, as ``section.option`` -> value
    """

    def __init__(
        self,
        home: Path,
        dags_folder: Path,
        *,
        port: int = 0,
        options: Mapping[str, str] | None = None,
    ) -> None:
        self.home = home.resolve()
        self.dags_folder = dags_folder.resolve()
        self.port = port or free_port()
        self.execution_port = free_port()
        self.options = dict(options or {})
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._sessions: set[int] = set()
        self._mark = f"{os.getpid()}-{secrets.token_hex(8)}"

    @property
    def url(self) -> str:
        """Where the UI is."""
        return f"http://127.0.0.1:{self.port}"

    def environment(self, component: str | None = None) -> dict[str, str]:
        """The environment of a component, or of a command. Settings of another Airflow do not come through.

        Connections and variables (``AIRFLOW_CONN_*``, ``AIRFLOW_VAR_*``) do.
        """
        bundle = [
            {
                "name": "dags-folder",
                "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
                "kwargs": {"path": str(self.dags_folder), "refresh_interval": 2},
            }
        ]
        options = {
            "core.dags_folder": str(self.dags_folder),
            "core.load_examples": "False",
            "core.dags_are_paused_at_creation": "False",
            "core.executor": "LocalExecutor",
            "core.parallelism": "8",
            "core.max_active_tasks_per_dag": "8",
            "core.min_serialized_dag_update_interval": "0",
            "core.auth_manager": _AUTH_MANAGER,
            "core.simple_auth_manager_all_admins": "True",
            "core.execution_api_server_url": f"http://127.0.0.1:{self.execution_port}/execution/",
            "database.sql_alchemy_conn": f"sqlite:///{self.database}",
            "database.sql_alchemy_connect_args": f"{__name__}.SQLITE_CONNECT_ARGS",
            "database.sql_alchemy_connect_args_async": f"{__name__}.SQLITE_CONNECT_ARGS",
            "api.host": "127.0.0.1",
            "api.port": str(self.port),
            "api.base_url": self.url,
            "api.workers": "1",
            "dag_processor.dag_bundle_config_list": json.dumps(bundle),
            "dag_processor.bundle_refresh_check_interval": "1",
            "dag_processor.refresh_interval": "2",
            "dag_processor.min_file_process_interval": "5",
            "scheduler.scheduler_heartbeat_sec": "2",
            "scheduler.scheduler_idle_sleep_time": "0.5",
            "scheduler.parsing_cleanup_interval": "5",
            # The time until the executor hears of a task's end; see docs/architecture.md on deferring.
            "workers.min_heartbeat_interval": "1",
            **self.options,
        }
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AIRFLOW__", "AIRFLOW_HOME", "AIRFLOW_CONFIG", "_AIRFLOW"))
        }
        environment["AIRFLOW_HOME"] = str(self.home)
        environment[MARK] = self._mark
        environment["PYTHONUNBUFFERED"] = "1"
        if component == "execution-api":
            options["api.port"] = str(self.execution_port)
        if component == "api-server" and options["database.sql_alchemy_conn"].startswith("sqlite"):
            for name in ("database.sql_alchemy_connect_args", "database.sql_alchemy_connect_args_async"):
                options[name] = f"{__name__}.SQLITE_CONNECT_ARGS_OF_UI"
        for name, value in options.items():
            section, _, option = name.partition(".")
            environment[f"AIRFLOW__{section.upper()}__{option.upper()}"] = value
        return environment

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.home / "airflow.db"

    def log_file(self, component: str) -> Path:
        """The file that takes what a component prints."""
        return self.home / "components" / f"{component}.log"

    def start(self, *, timeout: float = 180) -> None:
        """Prepare the database, start every component and wait until all are healthy.

        :param timeout: seconds
        :raises AirflowStartError: a component ended or did not become healthy in time
        """
        self.migrate(timeout=timeout)
        deadline = time.monotonic() + timeout
        try:
            for component in COMPONENTS:
                self.start_component(component)
            while not self.is_healthy():
                self._check_alive()
                if time.monotonic() > deadline:
                    raise AirflowStartError(f"Airflow is not healthy after {timeout:.0f} s: {self.health()}")
                time.sleep(0.5)
        except BaseException:
            self.stop()
            raise

    def migrate(self, *, timeout: float = 180) -> None:
        """Make the home and its database, or bring them up to date. Enough for commands without servers.

        :param timeout: seconds
        :raises AirflowStartError: the database could not be made
        """
        self.log_file("db-migrate").parent.mkdir(parents=True, exist_ok=True)
        with self.log_file("db-migrate").open("ab") as log:
            done = subprocess.run(
                [sys.executable, "-m", "airflow", "db", "migrate"],
                env=self.environment(),
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=timeout,
                check=False,
            )
        if done.returncode:
            raise AirflowStartError(f"airflow db migrate failed:\n{self._last_lines('db-migrate')}")
        # Readers do not block the writer then. The file remembers it.
        with contextlib.closing(sqlite3.connect(self.database)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")

    def start_component(self, component: str) -> None:
        """Start one component of ``COMPONENTS``."""
        with self.log_file(component).open("ab") as log:
            self.processes[component] = subprocess.Popen(  # noqa: S603  # our own command
                [sys.executable, "-m", "airflow", *COMPONENTS[component]],
                env=self.environment(component),
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=end_with_parent,
            )
            self._sessions.add(self.processes[component].pid)

    def stop(self) -> None:
        """End every component and all that it started. Does nothing where nothing runs."""
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + GRACE
        for process in self.processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, deadline - time.monotonic()))
        for sign in (signal.SIGTERM, signal.SIGKILL):
            for process in self.processes.values():
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, sign)
            left = list(self.find_processes())
            for pid in left:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, sign)
            self._wait_until_gone(2)
        for process in self.processes.values():
            process.wait()
        self.processes.clear()

    def find_processes(self) -> Iterator[int]:
        """Give the ids of the processes that came from our components (on Linux; elsewhere none).

        Most are in the session of their component. A stage's command may have one of its own, and is
        known by its environment, which in turn is lost where a process changed its title.
        """
        mark = f"{MARK}={self._mark}".encode()
        for folder in Path("/proc").glob("[0-9]*"):
            if int(folder.name) == os.getpid():
                continue
            with contextlib.suppress(OSError, IndexError):
                # After the name in brackets: state, parent, group, session.
                fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
                ours = int(fields[3]) in self._sessions and fields[0] != "Z"
                if ours or mark in (folder / "environ").read_bytes().split(b"\0"):
                    yield int(folder.name)

    def health(self) -> dict[str, Any]:
        """What Airflow says about its components; empty while the API server is not up."""
        try:
            with urllib.request.urlopen(f"{self.url}/api/v2/monitor/health", timeout=5) as answer:  # noqa: S310  # http, ours
                health: dict[str, Any] = json.load(answer)
                return health
        except (OSError, ValueError, urllib.error.URLError):
            return {}

    def is_healthy(self) -> bool:
        """Whether every component says that it is well."""
        health = self.health()
        parts = ("metadatabase", "scheduler", "dag_processor", "triggerer")
        healthy = bool(health) and all((health.get(part) or {}).get("status") == "healthy" for part in parts)
        return healthy and not is_free(self.execution_port)

    def wait(self) -> None:
        """Return when a component has ended, which none should by itself.

        :raises AirflowStartError: always at the end, and says which one
        """
        while True:
            self._check_alive()
            time.sleep(1)

    def _check_alive(self) -> None:
        for component, process in self.processes.items():
            if process.poll() is not None:
                raise AirflowStartError(
                    f"the {component} ended with code {process.returncode}:\n{self._last_lines(component)}"
                )

    def _last_lines(self, component: str, count: int = 20) -> str:
        text = self.log_file(component).read_text(errors="replace")
        return "\n".join(text.splitlines()[-count:])

    def _wait_until_gone(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for process in self.processes.values():
                process.poll()
            if not any(self.find_processes()):
                return
            time.sleep(0.1)


def end_with_parent() -> None:
    """Ask Linux to send SIGTERM to this process when its parent dies, by whatever means."""
    if sys.platform == "linux":
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def free_port() -> int:
    """Give a port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_free(port: int) -> bool:
    """Whether nobody listens on a port of the loopback interface."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
