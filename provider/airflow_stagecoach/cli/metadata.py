"""Reading Airflow's metadata database, the one of the user's ``AIRFLOW_HOME``.

Whole rows of a run with few queries, and columns in place of objects: a run of
a thousand legs is read in about a second.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from airflow_stagecoach.document.sniff import is_ours

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow.models.dagrun import DagRun
    from sqlalchemy.engine import URL
    from sqlalchemy.orm import Session

    from airflow_stagecoach.document.plan import WorkflowPlan
    from airflow_stagecoach.operators._records_facts import RunFacts

#: In place of a run's id: the newest run.
LATEST = "latest"


class NotFound(Exception):
    """There is no such DAG, run or database; the message says what there is."""


def database_url() -> str:
    """Where Airflow's database is, without a password."""
    return _url().render_as_string(hide_password=True)


def _url() -> URL:
    import logging

    # What Airflow says about its configuration belongs to its own commands.
    logging.getLogger("airflow").setLevel(logging.ERROR)
    from airflow.configuration import conf
    from sqlalchemy.engine import make_url

    return make_url(conf.get("database", "sql_alchemy_conn"))


@contextmanager
def open_database() -> Iterator[Session]:
    """A session that reads Airflow's database.

    :raises NotFound: there is no database here, or it was not migrated, or it cannot be reached
    """
    url = _url()
    where = database_url()
    file = url.database if url.get_backend_name() == "sqlite" else None
    if file and file != ":memory:" and not os.path.exists(file):
        # Connecting would make an empty one.
        raise NotFound(f"there is no Airflow database at {where}; {_ADVICE}")
    from airflow.utils.session import create_session
    from sqlalchemy.exc import DBAPIError

    try:
        with create_session() as session:
            yield session
    except DBAPIError as error:
        raise NotFound(
            f"Airflow's database at {where} cannot be read: {_first_line(error.orig)}; {_ADVICE}"
        ) from error


_ADVICE = (
    "set AIRFLOW_HOME or AIRFLOW__DATABASE__SQL_ALCHEMY_CONN as for `airflow`, or run `airflow db migrate`"
)


def _first_line(value: object) -> str:
    return str(value).strip().split("\n", 1)[0]


# -- DAGs and documents ---------------------------------------------------------------------


def our_dags(session: Session) -> dict[str, str]:
    """DAG ids of all documents, with the path of the document; deleted ones are left out."""
    return {dag_id: file for dag_id, file, _ in _sources(session)}


def our_documents(session: Session) -> dict[str, str]:
    """Paths of all documents that Airflow has loaded, with their texts."""
    return {file: source for _, file, source in _sources(session)}


def _sources(session: Session) -> Iterator[tuple[str, str, str]]:
    """DAG id, path and newest text of every DAG that a document makes, by DAG id."""
    from airflow.models.dag import DagModel
    from airflow.models.dagcode import DagCode
    from sqlalchemy import func, or_, select

    newest = (
        select(DagCode.dag_id, func.max(DagCode.last_updated).label("at")).group_by(DagCode.dag_id).subquery()
    )
    rows = session.execute(
        select(DagModel.dag_id, DagModel.fileloc, DagCode.source_code)
        .join(DagCode, DagCode.dag_id == DagModel.dag_id)
        .join(newest, (newest.c.dag_id == DagCode.dag_id) & (newest.c.at == DagCode.last_updated))
        .where(~DagModel.is_stale, or_(DagModel.fileloc.endswith(".yaml"), DagModel.fileloc.endswith(".yml")))
        .order_by(DagModel.dag_id)
    )
    for dag_id, file, source in rows:
        if is_ours(source.encode()):
            yield dag_id, str(file), source


def nearest(word: str, words: Iterable[str], what: str) -> str:
    """The end of an error message: the word that was meant, or the words that there are."""
    words = list(words)
    near = get_close_matches(word, words, 1)
    if near:
        return f"did you mean {near[0]!r}?"
    if not words:
        return f"there is no {what} at all"
    shown = ", ".join(words[:10]) + (f" and {len(words) - 10} more" if len(words) > 10 else "")
    return f"there is: {shown}"


def plans_of(source: str, file: str) -> list[WorkflowPlan]:
    """The workflows of a document that Airflow has taken; backends and sizes are not checked again."""
    from airflow_stagecoach import document

    return list(document.load(source.encode(), file, backends=_AnyBackend(), max_legs=sys.maxsize).plans)


