"""One stage where the engine is not: its expressions are evaluated here, on the worker, and so is its result.

``env.X`` of expressions then knows the document's variables alone, not those of the place.
"""

from __future__ import annotations

import contextlib
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from airflow_stagecoach import expressions
from airflow_stagecoach.engine import Hooks, Runner
from airflow_stagecoach.engine.environment import add_layers
from airflow_stagecoach.engine.errors import StageError
from airflow_stagecoach.engine.failures import error_of, text_of_error
from airflow_stagecoach.engine.frame import STATUS, render
from airflow_stagecoach.engine.sequence import UNTROUBLED
from airflow_stagecoach.engine.stage import condition_holds
from airflow_stagecoach.engine.usage import MetricError, parse_metric
from airflow_stagecoach.engine.values import storable_outputs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_stagecoach.engine.contract import Error, Result, StageResult, Unit
    from airflow_stagecoach.engine.frame import Frame
    from airflow_stagecoach.engine.usage import Usage

#: What goes wrong with the document's own values.
FAULTS = (expressions.ExpressionError, StageError)


class Evaluation(Runner):
    """The engine's values for a stage that runs elsewhere: nothing of this process's environment.

    :param unit: a unit of one stage
    :param folder: where our files lie there; the document's folder is ``document`` in it
    """

    def __init__(self, unit: Unit, folder: str) -> None:
        super().__init__(unit, Hooks(log=lambda text, level: None))
        (self.spec,) = unit["stages"]
        frame = self._frame(folder)
        contexts = {**frame.contexts, STATUS: unit.get("status") or UNTROUBLED}
        self.frame: Frame = frame._replace(env={"WORKFLOW_DIR": f"{folder}/document"}, contexts=contexts)

    def is_wanted(self) -> bool:
        """Whether the stage's ``if`` lets it run.

        :raises StageError: it cannot be evaluated
        """
        with naming("if"):
            return condition_holds(self.spec, self.frame)

    def env(self) -> dict[str, str]:
        """The stage's environment, of all layers of the document.

        :raises ExpressionError, StageError: a value is wrong
        """
        frame = self.frame
        layers = [*frame.layers, self.spec.get("env") or {}]
        return add_layers(frame.env, layers, lambda value, env: render(value, {**frame.contexts, "env": env}))

    def contexts(self, **more: Any) -> dict[str, Any]:
        """What the stage's own values see.

        :param more: ``env``, ``outputs``
        """
        return {**self.frame.contexts, **more}

    def outputs(self, raw: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
        """Outputs with what the stage's ``outputs:`` adds; and those that cannot be stored, with why.

        :raises ExpressionError, StageError: a value is wrong
        """
        declared = self.spec.get("outputs")
        if not declared:
            return storable_outputs(raw)
        contexts = self.contexts(env=self.env(), outputs=raw)
        values = {}
        for name, value in declared.items():
            with naming(f"outputs: {name}"):
                values[name] = render(value, contexts)
        return storable_outputs(raw | values)


@contextlib.contextmanager
def naming(key: str) -> Iterator[None]:
    """Name the key in what is wrong with its value, as the engine does."""
    try:
        yield
    except FAULTS as error:
        type_ = getattr(error, "type", type(error).__name__)
        raise StageError(f"{key}: {text_of_error(error)}", type=type_) from error


def count(usage: Usage, line: str) -> None:
    """Count a line ``::metric name=rows value=10``; what is none, or a wrong one, is passed over."""
    if line.startswith("::metric"):
        with contextlib.suppress(MetricError):
            counted = parse_metric(line)
            if counted is not None:
                usage.count(*counted)


def now() -> str:
    """The moment, as results have it."""
    return datetime.now(timezone.utc).isoformat()


def new_result(began: str, ended: str) -> StageResult:
    """The result of a stage that went well so far."""
    return {
        "state": "success",
        "outcome": "success",
        "outputs": {},
        "error": None,
        "start": began,
        "end": ended,
    }


def fail(spec: Mapping[str, Any], stage: StageResult, error: Error) -> None:
    """Write a failure into the result of a stage, or with continue-on-error a success that tells of it."""
    stage["outcome"], stage["error"] = "failure", error
    if spec.get("continue_on_error"):
        stage["outputs"] = {"outcome": "failure"}
    else:
        stage["state"] = "failed"


def skipped(unit: Unit) -> Result:
    """The result of a stage whose ``if`` is false."""
    stage = new_result(now(), now())
    stage["state"] = stage["outcome"] = "skipped"
    return whole(unit, stage)


def refused(unit: Unit, error: Exception) -> Result:
    """The result of a stage that does not run at all, because the document is wrong."""
    stage = new_result(now(), now())
    fail(unit["stages"][0], stage, error_of(error))
    return whole(unit, stage)


def whole(unit: Unit, stage: StageResult) -> Result:
    """The result of a unit, of that of its one stage."""
    (spec,) = unit["stages"]
    name = str(
        expressions.render(spec.get("id") or "stage-1", {"matrix": {}, **(unit.get("contexts") or {})})
    )
    outcome = {"success": "success", "skipped": "skipped"}.get(stage["state"], "failure")
    if stage["outcome"] == "cancelled":
        outcome = "cancelled"
    return {"state": stage["state"], "outcome": outcome, "stages": {name: stage}, "peak_memory": 0}
