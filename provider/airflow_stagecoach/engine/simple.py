"""The kinds that need no machinery: empty, raise, trigger."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Dict

from airflow_stagecoach import expressions
from airflow_stagecoach.engine.control import interruptible
from airflow_stagecoach.engine.errors import StageError

if TYPE_CHECKING:
    from airflow_stagecoach.engine.frame import Work


def run_empty(work: Work) -> Dict[str, Any]:
    """Write ``echo`` to the log, wait ``sleep`` seconds.

    :raises StageError: ``sleep`` is no number of seconds
    """
    if "echo" in work.spec:
        work.log(expressions.to_text(work.render("echo")))
    work.scope.sleep(_seconds(work.render("sleep", 0)))
    return {}


def _seconds(value: Any) -> float:
    try:
        seconds = float("nan") if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        seconds = float("nan")
    if not (math.isfinite(seconds) and seconds >= 0):
        raise StageError("sleep: needs a number of seconds, 0 or more", type="InvalidValue")
    return seconds


def run_raise(work: Work) -> Dict[str, Any]:
    """Fail with the document's own message.

    :raises StageError: always
    """
    raise StageError(expressions.to_text(work.render("raise")), type="StageRaised")


def run_trigger(work: Work) -> Dict[str, Any]:
    """Run another workflow and hand back its outputs.

    The place inside the outer stage, e.g. ``each/foreach.eu/load``, goes with it,
    so that a repeated outer stage finds the run it had started; a repeated try of
    this very stage starts a new one (``~2``).

    :raises StageError: it failed
    """
    dag_id = expressions.to_text(work.render("trigger"))
    if not dag_id:
        raise StageError("trigger: the name of the workflow is empty", type="InvalidValue")
    params = work.render("params") or {}
    path = "/".join([*work.frame.path, work.id])
    if work.spec.get("retry") and work.frame.enforce_retries and work.attempt > 1:
        path += f"~{work.attempt}"
    with interruptible(work.scope):
        ended = work.frame.place.hooks.trigger(dag_id, params, path)
    work.outputs.update(ended.get("outputs") or {})
    if ended["state"] == "skipped":
        work.state = "skipped"
    elif ended["state"] != "success":
        raise StageError(f"the workflow {dag_id} ended {ended['state']}", type="TriggerFailed")
    return work.outputs
