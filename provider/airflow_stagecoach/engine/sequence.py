"""A list of stages, run in order."""

from __future__ import annotations

import contextlib
import datetime
from typing import TYPE_CHECKING, Any, Dict, Iterable, List, Mapping, Sequence, Tuple

from airflow_stagecoach import expressions
from airflow_stagecoach.engine.control import Reprieve
from airflow_stagecoach.engine.errors import Cancelled, Interrupted, StageError
from airflow_stagecoach.engine.failures import error_of
from airflow_stagecoach.engine.frame import STATUS
from airflow_stagecoach.engine.stage import earlier_record, run_stage

if TYPE_CHECKING:
    from airflow_stagecoach.engine.contract import StageResult
    from airflow_stagecoach.engine.frame import Frame

    #: A stage and its place in the document's list, from 1.
    _Numbered = Tuple[int, Mapping[str, Any]]

#: What the status functions say before the first stage.
UNTROUBLED = {"success": True, "failure": False, "cancelled": False}

_FAILED = {"success": False, "failure": True, "cancelled": False}

#: How long teardowns may go on after everything was cancelled or timed out, in seconds.
TEARDOWN_GRACE = 10.0


def run_stages(
    stages: Sequence[Mapping[str, Any]],
    frame: Frame,
    results: Dict[str, StageResult],
    status: Mapping[str, bool] = UNTROUBLED,
) -> str:
    """Run stages one after another.

    A skipped stage does not stop the next one. After a failed one only those run
    whose ``if`` calls a status function; the others become ``upstream_failed``.

    Stages with ``teardown`` run after all others, however those ended: also after a cancel or a timeout,
    then within :data:`TEARDOWN_GRACE` seconds. They run when any of the others did. As in Airflow, the
    failure of a teardown is its own: it does not change how the list ended. Where all stages
    are teardowns, they are stages like others.

    :param stages: their specs
    :param frame: where they stand; each sees what its contexts hold, and the stages before it
    :param results: filled in, by evaluated id, in order; also when the list is interrupted
    :param status: what the status functions say to the first stage
    :return: the state of the list, see :func:`rolled_up`
    :raises Interrupted: the list was stopped; the results tell where
    """
    numbered = list(enumerate(stages, 1))
    normal = [(position, spec) for position, spec in numbered if not spec.get("teardown")]
    teardowns = [(position, spec) for position, spec in numbered if spec.get("teardown")]
    sequence = _Sequence(frame, results, status, several=len(stages) > 1)
    if not (normal and teardowns):
        return sequence.run(numbered)
    try:
        state = sequence.run(normal)
    except BaseException as reason:
        sequence.tear_down(teardowns, reason)
        raise
    sequence.tear_down(teardowns)
    frame.scope.check()
    return state


class _Sequence:
    def __init__(
        self,
        frame: Frame,
        results: Dict[str, StageResult],
        status: Mapping[str, bool],
        *,
        several: bool,
    ) -> None:
        self._several = several
        self._frame = frame
        self._results = results
        self._status = status
        self._known = dict(frame.contexts.get("stages") or {})
        #: Stage -> its outputs that cannot be stored. A stage that is alone has nobody to use them.
        self._live: Dict[str, Dict[str, Any]] = {}

    def run(self, stages: Sequence[_Numbered]) -> str:
        failed = False
        states: List[str] = []
        for at, (position, spec) in enumerate(stages):
            now = dict(self._status) if not failed else _FAILED
            stage_id, result, here = self._begin(position, spec, now)
            if here is not None:
                if failed and not expressions.status_functions(spec.get("if", True)):
                    result["state"], result["outcome"] = "upstream_failed", "skipped"
                else:
                    self._run_one(stages[at + 1 :], spec, here, stage_id, result)
            self._end(stage_id, result)
            states.append(result["state"])
            failed = failed or result["state"] == "failed"
        return rolled_up(states)

    def tear_down(self, stages: Sequence[_Numbered], reason: BaseException | None = None) -> None:
        """Run teardowns; what they raise stays here."""
        started = any(result["state"] in ("success", "failed") for result in self._results.values())
        scope = Reprieve(self._frame.scope, TEARDOWN_GRACE)
        outer = self._frame
        failed = any(result["state"] == "failed" for result in self._results.values())
        now = {"success": not failed, "failure": failed, "cancelled": isinstance(reason, Cancelled)}
        for position, spec in stages:
            self._frame = outer._replace(scope=scope)
            stage_id, result, here = self._begin(position, spec, now)
            if here is not None and not started:
                outer.lane.log("Skipped: no stage ran that it could tear down")
                result["state"] = result["outcome"] = "skipped"
            elif here is not None:
                with contextlib.suppress(Interrupted):  # Its result tells.
                    run_stage(spec, here, stage_id, result)
                if result["state"] == "failed":
                    outer.lane.log(
                        f"The teardown {stage_id} failed; how the job ended stays as it is", "warning"
                    )
            self._end(stage_id, result)
        self._frame = outer

    def _begin(
        self, position: int, spec: Mapping[str, Any], status: Mapping[str, bool]
    ) -> Tuple[str, StageResult, Frame | None]:
        """Id, result and frame of the next stage; no frame when it has no proper id and thereby failed."""
        contexts = {**self._frame.contexts, "stages": dict(self._known), STATUS: dict(status)}
        result = _new_result()
        try:
            stage_id = _stage_id(spec, position, contexts, self._results)
        except (expressions.ExpressionError, StageError) as error:
            stage_id = _free_name(str(spec.get("id") or f"stage-{position}"), self._results)
            self._results[stage_id] = result
            result["error"] = described = error_of(error)
            self._frame.lane.log(f"id: {described['message']}", "error")
            return stage_id, result, None
        self._results[stage_id] = result
        live = self._live if self._several else None
        return stage_id, result, self._frame._replace(contexts=contexts, live=live)

    def _run_one(
        self,
        left: Sequence[_Numbered],
        spec: Mapping[str, Any],
        frame: Frame,
        stage_id: str,
        result: StageResult,
    ) -> None:
        try:
            run_stage(spec, frame, stage_id, result)
        except BaseException as reason:
            self._end(stage_id, result)
            outcome = "cancelled" if isinstance(reason, Cancelled) else "skipped"
            for position, later in left:
                name = _free_name(str(later.get("id") or f"stage-{position}"), self._results)
                self._results[name] = _new_result()
                self._results[name].update({"state": "upstream_failed", "outcome": outcome})
            raise

    def _end(self, stage_id: str, result: StageResult) -> None:
        result["end"] = _now()
        self._known[stage_id] = earlier_record(result, self._live.pop(stage_id, {}))


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
