"""Pools that documents name and Airflow does not have, or has too small: their tasks would wait for ever.

Only the scheduler's log tells of them. Airflow has a warning for it, which stands
at the DAG in the UI; its DAG processor, which may not ask the database while it
parses, never gives it. After parsing it may.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_stagecoach.importer.discovery import SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow.models.dagwarning import DagWarning
    from sqlalchemy.orm import Session

#: Task ids that a warning names.
_NAMED = 3


def pool_warnings(dags: Iterable[Any], session: Session) -> list[DagWarning]:
    """Airflow's warning "non-existent pool" for every DAG of a document that names one.

    :param dags: serialized DAGs (``LazyDeserializedDAG``)
    :param session: of the DAG processor; asked only when a document names a pool
    """
    uses = {dag.dag_id: pools_of(dag.data) for dag in dags if str(dag.fileloc).lower().endswith(SUFFIXES)}
    if not any(uses.values()):
        return []
    from airflow.models.dagwarning import DagWarning, DagWarningType
    from airflow.models.pool import Pool
    from sqlalchemy import select

    slots = {str(name): count for name, count in session.execute(select(Pool.pool, Pool.slots)).tuples()}
    return [
        DagWarning(dag_id, DagWarningType.NONEXISTENT_POOL, message)
        for dag_id, pools in uses.items()
        if (message := complaint(pools, slots))
    ]


def pools_of(data: dict[str, Any]) -> dict[str, dict[str, int]]:
    """The pools that a serialized DAG names: pool -> task id -> slots."""
    pools: dict[str, dict[str, int]] = {}
    for task in data["dag"].get("tasks", ()):
        fields = task.get("__var", {})
        if "pool" in fields:
            pools.setdefault(fields["pool"], {})[fields["task_id"]] = fields.get("pool_slots", 1)
    return pools


def complaint(pools: dict[str, dict[str, int]], slots: dict[str, int]) -> str:
    """What is wrong with the pools of a DAG and what to do; empty when nothing is.

    :param pools: as :func:`pools_of` gives them
    :param slots: pool -> how many slots it has; -1 is any number
    """
    lines = []
    for pool, tasks in pools.items():
        most = max(tasks.values())
        if pool not in slots:
            waiting, why = list(tasks), f"there is no pool {pool!r}"
        elif 0 <= slots[pool] < most:
            waiting = [task_id for task_id, taken in tasks.items() if taken > slots[pool]]
            why = f"pool {pool!r} has {slots[pool]} slots, and not the {most} that one task takes"
        else:
            continue
        named = ", ".join(waiting[:_NAMED]) + (
            f" and {len(waiting) - _NAMED} more" if len(waiting) > _NAMED else ""
        )
        lines.append(
            f"{named} will wait for ever: {why}. Set it with `airflow pools set {pool} {most} ''`, "
            "or under Admin, Pools."
        )
    return "\n".join(lines)
