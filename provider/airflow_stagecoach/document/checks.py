"""What the models alone cannot see: needs, cycles, ids, the size of a matrix, and every expression."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_core import PydanticCustomError

from airflow_stagecoach import expressions
from airflow_stagecoach.document.control_checks import check_control, check_policies
from airflow_stagecoach.document.cycles import cycles
from airflow_stagecoach.document.diagnostics import did_you_mean
from airflow_stagecoach.document.fallback_checks import check_fallbacks
from airflow_stagecoach.document.fields import (
    check_id,
    has_expression,
)
from airflow_stagecoach.document.image_checks import check_images
from airflow_stagecoach.document.image_stage import ImageStage
from airflow_stagecoach.document.matrix_checks import check_matrix
from airflow_stagecoach.document.naming import stage_ids
from airflow_stagecoach.document.nested_stages import CaseStage, ForEachStage, ParallelStage, UntilStage
from airflow_stagecoach.document.oom_checks import check_on_oom
from airflow_stagecoach.document.planner import calls_status
from airflow_stagecoach.document.problems import Problem
from airflow_stagecoach.document.python_code import shell_hint, syntax_fault
from airflow_stagecoach.document.scopes import Scopes, joined, within, without_secrets, without_status
from airflow_stagecoach.document.service_checks import check_services
from airflow_stagecoach.document.simple_stages import (
    ApprovalStage,
    EmptyStage,
    PyStage,
    RaiseStage,
    TriggerStage,
    VirtualPyStage,
)
from airflow_stagecoach.document.stages import NOT_NESTED
from airflow_stagecoach.document.stored_secrets import (
    computed_name,
    may_be_fetched,
    secret_names,
    stored_secret,
)
from airflow_stagecoach.expressions import Kind, Scope

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_stagecoach.document.jobs import Job
    from airflow_stagecoach.document.notify import StageNotify
    from airflow_stagecoach.document.retry_policy import PolicyCheck
    from airflow_stagecoach.document.runs_on import BackendCheck
    from airflow_stagecoach.document.source import Path
    from airflow_stagecoach.document.stage import Stage
    from airflow_stagecoach.document.workflow import Workflow

#: Nested stages deeper than this are a mistake, and tasks of their own read better.
MAX_NESTING = 8


def check_workflow(
    workflow: Workflow,
    prefix: Path,
    *,
    max_legs: int = 1024,
    damaged: frozenset[tuple[str | int, ...]] = frozenset(),
    policies: PolicyCheck | None = None,
    backends: Mapping[str, BackendCheck] | None = None,
) -> list[Problem]:
    """Every fault of a workflow whose models are right.

    ``prefix`` is the path from the root of the document to the workflow, ``max_legs`` Airflow's
    ``max_map_length``, ``damaged`` the parts that were left out because they could not be read, ``policies``
    the check of the classes of retry policies, which imports them, ``backends`` the installed ones as for
    :func:`~airflow_stagecoach.document.load`.
    """
    check = _Check(workflow, prefix, max_legs, damaged)
    check.run()
    check_services(workflow, damaged, backends, check.add)
    check_images(workflow, damaged, backends, check.add)
    check_on_oom(workflow, damaged, backends, check.add)
    check_fallbacks(workflow, damaged, check.add)
    if policies is not None:
        check_policies(workflow, policies, check.add)
    return check.problems


class _Check:
    """The checks of one workflow."""

    def __init__(self, workflow: Workflow, prefix: Path, max_legs: int, damaged: frozenset[Any]) -> None:
        self.workflow = workflow
        self.prefix = prefix
        self.max_legs = max_legs
        self.damaged = damaged
        self.scopes = Scopes(workflow, damaged)
        self.problems: list[Problem] = []
        #: Environment variables of the place that is looked at which hold a secret.
        self.secret_env = secret_names([workflow.env])

    def run(self) -> None:
        """Note every fault."""
        self._needs()
        self.expressions(self.workflow.env, self.scopes.workflow(), ("env",))
        self._notify(self.workflow.notify, self.scopes.run(), ())
        if self.workflow.concurrency is not None:
            place: Path = ("concurrency", "group")
            group = without_secrets(self.scopes.group(), "the name of a group")
            self.expressions(self.workflow.concurrency.group, group, place, stored="the name of a group")
        check_control(self.workflow, self.damaged, self.add)
        for name, job in self.workflow.jobs.items():
            self._job(job, ("jobs", name))

    def add(
        self,
        code: str,
        message: str,
        path: Path,
        hint: str | None = None,
        *,
        on_key: bool = False,
        span: tuple[int, int] | None = None,
    ) -> None:
        """Note a fault."""
        self.problems.append(Problem(code, message, (*self.prefix, *path), hint, on_key, span))

    def raised(self, error: PydanticCustomError, path: Path) -> None:
        """Note a fault that a validator raised."""
        context = error.context or {}
        self.add(context["code"], context["message"], path, context["hint"])

    # -- jobs --------------------------------------------------------------------------------------------

    def _needs(self) -> None:
        jobs = self.workflow.jobs
        for name, job in jobs.items():
            for index, need in enumerate(job.needs or ()):
                path = ("jobs", name, "needs", index)
                if need == name:
                    self.add("needs-cycle", f"job '{name}' needs itself", path)
                elif (
                    need not in jobs and ("jobs",) not in self.damaged and ("jobs", need) not in self.damaged
                ):
                    hint = did_you_mean(need, jobs, f"the jobs are {', '.join(jobs)}")
                    self.add(
                        "unknown-need", f"job '{name}' needs '{need[:60]}', which does not exist", path, hint
                    )
        for cycle in cycles(
            {name: [n for n in job.needs or () if n in jobs and n != name] for name, job in jobs.items()}
        ):
            shown = " -> ".join([*cycle, cycle[0]])
            path = ("jobs", cycle[0], "needs", (jobs[cycle[0]].needs or [""]).index(cycle[1]))
            self.add(
                "needs-cycle", f"these jobs wait for each other: {shown}", path, "remove one of these needs"
            )

    def _job(self, job: Job, path: Path) -> None:
        before = self.scopes.job(job, matrix=False)
        leg = self.scopes.job(job, matrix=True)
        self.secret_env = secret_names([self.workflow.env, job.env])
        self.expressions(job.name, without_secrets(before, "a name"), (*path, "name"), stored="a name")
        self.condition(job.condition, without_status(before, status=True), (*path, "if"))
        if job.condition is not None and job.trigger_rule is not None and self._status(job.condition):
            message = "an `if` with status functions replaces the trigger rule, so both cannot stand together"
            hint = "remove trigger-rule, or write the `if` without success(), failure() and the like"
            self.add("bad-combination", message, (*path, "trigger-rule"), hint, on_key=True)
        if job.strategy is not None:
            self._strategy(job, before, (*path, "strategy"))
        if job.runs_on is not None:
            self.expressions(job.runs_on.with_, leg, (*path, "runs-on", "with"))
        for name, service in (job.services or {}).items():
            for place, value in service.templates():
                self.expressions(value, leg, (*path, "services", name, *place))
        self.expressions(job.env, leg, (*path, "env"))
        self._notify(job.notify, leg, path)
        self._list(job, job.stages, leg, (*path, "stages"), 0)
        self.secret_env = secret_names([self.workflow.env, job.env])
        outputs = without_secrets(self.scopes.job(job, matrix=True, stages=job.stages), "outputs")
        self.expressions(job.outputs, outputs, (*path, "outputs"), stored="outputs")

    def _status(self, condition: str | bool) -> bool:
        try:
            return calls_status(condition)
        except expressions.ExpressionSyntaxError:
            return False

    def _strategy(self, job: Job, scope: Scope, path: Path) -> None:
        strategy = job.strategy
        assert strategy is not None
        where = "a matrix"
        stored = without_secrets(scope, where)
        for key in ("matrix", "include", "exclude"):
            self.expressions(getattr(strategy, key), stored, (*path, key), stored=where)
        where = "the state of a matrix"
        limit = (*path, "max-parallel")
        self.expressions(strategy.max_parallel, without_secrets(scope, where), limit, stored=where)
        check_matrix(strategy, path, self.max_legs, self.add)

    # -- stages ------------------------------------------------------------------------------------------

    def _list(self, job: Job, stages: Sequence[Stage], scope: Scope, path: Path, depth: int) -> None:
        """A list of stages, of a job or nested; ``scope`` is that of the place around it."""
        if depth > MAX_NESTING:
            self.add("too-deep", f"stages are nested deeper than {MAX_NESTING} levels", path)
            return
        ids = stage_ids(stages)
        self._ids(job, stages, ids, path)
        for index, stage in enumerate(stages):
            own = self.scopes.stages(job, ids, index)
            inner = within(scope, stages=joined(scope.contexts.get("stages"), own) if depth else own)
            around = self.secret_env
            self.secret_env = secret_names([stage.env], around)
            self._stage(job, stage, inner, (*path, index), depth)
            self.secret_env = around

    def _ids(self, job: Job, stages: Sequence[Stage], ids: Sequence[str], path: Path) -> None:
        matrix_only = Scope(
            {"matrix": self.scopes.matrix(job)},
            unavailable=dict.fromkeys(
                ("params", "stages", "needs", "jobs", "env", "vars", "secrets", "conn", "run", "strategy"),
                "the id of a stage may hold expressions over `matrix` only",
            ),
        )
        first: dict[str, int] = {}
        for index, (stage, own) in enumerate(zip(stages, ids, strict=True)):
            if stage.id is not None and has_expression(stage.id):
                self.expressions(stage.id, matrix_only, (*path, index, "id"), code="bad-id")
            elif stage.id is not None:
                try:
                    check_id(stage.id, "stage")
                except PydanticCustomError as error:
                    self.raised(error, (*path, index, "id"))
            if own in first:
                message = (
                    f"two stages have the id '{own[:60]}', the other is stage {first[own] + 1} of this list"
                )
                hint = (
                    "give one of them another id"
                    if stage.id
                    else f"give it an id of its own: id: {own[:50]}-2"
                )
                self.add("duplicate-id", message, (*path, index, "id" if stage.id else "name"), hint)
            first.setdefault(own, index)

    def _stage(self, job: Job, stage: Stage, scope: Scope, path: Path, depth: int) -> None:
        if depth and stage.kind in NOT_NESTED:
            message = f"{stage.kind} stages cannot stand inside another stage"
            self.add("not-nested", message, (*path, stage.kind), "make it a stage of the job", on_key=True)
        if not depth and job.one_task and stage.kind in NOT_NESTED:
            message = f"{stage.kind} stages cannot run in a job with {job.one_task}"
            self.add(
                "bad-combination", message, (*path, stage.kind), "make a job of its own of it", on_key=True
            )
        self.expressions(stage.name, without_secrets(scope, "a name"), (*path, "name"), stored="a name")
        self.condition(stage.condition, without_status(scope, status=True), (*path, "if"))
        self.expressions(stage.env, scope, (*path, "env"))
        self._notify(stage.notify, scope, path)
        result = within(without_secrets(scope, "outputs"), outputs=Kind.ANYTHING)
        self.expressions(stage.outputs, result, (*path, "outputs"), stored="outputs")
        self._kind(job, stage, scope, path)
        for place, children in stage.children():
            self._list(job, children, within(scope, **_inner(stage)), (*path, *place), depth + 1)

    def _kind(self, job: Job, stage: Stage, scope: Scope, path: Path) -> None:
        """The keys of the kind."""
        nested = {"parallel", "stages", "match"}
        # What these hold ends in logs, in outputs, in the conf of a run, or in the UI.
        shown: dict[type[Stage], dict[str, str]] = {
            EmptyStage: {"echo": "the log"},
            RaiseStage: {"raise": "an error message"},
            ForEachStage: {"foreach": "the items of foreach, which are outputs"},
            UntilStage: {"item": "the item of until, which is an output"},
            CaseStage: {"case": "the case, which is an output"},
            TriggerStage: {"trigger": "the id of a DAG", "params": "the params of a run"},
            ApprovalStage: {"approval": "what the UI shows"},
            ImageStage: {"image": "the name of an image"},
        }
        places = shown.get(type(stage), {})
        for key, value in stage.spec_fields().items():
            written = key.replace("_", "-")
            place = (*path, written)
            if key in nested:
                continue
            if isinstance(stage, ImageStage):
                value = getattr(stage, key)  # As written: positions are told in that.
            if isinstance(stage, UntilStage) and key == "until":
                ended = joined(
                    scope.contexts.get("stages"),
                    self.scopes.stages(job, stage_ids(stage.stages), len(stage.stages)),
                )
                self.condition(value, within(scope, **_inner(stage), stages=ended), place)
            elif written in places:
                self.expressions(
                    value, without_secrets(scope, places[written]), place, stored=places[written]
                )
            else:
                self.expressions(value, scope, place, jinja=key != "run")
        if isinstance(stage, PyStage) and not (isinstance(stage, VirtualPyStage) and stage.version):
            bad = syntax_fault(stage.run)
            if bad is not None:
                self.add("bad-python", bad[0], (*path, "run"), shell_hint(stage.run), span=bad[1])
        if isinstance(stage, TriggerStage) and stage.trigger in (self.workflow.dag_id, self.workflow.name):
            message = f"workflow '{stage.trigger}' triggers itself, without end"
            self.add("triggers-itself", message, (*path, "trigger"), "trigger another workflow")
        if isinstance(stage, CaseStage):
            for index, entry in enumerate(stage.match):
                where = "the case, which is an output"
                self.expressions(
                    entry.case,
                    without_secrets(scope, where),
                    (*path, "match", index, "case"),
                    stored=where,
                )

    def _notify(self, notify: StageNotify | None, scope: Scope, path: Path) -> None:
        """What is evaluated when a notification is sent; secrets are at home there."""
        if notify is None:
            return
        for event, targets in notify.targets():
            for index, target in enumerate(targets):
                place: Path = (*path, "notify", event, index)
                for key, value in target.templates():
                    self.expressions(value, scope, (*place, key))

    # -- expressions -------------------------------------------------------------------------------------

    def expressions(
        self,
        value: Any,
        scope: Scope,
        path: Path,
        *,
        stored: str | None = None,
        code: str = "bad-expression",
        jinja: bool = True,
    ) -> None:
        """Every expression inside a value; ``stored`` says where a password would be seen."""
        if value is None or not has_template(value):
            return
        problems = expressions.check(value, scope, jinja=jinja)
        for problem in problems:
            self.add(code, problem.message, (*path, *problem.path), problem.hint, span=problem.span)
        if problems or (stored is None and not may_be_fetched(value)):
            return
        references = expressions.references(value)
        unnamed = computed_name(references)
        if unnamed is not None:
            self.add(code, unnamed, path)
        secret = stored_secret(references, stored, self.secret_env) if stored is not None else None
        if secret is not None:
            hint = "scripts, `env` and `with` may use it" if secret.startswith("env.") else "use it in `env`"
            self.add("secret", secret, path, hint)

    def condition(self, value: str | bool | None, scope: Scope, path: Path) -> None:
        """A condition: its names, and a boolean where it is constant."""
        if value is None or isinstance(value, bool):
            return
        problems = expressions.check(value, scope, condition=True)
        for problem in problems:
            self.add(
                "bad-expression", problem.message, (*path, *problem.path), problem.hint, span=problem.span
            )
        if problems:
            return
        references = expressions.references(value, condition=True)
        unnamed = computed_name(references)
        if unnamed is not None:
            self.add("bad-expression", unnamed, path)
        if references or expressions.status_functions(value):
            return
        try:
            expressions.evaluate_condition(value, {})
        except expressions.ExpressionError as error:
            self.add("bad-condition", error.message, path, error.hint, span=error.span)


def has_template(value: Any) -> bool:
    """Whether a value may hold an expression at all."""
    if isinstance(value, str):
        return "${{" in value
    if isinstance(value, dict):
        return any(has_template(item) for item in value.values())
    return isinstance(value, list) and any(has_template(item) for item in value)


def _inner(stage: Stage) -> dict[str, Kind]:
    """The contexts that a nested stage gives to its stages."""
    if isinstance(stage, (ForEachStage, UntilStage)):
        return {"item": Kind.ANYTHING, "loop": Kind.NUMBER}
    if isinstance(stage, ParallelStage):
        return {"branch": Kind.TEXT}
    return {"case": Kind.ANYTHING}
