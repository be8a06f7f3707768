"""The operator that runs a stage through a backend."""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from airflow_stagecoach.backends import get_backend
from airflow_stagecoach.exceptions import StageFailed
from airflow_stagecoach.operators import _local
from airflow_stagecoach.operators._base import StageBaseOperator
from airflow_stagecoach.operators._names import folder_name
from airflow_stagecoach.operators._run import OMITTED, is_one_task
from airflow_stagecoach.operators._secrets import Hider

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_stagecoach.backends.base import Backend
    from airflow_stagecoach.engine import Hooks
    from airflow_stagecoach.engine.contract import Modules, Result, StageResult, Unit


class StageOperator(StageBaseOperator):
    """Run one stage: bash, Python, a call, or nested stages.

    Its outputs are the task's return value: a map.
    """

    _backend: Backend | None = None

    def _start(self, context: Context) -> dict[str, Any]:
        with self._fail_fast(context).guard(self._cancel):
            result = self._run_unit(context)
            (stage,) = result["stages"].values()
            return _outputs(context["ti"], stage)

    def _run_unit(self, context: Context) -> Result:
        """Run the unit on the backend; secret values are hidden in what comes back."""
        unit = self._unit(context)
        hider = Hider(unit["contexts"])
        runs_on = self.runs_on or {"type": "local"}
        self._backend = get_backend(runs_on["type"], runs_on.get("with_"))
        result: Result = hider.value(self._backend.run(unit, make_hooks(self, context, hider)))
        if result["state"] == "success" and self._is_last():
            shutil.rmtree(str(unit["workdir"]), ignore_errors=True)
        return result

    def _is_last(self) -> bool:
        """Whether no later stage of the leg uses its scratch folder."""
        return self.job is None or is_one_task(self.job) or self.position == len(self.job["stages"]) - 1

    def _cancel(self) -> None:
        if self._backend is not None:
            self._backend.cancel()

    def _unit(self, context: Context) -> Unit:
        return {
            "stages": [self._rendered_spec(context)],
            "env": [self._render_jinja(layer, context) for layer in self.env],
            "contexts": self._collect(context),
            "status": self._status(context),
            "attempt": context["ti"].try_number,
            "document_dir": self.document_dir,
            "workdir": self._workdir(context),
            "modules": self._modules(),
        }

    def _workdir(self, context: Context) -> str:
        """The scratch folder of this leg on this worker."""
        from airflow.sdk.configuration import conf

        ti = context["ti"]
        base = conf.get("stagecoach", "work_folder", fallback="") or os.path.join(
            tempfile.gettempdir(), f"stagecoach-{os.getuid()}"
        )
        parts = [ti.dag_id, ti.run_id, self.job["id"] if self.job else ti.task_id]
        if ti.map_index is not None and ti.map_index >= 0:
            parts.append(str(ti.map_index))
        return os.path.join(base, *map(folder_name, parts))

    def _modules(self) -> Modules:
        """Where ``uses:`` looks for functions: beside the document, the dags folder, configured packages."""
        from airflow.sdk.configuration import conf

        dags_folder = conf.get("core", "dags_folder", fallback="")
        packages = conf.get("stagecoach", "packages", fallback="")
        return {
            "paths": [path for path in (self.document_dir, dags_folder) if path],
            "packages": [name.strip() for name in packages.split(",") if name.strip()],
        }

    def on_kill(self) -> None:
        """Stop what runs: the task was cleared, marked, timed out or its worker shuts down."""
        self._cancel()


def make_hooks(operator: StageBaseOperator, context: Context, hider: Hider) -> Hooks:
    """What a unit asks of its surroundings: the task's log, and workflows to trigger."""
    from airflow_stagecoach.engine import Hooks
    from airflow_stagecoach.operators._trigger_run import run_workflow

    # Taken now: a branch may ask while a workflow of another branch runs.
    level = _local.session.level if _local.session is not None else 0
    levels = {"debug": 10, "info": 20, "warning": 30, "error": 40}

    def log(text: str, level: str = "info") -> None:
        text = hider.text(text)
        if _local.session is not None:
            _local.session.write(text, level)
            return
        operator.log.log(levels.get(level, 20), "%s", text)

    def trigger(dag_id: str, params: dict[str, Any], path: str) -> dict[str, Any]:
        return run_workflow(context, dag_id, params, path, level)

    return Hooks(log=log, trigger=trigger)


def _outputs(ti: Any, stage: StageResult) -> dict[str, Any]:
    """A stage result as Airflow sees it: outputs, or the exception that gives the right state."""
    if stage.get("omitted"):
        ti.xcom_push(key=OMITTED, value=stage["omitted"])
    if stage["state"] == "success":
        outputs: dict[str, Any] = stage["outputs"]
        return outputs
    if stage["state"] == "skipped":
        raise AirflowSkipException(stage["error"]["message"] if stage["error"] else "Skipped")
    error = stage["error"] or {"type": "StageFailed", "message": "The stage failed"}
    if stage["outputs"]:
        # Partial results of a nested stage stay visible: a failed task returns nothing.
        ti.xcom_push(key="return_value", value=stage["outputs"])
    if error["type"] == "AirflowFailException":
        raise AirflowFailException(error["message"])
    raise StageFailed(error["message"], error)
