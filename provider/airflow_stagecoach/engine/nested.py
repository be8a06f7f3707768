"""Stages made of stages: parallel, foreach, until, case.

The shapes of their outputs are part of the grammar::

    {"workers": 2, "parallel": {"branch": {"state", "branch", "stages"}}}
    {"items": [...], "foreach": {"item or index": {"state", "item", "stages"}}}
    {"until": {"loop": {"state", "loop", "item", "stages"}}}
    {"case": value, "stages": {...}}
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Sequence

from airflow_stagecoach import expressions
from airflow_stagecoach.engine.arguments import describe_type
from airflow_stagecoach.engine.concurrency import run_all
from airflow_stagecoach.engine.environment import sets_log_level
from airflow_stagecoach.engine.errors import StageError
from airflow_stagecoach.engine.frame import holds, render
from airflow_stagecoach.engine.sequence import rolled_up, run_stages
from airflow_stagecoach.engine.stage import earlier_record

if TYPE_CHECKING:
    from airflow_stagecoach.engine.contract import StageResult
    from airflow_stagecoach.engine.control import Scope
    from airflow_stagecoach.engine.frame import Work
    from airflow_stagecoach.engine.log_groups import Lane

_WORKERS, _CONCURRENT, _LOOPS = 2, 1, 10

#: Keys of a stage result that are not part of the outputs.
_MEASURED = frozenset({"start", "end", "cpu_seconds", "peak_memory", "metrics"})

#: What a nested stage's error has of its inner stage's, so that `retry` treats it the same.
_HANDED_ON = ("category", "reason", "http_status", "retry_after")

#: The default of a case, also when it is written as `else`.
_DEFAULT_CASE = "_"


def run_parallel(work: Work) -> Dict[str, Any]:
    """Run branches at the same time. All run to their end, also when one fails.

    :raises StageError: a branch failed
    """
    branches: Mapping[str, Sequence[Mapping[str, Any]]] = work.spec["parallel"]
    workers = _count(work, "max_workers", _WORKERS)
    entries: Dict[str, Any] = {}
    work.outputs.update({"workers": workers, "parallel": entries})
    several = workers > 1 and len(branches) > 1

    def task(name: str, scope: Scope) -> bool:
        entry = entries[name] = {"state": "failed", "branch": name, "stages": {}}
        run = _Entry(work, f"parallel.{name}", name, branches[name])
        run.go(entry, {"branch": name}, scope, several)
        return True

    run_all([_bound(task, name) for name in branches], workers, work.scope)
    return _rolled_up(work, entries, "branch")


def run_foreach(work: Work) -> Dict[str, Any]:
    """Run stages once per item. After a failed item those not started are left out.

    :raises StageError: there is no list, two items have one key, or an item failed
    """
    items = _items(work.render("foreach"))
    workers = _count(work, "concurrent", _CONCURRENT)
    by_index = bool(work.render("use_index_as_key", False))
    keys = [str(at) for at in range(len(items))] if by_index else _item_keys(items)
    entries: Dict[str, Any] = {}
    work.outputs.update({"items": items, "foreach": entries})
    stages = work.spec.get("stages") or []
    several = workers > 1 and len(items) > 1

    def task(at: int, scope: Scope) -> bool:
        entry = entries[keys[at]] = {"state": "failed", "item": items[at], "stages": {}}
        run = _Entry(work, f"foreach.{keys[at]}", keys[at], stages)
        run.go(entry, {"item": items[at], "loop": at}, scope, several)
        return bool(entry["state"] != "failed")

    run_all([_bound(task, at) for at in range(len(items))], workers, work.scope)
    return _rolled_up(work, entries, "item", empty="success")


def run_until(work: Work) -> Dict[str, Any]:
    """Run stages again and again, until the condition holds after a loop.

    The next item is the last inner output named ``item``, else the number of the
    next loop. The condition sees it as ``item``, and the stages of the loop.

    :raises StageError: a loop failed, or there were ``max_loop`` of them
    """
    item = work.render("item", 0)
    most = _count(work, "max_loop", _LOOPS)
    entries: Dict[str, Any] = {}
    work.outputs["until"] = entries
    for loop in range(1, most + 1):
        work.scope.check()
        entry = entries[str(loop)] = {"state": "failed", "loop": loop, "item": item, "stages": {}}
        run = _Entry(work, f"until.{loop}", str(loop), work.spec.get("stages") or [])
        run.go(entry, {"item": item, "loop": loop}, work.scope, work.frame.concurrent)
        if entry["state"] == "failed":
            break
        item = _next_item(run.results, loop + 1)
        seen = {name: earlier_record(result) for name, result in run.results.items()}
        contexts = {**work.contexts, "item": item, "loop": loop + 1}
        contexts["stages"] = {**contexts["stages"], **seen}
        if holds(work.spec["until"], contexts):
            break
    else:
        raise StageError(f"until: the condition did not hold after {most} loops (max-loop)", type="LoopLimit")
    return _rolled_up(work, entries, "loop")


def run_case(work: Work) -> Dict[str, Any]:
    """Run the stages of the first case that equals the value, by type and value.

    :raises StageError: none does and there is no default, or its stages failed
    """
    value = work.render("case")
    default: Sequence[Mapping[str, Any]] | None = None
    chosen: Sequence[Mapping[str, Any]] | None = None
    name: Any = _DEFAULT_CASE
    for entry in work.spec["match"]:
        if "else" in entry:
            default = entry["else"]
            continue
        wanted = render(entry["case"], work.contexts)
        if _same(wanted, value):
            name, chosen = wanted, entry.get("stages") or []
            break
        if wanted == _DEFAULT_CASE:
            default = entry.get("stages") or []
    if chosen is None:
        chosen = default
    if chosen is None:
        if work.spec.get("skip_not_match"):
            work.log("Skipped: no case matches")
            work.state = "skipped"
            return {}
        raise StageError(
            "case: no case matches, and there is no default (`case: _` or `else:`)", type="NoMatch"
        )
    held: Dict[str, Any] = {"state": "failed", "stages": {}}
    work.outputs.update({"case": name, "stages": held["stages"]})
    run = _Entry(work, f"case.{expressions.to_text(name)}", expressions.to_text(name), chosen)
    run.go(held, {"case": name}, work.scope, work.frame.concurrent)
    work.state = held["state"]
    if work.state == "failed":
        raise _nested_failure(f"case {expressions.to_text(name)}", held)
    return work.outputs


class _Entry:
    """One branch, item, loop or case: a list of stages with contexts of its own."""

    def __init__(self, work: Work, path: str, title: str, stages: Sequence[Mapping[str, Any]]) -> None:
        self._work = work
        self._path = path
        self._title = title
        self._stages = stages
        self.results: Dict[str, StageResult] = {}

    def go(self, entry: Dict[str, Any], contexts: Mapping[str, Any], scope: Scope, several: bool) -> None:
        """Run the stages; ``entry`` gets their state and, whatever happens, their results."""
        work = self._work
        outer = work.frame
        lane: Lane = outer.lane.other() if several else outer.lane
        frame = outer._replace(
            contexts={**work.contexts, **contexts},
            env=work.env,
            layers=[],
            scope=scope,
            lane=lane,
            path=(*outer.path, work.id, self._path),
            titles=(*outer.titles, work.id, self._title),
            attempt=work.attempt,
            concurrent=outer.concurrent or several,
            folded=True,
            enforce_timeouts=True,
            enforce_retries=True,
            log_level=work.log_level,
            own_log_level=outer.own_log_level or sets_log_level(outer.layers, work.spec.get("env")),
            usage=work.usage,
        )
        try:
            entry["state"] = run_stages(self._stages, frame, self.results)
        finally:
            entry["stages"].update({name: _compact(result) for name, result in self.results.items()})


def _compact(result: StageResult) -> Dict[str, Any]:
    """A stage result as it stands inside outputs: without what was measured, and without an empty error."""
    return {
        key: value
        for key, value in result.items()
        if key not in _MEASURED and not (key == "error" and value is None)
    }


def _rolled_up(work: Work, entries: Mapping[str, Any], word: str, empty: str = "skipped") -> Dict[str, Any]:
    state = rolled_up(entry["state"] for entry in entries.values()) if entries else empty
    if state == "failed":
        failed = [name for name, entry in entries.items() if entry["state"] == "failed"]
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        raise _nested_failure(f"{word} {failed[0]}{more}", entries[failed[0]])
    work.state = state
    return work.outputs


def _nested_failure(where: str, entry: Mapping[str, Any]) -> StageError:
    """The failure of a nested stage: that of its first failed stage, with what sort of failure it was."""
    message, details = "failed", {}
    for name, result in entry["stages"].items():
        if result["state"] == "failed":
            error = result.get("error") or {}
            message = f"stage {name}: {error.get('message', 'failed')}"
            details = {key: error[key] for key in _HANDED_ON if key in error}
            break
    return StageError(f"{where}: {message}", type="NestedStageFailed", details=details)


def _bound(task: Any, *arguments: Any) -> Any:
    """The task with its first arguments; a closure in a loop would see the last ones."""
    return lambda scope: task(*arguments, scope)


def _count(work: Work, key: str, default: int) -> int:
    """A number of workers or loops: at least 1. Text of digits counts as a number."""
    value = work.render(key, default)
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise StageError(f"{key.replace('_', '-')}: needs a whole number, 1 or more", type="InvalidValue")
    return value


def _items(value: Any) -> List[Any]:
    """The items of ``foreach``: a list, or text that is a list in JSON."""
    items = value
    if isinstance(value, str):
        try:
            items = json.loads(value)
        except ValueError:
            items = None
    if not isinstance(items, (list, tuple)):
        got = "a text that is no list in JSON" if isinstance(value, str) else describe_type(value)
        raise StageError(f"foreach: needs a list (or its JSON text), not {got}", type="InvalidValue")
    return list(items)


def _item_keys(items: Sequence[Any]) -> List[str]:
    seen: Dict[str, None] = {}
    for item in items:
        if isinstance(item, (dict, list)):
            raise StageError(
                "foreach: items that are maps or lists have no name; set use-index-as-key: true",
                type="InvalidValue",
            )
        key = "null" if item is None else expressions.to_text(item)
        if key in seen:
            raise StageError(
                f"foreach: the item {key!r} stands there twice; set use-index-as-key: true",
                type="InvalidValue",
            )
        seen[key] = None
    return list(seen)


def _next_item(results: Mapping[str, StageResult], otherwise: int) -> Any:
    found: Any = otherwise
    for result in results.values():
        if "item" in result["outputs"]:
            found = result["outputs"]["item"]
    return found


def _same(one: Any, other: Any) -> bool:
    """Strict equality: a number is no text, and true is no number."""
    numbers = (int, float)
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, numbers) and isinstance(other, numbers):
        return one == other
    return type(one) is type(other) and bool(one == other)
