"""The jobs of a runner in SQLite, so that a runner that was killed knows them when it is back."""

from __future__ import annotations

import sqlite3
import threading
from typing import Any, NamedTuple

#: States of a job. ``lost``: its process is gone and did not say how it ended.
QUEUED, RUNNING, ENDED, LOST = "queued", "running", "ended", "lost"

_TABLE = """
CREATE TABLE IF NOT EXISTS jobs (
    name TEXT PRIMARY KEY,
    key TEXT NOT NULL,
    state TEXT NOT NULL,
    queued REAL NOT NULL,
    started REAL,
    ended REAL,
    exit_code INTEGER,
    reason TEXT,
    message TEXT,
    stopping REAL,
    deleted INTEGER NOT NULL DEFAULT 0,
    owner TEXT NOT NULL,
    leg TEXT,
    image TEXT
)
"""

_LEGS = """
CREATE TABLE IF NOT EXISTS legs (
    key TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    keep INTEGER NOT NULL,
    used REAL NOT NULL
)
"""


class Order(NamedTuple):
    """What somebody wants to be run, beside the files."""

    name: str
    key: str  # of the task; the same for all of its tries
    labels: frozenset[str] = frozenset()  # that the runner must have
    owner: str = "{}"  # JSON with the task's identity, for whoever sweeps
    leg: str | None = None  # jobs with the same share a scratch folder
    keep: bool = False  # that folder stays until somebody removes it
    image: str | None = None  # of its container, where it names one


class Job(NamedTuple):
    """One job. Moments are seconds since the epoch."""

    name: str
    key: str  # of the task; the same for all of its tries
    state: str
    queued: float
    started: float | None = None
    ended: float | None = None
    exit_code: int | None = None
    reason: str | None = None  # why the runner stopped it, or could not start it
    message: str | None = None
    stopping: float | None = None  # since when
    deleted: int = 0  # 1: it goes as soon as it has ended
    owner: str = "{}"  # JSON
    leg: str | None = None
    image: str | None = None  # of its container; without one it is a process

    @property
    def over(self) -> bool:
        """Whether nothing more will come of it."""
        return self.state in (ENDED, LOST)


class Leg(NamedTuple):
    """What the jobs of a leg share."""

    key: str
    owner: str  # JSON with the identity of the task that came first
    keep: int  # 1: it stays until somebody removes it
    used: float  # last, in seconds since the epoch


class Store:
    """The table of jobs. Safe for threads.

    :param path: of the database, ``:memory:`` for none
    """

    def __init__(self, path: str) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30)
        self._connection.execute("PRAGMA journal_mode=WAL")
        # A job that was accepted must be there after a power cut, too.
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.execute(_TABLE)
        self._connection.execute(_LEGS)
        # A runner from before there were containers has no column for their images.
        if "image" not in {row[1] for row in self._execute("PRAGMA table_info(jobs)", ())}:
            self._connection.execute("ALTER TABLE jobs ADD COLUMN image TEXT")

    def add(self, order: Order, now: float) -> Job:
        """A new job that waits.

        :raises sqlite3.IntegrityError: the name is taken
        """
        self._execute(
            "INSERT INTO jobs (name, key, state, queued, owner, leg, image) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (order.name, order.key, QUEUED, now, order.owner, order.leg, order.image),
        )
        return Job(order.name, order.key, QUEUED, now, owner=order.owner, leg=order.leg, image=order.image)

    def get(self, name: str) -> Job | None:
        """The job of a name."""
        return next(iter(self._select("WHERE name = ?", (name,))), None)

    def of_key(self, key: str) -> list[Job]:
        """The jobs of a task, the latest first."""
        return self._select("WHERE key = ? ORDER BY queued DESC, rowid DESC", (key,))

    def all(self) -> list[Job]:
        """Every job, in the order in which they came."""
        return self._select("ORDER BY rowid")

    def in_state(self, *states: str) -> list[Job]:
        """The jobs in some states, in the order in which they came."""
        marks = ", ".join("?" * len(states))
        return self._select(f"WHERE state IN ({marks}) ORDER BY rowid", states)

    def change(self, name: str, **values: Any) -> None:
        """Write some columns of a job."""
        columns = ", ".join(f"{column} = ?" for column in values)
        self._execute(f"UPDATE jobs SET {columns} WHERE name = ?", (*values.values(), name))  # noqa: S608  # columns are ours

    def remove(self, name: str) -> None:
        """Forget a job."""
        self._execute("DELETE FROM jobs WHERE name = ?", (name,))

    def use_leg(self, order: Order, now: float) -> None:
        """Note that a leg's folder is there, and in use."""
        self._execute(
            "INSERT INTO legs (key, owner, keep, used) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (key) DO UPDATE SET used = excluded.used, keep = excluded.keep",
            (order.leg, order.owner, int(order.keep), now),
        )

    def touch_leg(self, key: str, now: float) -> None:
        """Note that a leg's folder stays for a while."""
        self._execute("UPDATE legs SET used = ? WHERE key = ?", (now, key))

    def legs(self) -> list[Leg]:
        """Every leg that has a folder."""
        return [Leg(*row) for row in self._execute("SELECT key, owner, keep, used FROM legs", ())]

    def remove_leg(self, key: str) -> None:
        """Forget a leg."""
        self._execute("DELETE FROM legs WHERE key = ?", (key,))

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._connection.close()

    def _select(self, condition: str, values: tuple[Any, ...] = ()) -> list[Job]:
        rows = self._execute(f"SELECT {', '.join(Job._fields)} FROM jobs {condition}", values)  # noqa: S608  # conditions are ours
        return [Job(*row) for row in rows]

    def _execute(self, statement: str, values: tuple[Any, ...]) -> list[Any]:
        with self._lock:
            return self._connection.execute(statement, values).fetchall()
