"""What is measured in runs under a real Airflow: start of a task, its costs, a matrix of many legs."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING

from benchmarks import costs, legs, starts
from benchmarks.live import running_airflow

if TYPE_CHECKING:
    from collections.abc import Collection

    from benchmarks.loading import Setting
    from benchmarks.series import Series

#: In the order in which they run.
PARTS = ("legs", "starts", "costs")


@dataclass
class Runs:
    """What runs gave; a part that was not measured is empty."""

    airflow: str
    database: str
    legs: legs.Legs | None = None
    starts: list[Series] = field(default_factory=list)
    costs: list[Series] = field(default_factory=list)


def measure(setting: Setting, parts: Collection[str], *, count: int, quick: bool) -> Runs:
    """Start an Airflow, measure, and stop it.

    :param parts: some of ``PARTS``
    :param count: legs of the matrix
    """
    documents = {**legs.documents(count), **starts.documents(), **costs.documents()}
    with running_airflow(setting.folder / "running", documents, setting.say) as live:
        found = Runs(version("apache-airflow"), live.database)
        live.client.wait_for_dags([*legs.DAGS.values(), *starts.DAGS.values(), *costs.dag_ids()])
        time.sleep(3)  # until the DAG processor has settled
        if "legs" in parts:
            found.legs = legs.measure(live, count, 1 if quick else 2, setting.say)
        if "starts" in parts:
            found.starts = starts.measure(live, 1 if quick else 3, setting.say)
        if "costs" in parts:
            found.costs = costs.measure(live, 1 if quick else 3, setting.say)
    return found
