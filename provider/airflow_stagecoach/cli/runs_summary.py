"""What the text and the Markdown form of a run have in common: which lines there are.

Both stay short however many legs a job has: legs that need a look come first,
the others are counted.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_stagecoach.cli.tables import duration, moment, size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: At most this many legs of a job are lines of their own, and this many failures are told in full.
MOST_LEGS, MOST_FAILURES, MOST_WAITING = 20, 20, 10

#: Legs that went well are folded; the order in which the others are shown.
_FIRST = ("failure", "upstream_failed", "cancelled", None, "skipped", "success")

#: What a stage waits for, in words.
_WAITING = {
    "slot": "waits for a slot (see `stagecoach status`)",
    "worker": "waits for a worker",
    "trigger": "deferred: waits in the triggerer",
    "person": "waits for a person to answer in the Airflow UI",
    "retry": "failed, waits for its next try",
    "reschedule": "waits for its next look",
}


@dataclass(frozen=True)
class Line:
    """A job, a leg, a stage, or several legs folded into one."""

    depth: int
    name: str
    result: str
    stages: str
    tries: str
    took: str
    reason: str = ""


def head(run: Mapping[str, Any]) -> str:
    """State, time and counts in one sentence."""
    progress = run["progress"]
    parts = [run["state"], "degraded"] if run["degraded"] else [run["state"]]
    if run["duration"] is not None:
        parts.append(f"{duration(run['duration'])}{'' if run['end'] else ' so far'}")
    parts.append(f"{progress['done']}/{progress['total']} stages done")
    parts.append(
        f"{run['tries']} {'try' if run['tries'] == 1 else 'tries'}"
        + (f", {run['failed_tries']} failed" if run["failed_tries"] else "")
    )
    group = run["concurrency"]
    if group is not None and group["state"] != "released":
        why = f" ({group['message']})" if group["message"] else ""
        parts.append(f"concurrency group: {group['state']}{why}")
    if run["failures"]:
        parts.append("failures: " + counted(run["failures"]))
    return ", ".join(parts)


def counted(counts: Mapping[str, int]) -> str:
    """``{"timeout": 2}`` -> ``2 timeout``."""
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def resources(run: Mapping[str, Any]) -> list[tuple[str, str]]:
    """CPU time, memory and metrics that stages told, as names and values."""
    found = []
    if run["cpu_seconds"] is not None:
        found.append(("cpu", duration(run["cpu_seconds"])))
    if run["peak_memory"] is not None:
        found.append(("peak memory", size(run["peak_memory"])))
    found += [(name, f"{value:g}") for name, value in run["metrics"].items()]
    return found


def lines(run: Mapping[str, Any]) -> Iterator[Line]:
    """Jobs in document order, below each its stages or its legs."""
    for job_id, job in run["jobs"].items():
        yield Line(
            0,
            job_id,
            _result(job),
            _progress(job),
            str(job["tries"]),
            duration(job["duration"]),
            _made_good(job),
        )
        if "stages" in job:
            for name, record in job["stages"].items():
                yield _stage(1, name, record)
        else:
            yield from _legs(job["legs"])


def _made_good(job: Mapping[str, Any]) -> str:
    """Why a job that failed counts as success."""
    if job["degraded"]:
        return f"fallback: {job['fallback']}"
    return "" if job["result"] == job["outcome"] else "continue-on-error"


def _legs(legs: list[dict[str, Any]]) -> Iterator[Line]:
    legs = sorted(legs, key=lambda leg: _FIRST.index(leg["result"]) if leg["result"] in _FIRST else 3)
    shown = legs if len(legs) <= MOST_LEGS else [leg for leg in legs if _is_worth_a_look(leg)][:MOST_LEGS]
    for leg in sorted(shown, key=lambda leg: int(leg["index"])):
        done = sum(record["outcome"] is not None for record in leg["stages"].values())
        yield Line(
            1,
            leg["name"],
            _result(leg),
            f"{done}/{len(leg['stages'])}",
            str(leg["tries"]),
            duration(leg["duration"]),
            _reason_of_leg(leg),
        )
    seen = {leg["index"] for leg in shown}
    rest = [leg for leg in legs if leg["index"] not in seen]
    if rest:
        results = Counter(_result(leg) for leg in rest)
        yield Line(1, f"{len(rest)} {'more ' if shown else ''}legs", counted(results), "", "", "")


def _reason_of_leg(leg: Mapping[str, Any]) -> str:
    """Of the stage that failed, else of the first that has one."""
    records = sorted(leg["stages"].values(), key=lambda record: record["outcome"] != "failure")
    return next(filter(None, map(_reason, records)), "")


def _is_worth_a_look(leg: Mapping[str, Any]) -> bool:
    """Whether a leg failed, or has begun and not ended."""
    return leg["result"] == "failure" or leg["status"] in ("retrying", "running")


def _stage(depth: int, name: str, record: Mapping[str, Any]) -> Line:
    tries = f"{record['tries']} of {record['max_tries']}" if record["max_tries"] > 1 else str(record["tries"])
    return Line(
        depth,
        name,
        record["state"] or record["status"],
        "",
        tries,
        duration(record["duration"]),
        _reason(record),
    )


def _reason(record: Mapping[str, Any]) -> str:
    if record["outcome"] == "success" and not record["reason"]:
        return ""
    parts = [record["category"], record["reason"]]
    if record["exit_code"] is not None and record["reason"] != f"exit-{record['exit_code']}":
        parts.append(f"exit code {record['exit_code']}")
    if record["by"]:
        parts.append(f"by {record['by']}")
    return ", ".join(str(part) for part in dict.fromkeys(parts) if part)


def _result(part: Mapping[str, Any]) -> str:
    """The result of a job or a leg; where it has none yet, where it stands."""
    result, outcome = part["result"], part.get("outcome", part["result"])
    if result is None:
        return str(part["status"])
    return str(result) if result == outcome else f"{result} ({outcome})"


def _progress(part: Mapping[str, Any]) -> str:
    return f"{part['progress']['done']}/{part['progress']['total']}"


# -- stages that need words -----------------------------------------------------------------


def failures(run: Mapping[str, Any]) -> tuple[list[tuple[str, str, str]], int]:
    """Failed stages: where, what sort of failure and the message; and how many more there are."""
    found = [
        (where, _sort(record), message(record))
        for where, record in stages(run)
        if record["outcome"] == "failure" or record["state"] in ("failed", "up_for_retry")
    ]
    return found[:MOST_FAILURES], max(0, len(found) - MOST_FAILURES)


def waiting(run: Mapping[str, Any]) -> tuple[list[tuple[str, str]], int]:
    """Stages that wait for something: where and for what; and how many more there are."""
    found = [
        (
            where,
            _WAITING[record["waits_for"]]
            + (f" at {moment(record['next_try'])}" if record["next_try"] else ""),
        )
        for where, record in stages(run)
        if record["waits_for"]
    ]
    return found[:MOST_WAITING], max(0, len(found) - MOST_WAITING)


def stages(run: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every stage record with its place, ``job / leg / stage``."""
    for job_id, job in run["jobs"].items():
        for name, record in job.get("stages", {}).items():
            yield f"{job_id} / {name}", record
        for leg in job.get("legs", ()):
            for name, record in leg["stages"].items():
                yield f"{job_id} / {leg['name']} / {name}", record


def message(record: Mapping[str, Any]) -> str:
    """Why a stage failed, in one text."""
    told = record["error"] or record["failure"]
    return "" if told is None else str(told["message"])


def _sort(record: Mapping[str, Any]) -> str:
    tries = f"try {record['tries']} of {record['max_tries']}" if record["max_tries"] > 1 else ""
    return ", ".join(part for part in (_reason(record), tries) if part) or str(record["state"])
