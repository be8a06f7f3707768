"""Which names an expression may use at each place of a document.

The one list of contexts and their fields; docs/reference.md repeats it from here.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from airflow_stagecoach.document.fields import (
    has_expression,
)
from airflow_stagecoach.document.naming import stage_ids
from airflow_stagecoach.document.needs import fallbacks, needs_of
from airflow_stagecoach.document.planner import axis_names
from airflow_stagecoach.expressions import Kind, Record, Scope, Words

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from airflow_stagecoach.document.jobs import Job
    from airflow_stagecoach.document.stage import Stage
    from airflow_stagecoach.document.workflow import Workflow
    from airflow_stagecoach.expressions import Shape

#: ``run.<field>``: facts of the run and of this try.
RUN_FIELDS: dict[str, Kind] = {
    "id": Kind.TEXT,
    "type": Kind.TEXT,
    "dag_id": Kind.TEXT,
    "task_id": Kind.TEXT,
    "map_index": Kind.NUMBER,
    "try_number": Kind.NUMBER,
    "logical_date": Kind.DATE,
    "data_interval_start": Kind.DATE,
    "data_interval_end": Kind.DATE,
    "run_after": Kind.DATE,
    "start_date": Kind.DATE,
    "ds": Kind.TEXT,
    "ds_nodash": Kind.TEXT,
    "ts": Kind.TEXT,
    "ts_nodash": Kind.TEXT,
}
#: What a result can be.
RESULTS = Words(("success", "failure", "skipped", "upstream_failed", "cancelled"))
#: ``needs.<job>.<field>`` and ``jobs.<job>.<field>``.
JOB_FIELDS = ("result", "outcome", "degraded", "state", "outputs", "legs", "stages")
#: ``stages.<id>.<field>``.
STAGE_FIELDS = ("outputs", "result", "state", "outcome")
#: ``strategy.<field>``.
STRATEGY_FIELDS: dict[str, Kind] = {
    "job-index": Kind.NUMBER,
    "job-total": Kind.NUMBER,
    "max-parallel": Kind.ANYTHING,
    "fail-fast": Kind.BOOLEAN,
}

_PARAM_KINDS = {
    "str": Kind.TEXT,
    "int": Kind.NUMBER,
    "float": Kind.NUMBER,
    "decimal": Kind.NUMBER,
    "bool": Kind.BOOLEAN,
    "date": Kind.DATE,
    "datetime": Kind.DATE,
    "map": Kind.MAP,
    "array": Kind.LIST,
}

_NESTED_ONLY = {
    "item": "it exists only inside foreach and until",
    "loop": "it exists only inside foreach and until",
    "branch": "it exists only inside parallel",
    "case": "it exists only inside case",
    "outputs": "it exists only in the `outputs` of a stage",
}


def kind_of(values: Iterable[Any]) -> Kind:
    """The one kind of all values, else anything."""
    kinds = {_kind(value) for value in values}
    return kinds.pop() if len(kinds) == 1 else Kind.ANYTHING


def _kind(value: Any) -> Kind:
    if has_expression(value):
        return Kind.ANYTHING
    if isinstance(value, bool):
        return Kind.BOOLEAN
    if isinstance(value, (int, float)):
        return Kind.NUMBER
    if isinstance(value, str):
        return Kind.TEXT
    if isinstance(value, list):
        return Kind.LIST
    return Kind.MAP if isinstance(value, dict) else Kind.ANYTHING


def _option(options: Sequence[Any]) -> Shape:
    """What a choice may be: its options where they are all texts."""
    kind = kind_of(options)
    return Words(options) if kind is Kind.TEXT else kind


class Scopes:
    """The scopes of one workflow.

    ``damaged`` names what could not be read (paths below the workflow): names that hang on it are not judged.
    """

    def __init__(self, workflow: Workflow, damaged: frozenset[tuple[str | int, ...]] = frozenset()) -> None:
        self._workflow = workflow
        self._damaged = damaged
        self._ancestors = ancestors(workflow.jobs)
        self._mains = fallbacks(workflow.jobs)
        self._of_job: dict[str, dict[str, Shape]] = {}
        self._shapes: dict[str, Shape] = {}
        self._base: dict[str, Shape] = {
            "params": self._params(),
            "env": Kind.ANYTHING,
            "vars": Kind.ANYTHING,
            "secrets": Kind.ANYTHING,
            "conn": Kind.ANYTHING,
            "run": Record(RUN_FIELDS, noun="field of run"),
        }

    def workflow(self) -> Scope:
        """At the top of the workflow: before any job."""
        reason = "this is the same for every job"
        gone = dict.fromkeys(("matrix", "strategy", "stages", "needs", "jobs"), reason)
        return Scope(self._base, unavailable={**_NESTED_ONLY, **gone})

    def run(self) -> Scope:
        """After a run: who is told about it knows no job, and of the run itself only its ids."""
        reason = "a notification of the workflow knows no job"
        gone = dict.fromkeys(("matrix", "strategy", "stages", "needs", "jobs"), reason)
        missing = dict.fromkeys(
            (name for name in RUN_FIELDS if name not in ("id", "dag_id")),
            "a notification of the workflow has run.id and run.dag_id",
        )
        return Scope({**self._base, "run": _run_record(missing)}, unavailable={**_NESTED_ONLY, **gone})

    def group(self) -> Scope:
        """The name of a concurrency group: before the first task of a run."""
        reason = "the name of a group may hold expressions over params, run and vars"
        gone = dict.fromkeys(
            ("matrix", "strategy", "stages", "needs", "jobs", "env", "secrets", "conn"), reason
        )
        missing = dict.fromkeys(("task_id", "map_index", "try_number"), "a run has none")
        contexts = {name: self._base[name] for name in ("params", "vars")}
        return Scope({**contexts, "run": _run_record(missing)}, unavailable={**_NESTED_ONLY, **gone})

    def job(
        self, job: Job, *, matrix: bool, stages: Sequence[Stage] | None = None, status: bool = False
    ) -> Scope:
        """Around the stages of a job; ``matrix`` inside a leg, ``stages`` the ones that ended."""
        contexts: dict[str, Shape] = {**self._base, **self._others(job)}
        unavailable = dict(_NESTED_ONLY)
        if matrix:
            contexts["matrix"] = self.matrix(job)
            contexts["strategy"] = Record(STRATEGY_FIELDS, noun="field of strategy")
        else:
            for name in ("matrix", "strategy"):
                unavailable[name] = "this is evaluated once, before the matrix"
        if stages is not None:
            ids, last = stage_ids(stages), sum(1 for stage in stages if not stage.teardown)
            # Nobody waits for a teardown, so its outputs may come too late.
            late = dict.fromkeys(ids[last:], "it is a teardown, which nobody waits for")
            contexts["stages"] = self.stages(job, ids, last, late)
        else:
            unavailable["stages"] = "this is evaluated before the stages"
        return Scope(contexts, unavailable=unavailable, status=status)

    def stages(
        self, job: Job, ids: Sequence[str], index: int, after: Mapping[str, str] | None = None
    ) -> Shape:
        """``stages`` at a place in a list: the earlier ones; itself and later ones exist, but not yet.

        ``after`` gives the later ones with a reason, where the place is none of the stages itself.
        """
        if ("jobs", job.id, "stages") in self._damaged:
            return Kind.ANYTHING
        fields: dict[str, Shape] = {**dict.fromkeys(STAGE_FIELDS, Kind.ANYTHING), "result": RESULTS}
        record: Shape = Record(fields, noun="field of a stage")
        before = dict.fromkeys(ids[:index])
        if after is None:
            after = dict.fromkeys(ids[index + 1 :], "it runs later")
            if index < len(ids):
                after = {ids[index]: "it is this stage itself", **after}
        return Record(
            {name: record for name in before if "${{" not in name},
            noun="stage",
            closed=not any("${{" in name for name in before),
            unavailable={name: reason for name, reason in after.items() if name not in before},
        )

    def matrix(self, job: Job) -> Shape:
        """``matrix``: the axes of the job."""
        if ("jobs", job.id, "strategy") in self._damaged:
            return Kind.ANYTHING
        if job.strategy is None:
            return Record({}, noun="matrix axis")
        names = axis_names(job.strategy)
        if names is None:
            return Kind.ANYTHING
        axes = job.strategy.axes() or {}
        include = job.strategy.entries("include") or []
        kinds: dict[str, Shape] = {}
        for name in names:
            values = axes.get(name, [])
            more = [entry[name] for entry in include if name in entry]
            kinds[name] = Kind.ANYTHING if isinstance(values, str) else kind_of([*values, *more])
        return Record(kinds, noun="matrix axis")

    def _params(self) -> Shape:
        params = self._workflow.params
        if params is None or ("params",) in self._damaged:
            return Kind.ANYTHING
        kinds: dict[str, Shape] = {}
        for name, param in params.items():
            if ("params", name) in self._damaged:
                kinds[name] = Kind.ANYTHING
            else:
                kinds[name] = (
                    _PARAM_KINDS[param.type] if param.type != "choice" else _option(param.options or ())
                )
        return Record(kinds, noun="param")

    def _others(self, job: Job) -> dict[str, Shape]:
        """``needs`` and ``jobs`` of a job, made once."""
        known = self._of_job.get(job.id or "")
        if known is None:
            known = self._of_job[job.id or ""] = self._make_others(job)
        return known

    def _make_others(self, job: Job) -> dict[str, Shape]:
        jobs, name = self._workflow.jobs, job.id or ""
        if ("jobs",) in self._damaged or ("jobs", name, "needs") in self._damaged:
            return {"needs": Kind.ANYTHING, "jobs": Kind.ANYTHING}
        if any(need not in jobs for need in job.needs or ()):
            # One of them is misspelt, which is a fault of its own; the right one may be any.
            return {"needs": Kind.ANYTHING, "jobs": Kind.ANYTHING}
        direct = dict.fromkeys(need for need in needs_of(job, self._mains.get(name)) if need in jobs)
        far = self._ancestors[name]

        def advice(other: str, *, direct_only: bool) -> str | None:
            if other == name or name in self._ancestors.get(other, ()):
                return None  # It would wait for itself.
            hint = f"add it to needs: [{', '.join([*direct, other])}]"
            return f"write jobs.{other}, or {hint}" if direct_only and other in far else hint

        not_needed = f"job '{name}' does not need it"
        not_before = f"it need not end before job '{name}' starts"
        return {
            "needs": Record(
                {other: self._job(jobs[other]) for other in direct},
                noun="job",
                unavailable={other: not_needed for other in jobs if other not in direct},
                advice=partial(advice, direct_only=True),
            ),
            "jobs": Record(
                {other: self._job(jobs[other]) for other in jobs if other in far},
                noun="job",
                unavailable={other: not_before for other in jobs if other not in far},
                advice=partial(advice, direct_only=False),
            ),
        }

    def _job(self, job: Job) -> Shape:
        """One job as others see it, made once."""
        known = self._shapes.get(job.id or "")
        if known is None:
            known = self._shapes[job.id or ""] = self._make_job(job)
        return known

    def _make_job(self, job: Job) -> Shape:
        if ("jobs", job.id) in self._damaged:
            return Kind.ANYTHING
        fields: dict[str, Shape] = dict.fromkeys(JOB_FIELDS, Kind.ANYTHING)
        fields.update(result=RESULTS, outcome=RESULTS, degraded=Kind.BOOLEAN, state=Kind.TEXT, legs=Kind.LIST)
        if job.outputs is not None and ("jobs", job.id, "outputs") not in self._damaged:
            fields["outputs"] = Record(dict.fromkeys(job.outputs, Kind.ANYTHING), noun="output")
        return Record(fields, noun="field of a job")


def _run_record(missing: Mapping[str, str]) -> Record:
    """``run`` without some of its fields."""
    fields = {name: kind for name, kind in RUN_FIELDS.items() if name not in missing}
    return Record(fields, noun="field of run", unavailable=missing)


def within(scope: Scope, **contexts: Shape) -> Scope:
    """The scope with more contexts."""
    unavailable = {name: reason for name, reason in scope.unavailable.items() if name not in contexts}
    return Scope({**scope.contexts, **contexts}, unavailable=unavailable, status=scope.status)


def joined(outer: Shape | None, inner: Shape) -> Shape:
    """``stages`` inside a nested stage: the ones around it, and its own."""
    if not isinstance(outer, Record) or not isinstance(inner, Record):
        return Kind.ANYTHING
    return Record(
        {**outer.fields, **inner.fields},
        noun="stage",
        closed=outer.closed and inner.closed,
        unavailable={**outer.unavailable, **inner.unavailable},
    )


def without_status(scope: Scope, *, status: bool) -> Scope:
    """The scope with or without the status functions."""
    return Scope(scope.contexts, unavailable=scope.unavailable, status=status)


def without_secrets(scope: Scope, where: str) -> Scope:
    """The scope for a place that is stored or shown."""
    contexts = {name: shape for name, shape in scope.contexts.items() if name != "secrets"}
    reason = f"a secret would be stored in {where}, use it in `env`"
    return Scope(contexts, unavailable={**scope.unavailable, "secrets": reason}, status=scope.status)


def ancestors(jobs: Mapping[str, Job]) -> dict[str, set[str]]:
    """Direct and indirect needs of each job, cycles and unknown names included only once."""
    result: dict[str, set[str]] = {}
    mains = fallbacks(jobs)
    for name in jobs:
        seen: set[str] = set()
        stack = needs_of(jobs[name], mains.get(name))
        while stack:
            other = stack.pop()
            if other in seen or other not in jobs:
                continue
            seen.add(other)
            stack += needs_of(jobs[other], mains.get(other))
        result[name] = seen
    return result
