"""One stage: its condition, its environment, its tries, its outputs, its result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Mapping, NamedTuple, Tuple

from airflow_stagecoach import expressions
from airflow_stagecoach.engine.control import Scope
from airflow_stagecoach.engine.environment import LOG_LEVEL, add_layers
from airflow_stagecoach.engine.errors import Cancelled, Interrupted, StageError, TimedOut
from airflow_stagecoach.engine.failures import error_of, is_skip, shorten, text_of_error
from airflow_stagecoach.engine.frame import STATUS, Frame, Work, holds, render
from airflow_stagecoach.engine.usage import Usage
from airflow_stagecoach.engine.values import storable_outputs

if TYPE_CHECKING:
    from typing import Callable

    from airflow_stagecoach.engine.contract import Error, StageResult

    Kind = Callable[[Work], Mapping[Any, Any]]

#: Kind -> module and function that run it. A module is imported when the first stage of its kind runs.
_KINDS = {
    "empty": ("simple", "run_empty"),
    "raise": ("simple", "run_raise"),
    "trigger": ("simple", "run_trigger"),
    "bash": ("bash", "run_bash"),
    "python": ("python", "run_python"),
    "virtual_python": ("virtual_python", "run_virtual_python"),
    "call": ("call", "run_call"),
    "parallel": ("nested", "run_parallel"),
    "foreach": ("nested", "run_foreach"),
    "until": ("nested", "run_until"),
    "case": ("nested", "run_case"),
}

#: Kinds that run nothing of the author's: `resources` of the job mean the other stages.
_UNLIMITED = frozenset({"empty", "raise", "trigger"})

#: Kinds that consist of other stages: those are folded in the log, not these.
_NESTED = frozenset({"parallel", "foreach", "until", "case"})

#: GitHub Actions' word for a state.
RESULTS = {
    "success": "success",
    "failed": "failure",
    "skipped": "skipped",
    "upstream_failed": "upstream_failed",
}


def run_stage(spec: Mapping[str, Any], frame: Frame, stage_id: str, result: StageResult) -> None:
    """Run one stage to its end, with all its tries.

    :param spec: the stage
    :param frame: where it stands; its contexts hold the earlier stages and how they ended
    :param stage_id: its evaluated id
    :param result: filled in, also when the stage is interrupted
    :raises Interrupted: the whole list shall stop
    """
    title = None
    if frame.folded and spec["kind"] not in _NESTED:
        title = " / ".join([*frame.titles, _name(spec, frame, stage_id)])
    usage = Usage(frame.usage)
    with frame.lane.group(title):
        try:
            _run(spec, frame, stage_id, result, usage)
        except Interrupted as reason:
            cancelled = isinstance(reason, Cancelled)
            result["state"], result["outcome"] = "failed", "cancelled" if cancelled else "failure"
            result["error"] = error_of(reason)
            raise
        finally:
            usage.write(result)


def _run(spec: Mapping[str, Any], frame: Frame, stage_id: str, result: StageResult, usage: Usage) -> None:
    try:
        wanted = condition_holds(spec, frame)
    except (expressions.ExpressionError, StageError) as fault:
        _fail(spec, frame, result, error_of(_named("if", fault)), told=False)
        return
    if not wanted:
        frame.lane.log("Skipped: its `if` is false")
        result["state"] = result["outcome"] = "skipped"
        return
    retry: Mapping[str, Any] = (spec.get("retry") if frame.enforce_retries else None) or {}
    tries = 1 + int(retry.get("max", 0))
    used: Dict[int, int] = {}
    on_oom, ran_out = retry.get("on_oom"), 0
    for number in range(1, tries + 1):
        given = _with_memory(spec, on_oom, ran_out, result) if spec.get("resources") else spec
        failure = _try(given, frame, stage_id, number if retry else frame.attempt, result, usage)
        if failure is None:
            return
        error = failure.error
        if number == tries:
            _fail(spec, frame, result, error, told=failure.told)
            return
        from airflow_stagecoach.engine.memory import ran_out_of_memory, told
        from airflow_stagecoach.engine.retry import decide, jitter_source

        source = jitter_source(_place(frame), stage_id, frame.attempt, number)
        rules = frame.place.hooks.rules()
        decision = decide(retry, error, number, rng=source, used=used, classifiers=rules)
        if not decision.repeat:
            frame.lane.log(f"Not tried again: {decision.why}")
            _fail(spec, frame, result, error, told=failure.told)
            return
        if decision.rule is not None:
            used[decision.rule] = used.get(decision.rule, 0) + 1
        frame.lane.log(
            f"Try {number} of {tries} failed: {error['message']}; the next one in {decision.delay:.3g} s",
            "warning",
        )
        if ran_out_of_memory(error, rules):
            ran_out += 1
            frame.lane.log(*told(on_oom, spec.get("resources"), ran_out))
        frame.scope.sleep(decision.delay)
        result["tries"] = number + 1


def _with_memory(
    spec: Mapping[str, Any], on_oom: Mapping[str, Any] | None, ran_out: int, result: StageResult
) -> Mapping[str, Any]:
    """The stage with the memory that a try gets, which its result tells.

    :param ran_out: tries before it that ran out of memory
    """
    from airflow_stagecoach.engine.memory import grown, memory_limit

    resources = spec["resources"] if on_oom is None else grown(spec["resources"], on_oom, ran_out)
    limit = memory_limit(resources)
    if limit is not None:
        result["memory_limit"] = limit
    return {**spec, "resources": resources}


def _place(frame: Frame) -> str:
    """Names this place of this run: jitter is drawn from it."""
    run = frame.contexts.get("run")
    run_id = run.get("id", "") if isinstance(run, Mapping) else ""
    return "/".join([str(run_id), str(frame.contexts.get("matrix") or ""), *frame.path])


def condition_holds(spec: Mapping[str, Any], frame: Frame) -> bool:
    """Whether the stage's ``if`` lets it run.

    It sees the environment below the stage's own.
    """
    condition = spec.get("if")
    if condition is None or isinstance(condition, bool):
        return condition is not False
    contexts = frame.contexts
    if any(path[0] == "env" for path in expressions.references(condition, condition=True)):
        contexts = {**contexts, "env": _environment(frame, {})}
    return holds(condition, contexts)


class _Failure(NamedTuple):
    error: Error
    told: bool  # its traceback stands in the log


def _try(
    spec: Mapping[str, Any], frame: Frame, stage_id: str, attempt: int, result: StageResult, usage: Usage
) -> _Failure | None:
    """Run the stage once. Fills in the result and gives the error, if it failed."""
    limit = spec.get("timeout") if frame.enforce_timeouts else None
    scope = Scope(frame.scope, limit)
    work: Work | None = None
    result["outputs"] = {}
    try:
        work = Work(spec, frame, stage_id, _environment(frame, spec), scope, attempt, usage)
        values = _kind(spec, frame)(work)
        outputs, omitted = storable_outputs(values)
        work.omitted.update(omitted)
        work.live = {str(name): value for name, value in values.items() if str(name) in omitted}
        result["outputs"] = _with_declared(spec, work, outputs)
    except TimedOut as timeout:
        if timeout.scope is not scope:
            raise
        return _Failure(error_of(timeout), told=False)
    except Interrupted:
        scope.check()
        raise
    except Exception as error:
        if is_skip(error):
            message = shorten(text_of_error(error))
            frame.lane.log(f"Skipped: {message}")
            result["state"] = result["outcome"] = "skipped"
            result["error"] = {"type": type(error).__name__, "message": message}
            return None
        return _Failure(error_of(error), told=work is not None and work.told)
    finally:
        if work is not None and not result["outputs"]:
            # What a nested stage had reached is kept, whatever stopped it.
            result["outputs"] = storable_outputs(work.outputs)[0]
    for name, reason in work.omitted.items():
        if name in work.live and frame.live is not None:
            frame.lane.log(f"Output {name!r} is for the later stages of this task only: {reason}")
        else:
            frame.lane.log(f"Output {name!r} is left out: {reason}", "warning")
    if frame.live is not None and work.live:
        frame.live[stage_id] = work.live
    if work.omitted:
        result["omitted"] = work.omitted
    result["state"] = result["outcome"] = work.state
    return None


def _fail(spec: Mapping[str, Any], frame: Frame, result: StageResult, error: Error, *, told: bool) -> None:
    """Write down a failure, or with continue-on-error a success that tells of it."""
    result["error"] = error
    result["outcome"] = "failure"
    if spec.get("continue_on_error"):
        frame.lane.log(f"{error['message']} (continuing: continue-on-error)", "warning")
        result["state"] = "success"
        result["outputs"] = {**result["outputs"], "outcome": "failure"}
    else:
        if not told:
            frame.lane.log(error["message"], "error")
        result["state"] = "failed"


def _environment(frame: Frame, spec: Mapping[str, Any]) -> Dict[str, str]:
    layers = [*frame.layers, spec.get("env") or {}]
    level = (spec.get("logging") or {}).get("level")
    if level and not frame.own_log_level:
        layers.insert(0, {LOG_LEVEL: str(level).upper()})
    return add_layers(
        frame.env,
        layers,
        lambda template, env: render(template, {**frame.contexts, "env": env}),
    )


def _with_declared(spec: Mapping[str, Any], work: Work, outputs: Dict[str, Any]) -> Dict[str, Any]:
    """Raw outputs, with what the stage's ``outputs:`` adds or overrides."""
    declared = spec.get("outputs")
    if not declared or work.state == "skipped":
        return outputs
    contexts = {**work.contexts, "outputs": outputs}
    values = {}
    for name, template in declared.items():
        try:
            values[name] = render(template, contexts)
        except expressions.ExpressionError as error:
            raise _named(f"outputs: {name}", error) from error
    added, omitted = storable_outputs(values)
    work.omitted.update(omitted)
    return {**{name: value for name, value in outputs.items() if name not in omitted}, **added}


