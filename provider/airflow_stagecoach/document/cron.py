"""Cron text of five fields and Airflow's presets, checked without a third-party package."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: Airflow's presets, and the cron that each stands for.
PRESETS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@quarterly": "0 0 1 */3 *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FULL_WEEKDAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")


@dataclass(frozen=True)
class _Field:
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()
    first: int = 0


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of month", 1, 31),
    _Field("month", 1, 12, MONTHS, 1),
    _Field("day of week", 0, 7, WEEKDAYS, 0),
)
_LONGEST_MONTH = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class CronError(ValueError):
    """A text that is no cron expression; ``hint`` says what to write."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


def check_cron(text: str) -> str:
    """The cron expression with single spaces, or a preset in lower case.

    Five fields: minute, hour, day of month, month, day of week (0 to 7, both ends Sunday); in them ``*``,
    ``,``, ``-``, ``/``, names of three letters, ``L`` for the last day of the month and ``mon#2`` for the
    second Monday, which is what Airflow understands. Raises :class:`CronError`.
    """
    if len(text) > 200:
        raise CronError("a cron expression may have at most 200 characters")
    words = text.split()
    if len(words) == 1 and words[0].startswith("@"):
        preset = words[0].lower()
        if preset in PRESETS:
            return preset
        from airflow_stagecoach.document.diagnostics import did_you_mean

        known = [*PRESETS, "@continuous", "@once"]
        raise CronError(
            f"unknown schedule '{text}'", did_you_mean(preset, known, f"known are {', '.join(PRESETS)}")
        )
    if len(words) != 5:
        hint = "write minute, hour, day of month, month and day of week: 0 3 * * *"
        if len(words) == 6:
            hint = "a field for seconds or years is not available: 0 3 * * *"
        raise CronError(f"expected 5 fields, found {len(words)}", hint)
    values = [_parse(word, field) for word, field in zip(words, _FIELDS, strict=True)]
    days, months, weekdays = values[2], values[3], words[4]
    if weekdays == "*" and days and months and min(days) > max(_LONGEST_MONTH[month - 1] for month in months):
        raise CronError(f"day {min(days)} does not exist in that month, so it would never run")
    return " ".join(words)


def _parse(word: str, field: _Field) -> set[int]:
    """The values that a field stands for; empty where they depend on the month (``L``, ``#``)."""
    values: set[int] = set()
    for part in word.split(","):
        body, slash, step = part.partition("/")
        if slash and (not re.fullmatch(r"[0-9]{1,4}", step) or int(step) == 0):
            raise CronError(f"'{part}' in the field for the {field.name}: a step is a number from 1")
        if body == "*":
            low, high = field.low, field.high
        elif field.name == "day of month" and body.lower() == "l" and not slash:
            return set()
        elif field.name == "day of week" and re.fullmatch(r"(?i)[a-z0-9]{1,3}#[1-5]", body) and not slash:
            _value(body.partition("#")[0], field)
            return set()
        else:
            first, dash, last = body.partition("-")
            low = _value(first, field)
            high = _value(last, field) if dash else field.high if slash else low
            if dash and low > high:
                if field.name == "day of week" and high == 0:
                    high = 7
                else:
                    raise CronError(f"'{body}' in the field for the {field.name} goes backwards")
        values.update(range(low, high + 1, int(step) if slash else 1))
    return values


def _value(text: str, field: _Field) -> int:
    if re.fullmatch(r"[0-9]{1,4}", text):
        value = int(text)
        if field.low <= value <= field.high:
            return value
        raise CronError(f"{value} is no {field.name}, expected {field.low} to {field.high}")
    if text.lower() in field.names:
        return field.names.index(text.lower()) + field.first
    if not text:
        raise CronError(f"the field for the {field.name} has an empty part")
    raise CronError(f"'{text[:40]}' is no {field.name}, expected {field.low} to {field.high}")


INTERVALS = ("hourly", "daily", "weekly", "monthly", "quarterly", "yearly")


def interval_cron(interval: str, day: str | int | None, time: str | None) -> str:
    """The cron of ``{interval, day, time}``.

    ``day`` is a weekday for ``weekly`` (Monday if absent), a day of the month from 1 to 31 for ``monthly``,
    ``quarterly`` and ``yearly`` (1 if absent). ``time`` is ``HH:MM``, midnight if absent; ``hourly`` takes
    only its minutes. Raises :class:`CronError`.
    """
    hour, minute = _time(time)
    if interval == "hourly":
        if hour:
            raise CronError('an hourly schedule takes only the minute: time: "00:15"')
        if day is not None:
            raise CronError("an hourly schedule has no day")
        return f"{minute} * * * *"
    if interval == "daily":
        if day is not None:
            raise CronError("a daily schedule has no day", "write interval: weekly, or remove the day")
        return f"{minute} {hour} * * *"
    if interval == "weekly":
        return f"{minute} {hour} * * {_weekday(day)}"
    months = {"monthly": "*", "quarterly": "*/3", "yearly": "1"}
    if interval not in months:
        from airflow_stagecoach.document.diagnostics import did_you_mean

        raise CronError(
            f"unknown interval '{interval[:40]}'",
            did_you_mean(interval, INTERVALS, f"known are {', '.join(INTERVALS)}"),
        )
    number = 1 if day is None else day
    if isinstance(number, str) and re.fullmatch(r"[0-9]{1,2}", number):
        number = int(number)
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= 31:
        raise CronError(f"a {interval} schedule takes a day of the month from 1 to 31")
    return f"{minute} {hour} {number} {months[interval]} *"


def _weekday(day: str | int | None) -> int:
    if day is None:
        return 1
    if isinstance(day, str):
        text = day.strip().lower()
        for names in (_FULL_WEEKDAYS, WEEKDAYS):
            if text in names:
                return names.index(text)
        from airflow_stagecoach.document.diagnostics import did_you_mean

        raise CronError(
            f"'{day[:40]}' is no weekday", did_you_mean(text, _FULL_WEEKDAYS, "write for instance monday")
        )
    raise CronError("a weekly schedule takes the name of a weekday", "write for instance day: monday")


def _time(time: str | None) -> tuple[int, int]:
    if time is None:
        return 0, 0
    match = re.fullmatch(r"([01]?[0-9]|2[0-3]):([0-5][0-9])", time.strip())
    if match is None:
        raise CronError(f"expected a time such as 18:05, found '{time[:40]}'")
    return int(match.group(1)), int(match.group(2))
