"""What a run of a workflow has produced so far: results and outputs of jobs, legs and stages.

One place holds the rules; where states and outputs come from is a
:class:`RunData`: the task's own Airflow connection, or a database.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from airflow_stagecoach import expressions
from airflow_stagecoach.operators._results import (
    CANCELLED,
    FAILURE,
    SKIPPED,
    SUCCESS,
    job_result,
    stages_result,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow_stagecoach.document.plan import JobPlan, StagePlan, WorkflowPlan
    from airflow_stagecoach.operators._references import Path

#: Names of the tasks that Stagecoach itself adds to a job.
GATE, START, SLOT = "__gate__", "__start__", "__slot__"

#: The one task of a job with ``granularity: job``, and the XCom in which it tells of its stages.
ALL_STAGES, STAGES = "__stages__", "stages"

#: XCom of a stage some of whose outputs could not be stored: name -> reason.
OMITTED = "omitted"

#: XCom of a stage that failed: the failure report.
ERROR = "error"

#: XCom of a leg's first stage where the job has a timeout: when it started, in seconds since the epoch.
STARTED = "started"

#: XCom of a stage whose try has ended: its record.
RECORD = "record"

#: XCom of a stage that began its work and may end skipped all the same: it was stopped.
BEGAN = "began"

#: Kinds of stages that have stages inside.
NESTED = frozenset({"parallel", "foreach", "until", "case"})

#: A task's outputs are its return value.
RETURN_VALUE = "return_value"

_STATE_OF_RESULT = {FAILURE: "failed"}
_RESULT_OF_STATE = {"success": SUCCESS, "failed": FAILURE, "skipped": SKIPPED}


class RunData(Protocol):
    """Where the states and outputs of one DAG run are read."""

    def states(self, task_ids: list[str]) -> dict[str, str | None]:
        """Task states, by ``task_id`` or, for a mapped task, ``task_id_INDEX``."""

    def output(self, task_id: str, index: int | None, key: str = RETURN_VALUE) -> Any:
        """XCom of one task instance, by default its return value; ``None`` when there is none."""

    def outputs(self, task_id: str) -> list[Any]:
        """Return values of all instances of a mapped task that have one, by map index."""

    def ambient(self, paths: Iterable[Path]) -> dict[str, Any]:
        """The contexts that belong to no job: params, run, env, vars, secrets, conn."""


class WorkflowRun:
    """One run, read through its plan.

    :param workflow: the plan that the DAG was built from
    :param data: where states and outputs come from; each is read at most once
    """

    def __init__(self, workflow: WorkflowPlan, data: RunData) -> None:
        self.workflow = workflow
        self.jobs: dict[str, JobPlan] = {job["id"]: job for job in workflow["jobs"]}
        self._data = data
        self._states: dict[str, dict[str, str | None]] = {}
        self._failing: dict[str, bool] = {}
        self._legs: dict[str, list[dict[str, Any]] | None] = {}
        self._outputs: dict[tuple[str, int | None], dict[str, Any]] = {}
        self._records: dict[tuple[str, int | None], dict[str, Any] | None] = {}

    # -- structure --------------------------------------------------------------------------

    def ancestors(self, job_id: str) -> list[str]:
        """Direct and indirect needs of a job, in document order."""
        seen: set[str] = set()
        waiting = list(self.jobs[job_id].get("needs", ()))
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                waiting += self.jobs[name].get("needs", ())
        return [name for name in self.jobs if name in seen]

    def legs(self, job_id: str) -> list[dict[str, Any]] | None:
        """The matrix of a job, leg by leg; ``None`` for a job without one."""
        if job_id not in self._legs:
            strategy = self.jobs[job_id].get("strategy")
            if strategy is None:
                self._legs[job_id] = None
            elif "legs" in strategy:
                self._legs[job_id] = strategy["legs"]
            else:
                self._legs[job_id] = self._data.output(f"{job_id}.{GATE}", None) or []
        return self._legs[job_id]

    # -- states and results -----------------------------------------------------------------

    def states(self, job_id: str) -> dict[str, str | None]:
        """Task states of a job, by task id without the job's prefix."""
        if job_id not in self._states:
            names = [*task_ids(self.jobs[job_id]), GATE, START]
            found = self._data.states([f"{job_id}.{name}" for name in names])
            self._states[job_id] = {key[len(job_id) + 1 :]: state for key, state in found.items()}
        return self._states[job_id]

    def stage_state(self, job_id: str, stage: StagePlan, index: int | None) -> str | None:
        """State of one stage in one leg; before expansion a mapped task has a single row."""
        record = self._record(job_id, index)
        if record is not None:
            told = record.get(evaluated_id(stage, self._matrix(job_id, index)))
            return None if told is None else str(told["state"])
        states = self.states(job_id)
        name = ALL_STAGES if is_one_task(self.jobs[job_id]) else stage["task_id"]
        return states.get(name if index is None else f"{name}_{index}", states.get(name))

    def started(self, job_id: str, index: int | None) -> float | None:
        """When a leg of a job with a timeout started, in seconds since the epoch."""
        first = work_stages(self.jobs[job_id])[0]["task_id"]
        value = self._data.output(f"{job_id}.{first}", index, STARTED)
        return None if value is None else float(value)

    def _record(self, job_id: str, index: int | None) -> dict[str, Any] | None:
        """What the one task of a leg told of its stages; ``None`` for stages that are tasks themselves."""
        if not is_one_task(self.jobs[job_id]):
            return None
        if (job_id, index) not in self._records:
            value = self._data.output(f"{job_id}.{ALL_STAGES}", index, STAGES)
            self._records[job_id, index] = value if isinstance(value, dict) else None
        return self._records[job_id, index]

    def _matrix(self, job_id: str, index: int | None) -> Mapping[str, Any]:
        return {} if index is None else (self.legs(job_id) or [])[index]

    def anchor_state(self, job_id: str) -> str | None:
        """State of the task that carries the job's rule; success where there is none."""
        states = self.states(job_id)
        return states.get(GATE, states.get(START, SUCCESS))

    def leg_result(self, job_id: str, index: int | None) -> str | None:
        """Result of one leg; ``index`` is ``None`` for a job without a matrix. Teardowns do not count."""
        job = self.jobs[job_id]
        result = stages_result(self.stage_state(job_id, stage, index) for stage in work_stages(job))
        strategy = job.get("strategy")
        if strategy is not None and strategy.get("fail_fast") and self._was_cancelled(job_id, index, result):
            return CANCELLED
        return result

    def _was_cancelled(self, job_id: str, index: int | None, result: str | None) -> bool:
        """Whether ``fail-fast`` stopped a leg: another failed, and its last stages are skipped.

        Not by themselves: a stage whose ``if`` was false left a record that says so.
        """
        record = self._record(job_id, index)
        if record is not None and any(stage["outcome"] == CANCELLED for stage in record.values()):
            # Its one task tells of stages that were broken off; they failed, but the task is skipped.
            states = self.states(job_id)
            return states.get(f"{ALL_STAGES}_{index}", states.get(ALL_STAGES)) == "skipped"
        if result not in (SUCCESS, SKIPPED):
            return False
        stages = work_stages(self.jobs[job_id])
        skipped: list[StagePlan] = []
        for stage in reversed(stages):  # where a later stage ran, nothing was stopped
            if self.stage_state(job_id, stage, index) != "skipped":
                break
            skipped.append(stage)
        if not skipped or not self._any_failed(job_id):
            return False
        if any("if" not in stage["spec"] for stage in skipped):
            return True
        return record is None and any(not self._skipped_itself(job_id, stage, index) for stage in skipped)

    def _skipped_itself(self, job_id: str, stage: StagePlan, index: int | None) -> bool:
        """Whether a skipped stage left a record of it."""
        record = self._data.output(f"{job_id}.{stage['task_id']}", index, RECORD)
        return isinstance(record, dict) and record.get("outcome") == "skipped"

    def _any_failed(self, job_id: str) -> bool:
        """Whether a stage of any leg failed. Looked up once: every leg of the job asks."""
        if job_id not in self._failing:
            job = self.jobs[job_id]
            names = {ALL_STAGES} if is_one_task(job) else {stage["task_id"] for stage in work_stages(job)}
            self._failing[job_id] = any(
                state == "failed" and (name in names or name.rpartition("_")[0] in names)
                for name, state in self.states(job_id).items()
            )
        return self._failing[job_id]

    def leg_began(self, job_id: str, index: int | None) -> bool:
        """Whether a stage of a leg did anything, so that there is something to tear down.

        Skipped is also what was stopped by ``fail-fast``, while it worked (then it left a mark) or between
        two tries (then the first one left its error), and what skipped itself.
        """
        for stage in work_stages(self.jobs[job_id]):
            state = self.stage_state(job_id, stage, index)
            if state in ("success", "failed"):
                return True
            if state == "skipped" and self._worked(job_id, stage, index):
                return True
        return False

    def _worked(self, job_id: str, stage: StagePlan, index: int | None) -> bool:
        """Whether a skipped stage did anything before."""
        task_id = f"{job_id}.{stage['task_id']}"
        if any(self._data.output(task_id, index, key) is not None for key in (BEGAN, ERROR)):
            return True
        if stage["spec"]["kind"] in NESTED:
            return False  # nothing inside ran
        record = self._data.output(task_id, index, RECORD)
        if not isinstance(record, dict) or record.get("outcome") != "skipped":
            return False
        return record.get("reason") != "condition"

    def outcome(self, job_id: str) -> str | None:
        """The result of a job, whatever its ``continue-on-error`` says; ``None`` while it runs."""
        legs = self.legs(job_id)
        indexes: Iterable[int | None] = (None,) if legs is None else range(len(legs))
        return job_result([self.leg_result(job_id, index) for index in indexes], self.anchor_state(job_id))

    def result(self, job_id: str) -> str | None:
        """The result of a job as its followers see it."""
        outcome = self.outcome(job_id)
        if outcome == FAILURE and (self.jobs[job_id].get("continue_on_error") or self.degraded(job_id)):
            return SUCCESS
        return outcome

    def degraded(self, job_id: str) -> bool:
        """Whether a job failed, and its fallback succeeded in its place."""
        fallback = self.jobs[job_id].get("fallback")
        return fallback is not None and self.outcome(job_id) == FAILURE and self.result(fallback) == SUCCESS

    # -- outputs ----------------------------------------------------------------------------

    def stage_outputs(self, job_id: str, stage: StagePlan, index: int | None) -> dict[str, Any]:
        """Outputs of one stage in one leg; empty when it gave none."""
        record = self._record(job_id, index)
        if record is not None:
            told = record.get(evaluated_id(stage, self._matrix(job_id, index)))
            return {} if told is None else dict(told["outputs"])
        task_id = f"{job_id}.{stage['task_id']}"
        if (task_id, index) not in self._outputs:
            value = self._data.output(task_id, index)
            self._outputs[task_id, index] = value if isinstance(value, dict) else {}
        return self._outputs[task_id, index]

    def stage_error(self, job_id: str, stage: StagePlan, index: int | None) -> str | None:
        """Why a stage failed, ``None`` where it left no word (its process was killed)."""
        record = self._record(job_id, index)
        if record is not None:
            error = record.get(evaluated_id(stage, self._matrix(job_id, index)), {}).get("error")
            return None if error is None else str(error["message"])
        report = self._data.output(f"{job_id}.{stage['task_id']}", index, ERROR)
        return str(report["message"]) if isinstance(report, dict) else None

    def prefetch(self, job_id: str, count: int) -> None:
        """Read the outputs of all legs with one call a stage, where every leg gave some."""
        if is_one_task(self.jobs[job_id]):
            return
        for stage in self.jobs[job_id]["stages"]:
            task_id = f"{job_id}.{stage['task_id']}"
            values = self._data.outputs(task_id)
            # Values carry no index: only a full list can be matched with its legs.
            if len(values) == count and all(isinstance(value, dict) for value in values):
                self._outputs.update({(task_id, index): value for index, value in enumerate(values)})

    def leg_outputs(
        self, job_id: str, index: int | None, names: Iterable[str | None] = (None,)
    ) -> dict[str, Any]:
        """Outputs of one leg: the job's ``outputs:`` in that leg's contexts, or all of its stages' merged.

        :param names: the outputs wanted; ``None`` among them means all
        """
        job = self.jobs[job_id]
        declared = job.get("outputs")
        if declared is None:
            merged: dict[str, Any] = {}
            for stage in work_stages(job):
                merged |= self.stage_outputs(job_id, stage, index)
            return merged
        names = set(names)
        wanted = declared if None in names else {k: v for k, v in declared.items() if k in names}
        outputs: dict[str, Any] = {}
        for name, template in wanted.items():
            contexts = self.contexts(
                expressions.references(template), job_id, index, position=len(job["stages"])
            )
            try:
                outputs[name] = expressions.render(template, contexts)
            except expressions.ExpressionError:
                # A leg whose stage was skipped has no such output; whoever reads
                # it is told that the name is missing.
                continue
        return outputs

    def job_outputs(self, job_id: str, names: Iterable[str | None] = (None,)) -> dict[str, Any]:
        """Outputs of a job; of a matrix, each from the last successful leg, in matrix order, that has it.

        Of a job that failed and whose fallback succeeded, those of the fallback.
        """
        fallback = self.jobs[job_id].get("fallback")
        if fallback is not None and self.degraded(job_id):
            return self.job_outputs(fallback, names)
        legs = self.legs(job_id)
        if legs is None:
            return self.leg_outputs(job_id, None, names)
        names = set(names)
        merged: dict[str, Any] = {}
        for index in reversed(range(len(legs))):
            if self.leg_result(job_id, index) == SUCCESS:
                for name, value in self.leg_outputs(job_id, index, names).items():
                    if value is not None:
                        merged.setdefault(name, value)
            if None not in names and names <= merged.keys():
                break
        return merged

    def leg_values(self, job_id: str) -> list[dict[str, Any]]:
        """``needs.<job>.legs``: matrix, result and outputs of every leg, in matrix order."""
        legs = self.legs(job_id) or []
        self.prefetch(job_id, len(legs))
        return [
            {
                "matrix": leg,
                "result": self.leg_result(job_id, index),
                "outputs": self.leg_outputs(job_id, index),
            }
            for index, leg in enumerate(legs)
        ]

    # -- contexts ---------------------------------------------------------------------------

    def contexts(
        self,
        paths: Iterable[Path],
        job_id: str,
        index: int | None,
        *,
        position: int,
        matrix: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Values of every context for a place in a job.

        :param paths: what is named there; only that is read
        :param index: the leg, ``None`` for a job without a matrix
        :param position: how many stages of the job come before the place
        :param matrix: the leg's combination, where the caller has it already
        """
        paths = list(paths)
        job = self.jobs[job_id]
        named = {"needs": second_parts(paths, "needs"), "jobs": second_parts(paths, "jobs")}
        visible = {"needs": job.get("needs", ()), "jobs": self.ancestors(job_id) if named["jobs"] else ()}
        if matrix is None:
            matrix = self._matrix(job_id, index)
        contexts = {
            **self._data.ambient(paths),
            "matrix": matrix,
            "strategy": self._strategy(job, index) if second_parts(paths, "strategy") else {},
            "stages": self._stage_values(
                job_id, job["stages"][:position], index, matrix, second_parts(paths, "stages"), paths
            ),
        }
        for context, names in named.items():
            contexts[context] = {
                name: self._job_value(name, context, paths)
                for name in visible[context]
                if name in names or None in names
            }
        return contexts

    def _strategy(self, job: JobPlan, index: int | None) -> dict[str, Any]:
        """The ``strategy`` context, with GitHub Actions' names."""
        strategy = job.get("strategy")
        if strategy is None:
            return {}
        return {
            "job-index": index,
            "job-total": len(self.legs(job["id"]) or ()),
            "max-parallel": strategy.get("max_parallel"),
            "fail-fast": strategy.get("fail_fast", False),
        }

    def _stage_values(
        self,
        job_id: str,
        stages: Iterable[StagePlan],
        index: int | None,
        matrix: Mapping[str, Any],
        named: set[str | None],
        paths: list[Path],
    ) -> dict[str, Any]:
        if not named:
            return {}
        with_state = any(path[0] == "stages" and (len(path) < 3 or path[2] != "outputs") for path in paths)
        values: dict[str, Any] = {}
        for stage in stages:
            stage_id = evaluated_id(stage, matrix)
            if None in named or stage_id in named:
                value = self.stage_value(job_id, stage, index, with_state=with_state)
                missing = {
                    path[3] for path in paths if len(path) > 3 and path[:3] == ("stages", stage_id, "outputs")
                } - value["outputs"].keys()
                if missing:
                    # The engine's error then says why the output is not there.
                    task_id = f"{job_id}.{stage['task_id']}"
                    value["omitted"] = self._data.output(task_id, index, OMITTED) or {}
                values[stage_id] = value
        return values

    def stage_value(
        self, job_id: str, stage: StagePlan, index: int | None, *, with_state: bool = True
    ) -> dict[str, Any]:
        """``stages.<id>``: outputs and, where asked for, state, result and outcome."""
        value: dict[str, Any] = {"outputs": self.stage_outputs(job_id, stage, index)}
        if with_state:
            state = self.stage_state(job_id, stage, index)
            result = _RESULT_OF_STATE.get(state or "", state)
            value |= {
                "state": state,
                "result": result,
                "outcome": value["outputs"].get("outcome", result),
            }
        return value

    def _job_value(self, job_id: str, context: str, paths: list[Path]) -> dict[str, Any]:
        own = [path for path in paths if path[0] == context and (len(path) < 2 or path[1] in (job_id, None))]
        wanted = {path[2] if len(path) > 2 else None for path in own}
        everything = None in wanted
        value: dict[str, Any] = {}
        if everything or "degraded" in wanted:
            value["degraded"] = self.degraded(job_id)
        if everything or wanted & {"result", "outcome", "state"}:
            result = self.result(job_id)
            value["result"] = result
            value["outcome"] = self.outcome(job_id)
            value["state"] = _STATE_OF_RESULT.get(result or "", result)
        if everything or "outputs" in wanted:
            names = {
                path[3] if len(path) > 3 else None
                for path in own
                if len(path) < 3 or path[2] in ("outputs", None)
            }
            value["outputs"] = self.job_outputs(job_id, names)
        legs = self.legs(job_id) if everything or wanted & {"legs", "stages"} else None
        if legs is not None and (everything or "legs" in wanted):
            value["legs"] = self.leg_values(job_id)
        if legs is None and (everything or "stages" in wanted):
            value["stages"] = self._stage_values(
                job_id, self.jobs[job_id]["stages"], None, {}, {None}, [("stages", None)]
            )
        return value


def lost_worker_retries(job: JobPlan) -> int:
    """How often the one task of a leg is repeated when its worker goes: as often as each stage may be."""
    return min((stage["retry"]["max"] if "retry" in stage else 0 for stage in work_stages(job)), default=0)


def is_one_task(job: JobPlan) -> bool:
    """Whether all stages of a leg are one task."""
    return job.get("granularity") == "job"


def work_stages(job: JobPlan) -> list[StagePlan]:
    """The stages that tell a job's result and outputs: all but teardowns."""
    return [stage for stage in job["stages"] if not stage.get("teardown")]


def task_ids(job: JobPlan) -> list[str]:
    """Task ids of a job's stages, without the job's prefix."""
    return [ALL_STAGES] if is_one_task(job) else [stage["task_id"] for stage in job["stages"]]


def second_parts(paths: Iterable[Path], context: str) -> set[str | None]:
    """Names used directly below a context; ``None`` for one that is computed."""
    return {path[1] if len(path) > 1 else None for path in paths if path[0] == context}


def evaluated_id(stage: StagePlan, matrix: Mapping[str, Any]) -> str:
    """A stage's id in one leg: it may hold expressions over ``matrix``."""
    return str(expressions.render(stage["spec"]["id"], {"matrix": matrix}))
