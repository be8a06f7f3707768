"""Runs a unit: the engine's face."""

from __future__ import annotations

import os
import shutil
import tempfile
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
        temporary = None if workdir else tempfile.mkdtemp(prefix="stagecoach-work-")
        try:
            if workdir:
                os.makedirs(workdir, exist_ok=True)
            frame = self._frame(os.path.abspath(workdir or str(temporary)))
            state = run_stages(unit["stages"], frame, results, unit.get("status") or UNTROUBLED)
            outcome = RESULTS[state]
        except Cancelled:
            state, outcome = "failed", "cancelled"
        finally:
            if temporary is not None:
                shutil.rmtree(temporary, ignore_errors=True)
        return {"state": state, "outcome": outcome, "stages": results, "peak_memory": peak_memory()}

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
        )


def peak_memory() -> int:
    """Bytes that this process, or its largest finished child, held at most; 0 where it cannot be told."""
    try:
        import resource
    except ImportError:
        return 0
    import sys

    unit = 1 if sys.platform == "darwin" else 1024
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit
    return max(_own_peak() or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, children)


def _own_peak() -> int:
    """The same for this process alone (Linux); getrusage includes what its parent held before it."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return 0
