"""Repeating a failed stage: whether, and after how long. Pure functions.

The rules are those of DESIGN ("Retry"): ``{max, delay, backoff, factor, increment, max_delay, delays,
jitter, on, never, rules, on_oom}``, delays in seconds. ``on``, ``never`` and the ``match`` of a rule hold
matchers:

* the name or dotted path of an exception's class (``requests.ConnectionError``), bases count too,
  or the type of an error of ours (``TimedOut``)
* a category: ``configuration resource network system timeout component cancelled``
* ``exit:N``, ``exit:N-M``: exit codes; a process that was ended by a signal has 128 + its number
* ``http:N``, ``http:N-M``: HTTP statuses
* ``reason:Word``: the reason, without case and punctuation
* ``message:REGEX``: found anywhere in the message
"""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING, Any, Dict, Iterable, Mapping, NamedTuple, Sequence

from airflow_stagecoach.engine.classification import FINAL, Rule, classify, same_reason
from airflow_stagecoach.engine.memory import ran_out_of_memory

if TYPE_CHECKING:
    from airflow_stagecoach.engine.contract import Error

#: Between two tries where the document says nothing, in seconds.
DEFAULT_DELAY = 10.0

#: No delay is longer, in seconds; what another side asks for only up to a day, unless ``max_delay`` says so.
_LONGEST = 365 * 86400.0
_LONGEST_ASKED = 86400.0

#: A longer pattern is no pattern (documents allow 500 characters); messages are bounded by the engine.
_LONGEST_PATTERN = 600

_RANGE = re.compile(r"(\d+)(?:-(\d+))?")


class Decision(NamedTuple):
    """What is done after a failed try."""

    repeat: bool
    delay: float  # seconds; 0 when it is not repeated
    why: str  # for a person
    rule: int | None  # position of the rule of ``retry: {rules}`` that decided


def decide(
    retry: Mapping[str, Any],
    error: Error,
    number: int,
    *,
    rng: random.Random | None = None,
    used: Mapping[int, int] | None = None,
    classifiers: Iterable[Rule] = (),
) -> Decision:
    """Decide what is done after a failed try. The caller sees to ``max`` itself.

    In this order: what can never be healed, and ``cancelled``; ``rules``; ``never``; ``on``, which
    excludes all that it does not name (``on_oom`` names what ran out of memory); what the category says
    (``configuration`` is not repeated).

    :param retry: the stage's ``retry``
    :param error: why the try failed
    :param number: which retry this would be, from 1
    :param rng: for jitter, see :func:`jitter_source`
    :param used: position of a rule -> how many retries it gave before
    :param classifiers: further rules of :func:`classify`
    """
    found = classify(error, classifiers)
    if error["type"] in FINAL:
        return _final("no further try can heal it")
    if found.category == "cancelled":
        return _final("it was cancelled")
    error = {**error, "category": found.category, "reason": found.reason}
    position = rule_for(retry, error)
    if position is not None:
        return _by_rule(retry, error, number, rng, position, used or {})
    if any(matches(matcher, error) for matcher in retry.get("never") or ()):
        return _final("`never` names it")
    on = retry.get("on")
    if on and not ("on_oom" in retry and ran_out_of_memory(error)):
        if not any(matches(matcher, error) for matcher in on):
            return _final("`on` does not name it")
        return Decision(True, delay_before(retry, number, rng, error), "`on` names it", None)
    if found.action == "fail":
        return _final(f"another try would give the same ({found.category}: {found.reason})")
    return Decision(True, delay_before(retry, number, rng, error), found.category, None)


def _final(why: str) -> Decision:
    return Decision(False, 0.0, why, None)


def _by_rule(
    retry: Mapping[str, Any],
    error: Error,
    number: int,
    rng: random.Random | None,
    position: int,
    used: Mapping[int, int],
) -> Decision:
    rule = retry["rules"][position]
    name = f"rule {position + 1}"
    if rule.get("action", "retry") == "fail":
        return Decision(False, 0.0, f"{name} says fail", position)
    most = rule.get("max")
    if most is not None and used.get(position, 0) >= most:
        return Decision(False, 0.0, f"{name} gave its {most} {'retry' if most == 1 else 'retries'}", position)
    if "delay" in rule:
        retry = {"delay": rule["delay"], **{key: retry[key] for key in ("max_delay",) if key in retry}}
    return Decision(True, delay_before(retry, number, rng, error), name, position)


