"""Leaves out the parts of a workflow that could not be read, so that the rest is still checked."""

from __future__ import annotations

from typing import Any

from airflow_stagecoach.document.positions import canonical

_Path = tuple["str | int", ...]

#: Keys without which the thing around them is not there: it goes as a whole.
_STAGE_MARKS = {
    "bash", "run", "uses", "operator", "trigger", "parallel", "foreach", "until", "case", "match", "raise",
    "approval", "image", "stages",
}  # fmt: skip


def without(value: Any, paths: list[_Path], damaged: set[_Path]) -> Any:
    """A copy of a workflow without the parts that the paths lead to; None when nothing is left to check.

    What was left out is added to ``damaged`` in terms of what other parts name: ``("params",)``,
    ``("jobs", id)``, ``("jobs", id, "stages")`` and so on.
    """
    result = copy_of(value)
    for path in paths:
        if not path:
            return None
        first = canonical(str(path[0]))
        if first == "jobs":
            if len(path) == 1:
                result["jobs"] = {}
                damaged.add(("jobs",))
            else:
                _job(result, path, damaged)
            continue
        if first == "params" and len(path) > 1 and isinstance(result.get("params"), dict):
            damaged.add(("params", str(path[1])))
            result["params"][path[1]] = "str"
            continue
        damaged.add((first,))
        if first == "name":
            result["name"] = "unnamed"
            continue
        _drop(result, str(path[0]))
    return result


def _job(workflow: dict[str, Any], path: _Path, damaged: set[_Path]) -> None:
    name = str(path[1])
    jobs = workflow.get("jobs")
    job = jobs.get(name) if isinstance(jobs, dict) else None
    if job is None:
        return
    if not isinstance(job, dict) or len(path) == 2:
        damaged.add(("jobs", name))
        if isinstance(jobs, dict):
            if isinstance(job, dict) and job.get("stages"):
                # The key itself is wrong; its content is not judged under another name.
                jobs.pop(name, None)
            else:
                jobs[name] = {"stages": [{"name": "unreadable"}]}
                damaged.add(("jobs", name, "needs"))
        return
    key = canonical(str(path[2]))
    if key != "stages":
        damaged.add(("jobs", name, key))
        _drop(job, str(path[2]))
        return
    stages = job.get("stages")
    if len(path) == 3 or not isinstance(stages, list):
        job["stages"] = [{"name": "unreadable"}]
        damaged.add(("jobs", name, "stages"))
        return
    index = path[3]
    stage = stages[index] if isinstance(index, int) and index < len(stages) else None
    if not isinstance(stage, dict):
        stages[int(index)] = {"id": f"unreadable-{index}"}
        damaged.add(("jobs", name, "stages"))
        return
    if (
        len(path) > 4
        and canonical(str(path[4])) not in _STAGE_MARKS
        and canonical(str(path[4])) not in ("id", "name")
    ):
        _drop(stage, str(path[4]))
        return
    own = {
        key: stage[key] for key in ("id", "name") if isinstance(stage.get(key), str) and stage[key].strip()
    }
    if "id" not in own:
        damaged.add(("jobs", name, "stages"))
    stages[int(index)] = own or {"id": f"unreadable-{index}"}


def _drop(mapping: dict[str, Any], key: str) -> None:
    """Remove a key in all its spellings."""
    wanted = canonical(key)
    for spelling in [spelling for spelling in mapping if canonical(str(spelling)) == wanted]:
        del mapping[spelling]


def copy_of(value: Any) -> Any:
    """A deep copy in which aliases share nothing, so that one can be changed without the other."""
    if isinstance(value, dict):
        return {key: copy_of(item) for key, item in value.items()}
    if isinstance(value, list):
        return [copy_of(item) for item in value]
    return value
