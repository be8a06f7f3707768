"""To whom something at a backend belongs: what its labels say, and what a sweep asks.

A worker that dies leaves its container, or the volume of its leg. Each carries the identity of its
task as a label, so that anybody who can read Airflow's database can tell later whether somebody
still needs it.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_stagecoach.engine.contract import Identity

#: Label of what is found again by its leg, and label of the identity, as JSON.
LEG, OWNER = "stagecoach.leg", "stagecoach.owner"

#: Label of what shall stay, because the document says so.
KEEP = "stagecoach.keep"


class Leftover(NamedTuple):
    """Something at a backend that a task made.

    :ivar kind: what it is there: ``container``, ``volume``
    :ivar identity: of the task; of what a leg shares: of the task that made it
    :ivar shared: whether it belongs to the leg, so that other tasks of the run may need it
    """

    kind: str
    id: str
    name: str
    identity: Identity
    shared: bool


def leg_key(identity: Identity) -> str:
    """A short text that all stages of this leg of this run have in common, and nothing else has."""
    job = identity["task_id"].partition(".")[0]
    place = "\0".join((identity["dag_id"], identity["run_id"], job, str(identity["map_index"])))
    return hashlib.sha256(f"leg\0{place}".encode()).hexdigest()[:20]


def owner_labels(identity: Identity) -> dict[str, str]:
    """The label by which :func:`owner` knows the task again."""
    return {OWNER: json.dumps(identity, ensure_ascii=False, sort_keys=True)}


def owner(labels: Mapping[str, str] | None) -> Identity | None:
    """The task that labels name, ``None`` when they name none."""
    try:
        found: Any = json.loads((labels or {})[OWNER])
        identity: Identity = {
            "dag_id": str(found["dag_id"]),
            "run_id": str(found["run_id"]),
            "task_id": str(found["task_id"]),
            "map_index": int(found["map_index"]),
            "try_number": int(found["try_number"]),
        }
    except (KeyError, TypeError, ValueError):
        return None
    return identity