def may_retry(retry: Mapping[str, Any], error: Error) -> bool:
    """Whether a failure is one that the document wants repeated at all, the ``max`` of rules aside."""
    return decide(retry, error, 1).repeat


def rule_for(retry: Mapping[str, Any], error: Error) -> int | None:
    """Position of the first of ``rules`` that matches a classified error."""
    for position, rule in enumerate(retry.get("rules") or ()):
        if any(matches(matcher, error) for matcher in rule["match"]):
            return position
    return None


def delay_before(
    retry: Mapping[str, Any], number: int, rng: random.Random | None = None, error: Error | None = None
) -> float:
    """Seconds to wait before retry ``number`` (from 1).

    ``fixed``: delay. ``linear``: delay + (number - 1) * increment (default: delay).
    ``exponential``: delay * factor ** (number - 1), factor 2 by default.
    ``custom``: the given delays one by one, the last repeats. ``max_delay`` caps.
    ``jitter``: ``full`` draws between 0 and the delay, ``equal`` from its upper half.

    :param error: its ``retry_after`` (the ``Retry-After`` of an HTTP answer) replaces the delay;
        ``max_delay`` caps it too, else a day
    """
    asked = None if error is None else error.get("retry_after")
    if asked is not None:
        return max(0.0, min(float(asked), float(retry.get("max_delay", _LONGEST_ASKED))))
    seconds = min(_backoff(retry, number), float(retry.get("max_delay", _LONGEST)), _LONGEST)
    jitter = retry.get("jitter", "none")
    if jitter == "none":
        return seconds
    draw = (rng or random.Random()).uniform  # noqa: S311 - spreads load, guards nothing
    return draw(0, seconds) if jitter == "full" else draw(seconds / 2, seconds)


def _backoff(retry: Mapping[str, Any], number: int) -> float:
    backoff = retry.get("backoff", "fixed")
    delay = float(retry.get("delay", DEFAULT_DELAY))
    if backoff == "custom":
        delays: Sequence[float] = retry.get("delays") or [delay]
        return float(delays[min(number, len(delays)) - 1])
    if backoff == "linear":
        return delay + (number - 1) * float(retry.get("increment", delay))
    if backoff == "exponential":
        try:
            return delay * float(retry.get("factor", 2)) ** (number - 1)
        except OverflowError:
            return float("inf")
    return delay


def jitter_source(*place: object) -> random.Random:
    """Draws that are the same for the same place (run, task, leg, try) and differ between places."""
    return random.Random("/".join(map(str, place)))  # noqa: S311 - spreads load, guards nothing


def matches(matcher: object, error: Error) -> bool:
    """Whether one matcher of ``on``, ``never`` or ``match`` means this error."""
    text = str(matcher).strip()
    kind, colon, wanted = text.partition(":")
    test = _TESTS.get(kind) if colon else None
    if test is not None:
        return bool(test(wanted.strip(), error))
    return text in _names(error)


def _exit_matches(wanted: str, error: Error) -> bool:
    code = error.get("exit_code")
    return code is not None and _within(wanted, code if code >= 0 else 128 - code)


def _http_matches(wanted: str, error: Error) -> bool:
    status = error.get("http_status")
    return status is not None and _within(wanted, status)


def _reason_matches(wanted: str, error: Error) -> bool:
    return same_reason(wanted, error.get("reason") or classify(error).reason)


def _message_matches(wanted: str, error: Error) -> bool:
    if len(wanted) > _LONGEST_PATTERN:
        return False
    try:
        return re.search(wanted, error["message"]) is not None
    except (re.error, RecursionError, OverflowError):
        return False


_TESTS: Dict[str, Any] = {
    "exit": _exit_matches,
    "http": _http_matches,
    "reason": _reason_matches,
    "message": _message_matches,
}


def _within(wanted: str, number: int) -> bool:
    found = _RANGE.fullmatch(wanted)
    if found is None:
        return False
    first = int(found.group(1))
    return first <= number <= int(found.group(2) or first)


def _names(error: Error) -> set[str]:
    """Everything that an error may be called."""
    names = {error["type"], error.get("category") or classify(error).category}
    for dotted in error.get("classes", ()):
        # Packages hand out their exceptions at the top: requests.exceptions.Timeout is requests.Timeout.
        root, name = dotted.partition(".")[0], dotted.rpartition(".")[2]
        names |= {dotted, name, f"{root}.{name}"}
    if "exit_code" in error:
        names.add(str(error["exit_code"]))
    if "signal" in error:
        names.add(error["signal"])
    return names
