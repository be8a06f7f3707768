"""What a person does with a running Airflow, as a small client: save files, click, look."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import subprocess
import textwrap
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_stagecoach.cli.local_airflow import LocalAirflow

T = TypeVar("T")

#: Seconds. Listing takes 2 s, parsing 1 s; a busy machine takes its time.
PATIENCE = 150.0

#: Times that the API is asked again when it gives a fault of its own: SQLite was locked, say.
_AGAIN = 8

FINAL = {"success", "failed"}


@dataclass(frozen=True)
class Task:
    """One task instance."""

    task_id: str
    map_index: int
    state: str | None
    try_number: int
    name: str | None  # of the map index, as the UI shows it
    raw: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True)
class Run:
    """One run of a DAG."""

    dag_id: str
    run_id: str
    state: str


class Client:
    """Talks to the REST API (v2) of an Airflow and writes into its dags folder."""

    def __init__(self, url: str, dags_folder: Path) -> None:
        self.dags_folder = dags_folder
        token = httpx.get(f"{url}/auth/token", timeout=30).raise_for_status().json()["access_token"]
        self.http = httpx.Client(
            base_url=f"{url}/api/v2", headers={"Authorization": f"Bearer {token}"}, timeout=60
        )

    # Files

    def drop(self, name: str, text: str) -> Path:
        """Save a file into the dags folder, as an editor does: in one step. The text is dedented."""
        path = self.dags_folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f".{path.name}.new")
        new.write_text(textwrap.dedent(text).lstrip("\n"))
        new.replace(path)
        return path

    def remove(self, name: str) -> None:
        """Delete a file from the dags folder."""
        (self.dags_folder / name).unlink()

    # Looking

    def get(self, path: str, **params: Any) -> Any:
        """GET a JSON answer."""
        for pause in range(_AGAIN):
            answer = self.http.get(path, params=params)
            if answer.status_code < 500:
                break
            time.sleep(pause)
        return answer.raise_for_status().json()

    def dags(self) -> dict[str, dict[str, Any]]:
        """Give the active DAGs by id."""
        found = self.get("/dags", limit=500, exclude_stale=True)["dags"]
        return {dag["dag_id"]: dag for dag in found}

    def code(self, dag_id: str) -> str:
        """Give what the Code tab shows."""
        content: str = self.get(f"/dagSources/{dag_id}")["content"]
        return content

    def import_errors(self) -> dict[str, str]:
        """Give the import errors as file -> text."""
        found = self.get("/importErrors", limit=100)["import_errors"]
        return {error["filename"]: error["stack_trace"] for error in found}

    def tasks(self, run: Run) -> dict[tuple[str, int], Task]:
        """Give the task instances of a run, by task id and map index (-1: not mapped)."""
        path = f"/dags/{run.dag_id}/dagRuns/{run.run_id}/taskInstances"
        found: list[dict[str, Any]] = []
        while True:
            page = self.get(path, limit=100, offset=len(found))
            found += page["task_instances"]
            if len(found) >= page["total_entries"] or not page["task_instances"]:
                break
        return {
            (one["task_id"], one["map_index"]): Task(
                one["task_id"],
                one["map_index"],
                one["state"],
                one["try_number"],
                one.get("rendered_map_index"),
                one,
            )
            for one in found
        }

    def states(self, run: Run) -> dict[str, Any]:
        """Give task id -> state; for a mapped task a list of the states, by map index."""
        states: dict[str, Any] = {}
        for (task_id, map_index), task in sorted(self.tasks(run).items()):
            if map_index < 0:
                states[task_id] = task.state
            else:
                states.setdefault(task_id, []).append(task.state)
        return states

    def log(self, run: Run, task_id: str, *, map_index: int = -1, try_number: int = 1) -> str:
        """Give the log of a try as lines of text, with the message of an exception below its line."""
        path = f"/dags/{run.dag_id}/dagRuns/{run.run_id}/taskInstances/{task_id}/logs/{try_number}"
        content = self.get(path, map_index=map_index)["content"]
        lines = []
        for line in content:
            lines.append(line if isinstance(line, str) else str(line.get("event", line)))
            if isinstance(line, dict):
                errors = line.get("error_detail") or ()
                lines += [f"{error['exc_type']}: {error['exc_value']}" for error in errors]
        return "\n".join(lines)

    def xcom(self, run: Run, task_id: str, key: str = "return_value", *, map_index: int = -1) -> Any:
        """Give the value of an XCom."""
        path = f"/dags/{run.dag_id}/dagRuns/{run.run_id}/taskInstances/{task_id}/xcomEntries/{key}"
        return self.get(path, map_index=map_index, deserialize=True)["value"]

    def rendered(self, run: Run, task_id: str, *, map_index: int = -1) -> dict[str, Any]:
        """Give the rendered fields of a task instance, as the UI shows them."""
        path = f"/dags/{run.dag_id}/dagRuns/{run.run_id}/taskInstances/{task_id}"
        path += f"/{map_index}" if map_index >= 0 else ""
        fields: dict[str, Any] = self.get(path)["rendered_fields"]
        return fields

    # Doing

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None) -> Run:
        """Start a run by hand. A refusal (a bad param, say) raises ``httpx.HTTPStatusError``."""
        body = {"logical_date": None, "conf": dict(conf or {})}
        answer = self.http.post(f"/dags/{dag_id}/dagRuns", json=body).raise_for_status().json()
        return Run(dag_id, answer["dag_run_id"], answer["state"])

    def run(
        self, dag_id: str, conf: Mapping[str, Any] | None = None, *, timeout: float = PATIENCE * 2
    ) -> Run:
        """Start a run by hand and wait for its end."""
        return self.wait_for_run(self.trigger(dag_id, conf), timeout=timeout)

    def clear(
        self, run: Run, *task_ids: str | tuple[str, int], downstream: bool = True, timeout: float = 0
    ) -> Run:
        """Clear tasks of a run (or map indexes of them), all without ids, so that they run again.

        Waits for the end if asked to.
        """
        body: dict[str, Any] = {
            "dry_run": False,
            "dag_run_id": run.run_id,
            "only_failed": False,
            "include_downstream": downstream,
            "reset_dag_runs": True,
        }
        if task_ids:
            body["task_ids"] = list(task_ids)
        self.http.post(f"/dags/{run.dag_id}/clearTaskInstances", json=body).raise_for_status()
        return self.wait_for_run(run, timeout=timeout) if timeout else run

    def set_state(self, run: Run, state: str) -> None:
        """Mark a run as success or failed, as a person does."""
        path = f"/dags/{run.dag_id}/dagRuns/{run.run_id}"
        self.http.patch(path, json={"state": state}).raise_for_status()

    def set_task_state(self, run: Run, task_id: str, state: str, *, map_index: int = -1) -> None:
        """Mark a task instance as success, failed or skipped, as a person does."""
        path = f"/dags/{run.dag_id}/dagRuns/{run.run_id}/taskInstances/{task_id}"
        path += f"/{map_index}" if map_index >= 0 else ""
        self.http.patch(path, json={"new_state": state}).raise_for_status()

    def answer(self, run: Run, task_id: str, option: str) -> dict[str, Any]:
        """Answer a required action; give the question as it stood before. Waits until it is asked."""
        path = f"/dags/{run.dag_id}/dagRuns/{run.run_id}/hitlDetails"

        def look() -> dict[str, Any] | None:
            asked = self.get(path)["hitl_details"]
            return next((one for one in asked if one["task_instance"]["task_id"] == task_id), None)

        question = wait(look, f"{task_id} asks nothing", PATIENCE, lambda: self.states(run))
        # Airflow fails a task that goes on before its executor has reported that its process ended.
        pid = self.tasks(run)[task_id, -1].raw["pid"]
        wait(lambda: not Path(f"/proc/{pid}").exists(), f"the process of {task_id} does not end", PATIENCE)
        time.sleep(4)
        path = f"/dags/{run.dag_id}/dagRuns/{run.run_id}/taskInstances/{task_id}/-1/hitlDetails"
        self.http.patch(path, json={"chosen_options": [option]}).raise_for_status()
        return question

    # Waiting

    def wait_for_dag(self, dag_id: str, *, timeout: float = PATIENCE) -> dict[str, Any]:
        """Wait until a DAG is listed; give what the list says about it."""
        return wait(
            lambda: self.dags().get(dag_id), f"DAG {dag_id} is not listed", timeout, self.import_errors
        )

    def wait_until_gone(self, dag_id: str, *, timeout: float = PATIENCE) -> None:
        """Wait until a DAG is no longer listed."""
        wait(lambda: dag_id not in self.dags(), f"DAG {dag_id} is still listed", timeout)

    def wait_for_code(self, dag_id: str, part: str, *, timeout: float = PATIENCE) -> str:
        """Wait until the Code tab shows a text that holds ``part``; give it."""

        def look() -> str | None:
            code = self.code(dag_id)
            return code if part in code else None

        return wait(look, f"the code of {dag_id} does not hold {part!r}", timeout, lambda: self.code(dag_id))

    def wait_for_import_error(self, name: str, part: str = "", *, timeout: float = PATIENCE) -> str:
        """Wait until a file has an import error that holds ``part``; give its text."""

        def look() -> str | None:
            text = self.import_errors().get(name)
            return text if text is not None and part in text else None

        return wait(look, f"{name} has no import error with {part!r}", timeout, self.import_errors)

    def wait_until_no_import_error(self, name: str, *, timeout: float = PATIENCE) -> None:
        """Wait until a file has no import error."""
        wait(
            lambda: name not in self.import_errors(),
            f"{name} still has an import error",
            timeout,
            self.import_errors,
        )

    def wait_for_run(self, run: Run, *, states: set[str] = FINAL, timeout: float = PATIENCE * 2) -> Run:
        """Wait until a run is in one of some states; give the run as it is then."""

        def look() -> Run | None:
            state = self.get(f"/dags/{run.dag_id}/dagRuns/{run.run_id}")["state"]
            return Run(run.dag_id, run.run_id, state) if state in states else None

        return wait(look, f"{run} is not {sorted(states)}", timeout, lambda: self.states(run))

    def wait_for_task(
        self, run: Run, task_id: str, states: set[str], *, map_index: int = -1, timeout: float = PATIENCE
    ) -> Task:
        """Wait until a task instance is in one of some states; give it."""

        def look() -> Task | None:
            task = self.tasks(run).get((task_id, map_index))
            return task if task is not None and task.state in states else None

        return wait(look, f"{task_id} is not {sorted(states)}", timeout, lambda: self.states(run))


class Installation:
    """An Airflow on PostgreSQL whose parts may be killed.

    :param airflow: its components, each a process of its own
    :param client: a person's client
    :param folder: of the database server
    """

    def __init__(self, airflow: LocalAirflow, client: Client, folder: Path) -> None:
        self.airflow = airflow
        self.client = client
        self.folder = folder

    def query(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Ask Airflow's database. Placeholders are ``%s``."""
        psycopg2: Any = importlib.import_module("psycopg2")
        url = self.airflow.options["database.sql_alchemy_conn"].replace("+psycopg2", "")
        with contextlib.closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
            cursor.execute(statement, values)
            rows: list[tuple[Any, ...]] = cursor.fetchall()
            return rows

    def worker_pid(self, run: Run, task_id: str, map_index: int = -1) -> int:
        """Process id of a running task; its parent is the supervisor."""
        rows = self.query(
            "select pid from task_instance where dag_id = %s and run_id = %s and task_id = %s"
            " and map_index = %s and state = 'running' and pid is not null",
            run.dag_id,
            run.run_id,
            task_id,
            map_index,
        )
        assert rows, f"{task_id} [{map_index}] does not run: {self.client.states(run)}"
        pid: int = rows[0][0]
        return pid

    def kill(self, component: str) -> None:
        """Kill a component with SIGKILL: the process, not what it started."""
        process = self.airflow.processes[component]
        process.kill()
        process.wait()

    def start(self, component: str) -> None:
        """Start a component again."""
        self.airflow.start_component(component)

    def start_what_ended(self, *, seconds: float = 8) -> None:
        """Start what ended by itself, as a service manager does: some components do without a database."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for component, process in list(self.airflow.processes.items()):
                if process.poll() is not None:
                    self.start(component)
            time.sleep(0.5)

    def restart_database(self) -> None:
        """Restart PostgreSQL as after a power cut: nobody is told before."""
        from benchmarks import postgres

        binaries = postgres.find_binaries()
        assert binaries is not None
        data = self.folder / "postgres"
        subprocess.run(
            [binaries / "pg_ctl", "-D", data / "db", "-l", data / "log", "-m", "immediate", "-w", "restart"],
            check=True,
            user="postgres" if os.geteuid() == 0 else None,
            cwd=data,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            timeout=120,
        )


def parent_of(pid: int) -> int:
    """Process id of the parent of a living process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[1])


def kill(pid: int) -> None:
    """End a process by SIGKILL, which it cannot handle."""
    os.kill(pid, signal.SIGKILL)


def moment(text: str) -> datetime:
    """A time as the API gives it."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def processes(**environment: str) -> list[int]:
    """Give the ids of living processes that carry some environment variables."""
    wanted = {f"{name}={value}".encode() for name, value in environment.items()}
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if wanted <= set((folder / "environ").read_bytes().split(b"\0")):
                found.append(int(folder.name))
    return found


def wait(
    look: Callable[[], T | None], complaint: str, timeout: float, context: Callable[[], Any] | None = None
) -> T:
    """Call ``look`` twice a second until it gives something true, and give that.

    :raises TimeoutError: it did not in ``timeout`` seconds; says ``complaint`` and what ``context`` gives
    """
    deadline = time.monotonic() + timeout
    while True:
        if found := look():
            return found
        if time.monotonic() > deadline:
            detail = f": {context()}" if context is not None else ""
            raise TimeoutError(f"{complaint} after {timeout:.0f} s{detail}")
        time.sleep(0.5)
