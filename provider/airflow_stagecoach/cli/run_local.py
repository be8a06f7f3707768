"""Runs a plan with Airflow's ``dag.test()`` machinery in a private home."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from airflow_stagecoach.cli.run_home import private_home
from airflow_stagecoach.operators._local import DEEPEST, TOO_DEEP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from airflow_stagecoach.document.plan import WorkflowPlan
    from airflow_stagecoach.operators._references import Path as ReferencePath


#: Tasks of ours that a scheduler or a triggerer settles without a worker.
_NOTHING_TO_RUN = (
    r"(.*\.)?__(start|slot|verdict|ready|settled|result|tolerated|end|failed|either|run"
    r"|concurrency|entered|lease|release)__"
)


def run_plan(
    plan: WorkflowPlan,
    siblings: list[WorkflowPlan],
    file: Path,
    params: dict[str, Any],
    answers: Mapping[str, bool],
) -> dict[str, Any]:
    """Run a workflow to its end.

    :param siblings: the workflows of the same document, which trigger stages may name
    :param file: the document
    :param params: typed params of the run
    :param answers: answers to approval stages, by ``STAGE`` or ``JOB.STAGE``
    :return: ``{"state", "params", "jobs"}`` and ``record``: the run as ``stagecoach runs show`` has it
    """
    with private_home():
        logging.captureWarnings(True)
        from airflow_stagecoach.operators import _local

        session = Session(siblings, file, answers)
        _local.session = session
        try:
            with redirect_stdout(_Lines(session)):
                found = session.run(plan, params)
                return {**found, "record": _record(plan, str(session.run_id), str(file))}
        finally:
            _local.session = None
            session.clean()


def _record(plan: WorkflowPlan, run_id: str, file: str) -> dict[str, Any]:
    """The run as ``stagecoach runs show`` has it."""
    from datetime import datetime, timezone

    from airflow.utils.session import create_session

    from airflow_stagecoach.cli.metadata import read_facts
    from airflow_stagecoach.operators._records import run_record

    with create_session() as database:
        facts = read_facts(database, plan["dag_id"], run_id)
    facts.document = file
    return run_record(_alone(plan)[0], facts, datetime.now(timezone.utc))


#: What needs other runs, or people: a run on this machine leaves it out.
_NOT_HERE = ("notify", "concurrency", "deadline")


def _alone(plan: WorkflowPlan) -> tuple[WorkflowPlan, list[str]]:
    """A plan without what is not done here, and the names of what was left out."""
    left_out = [name for name in _NOT_HERE if name in plan]
    alone: Any = {key: value for key, value in plan.items() if key not in _NOT_HERE}
    alone["jobs"] = [
        {**job, "stages": [{k: v for k, v in stage.items() if k != "notify"} for stage in job["stages"]]}
        for job in plan["jobs"]
    ]
    if "notify" not in left_out and any("notify" in stage for job in plan["jobs"] for stage in job["stages"]):
        left_out.insert(0, "notify")
    return alone, left_out


class Session:
    """Runs workflows one in another, for :class:`airflow_stagecoach.operators._local.LocalSession`."""

    def __init__(self, plans: Iterable[WorkflowPlan], file: Path, answers: Mapping[str, bool]) -> None:
        self._plans = {plan["dag_id"]: plan for plan in plans}
        self._file = file
        self._answers = answers
        self._depth = 0
        self.run_id: str | None = None  # of the workflow that ended last
        self._locks = [threading.Lock() for _ in range(DEEPEST + 1)]
        self._stderr = sys.stderr
        self._kept: set[str] = set()
        self._left: dict[str, Callable[[], object] | None] = {}

    # -- what operators ask for -------------------------------------------------------------

    @property
    def level(self) -> int:
        """How many workflows are running, one in another."""
        return self._depth

    def run_workflow(self, dag_id: str, params: dict[str, Any], level: int) -> dict[str, Any]:
        """Run the workflow of a trigger stage, nested.

        Branches of a stage may ask for workflows at the same time: those of one level wait for each other.
        """
        with self._locks[level]:
            return self._run_workflow(dag_id, params)

    def _run_workflow(self, dag_id: str, params: dict[str, Any]) -> dict[str, Any]:
        from airflow_stagecoach.exceptions import StageConfigError
        from airflow_stagecoach.operators._trigger_run import coerced

        if self._depth >= DEEPEST:
            raise StageConfigError(TOO_DEEP)
        plan = self._find(dag_id)
        if plan is None:
            raise StageConfigError(
                f"trigger: there is no workflow {dag_id!r} in {self._file.name} or beside it"
            )
        return self.run(plan, coerced(plan, params))

    def approve(self, job_id: str, stage_id: str, subject: str, body: str | None) -> bool:
        """Answer from ``--approve``, or ask on the terminal."""
        for name in (f"{job_id}.{stage_id}", stage_id):
            if name in self._answers:
                return self._answers[name]
        if not sys.stdin.isatty():
            from airflow_stagecoach.exceptions import StageConfigError

            raise StageConfigError(
                f"approval: nobody is here to answer; pass --approve {stage_id}=yes or =no"
            )
        print("\n".join(filter(None, [subject, body])), file=self._stderr)
        while True:
            print("approve? [yes/no] ", end="", file=self._stderr, flush=True)
            answer = sys.stdin.readline().strip().lower()
            if answer in ("y", "yes", "n", "no"):
                return answer.startswith("y")

    def write(self, text: str, level: str = "info") -> None:
        """Show a line of a stage's output."""
        mark = "!" if level in ("warning", "error") else "|"
        print(f"{'  ' * self._depth}  {mark} {text}", file=self._stderr)

    def keeps(self, folder: str) -> None:
        """Note a scratch folder; see :meth:`clean`."""
        self._kept.add(folder)

    def leaves(self, name: str, remove: Callable[[], object] | None) -> None:
        """Note what the stages of a leg share; see :meth:`clean`."""
        self._left[name] = remove

    def clean(self) -> None:
        """Remove what stages shared, also where one failed: nobody comes back to a trial. Tell what stays.

        Scratch folders of this machine lie in the private home, which goes with the rest of them.
        """
        for folder in sorted(filter(os.path.isdir, self._kept)):
            place = os.path.join(tempfile.mkdtemp(prefix="stagecoach-kept-"), os.path.basename(folder))
            shutil.move(folder, place)
            self.write(f"cleanup: never, so this stays: folder {place}")
        for name, remove in self._left.items():
            if remove is None:
                self.write(f"cleanup: never, so this stays: {name}")
                continue
            try:
                remove()
            except Exception as error:
                self.write(f"{name} could not be removed: {error}", "warning")

    @contextmanager
    def stage(self, job_id: str, leg: str, name: str) -> Iterator[None]:
        """Show that a stage starts, and how it ends."""
        from airflow.sdk.exceptions import AirflowSkipException

        title = " / ".join(filter(None, [job_id, leg, name]))
        indent = "  " * (self._depth - 1)
        print(f"{indent}> {title}", file=self._stderr, flush=True)
        began = time.monotonic()
        ending = "failed"
        try:
            yield
            ending = "success"
        except AirflowSkipException:
            ending = "skipped"
            raise
        except Exception as error:
            ending = f"failed: {error}"
            raise
        finally:
            print(
                f"{indent}< {title}: {ending} ({time.monotonic() - began:.1f} s)",
                file=self._stderr,
                flush=True,
            )

    # -- running ----------------------------------------------------------------------------

    def run(self, plan: WorkflowPlan, params: dict[str, Any]) -> dict[str, Any]:
        """Run one workflow with ``dag.test()`` and read what it gave."""
        from airflow_stagecoach.factory import build_dag
        from airflow_stagecoach.operators._report import report
        from airflow_stagecoach.operators._run import WorkflowRun

        alone, left_out = _alone(plan)
        if left_out:
            self.write(f"{plan['dag_id']}: not in a local run: {', '.join(left_out)}", "warning")
        dag = build_dag(alone, fileloc=str(self._file))
        _store(dag)
        self._depth += 1
        try:
            with _signals_in_threads():
                dag_run = dag.test(run_conf=_plain(params), mark_success_pattern=_NOTHING_TO_RUN)
        finally:
            self._depth -= 1
        self.run_id = dag_run.run_id
        data = DatabaseRunData(plan, self.run_id, params)
        found = report(WorkflowRun(plan, data))
        if str(dag_run.state) == "failed":
            found["state"] = "failed"
        return {**found, "params": params}

    def _find(self, dag_id: str) -> WorkflowPlan | None:
        """A workflow of this document, else of a document beside it."""
        if dag_id not in self._plans:
            from airflow_stagecoach import document
            from airflow_stagecoach.cli.documents import load_document

            for path in sorted(self._file.parent.glob("*.y*ml")):
                data = path.read_bytes()
                if path == self._file or dag_id.encode() not in data or not document.is_ours(data):
                    continue
                for plan in load_document(data, str(path)).plans:
                    self._plans.setdefault(plan["dag_id"], plan)
        return self._plans.get(dag_id)


