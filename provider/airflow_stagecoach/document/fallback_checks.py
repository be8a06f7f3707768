"""``fallback`` of a job: which job may stand in for which, and who waits for whom then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_stagecoach.document.cycles import cycles
from airflow_stagecoach.document.diagnostics import did_you_mean
from airflow_stagecoach.document.needs import fallbacks
from airflow_stagecoach.document.planner import calls_status
from airflow_stagecoach.expressions import ExpressionSyntaxError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_stagecoach.document.jobs import Job
    from airflow_stagecoach.document.workflow import Workflow

    #: Takes code, message, path and hint of a fault, and whether it is the key that is wrong.
    Add = Callable[..., None]


def check_fallbacks(workflow: Workflow, damaged: frozenset[Any], add: Add) -> None:
    """Note every fallback that cannot be one.

    :param workflow: a workflow whose models are right
    :param damaged: the parts that were left out because they could not be read
    :param add: ``add(code, message, path, hint, on_key=...)``
    """
    jobs = workflow.jobs
    first: dict[str, str] = {}
    good = True
    for name, job in jobs.items():
        other = job.fallback
        if other is None:
            continue
        path = ("jobs", name, "fallback")
        fault = _fault(name, other, jobs, first, damaged)
        first.setdefault(other, name)
        if fault is not None:
            good = False
            if fault[0]:
                add(fault[0], fault[1], path, fault[2])
            continue
        if job.continue_on_error:
            message = "'fallback' and 'continue-on-error' both say what a failure of this job means"
            add("bad-combination", message, path, "keep one of them", on_key=True)
        _check_start(other, jobs[other], name, add)
    if good:
        _check_followers(jobs, add)
        _check_cycles(jobs, add)


def _fault(
    name: str, other: str, jobs: Mapping[str, Job], first: Mapping[str, str], damaged: frozenset[Any]
) -> tuple[str, str, str | None] | None:
    """Code, message and hint of a name that cannot stand there; an empty code where that is told already."""
    if other == name:
        return "bad-fallback", f"job '{name}' cannot be its own fallback", "for another try write retry"
    if other not in jobs:
        if ("jobs",) in damaged or ("jobs", other) in damaged:
            return "", "", ""
        hint = did_you_mean(other, [job for job in jobs if job != name], f"the jobs are {', '.join(jobs)}")
        return "unknown-fallback", f"the fallback '{other[:60]}' of job '{name}' does not exist", hint
    if other in first:
        message = f"job '{other}' is the fallback of '{first[other]}' already"
        return "bad-fallback", message, "write a job of its own for this one"
    if jobs[other].fallback is not None:
        message = f"job '{other}' is a fallback and names one itself"
        return "bad-fallback", message, f"remove the fallback of '{other}'"
    return None


def _check_start(name: str, job: Job, main: str, add: Add) -> None:
    """What says when a fallback starts: only that its job has failed."""
    when = f"job '{name}' is the fallback of '{main}', so it starts when that has failed"
    if job.trigger_rule is not None:
        add("bad-combination", when, ("jobs", name, "trigger-rule"), "remove trigger-rule", on_key=True)
    try:
        status = job.condition is not None and calls_status(job.condition)
    except ExpressionSyntaxError:
        return
    if status:
        hint = "write an `if` without success(), failure() and the like, or none"
        add("bad-combination", when, ("jobs", name, "if"), hint)


def _check_followers(jobs: Mapping[str, Job], add: Add) -> None:
    mains = fallbacks(jobs)
    for name, job in jobs.items():
        for index, need in enumerate(job.needs or ()):
            main = mains.get(need)
            if main is not None and need != name:
                message = f"job '{name}' needs '{need}', which runs only when '{main}' has failed"
                hint = (
                    f"write needs: [{main}], which has succeeded when either did; needs.{main}.degraded tells"
                )
                if main == name:
                    hint = "remove it: a fallback comes after its job"
                add("bad-fallback", message, ("jobs", name, "needs", index), hint)


def _check_cycles(jobs: Mapping[str, Job], add: Add) -> None:
    """Whoever needs a job waits for its fallback, too, which waits for its own needs."""
    mains = fallbacks(jobs)
    needs = {name: [n for n in job.needs or () if n in jobs and n != name] for name, job in jobs.items()}
    if any(True for _ in cycles(needs)):
        return  # told already
    edges: dict[str, list[str]] = {}
    for name, direct in needs.items():
        main = mains.get(name)
        others = [other for need in direct if need != main and (other := jobs[need].fallback)]
        edges[name] = list(dict.fromkeys([*direct, *others, *([main] if main is not None else [])]))
    for cycle in cycles(edges):
        main = next((mains[name] for name in cycle if name in mains), None)
        if main is not None:
            shown = " -> ".join([*cycle, cycle[0]])
            message = f"these jobs wait for each other, because of this fallback: {shown}"
            hint = f"whoever needs '{main}' waits for its fallback '{jobs[main].fallback}', too"
            add("needs-cycle", message, ("jobs", main, "fallback"), hint)
