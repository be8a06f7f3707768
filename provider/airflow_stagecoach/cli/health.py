"""The state of an Airflow, read from its database; every question is one query."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from airflow_stagecoach.cli.metadata import NotFound, database_url, open_database, our_dags

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

#: Airflow's names of its parts -> ours. Without a scheduler nothing goes on at all.
_COMPONENTS = {"SchedulerJob": "scheduler", "TriggererJob": "triggerer", "DagProcessorJob": "dag-processor"}

#: What the variables of concurrency groups begin with; see :mod:`airflow_stagecoach.triggers._group_store`.
_GROUP_PREFIX = "stagecoach/concurrency/group/"


def read_health() -> dict[str, Any]:
    """Everything that ``stagecoach status`` shows.

    :return: JSON-able; ``status`` is ``down`` without database or scheduler, ``degraded`` when there are
        other ``problems``, else ``ok``
    """
    health: dict[str, Any] = {
        "status": "down",
        "problems": [],
        "database": {"url": database_url(), "ok": False},
        "components": {},
        "pools": {},
        "missing_pools": [],
        "documents": {"files": 0, "dags": 0, "paused": 0},
        "runs": {},
        "tasks": {},
        "concurrency": [],
        "import_errors": [],
        "backends": read_backends(),
    }
    try:
        with open_database() as session:
            _read(session, health)
    except NotFound as error:
        health["problems"] = [str(error)]
        return health
    health["problems"] = _problems(health)
    if health["components"]["scheduler"]["status"] != "healthy":
        health["status"] = "down"
    else:
        health["status"] = "degraded" if health["problems"] else "ok"
    return health


def _read(session: Session, health: dict[str, Any]) -> None:
    from airflow_stagecoach.cli.pool_use import missing_pools, pools_of_dags, read_pools

    health["components"] = _read_components(session)
    health["database"]["ok"] = True
    health["pools"] = read_pools(session)
    health["missing_pools"] = missing_pools(pools_of_dags(session), health["pools"])
    dags = our_dags(session)
    health["documents"] = {
        "files": len(set(dags.values())),
        "dags": len(dags),
        "paused": _count_paused(session, set(dags)),
    }
    health["runs"], health["tasks"] = _read_states(session, set(dags))
    health["concurrency"] = _read_groups(session)
    health["import_errors"] = _read_import_errors(session)


def _problems(health: dict[str, Any]) -> list[str]:
    problems = [
        f"the {name} is {one['status']}"
        for name, one in health["components"].items()
        if one["status"] != "healthy"
    ]
    problems += [
        f"pool {name!r} is missing or too small, see `stagecoach pools`" for name in health["missing_pools"]
    ]
    count = len(health["import_errors"])
    if count:
        problems.append(f"{count} document{'s have' if count > 1 else ' has'} errors")
    problems += [
        f"backend {name}: {one['message']}" for name, one in health["backends"].items() if not one["ok"]
    ]
    return problems


def _read_components(session: Session) -> dict[str, dict[str, Any]]:
    """The newest job of each part of Airflow; several may run, one that lives is enough."""
    from airflow.jobs.job import Job
    from sqlalchemy import func, select

    newest = (
        select(Job.job_type, func.max(Job.latest_heartbeat).label("at"))
        .where(Job.job_type.in_(_COMPONENTS))
        .group_by(Job.job_type)
        .subquery()
    )
    jobs = session.scalars(
        select(Job).join(newest, (newest.c.job_type == Job.job_type) & (newest.c.at == Job.latest_heartbeat))
    ).all()
    found: dict[str, dict[str, Any]] = {
        name: {"status": "absent", "heartbeat": None, "age": None, "hostname": None}
        for name in _COMPONENTS.values()
    }
    now = datetime.now(timezone.utc)
    for job in jobs:
        at = job.latest_heartbeat
        if at is None or job.job_type is None:
            continue
        found[_COMPONENTS[job.job_type]] = {
            "status": "healthy" if job.is_alive() else "unhealthy",
            "heartbeat": at.isoformat(),
            "age": round((now - at).total_seconds(), 3),
            "hostname": job.hostname,
        }
    return found


def _count_paused(session: Session, dags: set[str]) -> int:
    from airflow.models.dag import DagModel
    from sqlalchemy import select

    return len(dags.intersection(session.scalars(select(DagModel.dag_id).where(DagModel.is_paused))))


def _read_states(session: Session, dags: set[str]) -> tuple[dict[str, int], dict[str, int]]:
    """Unfinished runs of documents by state, and the tasks of these runs by state."""
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import func, select

    runs: dict[str, int] = {}
    tasks: dict[str, int] = {}
    active = DagRun.state.in_(("running", "queued"))
    for dag_id, state, count in session.execute(
        select(DagRun.dag_id, DagRun.state, func.count()).where(active).group_by(DagRun.dag_id, DagRun.state)
    ):
        if dag_id in dags:
            runs[str(state)] = runs.get(str(state), 0) + count
    for dag_id, state, count in session.execute(
        select(TaskInstance.dag_id, TaskInstance.state, func.count())
        .join(DagRun, (DagRun.dag_id == TaskInstance.dag_id) & (DagRun.run_id == TaskInstance.run_id))
        .where(active)
        .group_by(TaskInstance.dag_id, TaskInstance.state)
    ):
        if dag_id in dags:
            name = "none" if state is None else str(getattr(state, "value", state))
            tasks[name] = tasks.get(name, 0) + count
    return dict(sorted(runs.items())), dict(sorted(tasks.items()))


def _read_groups(session: Session) -> list[dict[str, Any]]:
    """Concurrency groups with the runs that hold them and that wait for them."""
    from airflow.models.variable import Variable
    from sqlalchemy import select

    rows = session.scalars(
        select(Variable).where(Variable.key.startswith(_GROUP_PREFIX, autoescape=True)).order_by(Variable.key)
    )
    groups: dict[str, dict[str, Any]] = {}
    for row in rows:
        try:
            owner = json.loads(row.get_val() or "")
            run = {"dag_id": owner["dag_id"], "run_id": owner["run_id"]}
            group = groups.setdefault(owner["group"], {"group": owner["group"], "held": [], "waiting": []})
        except (ValueError, KeyError, TypeError):
            continue  # made by hand, or with another Fernet key
        mark = row.key.rpartition("/")[2]
        if mark in group and run not in group[mark]:
            group[mark].append(run)
    for group in groups.values():
        group["waiting"] = [run for run in group["waiting"] if run not in group["held"]]
    return list(groups.values())


def _read_import_errors(session: Session) -> list[dict[str, Any]]:
    """YAML files that Airflow could not make a DAG of."""
    from airflow.models.errors import ParseImportError
    from sqlalchemy import or_, select

    rows = session.execute(
        select(
            ParseImportError.filename,
            ParseImportError.bundle_name,
            ParseImportError.timestamp,
            ParseImportError.stacktrace,
        )
        .where(or_(ParseImportError.filename.endswith(".yaml"), ParseImportError.filename.endswith(".yml")))
        .order_by(ParseImportError.filename)
    )
    return [
        {
            "file": filename,
            "bundle": bundle,
            "at": at.isoformat() if at is not None else None,
            "message": message or "",
        }
        for filename, bundle, at, message in rows
    ]


def read_backends() -> dict[str, dict[str, Any]]:
    """For each installed backend whether documents can use it, and why not. No place is reached out to."""
    from airflow_stagecoach.backends.listing import list_backends

    found: dict[str, dict[str, Any]] = {}
    for one in list_backends():
        # Ours come first: whoever tries to take over a type of ours harms nobody.
        found.setdefault(one["type"], {"ok": one["error"] is None, "message": one["error"]})
    return found