class _AnyBackend(Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]]):
    """Every backend, with any settings."""

    def __contains__(self, name: object) -> bool:
        return True

    def __getitem__(self, name: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
        return dict

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 1  # or it would count as none given


# -- runs -----------------------------------------------------------------------------------


def list_runs(
    session: Session, dag_id: str | None, *, limit: int, state: str | None = None
) -> list[dict[str, Any]]:
    """The newest runs of one DAG, or of all documents.

    :raises NotFound: there is no such DAG
    """
    from airflow.models.dagrun import DagRun
    from sqlalchemy import select

    query = select(
        DagRun.dag_id,
        DagRun.run_id,
        DagRun.state,
        DagRun.run_type,
        DagRun.queued_at,
        DagRun.start_date,
        DagRun.end_date,
    ).order_by(DagRun.id.desc())
    ours = our_dags(session)
    if dag_id is None:
        query = query.where(DagRun.dag_id.in_(ours))
    else:
        _check_dag(session, dag_id, ours)
        query = query.where(DagRun.dag_id == dag_id)
    if state is not None:
        query = query.where(DagRun.state == state)
    return [
        {
            "dag_id": dag,
            "run_id": run,
            "state": str(state),
            "run_type": str(getattr(kind, "value", kind)),
            "queued": queued.isoformat() if queued else None,
            "start": start.isoformat() if start else None,
            "end": end.isoformat() if end else None,
            "duration": round((end - start).total_seconds(), 3) if start and end else None,
        }
        for dag, run, state, kind, queued, start, end in session.execute(query.limit(limit))
    ]


def _check_dag(session: Session, dag_id: str, ours: Iterable[str]) -> None:
    from airflow.models.dag import DagModel
    from sqlalchemy import select

    if session.scalar(select(DagModel.dag_id).where(DagModel.dag_id == dag_id)) is None:
        raise NotFound(f"there is no DAG {dag_id!r}; {nearest(dag_id, ours, 'DAG of a document')}")


def read_run(session: Session, dag_id: str, run_id: str) -> tuple[WorkflowPlan, RunFacts]:
    """One run, and the plan that it was built from.

    :param run_id: its id, or ``latest``
    :raises NotFound: there is no such DAG or run, or the DAG is no workflow of ours
    """
    from airflow.models.dag import DagModel
    from airflow.models.dag_version import DagVersion
    from airflow.models.dagrun import DagRun
    from sqlalchemy import select

    query = (
        select(DagRun, DagModel.fileloc, DagVersion.version_number)
        .join(DagModel, DagModel.dag_id == DagRun.dag_id, isouter=True)
        .join(DagVersion, DagVersion.id == DagRun.created_dag_version_id, isouter=True)
        .where(DagRun.dag_id == dag_id)
        .order_by(DagRun.id.desc())
    )
    row = session.execute(query if run_id == LATEST else query.where(DagRun.run_id == run_id)).first()
    if row is None:
        _check_dag(session, dag_id, our_dags(session))
        there = session.scalars(
            select(DagRun.run_id).where(DagRun.dag_id == dag_id).order_by(DagRun.id.desc()).limit(1000)
        ).all()
        raise NotFound(f"DAG {dag_id!r} has no run {run_id!r}; {nearest(run_id, there, 'run of it')}")
    facts = _facts(session, *row)
    return _plan(session, facts, row[0].created_dag_version_id), facts


def read_facts(session: Session, dag_id: str, run_id: str) -> RunFacts:
    """One run that is there, without its plan."""
    from airflow.models.dagrun import DagRun
    from sqlalchemy import select

    run = session.scalars(select(DagRun).filter_by(dag_id=dag_id, run_id=run_id)).one()
    return _facts(session, run, None, None)


def _facts(session: Session, run: DagRun, file: str | None, version: int | None) -> RunFacts:
    from airflow_stagecoach.cli.run_rows import read_events, read_tasks, read_xcoms
    from airflow_stagecoach.operators._records_facts import RunFacts

    facts = RunFacts(
        dag_id=run.dag_id,
        run_id=run.run_id,
        state=str(run.state),
        run_type=str(getattr(run.run_type, "value", run.run_type)),
        logical_date=run.logical_date,
        queued=run.queued_at,
        start=run.start_date,
        end=run.end_date,
        triggered_by=run.triggering_user_name or (run.triggered_by.value if run.triggered_by else None),
        document=file,
        version=version,
    )
    read_tasks(session, facts)
    read_xcoms(session, facts)
    read_events(session, facts)
    return facts


# -- the plan of a run ----------------------------------------------------------------------


def _plan(session: Session, facts: RunFacts, version_id: Any) -> WorkflowPlan:
    """The plan of the document as it was for this run: Airflow keeps its text with each version."""
    from airflow.models.dagcode import DagCode
    from sqlalchemy import select

    query = select(DagCode.source_code, DagCode.fileloc).where(DagCode.dag_id == facts.dag_id)
    row = None
    if version_id is not None:
        row = session.execute(query.where(DagCode.dag_version_id == version_id)).first()
    row = row or session.execute(query.order_by(DagCode.last_updated.desc())).first()
    if row is not None and is_ours(row.source_code.encode()):
        facts.document = row.fileloc
        for plan in plans_of(row.source_code, row.fileloc):
            if plan["dag_id"] == facts.dag_id:
                return plan
    from airflow_stagecoach.operators._records_plan import plan_of_tasks

    made = plan_of_tasks(facts)
    if made is None:
        raise NotFound(
            f"DAG {facts.dag_id!r} is no workflow of Stagecoach; "
            "`airflow tasks states-for-dag-run` shows its tasks"
        )
    return made
