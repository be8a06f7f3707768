"""The rows of one run: its tasks with all their tries, what they told, and what was done to them.

Airflow 3.3 keeps earlier tries in a table of their own and drops their XComs
when the next one starts. From Airflow 3.4 on every try is a row of the task
instances, of which one is live, and keeps its XComs.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import Select
    from sqlalchemy.orm import Session

    from airflow_stagecoach.operators._records_facts import RunFacts, TaskFacts, Try

    #: Tries before the live row's, by task id and map index, then by number.
    Earlier = dict[tuple[str, int], dict[int, Try]]

#: What Airflow 3.4 wants to hear before it gives earlier tries too; 3.3 does not listen.
_ALL_TRIES = {"include_all_attempts": True}


def read_tasks(session: Session, facts: RunFacts) -> None:
    """Read every task instance of a run, with its tries."""
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import select

    from airflow_stagecoach.operators._records_facts import Try

    earlier: Earlier = {}
    for task_id, map_index, number, state, *rest in session.execute(_earlier_tries(facts)):
        ended = "failed" if _state(state) == "up_for_retry" else _state(state)
        earlier.setdefault((task_id, map_index), {})[number] = Try(number, ended, *rest)
    query = select(
        *_columns(TaskInstance),
        TaskInstance.max_tries,
        TaskInstance.operator,
        TaskInstance.retry_delay_override,
    ).where(TaskInstance.dag_id == facts.dag_id, TaskInstance.run_id == facts.run_id)
    for *own, max_tries, operator, delay in session.execute(query):
        task = _task(own, earlier.get((own[0], own[1]), {}), max_tries, operator, delay)
        facts.tasks.setdefault(task.task_id, {})[task.map_index] = task


def _earlier_tries(facts: RunFacts) -> Select[Any]:
    from sqlalchemy import or_, select

    rows: Any
    try:
        from airflow.models.taskinstancehistory import TaskInstanceHistory
    except ModuleNotFoundError:
        from airflow.models.taskinstance import TaskInstance

        rows = TaskInstance
        # What was superseded belongs to an expansion that a clear has replaced.
        of_this = or_(rows.archived_reason.is_(None), rows.archived_reason != "superseded")
        query = select(*_columns(rows)).where(rows.working_set.is_(None), of_this)
    else:
        rows = TaskInstanceHistory
        query = select(*_columns(rows))
    return query.where(rows.dag_id == facts.dag_id, rows.run_id == facts.run_id).execution_options(
        **_ALL_TRIES
    )


def _columns(model: Any) -> list[Any]:
    return [
        model.task_id,
        model.map_index,
        model.try_number,
        model.state,
        model.queued_dttm,
        model.start_date,
        model.end_date,
        model.hostname,
    ]


def _task(
    row: list[Any], earlier: dict[int, Try], max_tries: int, operator: str | None, delay: float | None
) -> TaskFacts:
    from airflow_stagecoach.operators._records_facts import TaskFacts, Try

    task_id, map_index, number, state, queued, start, end, hostname = row
    tries = dict(earlier)
    before = earlier.get(number - 1)
    if before is not None and before.start == start:
        # The row of the next try is a copy of the one before, until it starts.
        queued = start = None
    # A task that waits for its next try has that one among its earlier tries already.
    if number > 0 and state is not None and not (_state(state) == "up_for_retry" and earlier):
        tries.setdefault(number, Try(number, _state(state), queued, start, end, hostname or None))
    return TaskFacts(
        task_id,
        map_index,
        _state(state),
        tuple(tries[key] for key in sorted(tries)),
        max_tries,
        end,
        end + timedelta(seconds=delay) if end is not None and delay is not None else None,
        operator,
    )


def _state(value: Any) -> str | None:
    return None if value is None else str(getattr(value, "value", value))


def read_xcoms(session: Session, facts: RunFacts) -> None:
    """Read records and errors, and the legs of a matrix that only the run knows; no outputs."""
    from airflow.models.xcom import XComModel
    from sqlalchemy import and_, or_, select

    from airflow_stagecoach.operators._records import KEYS
    from airflow_stagecoach.operators._run import GATE, RETURN_VALUE

    rows = session.execute(
        select(XComModel.task_id, XComModel.map_index, XComModel.key, XComModel.value)
        .where(
            XComModel.dag_id == facts.dag_id,
            XComModel.run_id == facts.run_id,
            or_(
                XComModel.key.in_(KEYS),
                and_(XComModel.key == RETURN_VALUE, XComModel.task_id.endswith(f".{GATE}", autoescape=True)),
            ),
        )
        .order_by(XComModel.timestamp)  # of several tries the last one counts
        .execution_options(**_ALL_TRIES)
    )
    for row in rows:
        facts.xcoms[row.task_id, row.map_index, row.key] = XComModel.deserialize_value(row)


def read_events(session: Session, facts: RunFacts) -> None:
    """What people and the scheduler did to tasks of the run."""
    from airflow.models.log import Log
    from sqlalchemy import select

    from airflow_stagecoach.operators._records_facts import Event
    from airflow_stagecoach.operators._records_reasons import LOST_EVENTS, PERSON_EVENTS, STUCK_EVENT

    rows = session.execute(
        select(Log.event, Log.dttm, Log.task_id, Log.map_index, Log.owner)
        .where(
            Log.dag_id == facts.dag_id,
            Log.run_id == facts.run_id,
            Log.event.in_({*PERSON_EVENTS, *LOST_EVENTS, STUCK_EVENT}),
        )
        .order_by(Log.id)
    )
    facts.events = [
        Event(name, at, task_id, map_index, by) for name, at, task_id, map_index, by in rows if at is not None
    ]
