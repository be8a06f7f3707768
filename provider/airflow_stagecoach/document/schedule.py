"""``on``: from all its spellings to a schedule plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_stagecoach.document.cron import CronError, check_cron, interval_cron
from airflow_stagecoach.document.dates import parse_datetime, to_utc
from airflow_stagecoach.document.diagnostics import did_you_mean, found
from airflow_stagecoach.document.fields import (
    duration_value,
    has_expression,
    text_value,
)
from airflow_stagecoach.document.model import (
    Faults,
    fault,
)

if TYPE_CHECKING:
    from airflow_stagecoach.document.plan import CronPlan, SchedulePlan

#: Crons of one workflow, moments of one `at`, assets of one condition.
MAX_CRONS = 20
MAX_MOMENTS = 1000
MAX_ASSETS = 100

_KEYS = (
    "cron",
    "cronjob",
    "schedule",
    "interval",
    "every",
    "at",
    "assets",
    "continuous",
    "timezone",
    "tz",
    "day",
    "time",
)
_HABITS = {
    "push": "GitHub's events do not exist here; write a cron, `assets` or `manual`",
    "pull-request": "GitHub's events do not exist here; write a cron, `assets` or `manual`",
    "workflow-dispatch": "every workflow can be started by hand; write on: manual",
    "workflow-call": "another workflow starts this one with a trigger stage",
    "release": "`release` of the older engine did nothing; remove it",
    "start-date": "`start-date` belongs to the workflow",
    "end-date": "`end-date` belongs to the workflow",
    "catchup": "`catchup` belongs to the workflow",
}


class _Schedule:
    """Collects what the entries of ``on`` say."""

    def __init__(self) -> None:
        self.faults = Faults()
        self.crons: list[tuple[CronPlan, tuple[str | int, ...]]] = []
        self.every: list[tuple[float, tuple[str | int, ...]]] = []
        self.at: list[str] = []
        self.assets: list[Any] = []
        self.continuous = False
        self.places: dict[str, tuple[str | int, ...]] = {}

    def entry(self, value: Any, path: tuple[str | int, ...], depth: int = 0) -> None:
        """One entry of ``on``, or ``on`` itself."""
        if value is None or isinstance(value, str):
            self._word(value, path)
        elif isinstance(value, (list, tuple)) and depth < 3:
            if not value:
                self.faults.add(
                    fault("empty-value", "this schedule is empty", "write on: manual, or remove it"), *path
                )
            for index, item in enumerate(value):
                if index > MAX_CRONS:
                    self.faults.add(fault("bad-schedule", f"more than {MAX_CRONS} schedules"), *path)
                    break
                self.entry(item, (*path, index), depth + 1)
        elif isinstance(value, Mapping):
            self._map(value, path, depth)
        else:
            self.faults.add(
                fault("bad-schedule", f"expected a schedule, found {found(value)}", _EXAMPLES), *path
            )

    def _word(self, value: str | None, path: tuple[str | int, ...]) -> None:
        text = (value or "").strip()
        if value is None or text.lower() in ("manual", "@none", "none"):
            return
        if text.lower() == "@continuous":
            self._place("continuous", path)
            self.continuous = True
        elif text.lower() == "@once":
            hint = "write on: {at: 2026-01-31T12:00:00Z}, or start it by hand"
            self.faults.add(fault("bad-schedule", "'@once' has no moment of its own", hint), *path)
        else:
            self._cron(text, "UTC", path)

    def _place(self, kind: str, path: tuple[str | int, ...]) -> None:
        self.places.setdefault(kind, path)

    def _cron(self, text: str, zone: str, path: tuple[str | int, ...]) -> None:
        self._place("crons", path)
        if has_expression(text):
            self.faults.add(fault("bad-schedule", "a schedule cannot hold an expression"), *path)
            return
        try:
            cron = check_cron(text)
        except CronError as error:
            hint = error.hint
            if len(text.split()) == 1 and not text.startswith("@"):
                hint = (
                    did_you_mean(f"@{text}", ["@daily", "@hourly", "@weekly", "@monthly", "@yearly"])
                    or _EXAMPLES
                )
                self.faults.add(
                    fault("bad-schedule", f"expected a schedule, found {found(text)}", hint), *path
                )
                return
            self.faults.add(fault("bad-cron", f"bad cron '{text[:60]}': {error}", hint), *path)
            return
        plan: CronPlan = {"cron": cron, "timezone": zone}
        if any(plan == known for known, _ in self.crons):
            self.faults.add(
                fault("duplicate-schedule", f"schedule '{cron}' stands twice", "remove one"), *path
            )
            return
        self.crons.append((plan, path))

    def _map(self, value: Mapping[Any, Any], path: tuple[str | int, ...], depth: int) -> None:
        keys: dict[str, tuple[str, Any]] = {}
        for key, item in value.items():
            norm = str(key).replace("_", "-")
            norm = {"cronjob": "cron", "tz": "timezone"}.get(norm, norm)
            if norm not in _KEYS:
                hint = _HABITS.get(norm) or did_you_mean(norm, _KEYS, _EXAMPLES)
                self.faults.add(
                    fault("unknown-key", f"unknown key '{key}' in `on`", hint, on_key=True), *path, str(key)
                )
            elif norm in keys:
                message = f"'{key}' and '{keys[norm][0]}' are the same key"
                self.faults.add(
                    fault("duplicate-key", message, "remove one of the two", on_key=True), *path, str(key)
                )
            elif item is None:
                self.faults.add(fault("null-value", f"'{key}' has no value", on_key=True), *path, str(key))
            else:
                keys[norm] = (str(key), item)
        if not value:
            self.faults.add(
                fault("empty-value", "this schedule is empty", "write on: manual, or remove it"), *path
            )
        zone = "UTC"
        if "timezone" in keys:
            name, item = keys.pop("timezone")
            zone = self.faults.check(zone_value, item, *path, name) or "UTC"
            if (
                "cron" not in keys
                and "interval" not in keys
                and len(keys) == len([k for k in keys if k in ("at", "every", "assets", "continuous")])
            ):
                message = "a time zone belongs to a cron or an interval"
                self.faults.add(fault("bad-combination", message, on_key=True), *path, name)
        self._interval(keys, zone, path)
        if "cron" in keys:
            name, item = keys["cron"]
            for index, text in enumerate(item) if isinstance(item, list) else [(None, item)]:
                place = (*path, name) if index is None else (*path, name, index)
                checked = self.faults.check(text_value, text, *place)
                if checked is not None:
                    self._cron(checked.strip(), zone, place)
        if "schedule" in keys:
            name, item = keys["schedule"]
            self.entry(item, (*path, name), depth + 1)
        self._others(keys, path)

    def _interval(self, keys: dict[str, tuple[str, Any]], zone: str, path: tuple[str | int, ...]) -> None:
        if "interval" not in keys:
            for key in ("day", "time"):
                if key in keys:
                    message = f"'{key}' belongs to an interval"
                    hint = 'write for instance {interval: daily, time: "18:05"}'
                    self.faults.add(fault("bad-combination", message, hint, on_key=True), *path, keys[key][0])
            return
        name, item = keys["interval"]
        interval = self.faults.check(text_value, item, *path, name)
        time = self.faults.check(text_value, keys["time"][1], *path, "time") if "time" in keys else None
        day = keys["day"][1] if "day" in keys else None
        if interval is None or ("time" in keys and time is None):
            return
        try:
            cron = interval_cron(interval.strip().lower(), day, time)
        except CronError as error:
            self.faults.add(fault("bad-schedule", str(error), error.hint), *path, name)
            return
        self._cron(cron, zone, (*path, name))

    def _others(self, keys: dict[str, tuple[str, Any]], path: tuple[str | int, ...]) -> None:
        if "every" in keys:
            place = (*path, "every")
            self._place("every", place)
            seconds = self.faults.check(duration_value, keys["every"][1], *place)
            if seconds is not None and seconds < 1:
                self.faults.add(fault("out-of-range", "the shortest interval is one second"), *place)
            elif seconds is not None:
                self.every.append((seconds, place))
        if "at" in keys:
            self._place("at", (*path, "at"))
            item = keys["at"][1]
            moments = item if isinstance(item, list) else [item]
            if len(moments) > MAX_MOMENTS:
                self.faults.add(fault("bad-schedule", f"more than {MAX_MOMENTS} moments"), *path, "at")
            for index, moment in enumerate(moments[:MAX_MOMENTS]):
                place = (*path, "at", index) if isinstance(item, list) else (*path, "at")
                checked = self.faults.check(moment_value, moment, *place)
                if checked is not None and checked not in self.at:
                    self.at.append(checked)
        if "assets" in keys:
            self._place("assets", (*path, "assets"))
            condition = self.faults.check(assets_value, keys["assets"][1], *path, "assets")
            if condition is not None:
                self.assets.append(condition)
        if "continuous" in keys:
            self._place("continuous", (*path, "continuous"))
            if keys["continuous"][1] is not True:
                hint = "write continuous: true, or remove it"
                self.faults.add(fault("wrong-type", "expected true", hint), *path, "continuous")
            self.continuous = True

    def plan(self) -> SchedulePlan | None:
        """The schedule, or None for none; raises what was noted."""
        zones = {plan["timezone"] for plan, _ in self.crons}
        if len(zones) > 1:
            first = self.crons[0][0]["timezone"]
            other, path = next(
                (plan["timezone"], path) for plan, path in self.crons if plan["timezone"] != first
            )
            message = f"all crons of a workflow have one time zone, found {first} and {other}"
            self.faults.add(fault("mixed-timezones", message, "make two workflows of it"), *path)
        if len(self.crons) > MAX_CRONS:
            self.faults.add(
                fault("bad-schedule", f"{len(self.crons)} schedules, at most {MAX_CRONS} are allowed"),
                *self.crons[-1][1],
            )
        kinds = list(self.places)
        if len(kinds) > 1 and set(kinds) != {"crons", "assets"}:
            words = {
                "crons": "a cron",
                "every": "`every`",
                "at": "`at`",
                "assets": "assets",
                "continuous": "`continuous`",
            }
            message = f"{words[kinds[0]]} and {words[kinds[1]]} cannot stand together"
            self.faults.add(
                fault("bad-combination", message, "make two workflows of it"), *self.places[kinds[1]]
            )
        if len(self.every) > 1:
            self.faults.add(fault("bad-combination", "`every` stands twice"), *self.every[1][1])
        self.faults.raise_any()
        plan: SchedulePlan = {}
        if self.crons:
            plan["crons"] = [cron for cron, _ in self.crons]
        if self.every:
            plan["every"] = self.every[0][0]
        if self.at:
            plan["at"] = sorted(self.at)
        if self.continuous:
            plan["continuous"] = True
        if self.assets:
            plan["assets"] = self.assets[0] if len(self.assets) == 1 else {"all": self.assets}
        return plan or None


_EXAMPLES = 'for instance on: "@daily", on: "0 3 * * *" or on: {every: 15m}'


def zone_value(value: Any) -> str:
    """An IANA time zone, ``Asia/Bangkok``."""
    from zoneinfo import ZoneInfo, available_timezones

    text = text_value(value).strip()
    try:
        ZoneInfo(text)
    except (ValueError, OSError, KeyError, TypeError):
        hint = did_you_mean(text, available_timezones(), "write an IANA name such as Europe/Berlin")
        raise fault("bad-timezone", f"unknown time zone '{text[:60]}'", hint) from None
    return text


def moment_value(value: Any) -> str:
    """A moment as ISO text in UTC."""
    try:
        return to_utc(parse_datetime(text_value(value))).isoformat()
    except (ValueError, OverflowError) as error:
        raise fault("bad-date", f"{error}, found {found(value)}") from None


def date_value(value: Any) -> str:
    """A date or moment of the workflow, from Python also a ``date`` or ``datetime``; ISO text in UTC."""
    if hasattr(value, "isoformat"):
        value = value.isoformat()
    return moment_value(value)


def assets_value(value: Any, depth: int = 0) -> Any:
    """A name, a list (all of them), ``{all: [...]}``, ``{any: [...]}`` or ``{name, uri}``."""
    if isinstance(value, str):
        if not value.strip() or has_expression(value) or len(value) > 1500:
            raise fault("bad-asset", f"expected the name of an asset, found {found(value)}")
        return {"name": value.strip()}
    if isinstance(value, list):
        value = {"all": value}
    if not isinstance(value, Mapping):
        raise fault("bad-asset", f"expected the name of an asset or a list of names, found {found(value)}")
    if depth > 8:
        raise fault("bad-asset", "conditions on assets are nested too deep")
    keys = {str(key) for key in value}
    faults = Faults()
    if keys and keys <= {"name", "uri"}:
        result = {key: faults.check(text_value, value[key], key) for key in ("name", "uri") if key in value}
        faults.raise_any()
        return {
            "name": result.get("name") or result["uri"],
            **({"uri": result["uri"]} if "uri" in result else {}),
        }
    if len(keys) != 1 or not keys <= {"all", "any"}:
        hint = "write a name, a list, {all: [...]}, {any: [...]} or {name: ..., uri: ...}"
        raise fault("bad-asset", "expected one of the keys all, any or name", hint)
    word = next(iter(keys))
    items = value[word]
    if not isinstance(items, list) or not items:
        raise fault("bad-asset", f"expected a list of assets below '{word}', found {found(items)}")
    if len(items) > MAX_ASSETS:
        raise fault("bad-asset", f"more than {MAX_ASSETS} assets")
    result_list = [
        faults.check(lambda item: assets_value(item, depth + 1), item, word, index)
        for index, item in enumerate(items)
    ]
    faults.raise_any()
    return result_list[0] if len(result_list) == 1 else {word: result_list}


def schedule_value(value: Any) -> SchedulePlan | None:
    """The schedule of ``on`` in all its spellings; None for a workflow that is started by hand only."""
    schedule = _Schedule()
    schedule.entry(value, ())
    return schedule.plan()
