"""Which pools documents use, and which there are."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.orm import Session

    from airflow_stagecoach.document.plan import WorkflowPlan


class UnreadableDocument(Exception):
    """A document cannot be read or has errors."""


@dataclass
class PoolUse:
    """A pool that documents name.

    ``slots``: what the largest of its stages takes; a pool with fewer never runs that one.
    ``stages``: ``dag.job.stage``.
    """

    slots: int = 1
    stages: list[str] = field(default_factory=list)


def pools_of_plans(plans: Iterable[WorkflowPlan]) -> dict[str, PoolUse]:
    """The pools that workflows name, sorted by name."""
    uses: dict[str, PoolUse] = {}
    for plan in plans:
        for job in plan["jobs"]:
            for stage in job["stages"]:
                if "pool" in stage:
                    use = uses.setdefault(stage["pool"], PoolUse())
                    use.slots = max(use.slots, stage.get("pool_slots", 1))
                    use.stages.append(f"{plan['dag_id']}.{job['id']}.{stage['task_id']}")
    return dict(sorted(uses.items()))


def pools_of_files(files: Iterable[str]) -> dict[str, PoolUse]:
    """The pools that documents on disk name.

    :param files: documents, or folders of documents
    :raises UnreadableDocument: one is missing or has errors
    """
    from airflow_stagecoach.cli.documents import load_document
    from airflow_stagecoach.cli.validate import expand

    plans: list[WorkflowPlan] = []
    for file, explicit in expand(files):
        try:
            data = Path(file).read_bytes()
        except OSError as error:
            raise UnreadableDocument(f"{file}: cannot be read: {error.strerror or error}") from None
        loaded = load_document(data, file, explicit=explicit)
        if loaded.diagnostics:
            raise UnreadableDocument(f"{file} has errors; see `stagecoach validate {file}`")
        plans += loaded.plans
    return pools_of_plans(plans)


def pools_of_dags(session: Session) -> dict[str, PoolUse]:
    """The pools that the documents name which Airflow has loaded."""
    from airflow_stagecoach.cli.metadata import our_documents, plans_of

    plans = [
        plan
        for file, source in our_documents(session).items()
        if "pool" in source  # most documents name none, and need no second look
        for plan in plans_of(source, file)
    ]
    return pools_of_plans(plans)


def read_pools(session: Session) -> dict[str, dict[str, Any]]:
    """Airflow's pools by name, with their slots in Airflow's words; a pool without limit has total null."""
    from airflow.models.pool import Pool

    return {
        name: {key: None if value == float("inf") else value for key, value in stats.items()}
        for name, stats in sorted(Pool.slots_stats(session=session).items())
    }


def create_pool(session: Session, name: str, slots: int) -> None:
    """Make a pool."""
    from airflow.models.pool import Pool

    Pool.create_or_update_pool(
        name=name,
        slots=slots,
        description="Made by `stagecoach pools --create`",
        include_deferred=False,
        session=session,
    )


def missing_pools(uses: dict[str, PoolUse], pools: dict[str, dict[str, Any]]) -> list[str]:
    """Names of pools that are not there, or are too small for one of their stages."""
    return [name for name in uses if state_of(uses[name], pools.get(name)) != "there"]


def state_of(use: PoolUse, pool: dict[str, Any] | None) -> str:
    """``there``, ``missing`` or ``too-small``."""
    if pool is None:
        return "missing"
    return "too-small" if pool["total"] is not None and pool["total"] < use.slots else "there"
