"""What a stage knows about the place where it stands, and what its kind works with."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, NamedTuple, Tuple

from airflow_stagecoach import expressions
from airflow_stagecoach.engine.errors import StageError
from airflow_stagecoach.engine.failures import traceback_text
from airflow_stagecoach.engine.usage import MetricError, Usage, parse_metric

if TYPE_CHECKING:
    from airflow_stagecoach.engine.call_modules import ModuleCache
    from airflow_stagecoach.engine.control import Scope
    from airflow_stagecoach.engine.hooks import Hooks
    from airflow_stagecoach.engine.log_groups import Lane

#: The key in the contexts by which ``success()`` and its kin learn how earlier stages ended.
STATUS = "__status__"


class Place(NamedTuple):
    """What is the same for every stage of a unit."""

    hooks: Hooks
    workdir: str
    document_dir: str | None
    modules: ModuleCache
    extras: Dict[str, Any]

    def made_workdir(self) -> str:
        """The scratch folder, which is there from now on.

        :raises StageError: whoever runs the stage may not make it
        :raises OSError: the disk is full, say
        """
        try:
            os.makedirs(self.workdir, exist_ok=True)
        except (PermissionError, FileExistsError, NotADirectoryError) as error:
            raise StageError(
                f"the scratch folder {self.workdir} cannot be made: {error.strerror} (look at `working-dir` "
                "of runs-on, and at the user as whom the stage runs)",
                type="FolderNotFound",
            ) from error
        return self.workdir


class Frame(NamedTuple):
    """Where a list of stages stands: in the unit, or inside a nested stage."""

    place: Place
    contexts: Dict[str, Any]
    env: Dict[str, str]  # evaluated, below the layers
    layers: List[Dict[str, Any]]  # not evaluated yet: of the workflow, the job, the backend
    scope: Scope
    lane: Lane
    path: Tuple[str, ...] = ()  # names the place: ("each", "foreach.1")
    titles: Tuple[str, ...] = ()  # the same for a person
    attempt: int = 1
    concurrent: bool = False  # other stages run in this process at the same time
    folded: bool = False  # each stage's log is a group
    enforce_timeouts: bool = True
    enforce_retries: bool = True
    enforce_resources: bool = False
    log_level: str | None = None  # of the stage around it
    own_log_level: bool = False  # the document sets LOG_LEVEL itself
    usage: Usage = Usage()
    #: Where stages leave outputs that only this process can hold, by stage; None: nobody comes after them.
    live: Dict[str, Dict[str, Any]] | None = None


class Work:
    """One try of one stage: what its kind needs to run.

    :param spec: the stage
    :param frame: where it stands
    :param stage_id: its evaluated id
    :param env: its whole environment
    :param scope: stops it
    :param attempt: the number of this try, from 1
    :param usage: takes what it uses, all tries together
    """

    def __init__(
        self,
        spec: Mapping[str, Any],
        frame: Frame,
        stage_id: str,
        env: Dict[str, str],
        scope: Scope,
        attempt: int,
        usage: Usage,
    ) -> None:
        self.spec = spec
        self.frame = frame
        self.id = stage_id
        self.env = env
        self.scope = scope
        self.attempt = attempt
        self.contexts: Dict[str, Any] = {**frame.contexts, "env": env}
        #: Level of the stage's own logger, None for all.
        self.log_level: str | None = (spec.get("logging") or {}).get("level") or frame.log_level
        #: What it uses and counts.
        self.usage = usage
        #: How it ends if nothing fails: ``success`` or ``skipped``.
        self.state = "success"
        #: Outputs so far. A nested stage fills it as it goes, so that a failure keeps them.
        self.outputs: Dict[str, Any] = {}
        #: Outputs that cannot be stored -> why.
        self.omitted: Dict[str, str] = {}
        #: The same outputs as they are.
        self.live: Dict[str, Any] = {}
        #: Whether the log tells already why it fails.
        self.told = False

    def log(self, text: str, level: str = "info") -> None:
        """Write to the log of this stage."""
        self.frame.lane.log(text, level)

    def output(self, line: str, level: str = "info") -> None:
        """Write a line that the stage itself put out. ``::metric name=rows value=10`` counts, too."""
        self.log(line, level)
        if not line.startswith("::metric"):
            return
        try:
            counted = parse_metric(line)
            if counted is not None:
                self.usage.count(*counted)
        except MetricError as error:
            self.log(str(error), "warning")

    def log_traceback(self, error: BaseException) -> None:
        """Write the traceback of an error to the log; its message stands there by then."""
        self.told = True
        self.log(traceback_text(error), "error")

    def render(self, key: str, default: Any = None) -> Any:
        """The evaluated value of a key of the spec.

        :raises ExpressionError: it could not be evaluated
        """
        return render(self.spec.get(key, default), self.contexts)


def render(value: Any, contexts: Mapping[str, Any]) -> Any:
    """Evaluate every template inside a value.

    :raises ExpressionError: an expression could not be evaluated
    :raises StageError: it names an output that could not be stored
    """
    try:
        return expressions.render(value, contexts)
    except expressions.ExpressionError as error:
        _explain_omitted(expressions.references(value), contexts, error)
        raise


def holds(condition: Any, contexts: Mapping[str, Any]) -> bool:
    """Evaluate an ``if`` or ``until``.

    :raises ExpressionError: it could not be evaluated, or gave no boolean
    :raises StageError: it names an output that could not be stored
    """
    try:
        return expressions.evaluate_condition(condition, contexts)
    except expressions.ExpressionError as error:
        _explain_omitted(expressions.references(condition, condition=True), contexts, error)
        raise


def _explain_omitted(paths: Any, contexts: Mapping[str, Any], error: Exception) -> None:
    """Say why ``stages.x.outputs.y`` is missing, where it is because it could not be stored."""
    stages = contexts.get("stages") or {}
    for path in paths:
        if len(path) < 4 or path[0] != "stages" or path[2] != "outputs":
            continue
        reason = (stages.get(path[1]) or {}).get("omitted", {}).get(path[3])
        if reason is not None:
            raise StageError(
                f"stages.{path[1]}.outputs.{path[3]} was not stored: {reason}", type="NotStored"
            ) from error