@contextmanager
def _signals_in_threads() -> Iterator[None]:
    """Let ``dag.test()`` run in a thread too, where a branch of a parallel stage asks for a workflow.

    Airflow sets a signal handler for each task, which only the main thread can do; the handler of the task
    around it is still there.
    """
    if threading.current_thread() is threading.main_thread():
        yield
        return
    real = signal.signal

    def set_handler(number: int, handler: Any) -> Any:
        if threading.current_thread() is threading.main_thread():
            return real(number, handler)
        return signal.getsignal(number)

    with patch("signal.signal", set_handler):
        yield


def _plain(params: dict[str, Any]) -> dict[str, Any]:
    """Params as JSON, as the trigger form sends them."""
    import json

    plain: dict[str, Any] = json.loads(
        json.dumps(params, default=lambda v: v.isoformat() if hasattr(v, "isoformat") else str(v))
    )
    return plain


def _store(dag: Any) -> None:
    """Write the DAG to the private database: ``dag.test()`` expects a version of it there."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db

    manager = DagBundlesManager()
    manager.sync_bundles_to_db()
    (bundle,) = manager.get_all_dag_bundles()
    bag = BundleDagBag(dag_folder=bundle.path, bundle_path=bundle.path, bundle_name=bundle.name)
    bag.dags[dag.dag_id] = dag
    sync_bag_to_db(bag, bundle.name, None)


class DatabaseRunData:
    """Reads a run from the database; see :class:`airflow_stagecoach.operators._run.RunData`."""

    def __init__(self, plan: WorkflowPlan, run_id: str, params: dict[str, Any]) -> None:
        from airflow.models.taskinstance import TaskInstance
        from airflow.models.xcom import XComModel
        from airflow.utils.session import create_session
        from sqlalchemy import select

        self._params = params
        self._states: dict[tuple[str, int], str | None] = {}
        self._values: dict[tuple[str, int, str], Any] = {}
        with create_session() as session:
            where = {"dag_id": plan["dag_id"], "run_id": run_id}
            for ti in session.scalars(select(TaskInstance).filter_by(**where)):
                self._states[ti.task_id, ti.map_index] = None if ti.state is None else str(ti.state)
            for xcom in session.scalars(select(XComModel).filter_by(**where)):
                self._values[xcom.task_id, xcom.map_index, xcom.key] = XComModel.deserialize_value(xcom)

    def states(self, task_ids: list[str]) -> dict[str, str | None]:
        """States by ``task_id`` or ``task_id_INDEX``."""
        return {
            task_id if index < 0 else f"{task_id}_{index}": state
            for (task_id, index), state in self._states.items()
            if task_id in task_ids
        }

    def output(self, task_id: str, index: int | None, key: str = "return_value") -> Any:
        """One XCom."""
        return self._values.get((task_id, -1 if index is None else index, key))

    def outputs(self, task_id: str) -> list[Any]:
        """All return values of a mapped task."""
        return [
            value
            for (name, _, key), value in sorted(self._values.items(), key=lambda item: item[0])
            if name == task_id and key == "return_value"
        ]

    def ambient(self, paths: Iterable[ReferencePath]) -> dict[str, Any]:
        """Params and environment; what only a task may read is not here."""
        from airflow_stagecoach.operators._contexts import WorkerEnvironment

        return {"params": self._params, "env": WorkerEnvironment()}


class _Lines:
    """A text stream that shows what user code prints, line by line."""

    encoding = "utf-8"

    def __init__(self, session: Session) -> None:
        self._session = session
        self._rest = ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._session.write(line)
        return len(text)

    def flush(self) -> None:
        """Nothing is held back but an unfinished line."""

    def isatty(self) -> bool:
        return False
