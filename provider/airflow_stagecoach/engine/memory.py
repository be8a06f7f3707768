"""More memory after a try that had too little: ``retry: {on-oom: {memory: x2, max: 16Gi}}``. Pure functions.

``on_oom`` is an ``OnOomPlan``: ``factor`` or ``add`` (bytes), and maybe ``max`` (bytes). Request and limit
both grow, each from what the document says, by as many steps as tries of the series ran out of memory.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Dict, Iterable, Mapping, Tuple

if TYPE_CHECKING:
    from airflow_stagecoach.engine.classification import Rule
    from airflow_stagecoach.engine.contract import Error

#: Reasons of the category ``resource`` by which the stage itself had too little memory, not its machine.
_TOO_LITTLE = ("OOMKilled", "OutOfMemoryError", "out-of-memory")

#: No machine has more bytes.
_MOST = 1 << 60

_UNITS = (("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10))


def ran_out_of_memory(error: Error, rules: Iterable[Rule] = ()) -> bool:
    """Whether a failure says that the stage had too little memory.

    :param rules: further rules of :func:`~airflow_stagecoach.engine.classification.classify`
    """
    from airflow_stagecoach.engine.classification import classify, same_reason

    found = classify(error, rules)
    return found.category == "resource" and any(same_reason(found.reason, one) for one in _TOO_LITTLE)


def memory_limit(resources: Mapping[str, Any] | None) -> int | None:
    """The bytes that a stage may use at most; without a limit of its own the request is the limit."""
    if not resources:
        return None
    limit: int | None = (resources.get("limits") or {}).get("memory", resources.get("memory"))
    return limit


def grown(resources: Mapping[str, Any], on_oom: Mapping[str, Any], times: int) -> Dict[str, Any]:
    """The resources of a try after which ``times`` earlier ones ran out of memory.

    :param resources: a ``ResourcesPlan``, as the document has it
    :return: the same with more memory, never more than ``max``
    """
    more = dict(resources)
    if "memory" in more:
        more["memory"] = _more(more["memory"], on_oom, times)
    limits = more.get("limits") or {}
    if "memory" in limits:
        more["limits"] = {**limits, "memory": _more(limits["memory"], on_oom, times)}
    return more


def _more(amount: int, on_oom: Mapping[str, Any], times: int) -> int:
    most = int(on_oom.get("max", _MOST))
    if "add" in on_oom:
        return min(amount + times * int(on_oom["add"]), most)
    more = amount * float(on_oom["factor"]) ** times
    return most if more >= most else max(amount, math.ceil(more))


def told(
    on_oom: Mapping[str, Any] | None, resources: Mapping[str, Any] | None, times: int
) -> Tuple[str, str]:
    """What the log says after a try that ran out of memory and is followed by another one: text and level.

    :param resources: as the document has them
    :param times: tries of the series that ran out of memory, the last one included
    """
    if on_oom is None or memory_limit(resources) is None:
        advice = (
            "give it more memory, or let it grow: `resources: {memory}` and `retry: {on-oom: {memory: x2}}`"
        )
        return f"The try ran out of memory, and the next one has no more: {advice}", "warning"
    had, gets = (memory_limit(grown(resources or {}, on_oom, number)) for number in (times - 1, times))
    if had == gets:
        most = f"{shown(had)}, the most that `on-oom` allows"
        return f"The try ran out of memory with {most}, and the next one has no more", "warning"
    return f"The try ran out of memory with {shown(had)}; the next one gets {shown(gets)}", "info"


def shown(amount: int | None) -> str:
    """An amount as a document has it: ``256Mi``."""
    if amount is None:
        return "no limit"
    for unit, factor in _UNITS:
        if amount >= factor:
            return f"{amount / factor:.4g}{unit}"
    return f"{amount} bytes"