def _named(key: str, error: Exception) -> StageError:
    return StageError(f"{key}: {text_of_error(error)}", type=getattr(error, "type", type(error).__name__))


def _name(spec: Mapping[str, Any], frame: Frame, stage_id: str) -> str:
    """The stage's display name on one line; its id where the name cannot be told."""
    try:
        name = expressions.to_text(render(spec.get("name"), frame.contexts))
    except (expressions.ExpressionError, StageError):
        name = ""
    return " ".join(name.split()) or stage_id


def _kind(spec: Mapping[str, Any], frame: Frame) -> Kind:
    """The function that runs this stage."""
    kind = spec["kind"]
    if kind not in _KINDS:
        raise StageError(
            f"a stage of kind {kind!r} does not run here; the engine runs: {', '.join(sorted(_KINDS))}",
            type="UnknownKind",
        )
    from importlib import import_module

    limited = frame.enforce_resources and spec.get("resources") and kind not in _UNLIMITED
    module, function = ("limited", "run_limited") if limited else _KINDS[kind]
    run: Kind = getattr(import_module(f"airflow_stagecoach.engine.{module}"), function)
    return run


def result_word(result: StageResult) -> str:
    """``success``, ``failure``, ``skipped``, ``upstream_failed`` or ``cancelled``."""
    return "cancelled" if result["outcome"] == "cancelled" else RESULTS[result["state"]]


def earlier_record(result: StageResult, live: Mapping[str, Any] | None = None) -> Dict[str, Any]:
    """What ``stages.<id>`` shows to later stages.

    :param live: outputs that cannot be stored, and that stages in the same process can use all the same
    """
    return {**result, "outputs": {**result["outputs"], **(live or {})}, "result": result_word(result)}


def status_of(failed: bool) -> Tuple[str, Dict[str, bool]]:
    """Key and value by which the contexts tell the status functions how earlier stages ended."""
    return STATUS, {"success": not failed, "failure": failed, "cancelled": False}
