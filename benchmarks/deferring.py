"""Many containers that last longer than their workers wait for them: what they take while they run."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from benchmarks.live import machine_cpu

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.live import Live

DAG_ID = "deferring_stagecoach"

STAGES = 50

#: Tasks that the executor runs at the same time.
SLOTS = 4

#: Seconds for which all containers run together, and are watched.
TOGETHER = 60.0

_YAML = """\
deferring_stagecoach:
  type: Workflow
  jobs:
    wait:
      runs-on: {type: docker, with: SETTINGS}
      strategy: {matrix: {number: NUMBERS}}
      stages:
        - {name: Wait, id: wait, bash: "until test -e /gate/open; do sleep 1; done"}
"""


@dataclass
class Deferred:
    """What was found; times are seconds.

    :ivar until_deferred: from the start of the run until every stage waited in the triggerer
    :ivar slots: the most slots of the pool that tasks had meanwhile, the deferred ones aside
    :ivar processes: the most processes of tasks at the same time
    :ivar triggerer: processor time of it and its triggers for each second
    :ivar machine: that of everything on the machine, for each second
    :ivar until_finished: from the end of the containers to the end of the run
    :ivar seconds: of the whole run
    :ivar by_hand: for which operators that do not defer would have had all slots, at the least
    """

    stages: int
    together: float
    until_deferred: float
    slots: int
    processes: int
    triggerer: float
    machine: float
    until_finished: float
    seconds: float
    by_hand: float


def documents(url: str, image: str, gate: Path, stages: int) -> dict[str, str]:
    """Give the file of the DAG.

    :param gate: a folder; the containers end when there is a file ``open`` in it
    """
    settings = {"image": image, "host": url, "volumes": [f"{gate}:/gate:ro"]}
    text = _YAML.replace("SETTINGS", json.dumps(settings)).replace("NUMBERS", json.dumps(list(range(stages))))
    return {"deferring.yaml": text}


def measure(live: Live, gate: Path, stages: int, together: float, say: Callable[[str], None]) -> Deferred:
    """Run it once: wait until all stages are deferred, watch them, let them end.

    :param gate: the folder that :func:`documents` got
    """
    say(f"{stages} stages in containers, with {SLOTS} slots")
    live.new_workers(SLOTS)
    began = time.monotonic()
    run = live.client.start(DAG_ID)
    deadline = began + 120 + 30 * stages / SLOTS
    while (pool := live.client.pool())["deferred_slots"] < stages:
        if time.monotonic() > deadline:
            raise TimeoutError(f"not every stage was deferred: {pool}")
        time.sleep(0.5)
    deferred = time.monotonic()
    slots, processes = [], []
    triggerer, machine = live.cpu("triggerer", children=True), machine_cpu()
    while time.monotonic() < deferred + together:
        pool = live.client.pool()
        slots.append(pool["running_slots"] + pool["queued_slots"])
        processes.append(live.count_task_processes())
        assert pool["deferred_slots"] == stages, f"a container ended too early: {pool}"
        time.sleep(1)
    watched = time.monotonic() - deferred
    triggerer, machine = live.cpu("triggerer", children=True) - triggerer, machine_cpu() - machine
    opened = time.monotonic()
    (gate / "open").touch()
    # A slot would have been taken from the start of each container to its end.
    taken = _seconds_since_start(live.client.tasks(run))
    live.client.wait_for_end(run, timeout=120 + 30 * stages / SLOTS)
    ended = time.monotonic()
    say(f"  all deferred after {deferred - began:.0f} s, ended after {ended - began:.0f} s")
    return Deferred(
        stages=stages,
        together=watched,
        until_deferred=deferred - began,
        slots=max(slots),
        processes=max(processes),
        triggerer=triggerer / watched,
        machine=machine / watched,
        until_finished=ended - opened,
        seconds=ended - began,
        by_hand=taken / SLOTS,
    )


def _seconds_since_start(tasks: list[dict[str, Any]]) -> float:
    now = datetime.now(timezone.utc)
    starts = [one["start_date"] for one in tasks if one["state"] == "deferred"]
    return sum((now - datetime.fromisoformat(start)).total_seconds() for start in starts)
