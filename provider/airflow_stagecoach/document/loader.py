"""``load``: the text of a file to plans and diagnostics.

Three passes: the YAML itself (:mod:`source`), the models (pydantic), and what the models cannot see
(:mod:`checks`). A part that a pass could not read is left out for the next one, so that every fault is found
at once; nothing is guessed about names that hang on such a part.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_stagecoach.document.diagnostics import Diagnostic, found, nearest
from airflow_stagecoach.document.sniff import is_ours
from airflow_stagecoach.document.source import MAX_BYTES, Document, Source, read

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_stagecoach.document.plan import WorkflowPlan
    from airflow_stagecoach.document.problems import Problem
    from airflow_stagecoach.document.respell import Respelling
    from airflow_stagecoach.document.retry_policy import PolicyCheck
    from airflow_stagecoach.document.runs_on import BackendCheck
    from airflow_stagecoach.document.source import Path
    from airflow_stagecoach.document.workflow import Workflow

#: Airflow's default of ``[core] max_map_length``.
MAX_LEGS = 1024
#: Beginnings of top-level keys that are left alone: they hold anchors.
HOLDERS = ("x-", ".")
#: Passes over one workflow that leave out what could not be read; more are never needed in earnest.
_MAX_REPAIRS = 8
#: Faults shown of one file.
MAX_SHOWN = 200


@dataclass
class Loaded:
    """What a file holds: the plans of its good workflows, and the errors of the others.

    ``ours`` is False for YAML that is not ours: it has neither plans nor diagnostics.
    """

    plans: list[WorkflowPlan] = field(default_factory=list)
    diagnostics: list[Diagnostic] = field(default_factory=list)
    ours: bool = True


def load(
    text: str | bytes,
    file: str = "",
    *,
    explicit: bool = False,
    backends: Mapping[str, BackendCheck] | None = None,
    max_legs: int = MAX_LEGS,
    max_bytes: int = MAX_BYTES,
    policies: PolicyCheck | None = None,
) -> Loaded:
    """The workflows of a file.

    :param text: the content, as text or bytes
    :param file: its name, for diagnostics only; nothing is read
    :param explicit: a person named the file, so it is ours whatever it holds; else a file of another shape
        is left alone
    :param backends: canonical name of each backend -> the check of its ``with``; only ``local`` if absent
    :param max_legs: the most legs of a matrix, Airflow's ``[core] max_map_length``
    :param max_bytes: the largest file that is read
    :param policies: the check of the classes of retry policies, which imports them
        (:func:`~airflow_stagecoach.document.retry_policy.policy_check`); they are taken on trust if absent

    Never raises for what the text holds: every fault is a diagnostic. A bad workflow hides no other one.
    """
    source = read(text, file, max_bytes=max_bytes)
    if not explicit and source.diagnostics:
        data = text if isinstance(text, bytes) else text.encode("utf-8", "replace")
        ours = is_ours(data[: 4 * max_bytes])
    else:
        ours = explicit
    parts: list[_Part] = []
    bad_parts: list[Diagnostic] = []
    for document in source.documents:
        of_document, faults = _split(document, source, explicit=explicit)
        parts += of_document
        bad_parts += faults
    if not ours and not parts:
        return Loaded(ours=False)
    if explicit and not parts and not source.diagnostics and not bad_parts:
        hint = "write name:, type: Workflow and jobs:"
        bad_parts.append(source.diagnostic("no-workflow", "this file holds no workflow", 0, 1, hint))
    loaded = Loaded(diagnostics=[*source.diagnostics, *bad_parts])
    yaml_is_bad = bool(source.diagnostics)
    for part in parts:
        plan = _load_part(part, source, loaded.diagnostics, backends, max_legs, policies)
        if plan is not None and not (yaml_is_bad and _touches(part, source)):
            loaded.plans.append(plan)
    _check_unique(loaded, source)
    _check_recursion(loaded, source)
    loaded.diagnostics.sort(key=lambda diagnostic: (diagnostic.line, diagnostic.column))
    del loaded.diagnostics[MAX_SHOWN:]
    return loaded


@dataclass
class _Part:
    """One workflow of a file: its value, and the path that leads to it in its document."""

    document: Document
    value: Any
    path: Path
    name: str | None


def _split(document: Document, source: Source, *, explicit: bool) -> tuple[list[_Part], list[Diagnostic]]:
    """The workflows of one ``---`` document: itself, or the entries of a map of them."""
    root = document.value
    if root is None:
        return [], []
    if not isinstance(root, dict):
        if not explicit:
            return [], []
        message = f"expected a map with name, type and jobs, found {found(root)}"
        return [], [_at(source, document, (), "wrong-type", message)]
    if _looks_like_one(root, explicit=explicit):
        held = [key for key in root if key.startswith(HOLDERS)]
        if held:
            line = source.lines[id(root)]
            root = {key: value for key, value in root.items() if key not in held}
            source.lines[id(root)] = line
        return [_Part(document, root, (), None)], []
    entries = {key: value for key, value in root.items() if not key.startswith(HOLDERS)}
    ours = [
        key
        for key, value in entries.items()
        if isinstance(value, dict) and _looks_like_one(value, explicit=False)
    ]
    if not ours and not explicit:
        return [], []
    parts, faults = [], []
    for key, value in entries.items():
        if key in ours or (explicit and isinstance(value, dict) and "jobs" in value):
            parts.append(_Part(document, value, (key,), key))
        else:
            message = f"'{key[:60]}' is no workflow"
            hint = (
                "a workflow has type: Workflow and jobs; a holder of anchors has a name that begins with x-"
            )
            if not ours and key in ("type", "job", "name", "stages", "steps", "tasks"):
                hint = "write name:, type: Workflow and jobs:"
            faults.append(_at(source, document, (key,), "no-workflow", message, hint, on_key=True))
    return parts, faults


def _looks_like_one(value: dict[str, Any], *, explicit: bool) -> bool:
    """Whether a map is a workflow: by its type, or by a shape that nothing else has."""
    kind = value.get("type")
    if kind == "Workflow":
        return True
    jobs = value.get("jobs")
    if not isinstance(jobs, dict):
        return isinstance(kind, str) and "jobs" in value and nearest(kind, ["Workflow"]) is not None
    if any(isinstance(job, dict) and "stages" in job for job in jobs.values()):
        return True
    return explicit or (isinstance(kind, str) and nearest(kind, ["Workflow"]) is not None)


def _at(
    source: Source,
    document: Document,
    path: Path,
    code: str,
    message: str,
    hint: str | None = None,
    *,
    on_key: bool = False,
    span: tuple[int, int] | None = None,
) -> Diagnostic:
    from airflow_stagecoach.document.positions import locate

    start, end = locate(source, document.node, path, on_key=on_key, span=span)
    return source.diagnostic(code, message, start, end, hint, path)


def _load_part(
    part: _Part,
    source: Source,
    diagnostics: list[Diagnostic],
    backends: Mapping[str, BackendCheck] | None,
    max_legs: int,
    policies: PolicyCheck | None,
) -> WorkflowPlan | None:
    from airflow_stagecoach.document.checks import check_workflow
    from airflow_stagecoach.document.planner import plan_workflow
    from airflow_stagecoach.document.problems import Problem
    from airflow_stagecoach.document.respell import Respelling

    value = part.value
    problems: list[Problem] = []
    if part.name is not None:
        if isinstance(value.get("name"), str) and value["name"] != part.name:
            message = f"the name of this workflow is its key, '{part.name[:60]}'"
            problems.append(Problem("bad-name", message, (*part.path, "name"), "remove `name`"))
        line = source.lines.get(id(value), 1)
        value = {**value, "name": part.name}
        source.lines[id(value)] = line
    spelling = Respelling(part.path)
    workflow, found_problems, damaged = _validate(value, part, source, backends, spelling)
    problems += found_problems
    if workflow is not None:
        checked = check_workflow(
            workflow,
            part.path,
            max_legs=max_legs,
            damaged=damaged,
            policies=policies,
            backends=backends,
        )
        problems += [spelling.as_written(problem) for problem in checked]
    # A value that YAML could not give is one fault, whatever the models make of its absence.
    told = {diagnostic.line for diagnostic in source.diagnostics}
    for problem in problems[:MAX_SHOWN]:
        diagnostic = _at(
            source,
            part.document,
            problem.path,
            problem.code,
            problem.message,
            problem.hint,
            on_key=problem.on_key,
            span=problem.span,
        )
        if diagnostic.line not in told:
            diagnostics.append(diagnostic)
    if problems or workflow is None:
        return None
    return plan_workflow(workflow)


def _validate(
    value: Any,
    part: _Part,
    source: Source,
    backends: Mapping[str, BackendCheck] | None,
    spelling: Respelling,
) -> tuple[Workflow | None, list[Problem], frozenset[tuple[str | int, ...]]]:
    """The model of a workflow; where it has faults, the model of what is left without them."""
    from pydantic import ValidationError

    from airflow_stagecoach.document.problems import problems_of
    from airflow_stagecoach.document.workflow import Workflow

    context = {"lines": source.lines, "backends": backends}
    problems: list[Problem] = []
    damaged: set[tuple[str | int, ...]] = set()
    told = False
    for _ in range(_MAX_REPAIRS):
        try:
            return Workflow.model_validate(value, context=context), problems, frozenset(damaged)
        except ValidationError as error:
            new = problems_of(error, part.path)
        if not told:
            value, settled = spelling.apply(value, new)
            problems += settled
            if settled:
                continue
            told = True
            problems += [
                spelling.as_written(problem) for problem in new if not spelling.is_bad_guess(problem)
            ]
        paths = [problem.path[len(part.path) :] for problem in new]
        from airflow_stagecoach.document.repair import without

        value = without(value, paths, damaged)
        if value is None:
            break
    return None, problems, frozenset(damaged)


def _touches(part: _Part, source: Source) -> bool:
    """Whether a fault of the YAML itself lies inside a workflow: what was built is not what was meant."""
    from airflow_stagecoach.document.positions import locate

    node = part.document.node
    if not part.path:
        start, end = source.span(node)
    else:
        start, _ = locate(source, node, part.path, on_key=True)
        end = max(source.span(value)[1] for key, value in node.value if key.value == part.path[0])
    first, last = source.text.place(start)[0], source.text.place(end)[0]
    return any(first <= diagnostic.line <= last for diagnostic in source.diagnostics)


def _check_unique(loaded: Loaded, source: Source) -> None:
    """Two workflows of a file with one DAG id: the second is an error."""
    seen: dict[str, int] = {}
    kept = []
    for plan in loaded.plans:
        name = plan["dag_id"]
        if name in seen:
            start = source.text.offset(plan["line"] - 1, 0)
            message = (
                f"two workflows of this file have the DAG id '{name[:60]}', the other is in line {seen[name]}"
            )
            loaded.diagnostics.append(
                source.diagnostic("duplicate-id", message, start, start + 1, "rename one of them")
            )
            continue
        seen[name] = plan["line"]
        kept.append(plan)
    loaded.plans[:] = kept


def _check_recursion(loaded: Loaded, source: Source) -> None:
    """Workflows of a file that would trigger each other for ever are errors, all of them."""
    if len(loaded.plans) < 2 or "trigger" not in source.text.text:
        return
    from airflow_stagecoach.document.recursion import endless

    for circle, line in endless(loaded.plans):
        shown = " -> ".join([*circle, circle[0]])
        start = source.text.offset(line - 1, 0)
        loaded.diagnostics.append(
            source.diagnostic(
                "triggers-itself",
                f"these workflows trigger each other without end: {shown[:200]}",
                start,
                start + 1,
                "remove one of the trigger stages, or put an `if` before it",
            )
        )
        loaded.plans[:] = [plan for plan in loaded.plans if plan["dag_id"] not in circle]
