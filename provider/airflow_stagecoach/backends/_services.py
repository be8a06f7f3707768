"""Services: containers beside the one of a job, described without any backend.

A plan holds templates (``ServicePlan`` of ``document/plan.py``); :func:`evaluate` makes of them what
``unit["services"]`` holds: plain values, checked, in document order. What a backend makes of them is
its own; what every backend keeps to stands in docs/architecture.md, "Services".
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any, TypedDict

from airflow_stagecoach import expressions
from airflow_stagecoach.backends.failures import BackendFailure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

#: What holds where ``health`` says nothing else. With Docker's own a job waits for half a minute at least.
INTERVAL, TIMEOUT, RETRIES, START_PERIOD = 2.0, 10.0, 30, 0.0

#: A job waits at most so many seconds until its services can be used.
LONGEST_WAIT = 600.0

#: Lines of each service that are told when the job has failed, and characters of each line.
TOLD_LINES, TOLD_WIDTH = 50, 2000

#: Label of a container that is a service: its id.
SERVICE = "stagecoach.service"

#: Label of what stands beside a piece of work: the work's name.
WORK = "stagecoach.work"

_PORT = re.compile(r"(?:(\d{1,5}):)?(\d{1,5})(?:/(tcp|udp))?", re.ASCII)


class Port(TypedDict):
    """A port that a service listens on.

    ``published`` is where it is published on the machine of the containers, ``None`` where it is not.
    """

    port: int
    protocol: str  # tcp, udp
    published: int | None


class Volume(TypedDict):
    """A folder of a service. Without a ``source`` it goes with the service."""

    source: str | None  # a path of the machine of the containers, or what a name means there
    path: str
    mode: str | None  # as written: ro, rw


class Health(TypedDict):
    """The check that says whether a service can be used. Times are seconds."""

    command: list[str]  # a program and its arguments
    shell: bool  # then the command is one text, for the /bin/sh of the image
    interval: float
    timeout: float
    retries: int  # checks that may fail one after the other
    start_period: float


class Service(TypedDict):
    """One service of one leg, evaluated. JSON-able."""

    id: str  # its host name
    image: str
    env: dict[str, str]
    ports: list[Port]
    volumes: list[Volume]
    conn: str | None  # Airflow connection of the image's registry
    entrypoint: list[str] | None  # of the image where None
    command: list[str] | None
    health: Health | None  # that of the image where None, if it has one


class ServiceError(ValueError):
    """A value of a service is wrong, which only the run could tell."""


def evaluate(
    services: Mapping[str, Mapping[str, Any]],
    render: Callable[[Any], Any],
    seconds: Callable[[Any], float],
) -> list[Service]:
    """The services of one leg.

    :param services: id -> ``ServicePlan``
    :param render: gives the value of a template
    :param seconds: reads a duration, e.g. ``document.durations.parse_duration``; raises ValueError
    :return: in the order of the document, without those whose image is empty
    :raises ServiceError: a value cannot be used; the text names the service and the key
    """
    found = []
    for name, plan in services.items():
        reader = _Reader(name, render)
        image = reader.text("image", plan["image"]).strip()
        if image:
            found.append(_service(name, image, plan, reader, seconds))
    return found


def _service(
    name: str, image: str, plan: Mapping[str, Any], reader: _Reader, seconds: Callable[[Any], float]
) -> Service:
    health = plan.get("health")
    return {
        "id": name,
        "image": image,
        "env": {key: reader.text(f"env.{key}", value) for key, value in (plan.get("env") or {}).items()},
        "ports": [reader.port(text) for text in reader.items("ports", plan.get("ports") or ())],
        "volumes": [reader.volume(text) for text in reader.items("volumes", plan.get("volumes") or ())],
        "conn": reader.text("credentials.conn", plan["conn"]).strip() or None if "conn" in plan else None,
        "entrypoint": reader.command("entrypoint", plan.get("entrypoint")) or None,
        "command": reader.command("command", plan.get("command")) or None,
        "health": None if health is None else _health(health, reader, seconds),
    }


def _health(plan: Mapping[str, Any], reader: _Reader, seconds: Callable[[Any], float]) -> Health:
    command = reader.value("health.command", plan["command"])
    shell = not isinstance(command, list)
    texts = (
        [expressions.to_text(part) for part in command]
        if isinstance(command, list)
        else [expressions.to_text(command)]
    )
    if not texts or not texts[0].strip():
        raise reader.wrong("health.command", "is empty")

    def duration(key: str, default: float) -> float:
        if key not in plan:
            return default
        value = reader.value(f"health.{key}", plan[key])
        try:
            return float(seconds(value))
        except ValueError as error:
            raise reader.wrong(f"health.{key}", str(error)) from None

    retries = reader.value("health.retries", plan.get("retries", RETRIES))
    if isinstance(retries, str) and retries.strip().isdecimal():
        retries = int(retries)
    if isinstance(retries, bool) or not isinstance(retries, int) or retries < 1:
        raise reader.wrong("health.retries", "expected a whole number from 1")
    interval, timeout = duration("interval", INTERVAL), duration("timeout", TIMEOUT)
    if not interval or not timeout:
        raise reader.wrong("health", "interval and timeout must be longer than zero")
    return {
        "command": texts,
        "shell": shell,
        "interval": interval,
        "timeout": timeout,
        "retries": retries,
        "start_period": duration("start_period", START_PERIOD),
    }


class _Reader:
    """Evaluates the values of one service; every fault names its place."""

    def __init__(self, name: str, render: Callable[[Any], Any]) -> None:
        self._name = name
        self._render = render

    def wrong(self, key: str, why: str) -> ServiceError:
        return ServiceError(f"services.{self._name}.{key.replace('_', '-')}: {why}")

    def value(self, key: str, template: Any) -> Any:
        try:
            return self._render(template)
        except expressions.ExpressionError as error:
            raise self.wrong(key, error.message) from None

    def text(self, key: str, template: Any) -> str:
        value = self.value(key, template)
        if isinstance(value, (dict, list)):
            raise self.wrong(key, f"expected a text, found a {'map' if isinstance(value, dict) else 'list'}")
        return expressions.to_text(value)

    def items(self, key: str, templates: Iterable[Any]) -> list[str]:
        """The texts of a list. An expression may give several; what is empty is left out."""
        found: list[str] = []
        for template in templates:
            value = self.value(key, template)
            for item in value if isinstance(value, list) else [value]:
                text = expressions.to_text(item).strip()
                if text:
                    found.append(text)
        return found

    def command(self, key: str, template: Any) -> list[str] | None:
        """The words of a command; an expression that gives a text is parted as a shell does."""
        if template is None:
            return None
        value = self.value(key, template)
        if isinstance(value, list):
            return [expressions.to_text(part) for part in value]
        try:
            return shlex.split(expressions.to_text(value))
        except ValueError:
            raise self.wrong(key, "a quote has no end") from None

    def port(self, text: str) -> Port:
        match = _PORT.fullmatch(text)
        numbers = [int(number) for number in (match.groups()[:2] if match else ()) if number is not None]
        if match is None or not all(1 <= number <= 65535 for number in numbers):
            raise self.wrong("ports", "expected a port such as 5432, 5432:5432 or 5432/tcp")
        published = int(match[1]) if match[1] else None
        return {"port": int(match[2]), "protocol": match[3] or "tcp", "published": published}

    def volume(self, text: str) -> Volume:
        if text.startswith("/") and ":" not in text:
            return {"source": None, "path": text, "mode": None}
        source, _, rest = text.partition(":")
        path, _, mode = rest.partition(":")
        if not source or not path.startswith("/") or ":" in mode:
            raise self.wrong("volumes", "expected name:/path, /path/there:/path or /path")
        return {"source": source, "path": path, "mode": mode or None}


class ServiceFailed(BackendFailure):
    """A service of the job cannot be used, so the try has failed.

    :param why: goes on with the sentence, such as ``ended with exit code 1``
    """

    def __init__(
        self,
        name: str,
        image: str,
        why: str,
        *,
        category: str = "component",
        reason: str = "ServiceFailed",
    ) -> None:
        super().__init__(f"service {name!r} ({image}) {why}", category=category, reason=reason)


def last_lines(text: str) -> list[str]:
    """The end of a service's log, as it is told."""
    return [line[:TOLD_WIDTH] for line in text.replace("\r\n", "\n").splitlines()[-TOLD_LINES:]]
