"""Services of one leg: templates to plain values."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_stagecoach import expressions
from airflow_stagecoach.backends._services import (
    TOLD_LINES,
    TOLD_WIDTH,
    Service,
    ServiceError,
    ServiceFailed,
    evaluate,
    last_lines,
)
from airflow_stagecoach.document.durations import parse_duration

CONTEXTS = {
    "matrix": {"n": 3, "on": False},
    "params": {
        "list": ["a b", 2],
        "text": "a 'b c'",
        "ports": [1, "2:3"],
        "none": None,
        "empty": [],
        "map": {"a": 1},
    },
    "secrets": {"password": "hunter2-hunter2"},
}


def services(**plans: Any) -> list[Service]:
    found = evaluate(plans, lambda value: expressions.render(value, CONTEXTS), parse_duration)
    assert json.loads(json.dumps(found)) == found
    return found


def one(**plan: Any) -> Any:
    (found,) = services(db={"image": "x", **plan})
    return found


def test_what_is_there_when_nothing_is_said() -> None:
    assert services(db={"image": "postgres:17"}) == [
        {
            "id": "db",
            "image": "postgres:17",
            "env": {},
            "ports": [],
            "volumes": [],
            "conn": None,
            "entrypoint": None,
            "command": None,
            "health": None,
        }
    ]


@pytest.mark.parametrize(
    "image", ["", "  ", "${{ params.none }}", "${{ matrix.on ? 'x' : '' }}", "${{ '' }}"]
)
def test_an_empty_image_starts_nothing(image: str) -> None:
    found = services(a={"image": image, "ports": ["${{ 'wrong' }}"]}, b={"image": "x"})
    assert [service["id"] for service in found] == ["b"]


@pytest.mark.parametrize(
    ("key", "plan", "value"),
    [
        ("image", "a:${{ matrix.n }}", "a:3"),
        ("env", {"A": 1, "B": True, "C": None}, {"A": "1", "B": "true", "C": ""}),
        ("env", {"P": "${{ secrets.password }}!"}, {"P": "hunter2-hunter2!"}),
        ("env", {"L": "$${{ x }}"}, {"L": "${{ x }}"}),
        ("ports", ["5432"], [{"port": 5432, "protocol": "tcp", "published": None}]),
        ("ports", ["1:2/udp"], [{"port": 2, "protocol": "udp", "published": 1}]),
        ("ports", ["${{ 5000 + matrix.n }}:80"], [{"port": 80, "protocol": "tcp", "published": 5003}]),
        (
            "ports",
            ["${{ params.ports }}", "${{ params.none }}", "${{ params.empty }}"],
            [
                {"port": 1, "protocol": "tcp", "published": None},
                {"port": 3, "protocol": "tcp", "published": 2},
            ],
        ),
        ("volumes", ["a:/b"], [{"source": "a", "path": "/b", "mode": None}]),
        ("volumes", ["/a:/b:ro"], [{"source": "/a", "path": "/b", "mode": "ro"}]),
        ("volumes", ["/a"], [{"source": None, "path": "/a", "mode": None}]),
        ("command", ["a", "n=${{ matrix.n }}", "${{ params.text }}"], ["a", "n=3", "a 'b c'"]),
        ("command", "${{ params.text }}", ["a", "b c"]),
        ("command", "${{ params.list }}", ["a b", "2"]),
        ("command", "${{ params.none }}", None),
        ("entrypoint", ["${{ matrix.n }}"], ["3"]),
        ("conn", "hub-${{ matrix.n }}", "hub-3"),
        ("conn", "${{ params.none }}", None),
    ],
)
def test_values(key: str, plan: Any, value: Any) -> None:
    assert one(**{key: plan})[key] == value


@pytest.mark.parametrize(
    ("plan", "changes"),
    [
        ({"command": "pg_isready -U ${{ matrix.n }}"}, {"command": ["pg_isready -U 3"]}),
        ({"command": ["a", "${{ params.text }}"]}, {"command": ["a", "a 'b c'"], "shell": False}),
        ({"command": "${{ params.list }}"}, {"command": ["a b", "2"], "shell": False}),
        ({"command": "a", "interval": "${{ matrix.n }}", "timeout": 1.5}, {"interval": 3.0, "timeout": 1.5}),
        (
            {"command": "a", "start_period": "${{ matrix.n }}m", "retries": 4},
            {"start_period": 180.0, "retries": 4},
        ),
        ({"command": "a", "retries": "${{ '7' }}"}, {"retries": 7}),
    ],
)
def test_health(plan: dict[str, Any], changes: dict[str, Any]) -> None:
    usual = {
        "command": ["a"],
        "shell": True,
        "interval": 2.0,
        "timeout": 10.0,
        "retries": 30,
        "start_period": 0.0,
    }
    assert one(health=plan)["health"] == {**usual, **changes}


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"image": "${{ params.map }}"}, "services.db.image: expected a text, found a map"),
        ({"image": "${{ params.list }}"}, "services.db.image: expected a text, found a list"),
        ({"image": "${{ matrix.n / 0 }}"}, "services.db.image: "),
        ({"env": {"A": "${{ params.map }}"}}, "services.db.env.A: expected a text, found a map"),
        ({"ports": ["${{ params.text }}"]}, "services.db.ports: expected a port such as"),
        ({"ports": ["${{ 70000 }}"]}, "services.db.ports: expected a port such as"),
        ({"volumes": ["${{ 'data' }}"]}, "services.db.volumes: expected name:/path"),
        ({"volumes": ["${{ 'a:/b:c:d' }}"]}, "services.db.volumes: expected name:/path"),
        ({"command": '${{ "it\'s" }}'}, "services.db.command: a quote has no end"),
        ({"health": {"command": "${{ '' }}"}}, "services.db.health.command: is empty"),
        (
            {"health": {"command": "a", "interval": "${{ 'soon' }}"}},
            "services.db.health.interval: expected a number",
        ),
        ({"health": {"command": "a", "start_period": "${{ -1 }}"}}, "services.db.health.start-period: "),
        (
            {"health": {"command": "a", "timeout": "${{ 0 }}"}},
            "services.db.health: interval and timeout must be",
        ),
        (
            {"health": {"command": "a", "retries": "${{ 0 }}"}},
            "services.db.health.retries: expected a whole number",
        ),
        ({"health": {"command": "a", "retries": "${{ matrix.on }}"}}, "services.db.health.retries: expected"),
    ],
)
def test_what_only_the_run_can_tell(plan: dict[str, Any], message: str) -> None:
    with pytest.raises(ServiceError) as raised:
        one(**plan)
    assert str(raised.value).startswith(message)


def test_a_failure_names_the_service() -> None:
    error = ServiceFailed("db", "postgres:17", "ended with exit code 1").error
    assert error == {
        "type": "ServiceFailed",
        "message": "service 'db' (postgres:17) ended with exit code 1",
        "category": "component",
        "reason": "ServiceFailed",
    }


def test_the_end_of_a_log_is_bounded() -> None:
    text = "\n".join(str(number) for number in range(200)) + "\r\n" + "x" * 5000
    lines = last_lines(text)
    assert len(lines) == TOLD_LINES
    assert lines[-2:] == ["199", "x" * TOLD_WIDTH]
