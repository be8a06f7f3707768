"""Repeating a failed stage: whether, and after how long. Pure functions.

The rules are those of DESIGN ("Retry"): ``{max, delay, backoff, factor,
increment, max_delay, delays, jitter, on, never}``, delays in seconds.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Mapping

if TYPE_CHECKING:
    from airflow_stagecoach.engine.contract import Error

#: Between two tries where the document says nothing, in seconds.
DEFAULT_DELAY = 10.0

#: Failures that no further try can heal, by the name of their type.
_FINAL = frozenset({"AirflowFailException"})


def delay_before(retry: Mapping[str, Any], number: int, rng: random.Random | None = None) -> float:
    """Seconds to wait before retry ``number`` (from 1).

    ``fixed``: delay. ``linear``: delay + (number - 1) * increment (default: delay).
    ``exponential``: delay * factor ** (number - 1), factor 2 by default.
    ``custom``: the given delays one by one, the last repeats. ``max_delay`` caps.
    ``jitter``: ``full`` draws between 0 and the delay, ``equal`` from its upper half.
    """
    backoff = retry.get("backoff", "fixed")
    delay = float(retry.get("delay", DEFAULT_DELAY))
    if backoff == "custom":
        delays = retry.get("delays") or [delay]
        seconds = float(delays[min(number, len(delays)) - 1])
    elif backoff == "linear":
        seconds = delay + (number - 1) * float(retry.get("increment", delay))
    elif backoff == "exponential":
        try:
            seconds = delay * float(retry.get("factor", 2)) ** (number - 1)
        except OverflowError:
            seconds = float("inf")
    else:
        seconds = delay
    seconds = min(seconds, float(retry.get("max_delay", "inf")), 365 * 86400.0)
    draw = (rng or random.Random()).uniform  # noqa: S311 - spreads load, guards nothing
    jitter = retry.get("jitter", "none")
    if jitter == "full":
        return draw(0, seconds)
    if jitter == "equal":
        return draw(seconds / 2, seconds)
    return seconds


def may_retry(retry: Mapping[str, Any], error: Error) -> bool:
    """Whether a failure is one that the document wants repeated.

    ``on`` and ``never`` name error types (``ValueError``, ``requests.ConnectionError``,
    bases count too), exit codes (``75``) or ``timeout``. ``never`` wins.
    """
    if error["type"] in _FINAL:
        return False
    names = _names(error)
    if any(str(wanted) in names for wanted in retry.get("never") or ()):
        return False
    wanted_ones = retry.get("on")
    return not wanted_ones or any(str(wanted) in names for wanted in wanted_ones)


def _names(error: Error) -> set[str]:
    """Everything that ``on`` and ``never`` may call this error."""
    names = {error["type"]}
    for dotted in error.get("classes", ()):
        names |= {dotted, dotted.rpartition(".")[2]}
    if "exit_code" in error:
        names.add(str(error["exit_code"]))
    if "signal" in error:
        names.add(error["signal"])
    if error["type"] == "TimedOut":
        names.add("timeout")
    return names
