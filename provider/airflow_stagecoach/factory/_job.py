"""One job as a task group: which tasks it gets, and the edges and rules between them.

The rules (tried under Airflow's scheduler) in short:

* a job's **anchor** carries its trigger rule: a gate when there is an ``if``, a
  matrix known only at run time, or several needs of which one may be skipped;
  else a start task, else the first stage itself where that can never be skipped
  by its own doing;
* a stage runs when its anchor ran and no stage before it failed;
* a **teardown** stage runs when all other stages of its leg have ended, however
  they did; whether one of them ran it asks itself;
* a job's **result** is what followers depend on: the last stage where its state
  always tells the job's, else a task over all stages but teardowns;
* a **fallback** starts when the job that it stands in for has failed, and that job's followers depend on a
  task over both (:meth:`JobGroup._joined`);
* legs are independent, so Airflow marks a result failed as soon as one leg
  failed. Where a follower might start on a failure, the result waits for all
  legs (:meth:`JobGroup._late_result`).

Tasks added here are EmptyOperators, which the scheduler settles by itself, but
for gates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import TaskGroup

from airflow_stagecoach.factory._edges import connect
from airflow_stagecoach.factory._stage import stage_task, whole_job, with_timeout
from airflow_stagecoach.operators._run import GATE, SLOT, START, is_one_task, task_ids

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator

    from airflow_stagecoach.document.plan import JobPlan, StagePlan
    from airflow_stagecoach.factory._graph import Graph

_NF1 = "none_failed_min_one_success"

#: Rules that pass a failure on to whoever comes after, so that it reaches the end of the run.
PASS_FAILURE_ON = frozenset({"all_success", "none_failed", _NF1})

#: Kinds that are skipped by their ``if`` only, never by what they do.
_NEVER_SKIP = frozenset({"empty", "bash", "image", "raise", "virtual_python"})


def may_skip(stage: StagePlan) -> bool:
    """Whether a stage that starts may end skipped."""
    spec = stage["spec"]
    return "if" in spec or spec["kind"] not in _NEVER_SKIP


def likely_skips(stage: StagePlan) -> bool:
    """The same for what the document shows: Python code can be skipped only by raising a skip."""
    spec = stage["spec"]
    if "if" not in spec and spec["kind"] == "python":
        return "Skip" in spec["run"]
    return may_skip(stage)


class JobGroup:
    """Builds the task group of one job."""

    def __init__(self, graph: Graph, job: JobPlan) -> None:
        self.graph = graph
        self.job = job
        self.strategy = job.get("strategy")
        self.main = job.get("fallback_of")
        self.needs = [graph.results[name] for name in job.get("needs", ()) if name != self.main]
        self.rule = "all_done" if job.get("status_functions") else job.get("trigger_rule", "all_success")
        self.tasks = self._tasks()
        self.stages: list[BaseOperator] = []
        # Airflow's all_success is decided by what comes first, a skipped or a failed need. The gate waits
        # for all needs, so that a failure always counts.
        others = [name for name in job.get("needs", ()) if name != self.main]
        self.skip_after_skipped = self.rule == "all_success" and (
            bool(others)
            if self.main is not None
            else len(others) > 1 and any(graph.can_be_skipped(name) for name in others)
        )
        if self.skip_after_skipped:
            self.rule = "none_failed"

    @property
    def cleans_up(self) -> bool:
        """Whether the job has teardown tasks."""
        return bool(self._teardowns())

    def build(self) -> BaseOperator:
        """Make the group's tasks.

        :return: the task that followers depend on
        """
        job = self.job
        name = job.get("name")
        with TaskGroup(
            job["id"], group_display_name=name or job["id"], tooltip=job.get("desc", "").split("\n")[0]
        ):
            if self.main is not None:
                self.needs.insert(0, self._failed(self.graph.results[self.main]))
            anchor = self._anchor()
            self.setup = self._setup(anchor)
            if self.strategy is None:
                self._chain(anchor, matrix=None)
                result = self._plain_result()
            else:
                self._legs(anchor)
                result = self._late_result() if job["id"] in self.graph.late else self._result(self.stages)
            if job.get("continue_on_error"):
                result = self._tolerated(result, anchor)
            if self.main is not None:
                self.graph.results[self.main] = self._joined(self.graph.results[self.main], result)
        return result

    # -- before the stages ------------------------------------------------------------------

    def _anchor(self) -> BaseOperator | None:
        job = self.job
        strategy: Any = self.strategy or {}
        computed = "matrix" in strategy or isinstance(strategy.get("max_parallel"), str)
        if "condition" in job or computed or self.skip_after_skipped or self.main is not None:
            from airflow_stagecoach.operators.gate import GateOperator

            anchor: BaseOperator = GateOperator(
                task_id=GATE,
                task_display_name=self._gate_name(computed=computed),
                skip_after_skipped=self.skip_after_skipped,
                workflow=self.graph.workflow,
                job=job,
                trigger_rule=self.rule,
                retries=0,
                **self._gate_priority(),
            )
        elif not self.needs or self._first_stage_is_anchor():
            return None
        else:
            anchor = EmptyOperator(task_id=START, task_display_name="start", trigger_rule=self.rule)
        connect(self.needs, anchor)
        return anchor

    def _gate_name(self, *, computed: bool) -> str:
        if "condition" in self.job:
            return "if"
        return "matrix" if computed else "needs" if self.main is None else "fallback"

    def _failed(self, main: BaseOperator) -> BaseOperator:
        """Whether the job before a fallback failed, so that no worker is needed where it did not.

        Airflow's ``all_failed`` holds also where that job was never tried, because a need of it failed: the
        gate looks.
        """
        failed = EmptyOperator(
            task_id="__failed__", task_display_name="job failed", trigger_rule="all_failed"
        )
        connect([main], failed)
        return failed

    def _joined(self, main: BaseOperator, result: BaseOperator) -> BaseOperator:
        """What followers of the job before a fallback depend on: it succeeded, or the fallback did.

        ``one_success`` is skipped only where both were, and fails only when both have ended.
        """
        joined = EmptyOperator(
            task_id="__either__", task_display_name="job or fallback", trigger_rule="one_success"
        )
        connect([main, result], joined)
        return joined

    def _first_stage_is_anchor(self) -> bool:
        """Whether the first stage can carry the job's trigger rule.

        A skip of its own doing must not look like one of the rule to the stages after it, and what
        ``continue-on-error`` tolerates must not be what never started.
        """
        if self.strategy is not None or self.job.get("continue_on_error") or self._teardowns():
            return False
        return len(self.tasks) == 1 or not may_skip(self.tasks[0][1])

    def _gate_priority(self) -> dict[str, Any]:
        """A gate is as urgent as the most urgent stage that waits for it."""
        priorities = [stage["priority"] for stage in self.job["stages"] if "priority" in stage]
        return {"priority_weight": max(priorities), "weight_rule": "absolute"} if priorities else {}

    def _setup(self, anchor: BaseOperator | None) -> BaseOperator | None:
        """What the teardowns tear down: that the job was entered.

        With it the scheduler itself settles the teardowns of a job that does not run. In a group mapped over
        an XCom it does so anyway.
        """
        if anchor is None or self._is_dynamic() or not self._teardowns():
            return None
        setup = EmptyOperator(task_id="__setup__", task_display_name="entered", trigger_rule="all_success")
        setup.is_setup = True
        connect([anchor], setup)
        return setup

    # -- stages -----------------------------------------------------------------------------

    def _legs(self, anchor: BaseOperator | None) -> None:
        from airflow.sdk.definitions._internal.expandinput import DictOfListsExpandInput, MappedArgument
        from airflow.sdk.definitions.taskgroup import MappedTaskGroup

        strategy: Any = self.strategy
        gate: Any = anchor
        legs = strategy.get("legs") if "legs" in strategy else gate.output
        mapped = DictOfListsExpandInput({"matrix": legs})
        # The inner group adds nothing to task ids: a stage is `job.stage` with or without a matrix.
        name = f"matrix: {', '.join(strategy['axes'])}" if strategy["axes"] else "matrix"
        with MappedTaskGroup("legs", group_display_name=name, prefix_group_id=False, expand_input=mapped):
            self._chain(anchor, matrix=MappedArgument(input=mapped, key="matrix"))

    def _chain(self, anchor: BaseOperator | None, matrix: Any) -> None:
        """The stages one after the other, with the slot before the first where legs are limited."""
        dynamic = self._is_dynamic()
        # A stage after a skipped anchor must not run, one after a skipped stage must. In a group
        # mapped over an XCom Airflow itself skips the stages with the gate, and a "fast" rule
        # such as NF1 would stop legs that are not expanded yet.
        rule = _NF1 if (anchor is not None or self.needs) and not dynamic else "none_failed"
        always: list[BaseOperator] = [] if anchor is None or dynamic else [anchor]
        before: list[BaseOperator] = [anchor] if anchor is not None and dynamic else []
        if self.strategy is not None and "max_parallel" in self.strategy:
            slot = self._slot(matrix, anchor, rule)
            connect([*always, *before], slot)
            before = [slot]
        for number, (position, stage) in enumerate(self.tasks):
            judging = number > 0 and judges(stage)
            upstream = list({task.task_id: task for task in (*always, *before)}.values())
            if upstream:
                task = self._stage(stage, position, matrix, "all_done" if judging else rule)
            else:
                upstream = self.needs
                task = self._stage(stage, position, matrix, self.rule)
                if self.needs:
                    always = [task]  # it is the anchor of the stages after it
            connect(upstream, task)
            # A stage that runs after a failure does not tell whether there was one.
            before = [*before, task] if judging else [task]
            self.stages.append(task)
        ended = list(self.stages)
        for position, stage in self._teardowns():
            task = self._stage(stage, position, matrix, "all_done_setup_success")
            connect([*ended, *((self.setup,) if self.setup is not None else ())], task)
            ended.append(task)

    def _is_dynamic(self) -> bool:
        """Whether the legs are known only at run time."""
        return self.strategy is not None and "matrix" in self.strategy

    def _tasks(self) -> list[tuple[int, StagePlan]]:
        """What becomes a task, with its position: every stage, or with ``granularity: job`` one for all.

        Teardowns are not among them.
        """
        job = self.job
        if is_one_task(job):
            return [(0, whole_job(job, self.graph.default_timeout))]
        return [
            (position, with_timeout(stage, self.graph.default_timeout))
            for position, stage in enumerate(job["stages"])
            if not stage.get("teardown")
        ]

    def _teardowns(self) -> list[tuple[int, StagePlan]]:
        """Stages that clean up, with their positions. With ``granularity: job`` the engine runs them."""
        if is_one_task(self.job):
            return []
        return [
            (position, with_timeout(stage, self.graph.default_timeout))
            for position, stage in enumerate(self.job["stages"])
            if stage.get("teardown")
        ]

    def _slot(self, matrix: Any, anchor: BaseOperator | None, rule: str) -> BaseOperator:
        from airflow_stagecoach.operators.slot import SlotOperator

        limit = self.strategy.get("max_parallel") if self.strategy is not None else None
        prefix = self.job["id"]
        return SlotOperator(
            task_id=f"{prefix}.{SLOT}",
            task_display_name="slot",
            task_ids=[f"{prefix}.{name}" for name in task_ids(self.job)],
            limit=limit if isinstance(limit, int) else None,
            gate=None if isinstance(limit, int) or anchor is None else anchor.task_id,
            matrix=matrix,
            map_index_template="{{ task.leg_name }}",
            trigger_rule=rule,
        )

    def _stage(self, stage: StagePlan, position: int, matrix: Any, rule: str) -> BaseOperator:
        return stage_task(self.graph.workflow, self.job, stage, position=position, matrix=matrix, rule=rule)

    # -- after the stages -------------------------------------------------------------------

    def _plain_result(self) -> BaseOperator:
        stages = [stage for _, stage in self.tasks]
        if len(stages) == 1 or not (may_skip(stages[-1]) or any(map(judges, stages))):
            return self.stages[-1]
        return self._late_result() if self.job["id"] in self.graph.late else self._result(self.stages)

    def _result(self, over: list[BaseOperator], task_id: str = "__result__") -> BaseOperator:
        result = EmptyOperator(task_id=task_id, task_display_name=task_id.strip("_"), trigger_rule=_NF1)
        connect(over, result)
        return result

    def _late_result(self) -> BaseOperator:
        """The result of a matrix job, told only when every leg has ended.

        ``one_success`` is the one rule that fails late: ``__settled__`` is always
        skipped, as soon as all legs are done, so the result waits for it and then
        is what the verdict was.
        """
        verdict = self._result(self.stages, "__verdict__")
        ready = EmptyOperator(task_id="__ready__", task_display_name="all legs done", trigger_rule="all_done")
        connect(self.stages, ready)
        settled = EmptyOperator(task_id="__settled__", task_display_name="settled", trigger_rule="all_failed")
        connect([ready], settled)
        result = EmptyOperator(task_id="__result__", task_display_name="result", trigger_rule="one_success")
        connect([verdict, settled], result)
        return result

    def _tolerated(self, result: BaseOperator, anchor: BaseOperator | None) -> BaseOperator:
        """``continue-on-error``: a failure counts as success, and only a failure."""
        tolerated = EmptyOperator(
            task_id="__tolerated__", task_display_name="continue on error", trigger_rule="none_skipped"
        )
        connect([result], tolerated)
        if anchor is None:
            return tolerated
        end = EmptyOperator(task_id="__end__", task_display_name="end", trigger_rule="all_success")
        connect([anchor, tolerated], end)
        return end


def judges(stage: StagePlan) -> bool:
    """Whether a stage's ``if`` judges how the earlier stages ended."""
    from airflow_stagecoach.expressions import status_functions

    condition = stage["spec"].get("if")
    return isinstance(condition, str) and bool(status_functions(condition))
