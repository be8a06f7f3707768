"""Runs a unit: the engine's face."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, Dict, Mapping

from airflow_stagecoach.engine.call_modules import ModuleCache
from airflow_stagecoach.engine.control import Scope
from airflow_stagecoach.engine.environment import worker_environment
from airflow_stagecoach.engine.errors import Cancelled
from airflow_stagecoach.engine.frame import Frame, Place
from airflow_stagecoach.engine.hooks import Hooks
from airflow_stagecoach.engine.log_groups import LogGroups
from airflow_stagecoach.engine.sequence import UNTROUBLED, run_stages
from airflow_stagecoach.engine.stage import RESULTS
from airflow_stagecoach.engine.usage import Usage, own_peak

if TYPE_CHECKING:
    from airflow_stagecoach.engine.contract import Result, StageResult, Unit

#: Contexts that exist even when nothing is in them.
_CONTEXTS = ("params", "matrix", "stages", "needs", "jobs", "vars", "secrets", "conn", "run", "strategy")


class Runner:
    """Runs one unit, once.

    :param unit: the work, see :mod:`airflow_stagecoach.engine.contract`
    :param hooks: where log lines go, and how workflows are triggered
    """

    def __init__(self, unit: Unit | Mapping[str, Any], hooks: Hooks | None = None) -> None:
        self._unit: Mapping[str, Any] = unit
        self._hooks = hooks or Hooks()
        self._scope = Scope()
        self._usage = Usage()

    def cancel(self) -> None:
        """Stop everything that runs; :meth:`run` then ends with the outcome ``cancelled``.

        May be called at any time, more than once, from a signal handler or another thread.
        """
        self._scope.cancel()

    def run(self) -> Result:
        """Run the unit to its end, in the calling thread.

        :return: how it ended. A failed stage is a result, not an exception.
        :raises BaseException: only what is none of the engine's business, such as Airflow's own task
            timeout or ``KeyboardInterrupt``; everything that ran has been stopped by then
        """
        unit = self._unit
        results: Dict[str, StageResult] = {}
        workdir = unit.get("workdir")
        temporary = None if workdir else _new_folder()
        try:
            # Where it cannot be made (a full disk), the stages that need it try again, and fail with why.
            with contextlib.suppress(OSError):
                os.makedirs(workdir or str(temporary), exist_ok=True)
            frame = self._frame(os.path.abspath(workdir or str(temporary)))
            state = run_stages(unit["stages"], frame, results, unit.get("status") or UNTROUBLED)
            outcome = RESULTS[state]
        except Cancelled:
            state, outcome = "failed", "cancelled"
        finally:
            if temporary is not None:
                import shutil

                shutil.rmtree(temporary, ignore_errors=True)
        peak = max(self._usage.peak_memory, own_peak())
        return {"state": state, "outcome": outcome, "stages": results, "peak_memory": peak}

    def _frame(self, workdir: str) -> Frame:
        unit = self._unit
        several = len(unit["stages"]) > 1
        document_dir = unit.get("document_dir")
        modules = unit.get("modules") or {}
        folders = [document_dir] if document_dir else []
        place = Place(
            hooks=self._hooks,
            workdir=workdir,
            document_dir=document_dir,
            modules=ModuleCache([*folders, *modules.get("paths", ())], list(modules.get("packages", ()))),
            extras=dict(unit.get("extras") or {}),
        )
        return Frame(
            place=place,
            contexts={
                **{name: {} for name in _CONTEXTS},
                "__workspace__": document_dir or workdir,  # where hashFiles() looks
                **unit.get("contexts", {}),
            },
            env=worker_environment(document_dir),
            layers=list(unit.get("env") or ()),
            scope=self._scope,
            lane=LogGroups(self._hooks).lane(),
            attempt=int(unit.get("attempt", 1)),
            folded=several,
            enforce_timeouts=unit.get("enforce_timeouts", several),
            enforce_retries=unit.get("enforce_retries", several),
            enforce_resources=unit.get("enforce_resources", False),
            log_level=unit.get("log_level"),
            usage=self._usage,
        )


def _new_folder() -> str:
    """The path of a folder that is not there yet, or made already."""
    import tempfile

    try:
        return tempfile.mkdtemp(prefix="stagecoach-work-")
    except OSError:
        import uuid

        return os.path.join(tempfile.gettempdir(), f"stagecoach-work-{uuid.uuid4().hex}")
