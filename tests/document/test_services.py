"""``services`` in documents: what the plan holds, and what is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_stagecoach.document import Job, Service, Workflow, load
from airflow_stagecoach.document.container_values import words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_stagecoach.document import Diagnostic
    from airflow_stagecoach.document.plan import JobPlan


class Check:
    """A backend as ``load`` sees it."""

    def __init__(self, *capabilities: str) -> None:
        self.capabilities = frozenset(capabilities)

    def __call__(self, settings: dict[str, Any]) -> dict[str, Any]:
        return settings


BACKENDS: Mapping[str, Any] = {
    "local": lambda settings: settings,
    "docker": Check("services", "volumes"),
    "kubernetes": Check("services"),
    "self-hosted": Check(),
}

DOCUMENT = """\
name: w
type: Workflow
params: {version: str, cache: bool}
jobs:
  before: {stages: [{name: a}]}
  j:
    needs: before
    runs-on: docker
    strategy: {matrix: {n: [1, 2]}}
    services: SERVICES
    stages: [{bash: echo}]
"""


def loaded(services: str, document: str = DOCUMENT) -> Any:
    return load(document.replace("SERVICES", services), "f.yml", explicit=True, backends=BACKENDS)


def job(services: str, document: str = DOCUMENT) -> JobPlan:
    found = loaded(services, document)
    assert found.diagnostics == []
    (plan,) = found.plans
    assert json.loads(json.dumps(plan)) == plan
    one: JobPlan = plan["jobs"][-1]
    return one


def fault(services: str, document: str = DOCUMENT) -> Diagnostic:
    found = loaded(services, document)
    assert found.plans == []
    (one,) = found.diagnostics
    return one  # type: ignore[no-any-return]  # load is typed, the helper is not


# -- the plan -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "plan"),
    [
        ("postgres:17", {"image": "postgres:17"}),
        ("{image: 'postgres:${{ matrix.n }}'}", {"image": "postgres:${{ matrix.n }}"}),
        ("{image: ''}", {"image": ""}),
        ("''", {"image": ""}),
        (
            "{image: x, env: {A: 1, B: '${{ secrets.b }}'}}",
            {"image": "x", "env": {"A": 1, "B": "${{ secrets.b }}"}},
        ),
        ("{image: x, ports: 5432}", {"image": "x", "ports": ["5432"]}),
        (
            "{image: x, ports: [5432, '1:2', 53/udp, '1:2/tcp', '${{ params.version }}']}",
            {"image": "x", "ports": ["5432", "1:2", "53/udp", "1:2/tcp", "${{ params.version }}"]},
        ),
        (
            "{image: x, volumes: ['a:/b', '/c:/d:ro', /e]}",
            {"image": "x", "volumes": ["a:/b", "/c:/d:ro", "/e"]},
        ),
        ("{image: x, credentials: {conn: hub}}", {"image": "x", "conn": "hub"}),
        ("{image: x, command: a 'b c' d}", {"image": "x", "command": ["a", "b c", "d"]}),
        ("{image: x, command: [a, b c, 1]}", {"image": "x", "command": ["a", "b c", "1"]}),
        (
            "{image: x, command: 'a --n=${{ matrix.n + 1 }} {{ ds }}'}",
            {"image": "x", "command": ["a", "--n=${{ matrix.n + 1 }}", "{{ ds }}"]},
        ),
        ("{image: x, command: '${{ params.version }}'}", {"image": "x", "command": "${{ params.version }}"}),
        ("{image: x, entrypoint: tini --}", {"image": "x", "entrypoint": ["tini", "--"]}),
        (
            "{image: x, health: {command: pg_isready -U a}}",
            {"image": "x", "health": {"command": "pg_isready -U a"}},
        ),
        (
            "{image: x, health: {command: [a, b], interval: 1m, timeout: 5, retries: 2, start_period: 0}}",
            {
                "image": "x",
                "health": {
                    "command": ["a", "b"],
                    "interval": 60,
                    "timeout": 5,
                    "retries": 2,
                    "start_period": 0,
                },
            },
        ),
        (
            "{image: x, health: {command: a, interval: '${{ matrix.n }}', retries: '${{ matrix.n }}'}}",
            {
                "image": "x",
                "health": {"command": "a", "interval": "${{ matrix.n }}", "retries": "${{ matrix.n }}"},
            },
        ),
    ],
)
def test_plan(written: str, plan: dict[str, Any]) -> None:
    assert job(f"{{db: {written}}}")["services"] == {"db": plan}


@pytest.mark.parametrize(
    ("options", "health"),
    [
        ("--health-cmd pg_isready", {"command": "pg_isready"}),
        (
            "--health-cmd pg_isready --health-interval 10s --health-timeout=5s --health-retries 5",
            {"command": "pg_isready", "interval": 10, "timeout": 5, "retries": 5},
        ),
        (
            '--health-cmd="redis-cli ping" --health-start-period 1m30s',
            {"command": "redis-cli ping", "start_period": 90},
        ),
        ("--health-cmd 'a ${{ params.version }} b'", {"command": "a ${{ params.version }} b"}),
        (
            "--health-cmd a --health-interval ${{ matrix.n }}s",
            {"command": "a", "interval": "${{ matrix.n }}s"},
        ),
    ],
)
def test_githubs_options(options: str, health: dict[str, Any]) -> None:
    quoted = json.dumps(options)
    assert job(f"{{db: {{image: x, options: {quoted}}}}}")["services"] == {
        "db": {"image": "x", "health": health}
    }


def test_options_over_several_lines() -> None:
    text = DOCUMENT.replace(
        "services: SERVICES",
        "services:\n      db:\n        image: x\n        options: >-\n          --health-cmd a\n          --health-retries 3",
    )
    assert job("", text)["services"]["db"]["health"] == {"command": "a", "retries": 3}


def test_empty_options_ask_for_nothing() -> None:
    assert job("{db: {image: x, options: ''}}")["services"] == {"db": {"image": "x"}}


def test_services_make_one_task_of_the_job() -> None:
    assert job("{db: x}")["granularity"] == "job"
    assert job("{db: x}", DOCUMENT.replace("needs", "granularity: job\n    needs"))["granularity"] == "job"


def test_no_services_change_nothing() -> None:
    found = job("{}")
    assert "services" not in found
    assert "granularity" not in found


def test_made_in_python() -> None:
    service = Service(image="x", ports=[1], health={"command": "a"})
    job = Job(id="j", runs_on="docker", services={"db": service, "c": "y"}, stages=[{"bash": "echo"}])
    plan = Workflow(name="w", jobs=[job]).plan(backends=BACKENDS)["jobs"][0]
    assert plan["services"] == {
        "db": {"image": "x", "ports": ["1"], "health": {"command": "a"}},
        "c": {"image": "y"},
    }
    assert plan["granularity"] == "job"


def test_made_in_python_where_they_cannot_be() -> None:
    job = Job(id="j", services={"db": "y"}, stages=[{"bash": "echo"}])
    with pytest.raises(Exception, match="a job that runs on local can have no services"):
        Workflow(name="w", jobs=[job]).plan()


@given(
    st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\ue000\ue001{}$\0"), max_size=8), max_size=5
    )
)
def test_words_are_those_of_a_shell(parts: list[str]) -> None:
    import shlex

    assert words(shlex.join(parts)) == parts


# -- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("services", "code", "message", "hint"),
    [
        (
            "[a]",
            "wrong-type",
            "expected a map of services, found a list",
            "write services: {db: {image: postgres:17}}",
        ),
        ("{db: [a]}", "wrong-type", "expected a service (a map with keys such as", None),
        ("{db: {env: {A: b}}}", "missing-key", "a service needs 'image'", "write image: postgres:17"),
        ("{db: {imag: x}}", "unknown-key", "unknown key 'imag' in a service", "did you mean 'image'?"),
        (
            "{db: {image: x, network: y}}",
            "unknown-key",
            "unknown key 'network' in a service",
            "is in the network of its",
        ),
        ("{db: {image: x, args: y}}", "unknown-key", "unknown key 'args' in a service", "write command"),
        ("{db: {image: x, healthcheck: {}}}", "unknown-key", "unknown key 'healthcheck'", "write health"),
        (
            "{db: {image: x, name: y}}",
            "unknown-key",
            "unknown key 'name'",
            "the id of a service is its host name",
        ),
        ("{db: {image: 5}}", "wrong-type", "expected text, found the number 5", "put it in quotes"),
        ("{My_DB: x}", "bad-id", "'My_DB' is no id for a service: it is a host name", "my-db"),
        ("{5: x}", "bad-id", "'5' is no id for a service", "beginning with a letter"),
        ("{a-: x}", "bad-id", "'a-' is no id for a service", ": a"),
        ("{localhost: x}", "bad-id", "'localhost' is every container itself", "another id"),
        (f"{{{'a' * 64}: x}}", "bad-id", "is no id for a service", None),
        ("{db: {image: x, env: {A: [1]}}}", "wrong-type", "an environment variable is text", None),
        ("{db: {image: x, ports: [http]}}", "bad-value", "expected a port such as 5432", "write 5432, or"),
        ("{db: {image: x, ports: ['127.0.0.1:1:2']}}", "bad-value", "expected a port", None),
        (
            "{db: {image: x, ports: [70000]}}",
            "out-of-range",
            "expected a port from 1 to 65535, found 70000",
            None,
        ),
        ("{db: {image: x, ports: 0}}", "out-of-range", "found 0", None),
        (
            "{db: {image: x, volumes: [data]}}",
            "bad-value",
            "expected a volume such as data:/var/lib",
            "write name:/path",
        ),
        ("{db: {image: x, volumes: ['a:b']}}", "bad-value", "expected a volume", None),
        (
            "{db: {image: x, credentials: {username: a}}}",
            "unknown-key",
            "unknown key 'username' in credentials: it is in the Airflow connection that conn names",
            "write conn",
        ),
        ("{db: {image: x, credentials: {}}}", "missing-key", "credentials needs 'conn'", "write conn: ID"),
        ("{db: {image: x, command: 'a \"b'}}", "bad-value", "a quote has no end", "write it as a list"),
        ("{db: {image: x, command: []}}", "empty-value", "expected a program and its arguments", None),
        ("{db: {image: x, command: {a: b}}}", "wrong-type", "expected a list of texts, found a map", None),
        (
            "{db: {image: x, health: pg_isready}}",
            "wrong-type",
            "expected a health check (a map)",
            "write {command: ...}",
        ),
        (
            "{db: {image: x, health: {cmd: a}}}",
            "unknown-key",
            "unknown key 'cmd' in a health check",
            "write command",
        ),
        ("{db: {image: x, health: {command: a, interval: 0}}}", "out-of-range", "longer than zero", None),
        (
            "{db: {image: x, health: {command: a, retries: 0}}}",
            "out-of-range",
            "from 1 to 1000, found 0",
            None,
        ),
        ("{db: {image: x, health: {command: a, timeout: soon}}}", "bad-duration", "found 'soon'", None),
        ("{db: {image: '${{ matrix.m }}'}}", "bad-expression", "matrix", "n"),
        (
            "{db: {image: x, env: {A: '${{ stages.a.outputs.b }}'}}}",
            "bad-expression",
            "before the stages",
            None,
        ),
        ("{db: {image: x, command: 'a ${{ needs.befor.result }}'}}", "bad-expression", "befor", "before"),
        ("{db: {image: x, command: 'a ${{ nope'}}", "bad-expression", "", None),
        (
            "{db: {image: x, health: {command: '${{ secrets[matrix.n] }}'}}}",
            "bad-expression",
            "name the variable",
            None,
        ),
        # options
        (
            "{db: {image: x, options: --cpus 1}}",
            "bad-word",
            "the flag '--cpus' is not available",
            "--health-cmd",
        ),
        (
            "{db: {image: x, options: --health-comd a}}",
            "bad-word",
            "'--health-comd'",
            "did you mean '--health-cmd'?",
        ),
        ("{db: {image: x, options: -e A=b}}", "bad-word", "the flag '-e' is not available", "write env"),
        ("{db: {image: x, options: -p 1}}", "bad-word", "'-p'", "write ports"),
        (
            "{db: {image: x, options: --name a}}",
            "bad-word",
            "'--name'",
            "the id of a service is its host name",
        ),
        ("{db: {image: x, options: --no-healthcheck}}", "bad-word", "'--no-healthcheck'", "write health"),
        (
            "{db: {image: x, options: --health-cmd a b}}",
            "bad-value",
            "expected flags such as --health-cmd, found 'b'",
            "quotes",
        ),
        ("{db: {image: x, options: --health-cmd}}", "empty-value", "--health-cmd has no value", None),
        (
            "{db: {image: x, options: --health-retries 3}}",
            "missing-key",
            "these options check nothing",
            "--health-cmd",
        ),
        ("{db: {image: x, options: --health-cmd a --health-cmd b}}", "duplicate-key", "stands twice", None),
        (
            "{db: {image: x, options: --health-cmd a --health-retries x}}",
            "wrong-type",
            "expected a whole number",
            None,
        ),
        ("{db: {image: x, options: --health-cmd a --health-interval 1y}}", "bad-duration", "'1y'", None),
        (
            "{db: {image: x, options: '${{ params.version }}'}}",
            "wrong-type",
            "options must be known",
            "write health",
        ),
        (
            "{db: {image: x, options: --health-cmd a, health: {command: b}}}",
            "bad-combination",
            "'options' and 'health' say the same",
            "keep health",
        ),
    ],
)
def test_refused(services: str, code: str, message: str, hint: str | None) -> None:
    found = fault(services)
    assert found.code == code, found.render()
    assert message in found.message
    assert (hint or "") in (found.hint or "")
    assert found.line == 10


def test_too_many() -> None:
    services = ", ".join(f"s{number}: x" for number in range(21))
    assert fault(f"{{{services}}}").message == "a job may have at most 20 services, found 21"


def test_every_fault_at_once() -> None:
    found = loaded("{db: {image: x, port: 1, health: {}}, a_b: {imag: y}}").diagnostics
    assert sorted(one.message.split(",")[0] for one in found) == [
        "'a_b' is no id for a service: it is a host name",
        "a health check needs 'command'",
        "unknown key 'imag' in a service",
        "unknown key 'port' in a service",
    ]


@pytest.mark.parametrize(
    ("change", "message", "hint", "line"),
    [
        (
            ("runs-on: docker", "runs-on: local"),
            "a job that runs on local can have no services",
            "services stand on docker or kubernetes",
            10,
        ),
        (
            ("    runs-on: docker\n", ""),
            "a job that runs on local can have no services",
            "runs-on: {type: docker",
            9,
        ),
        (
            ("runs-on: docker", "runs-on: self-hosted"),
            "runs on self-hosted can have no services",
            "docker or",
            10,
        ),
        (
            ("runs-on: docker", "runs-on: {type: docker, emulate: true}"),
            "an emulated docker starts no container",
            "remove emulate",
            10,
        ),
        (
            ("runs-on: docker", "runs-on: docker\n    granularity: stage"),
            "services live as long as the container of the stages",
            "remove granularity",
            9,
        ),
        (
            ("stages: [{bash: echo}]", "stages: [{operator: a.B}]"),
            "operator stages cannot run in a job with services",
            "make a job of its own of it",
            11,
        ),
        (
            ("stages: [{bash: echo}]", "stages: [{approval: a}]"),
            "approval stages cannot run in a job with services",
            "make a job of its own of it",
            11,
        ),
        (
            ("stages: [{bash: echo}]", "stages: [{trigger: other}]"),
            "a trigger stage cannot run in a job with services",
            "make a job of its own of it",
            11,
        ),
        (
            ("stages: [{bash: echo}]", "stages: [{name: p, parallel: {a: [{trigger: other}]}}]"),
            "a trigger stage cannot run in a job with services",
            "make a job of its own of it",
            11,
        ),
        (
            ("stages: [{bash: echo}]", "stages: [{bash: echo, pool: p}]"),
            "with services one task runs all stages, so 'pool' belongs to the job",
            "write pool on the job",
            11,
        ),
        (
            ("stages: [{bash: echo}]", "stages: [{bash: echo, notify: {retry: 'https://x.y'}}]"),
            "with services stages are retried inside the task",
            "remove it",
            11,
        ),
    ],
)
def test_where_services_cannot_be(change: tuple[str, str], message: str, hint: str, line: int) -> None:
    found = fault("{db: x}", DOCUMENT.replace(*change))
    assert found.code == "bad-combination"
    assert message in found.message
    assert hint in (found.hint or "")
    assert found.line == line


def test_a_misspelt_place_is_the_one_fault() -> None:
    assert fault("{db: x}", DOCUMENT.replace("runs-on: docker", "runs-on: dokcer")).code == "unknown-backend"


def test_a_backend_that_does_not_say_what_it_can_is_left_to_the_run() -> None:
    any_settings: Mapping[str, Any] = {"docker": dict}
    found = load(DOCUMENT.replace("SERVICES", "{db: x}"), "f.yml", explicit=True, backends=any_settings)
    assert found.diagnostics == []


def test_without_any_backend_the_hint_names_docker() -> None:
    text = DOCUMENT.replace("SERVICES", "{db: x}").replace("    runs-on: docker\n", "")
    (found,) = load(text, "f.yml", explicit=True).diagnostics
    assert found.hint == "write runs-on: {type: docker, with: {image: ...}}"
