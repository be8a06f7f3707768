"""A real Airflow to measure in: LocalExecutor, PostgreSQL, and as much of the REST API as is needed."""

from __future__ import annotations

import contextlib
import json
import os
import time
import urllib.request
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_stagecoach.cli.local_airflow import LocalAirflow
from benchmarks import postgres

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Live:
    """A running Airflow."""

    airflow: LocalAirflow
    client: Client
    database: str
    out: Path  # where tasks write figures

    def new_workers(self, count: int) -> None:
        """Start the scheduler anew, with workers that have run nothing yet.

        What a worker has imported for one kind of DAG must not be the other's gain.
        """
        process = self.airflow.processes["scheduler"]
        process.terminate()
        process.wait(60)
        self.airflow.options["core.parallelism"] = str(count)
        self.airflow.start_component("scheduler")

    def cpu(self, component: str, *, children: bool = False) -> float:
        """Seconds of processor time of a component's own process, without its children.

        The executor's workers are children of the scheduler, and the tasks theirs.

        :param children: with the children that run now; triggers run in one of the triggerer
        """
        pid = self.airflow.processes[component].pid
        return sum(_cpu_of(one) for one in (pid, *(_children(pid) if children else ())))

    def count_task_processes(self) -> int:
        """Count the processes of tasks: children of the executor's workers, which are the scheduler's."""
        workers = _children(self.airflow.processes["scheduler"].pid)
        return sum(len(_children(worker)) for worker in workers)

    @property
    def _tasks(self) -> Path:
        return self.out / "tasks"

    def forget_tasks(self) -> None:
        """Throw away what tasks have cost until now; no weighed task may run."""
        self._tasks.unlink(missing_ok=True)

    def cost_of_tasks(self, count: int, timeout: float = 30) -> dict[str, dict[str, Any]]:
        """Give what tasks have cost (see ``benchmarks.executor``) by task id.

        :param count: tasks; waits until both processes of all have written their figures
        """
        deadline = time.monotonic() + timeout
        while len(lines := self._tasks.read_text().splitlines()) < 2 * count:
            # The worker writes after the task has ended, and maybe the run.
            assert time.monotonic() < deadline, lines
            time.sleep(0.1)
        tasks: dict[str, dict[str, Any]] = defaultdict(dict)
        for line in lines:
            figures = json.loads(line)
            tasks[figures["task"]] |= figures
        return tasks


@contextlib.contextmanager
def running_airflow(folder: Path, documents: Mapping[str, str], say: Callable[[str], None]) -> Iterator[Live]:
    """Start an Airflow with some files in its dags folder, and stop it afterwards.

    :param folder: for all that it keeps
    :param documents: file name -> text
    """
    dags, out = folder / "dags", folder / "out"
    for one in (dags, out):
        one.mkdir(parents=True)
    for name, text in documents.items():
        (dags / name).write_text(text)
    # Airflow's processes import the executor and the database's arguments from here.
    here = str(Path(__file__).parent.parent)
    path = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    os.environ["PYTHONPATH"] = os.pathsep.join([here, *(one for one in path if one and one != here)])
    os.environ["BENCHMARK_OUT"] = str(out)
    # Who sets it on a machine of their own would measure the compiler, in every task.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with postgres.server(folder) as database:
        say("starting Airflow with " + ("PostgreSQL" if database else "SQLite"))
        airflow = LocalAirflow(
            folder / "home",
            dags,
            options={
                **(database or {}),
                "core.executor": "benchmarks.executor.MeasuringExecutor",
                "dag_processor.min_file_process_interval": "600",
                "logging.logging_level": "WARNING",
            },
        )
        airflow.start()
        try:
            yield Live(airflow, Client(airflow.url), "PostgreSQL" if database else "SQLite", out)
        finally:
            airflow.stop()


def _cpu_of(pid: int) -> float:
    # After the name in brackets: state is field 3 of proc(5), utime 14 and stime 15.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _children(pid: int) -> list[int]:
    """The processes that a process has started and that have not ended."""
    found: list[int] = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # It has ended itself.
        for thread in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (thread / "children").read_text().split())
    return found


def machine_cpu() -> float:
    """Seconds of processor time that all processes of the machine have used."""
    user, nice, system, _idle, _wait, irq, softirq = (
        int(field) for field in Path("/proc/stat").read_text().split(maxsplit=8)[1:8]
    )
    return (user + nice + system + irq + softirq) / _TICKS


class Client:
    """As much of Airflow's REST API as is needed here."""

    def __init__(self, url: str) -> None:
        self.url = url
        with urllib.request.urlopen(f"{url}/auth/token", timeout=30) as answer:
            self.token = json.load(answer)["access_token"]

    def ask(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send a request below ``/api/v2``; with a body it is a POST."""
        request = urllib.request.Request(
            f"{self.url}/api/v2{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def wait_for_dags(self, dag_ids: list[str], timeout: float = 120) -> None:
        """Wait until the DAG processor has found DAGs."""
        deadline = time.monotonic() + timeout
        while not set(dag_ids) <= (found := {dag["dag_id"] for dag in self.ask("/dags")["dags"]}):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{dag_ids} are not among {found}: {self.ask('/importErrors')}")
            time.sleep(1)

    def run(self, dag_id: str, timeout: float = 600) -> dict[str, Any]:
        """Run a DAG to its end.

        :return: the run as Airflow keeps it
        """
        return self.wait_for_end(self.start(dag_id), timeout)

    def start(self, dag_id: str) -> dict[str, Any]:
        """Start a run of a DAG."""
        return self.ask(f"/dags/{dag_id}/dagRuns", {"logical_date": None})

    def wait_for_end(self, run: dict[str, Any], timeout: float = 600) -> dict[str, Any]:
        """Wait until a run has ended; it must have succeeded.

        :return: the run as Airflow keeps it
        """
        dag_id = run["dag_id"]
        path = f"/dags/{dag_id}/dagRuns/{run['dag_run_id']}"
        deadline = time.monotonic() + timeout
        while run["state"] not in ("success", "failed"):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{dag_id} did not end: {run}")
            time.sleep(1)
            run = self.ask(path)
        assert run["state"] == "success", self._why(path)
        return run

    def _why(self, path: str) -> str:
        """Tell which task of a run failed first, and its log."""
        failed = self.ask(f"{path}/taskInstances?state=failed&order_by=end_date&limit=1")["task_instances"]
        if not failed:
            return f"{path} failed, and no task of it"
        task = f"{path}/taskInstances/{failed[0]['task_id']}"
        log = self.ask(f"{task}/logs/{failed[0]['try_number']}?map_index={failed[0]['map_index']}")
        return f"{task} failed: {log['content']}"

    def tasks(self, run: dict[str, Any]) -> list[dict[str, Any]]:
        """Give the task instances of a run, a hundred at most."""
        path = f"/dags/{run['dag_id']}/dagRuns/{run['dag_run_id']}/taskInstances?limit=100"
        found: list[dict[str, Any]] = self.ask(path)["task_instances"]
        return found

    def pool(self) -> dict[str, Any]:
        """Give the pool of all tasks here: ``running_slots``, ``deferred_slots`` and more."""
        return self.ask("/pools/default_pool")

    def count_tasks(self, run: dict[str, Any], state: str) -> int:
        """Count the task instances of a run that are in a state, each leg's by itself."""
        path = f"/dags/{run['dag_id']}/dagRuns/{run['dag_run_id']}/taskInstances?limit=1&state={state}"
        count: int = self.ask(path)["total_entries"]
        return count
