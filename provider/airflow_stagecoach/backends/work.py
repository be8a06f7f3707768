"""What goes to a backend and what it tells back: plain data."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

from typing_extensions import NotRequired

if TYPE_CHECKING:
    from airflow_stagecoach.engine.contract import Error, Identity, Result, Unit

#: Longest name of a piece of work: a Kubernetes label, with room for what a pod's name gets at its end.
_LONGEST = 53


class Work(NamedTuple):
    """One try of a unit, complete: all that a backend needs to start it.

    ``key`` is the same for every try of the task, ``name`` differs. Both come from the
    task's identity alone, so that whoever looks later finds what runs.
    """

    key: str
    name: str
    identity: Identity
    unit: Unit

    @classmethod
    def of(cls, identity: Identity, unit: Unit) -> Work:
        """Name a unit after its task."""
        key = work_key(identity)
        return cls(key, work_name(identity, key), identity, unit)

    def labels(self) -> dict[str, str]:
        """What a backend writes on whatever it makes, where it can: by these it is found again."""
        return {
            "stagecoach.key": self.key,
            "stagecoach.try": str(self.identity["try_number"]),
            "stagecoach.dag": _plain(self.identity["dag_id"], 63),
            "stagecoach.task": _plain(self.identity["task_id"], 63),
        }


class Handle(TypedDict):
    """Where a piece of work is. JSON-able: triggers, records and the next try carry it.

    A backend may put more keys in it.
    """

    id: str  # what the place itself calls it: a container id, a pod's name, a job id
    name: str  # of the work
    services: NotRequired[list[str]]  # ids of containers beside it, where they are ended one by one


class Status(NamedTuple):
    """What a backend sees of a piece of work.

    ``state`` is ``pending``, ``running``, ``ended`` or ``lost`` (it is gone and left no result). ``reason``
    is one word for the classification of failures, such as ``OOMKilled`` or ``ImagePullBackOff``.
    """

    state: str
    exit_code: int | None = None
    reason: str | None = None
    message: str | None = None


class Lines(NamedTuple):
    """Some lines of output, and where the next ones begin; the position is JSON-able."""

    lines: list[str]
    position: Any


class StillRunning(Exception):  # not an error: the work goes on, whoever followed it stops
    """The work takes longer than the worker shall wait; a trigger can go on from here."""

    def __init__(self, handle: Handle, position: Any) -> None:
        super().__init__(handle["name"])
        self.handle = handle
        self.position = position


def work_key(identity: Identity) -> str:
    """A short text that only this task of this run has, on every machine and in every try."""
    place = "\0".join(
        (identity["dag_id"], identity["run_id"], identity["task_id"], str(identity["map_index"]))
    )
    return hashlib.sha256(place.encode()).hexdigest()[:20]


def work_name(identity: Identity, key: str) -> str:
    """A name for people and for DNS: ``report-load-3f2a9c51d0-t2``."""
    end = f"-{key[:10]}-t{identity['try_number']}"
    start = _plain(f"{identity['dag_id']}-{identity['task_id']}", _LONGEST - len(end))
    return f"{start or 'stage'}{end}"


def _plain(text: str, longest: int) -> str:
    """Small letters, digits and single hyphens, beginning with a letter."""
    text = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    text = re.sub(r"^[^a-z]+", "", text)
    return text[:longest].strip("-")


def is_image(unit: Unit) -> bool:
    """Whether a unit is an ``image:`` stage: its container has nothing of ours in it."""
    return [spec.get("kind") for spec in unit["stages"]] == ["image"]


def failed(unit: Unit, error: Error, outcome: str = "failure") -> Result:
    """The result of a unit that gave none itself.

    :param unit: its first stage gets the error, the others did not run
    """
    from datetime import datetime, timezone

    now = datetime.now(timezone.utc).isoformat()
    stages: dict[str, Any] = {}
    for number, spec in enumerate(unit["stages"], 1):
        first = number == 1
        stages[str(spec.get("id") or f"stage-{number}")] = {
            "state": "failed" if first else "upstream_failed",
            "outcome": outcome if first else "skipped",
            "outputs": {},
            "error": error if first else None,
            "start": now,
            "end": now,
        }
    return {"state": "failed", "outcome": outcome, "stages": stages, "peak_memory": 0}
