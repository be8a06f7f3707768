"""A list of stages, run in order."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any, Dict, Iterable, Mapping, Sequence

from airflow_stagecoach import expressions
from airflow_stagecoach.engine.errors import Cancelled, StageError
from airflow_stagecoach.engine.failures import error_of
from airflow_stagecoach.engine.frame import STATUS
from airflow_stagecoach.engine.stage import earlier_record, run_stage

if TYPE_CHECKING:
    from airflow_stagecoach.engine.contract import StageResult
    from airflow_stagecoach.engine.frame import Frame

#: What the status functions say before the first stage.
UNTROUBLED = {"success": True, "failure": False, "cancelled": False}


def run_stages(
    stages: Sequence[Mapping[str, Any]],
    frame: Frame,
    results: Dict[str, StageResult],
    status: Mapping[str, bool] = UNTROUBLED,
) -> str:
    """Run stages one after another.

    A skipped stage does not stop the next one. After a failed one only those run
    whose ``if`` calls a status function; the others become ``upstream_failed``.

    :param stages: their specs
    :param frame: where they stand; each sees what its contexts hold, and the stages before it
    :param results: filled in, by evaluated id, in order; also when the list is interrupted
    :param status: what the status functions say to the first stage
    :return: the state of the list, see :func:`rolled_up`
    :raises Interrupted: the list was stopped; the results tell where
    """
    known = dict(frame.contexts.get("stages") or {})
    failed = False
    for position, spec in enumerate(stages, 1):
        now = dict(status) if not failed else {"success": False, "failure": True, "cancelled": False}
        contexts = {**frame.contexts, "stages": dict(known), STATUS: now}
        here = frame._replace(contexts=contexts)
        result = _new_result()
        try:
            stage_id = _stage_id(spec, position, contexts, results)
        except (expressions.ExpressionError, StageError) as error:
            stage_id = _free_name(str(spec.get("id") or f"stage-{position}"), results)
            results[stage_id] = result
            result["error"] = described = error_of(error)
            frame.lane.log(f"id: {described['message']}", "error")
        else:
            results[stage_id] = result
            if failed and not expressions.status_functions(spec.get("if", True)):
                result["state"], result["outcome"] = "upstream_failed", "skipped"
            else:
                _run_one(stages, position, spec, here, stage_id, results)
        result["end"] = _now()
        known[stage_id] = earlier_record(result)
        failed = failed or result["state"] == "failed"
    return rolled_up(result["state"] for result in results.values())


def _run_one(
    stages: Sequence[Mapping[str, Any]],
    position: int,
    spec: Mapping[str, Any],
    frame: Frame,
    stage_id: str,
    results: Dict[str, StageResult],
) -> None:
    result = results[stage_id]
    try:
        run_stage(spec, frame, stage_id, result)
    except BaseException as reason:
        result["end"] = _now()
        outcome = "cancelled" if isinstance(reason, Cancelled) else "skipped"
        for later, left in enumerate(stages[position:], position + 1):
            name = _free_name(str(left.get("id") or f"stage-{later}"), results)
            results[name] = _new_result()
            results[name].update({"state": "upstream_failed", "outcome": outcome})
        raise


def rolled_up(states: Iterable[str]) -> str:
    """The state of several: ``failed`` when one failed, ``skipped`` when all were (or there is none)."""
    seen = set(states)
    if seen & {"failed", "upstream_failed"}:
        return "failed"
    return "success" if "success" in seen else "skipped"


def _stage_id(
    spec: Mapping[str, Any], position: int, contexts: Mapping[str, Any], results: Mapping[str, Any]
) -> str:
    """The id as it is for this leg: it may hold expressions over ``matrix``."""
    stage_id = expressions.to_text(expressions.render(spec.get("id") or f"stage-{position}", contexts))
    if stage_id in results:
        raise StageError(f"two stages have the id {stage_id!r}", type="DuplicateId")
    return stage_id


def _free_name(name: str, taken: Mapping[str, Any]) -> str:
    number = 2
    free = name
    while free in taken:
        free = f"{name}-{number}"
        number += 1
    return free


def _new_result() -> StageResult:
    now = _now()
    return {"state": "failed", "outcome": "failure", "outputs": {}, "error": None, "start": now, "end": now}


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat()
