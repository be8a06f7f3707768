"""Services and image stages in pods, without a cluster."""

from __future__ import annotations

import base64
import json
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from airflow_stagecoach.backends._kubernetes_image_stage import ended, files, literal, written
from airflow_stagecoach.backends._kubernetes_pod import Cargo, cargo_of, pod_of, secrets_of
from airflow_stagecoach.backends._kubernetes_services import described, login, waits_for
from airflow_stagecoach.backends._kubernetes_settings import KubernetesConfig
from airflow_stagecoach.backends._services import ServiceFailed
from airflow_stagecoach.backends.shipment import ShipmentError
from airflow_stagecoach.backends.work import Work

if TYPE_CHECKING:
    from pathlib import Path

IDENTITY: Any = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1, "try_number": 1}
NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=timezone.utc)


def service(name: str = "db", **more: Any) -> dict[str, Any]:
    plain = {
        "id": name,
        "image": "postgres:17",
        "env": {},
        "ports": [],
        "volumes": [],
        "conn": None,
        "entrypoint": None,
        "command": None,
        "health": None,
    }
    return {**plain, **more}


def health(**more: Any) -> dict[str, Any]:
    plain = {
        "command": ["pg_isready"],
        "shell": True,
        "interval": 2.0,
        "timeout": 10.0,
        "retries": 30,
        "start_period": 0.0,
    }
    return {**plain, **more}


def work(**more: Any) -> Work:
    unit: Any = {"stages": [{"kind": "bash", "id": "a", "bash": "true"}], "identity": IDENTITY, **more}
    return Work.of(IDENTITY, unit)


def pod(*services: dict[str, Any], **settings: Any) -> dict[str, Any]:
    config = KubernetesConfig.model_validate({"image": "x", **settings})
    return pod_of(work(services=list(services)), config, Cargo([{}], []), grace=10)


# -- what is asked for ------------------------------------------------------------------------


def test_services_are_containers_of_the_pod() -> None:
    db = service(env={"A": "$(HOME) $$"}, command=["serve", "$(X)"], entrypoint=["run"], ports=[port(5432)])
    found = pod(db, service("web", image="nginx"), **{"image-pull-policy": "Never"})["spec"]
    assert [one["name"] for one in found["containers"]] == ["stage", "service-db", "service-web"]
    assert found["containers"][1] == {
        "name": "service-db",
        "image": "postgres:17",
        "imagePullPolicy": "Never",
        "command": ["run"],
        "args": ["serve", "$$(X)"],
        "env": [{"name": "A", "value": "$$(HOME) $$$$"}],
        "ports": [{"containerPort": 5432, "protocol": "TCP"}],
    }
    assert found["hostAliases"] == [{"ip": "127.0.0.1", "hostnames": ["db", "web"]}]


def port(number: int, published: int | None = None) -> dict[str, Any]:
    return {"port": number, "protocol": "tcp", "published": published}


def test_our_container_waits_only_where_there_are_services() -> None:
    scripts = [found["spec"]["containers"][0]["command"][-1] for found in (pod(), pod(service()))]
    assert ["left=0\n" in script.partition('"$F/ready"')[0] for script in scripts] == [True, False]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            health(),
            {
                "exec": {"command": ["/bin/sh", "-c", "pg_isready"]},
                "periodSeconds": 2,
                "timeoutSeconds": 10,
                "failureThreshold": 30,
            },
        ),
        (
            health(command=["a", "b"], shell=False, interval=0.1, timeout=0.5, retries=2, start_period=5.0),
            {
                "exec": {"command": ["a", "b"]},
                "periodSeconds": 1,
                "timeoutSeconds": 1,
                "failureThreshold": 7,
            },
        ),
    ],
)
def test_health(given: dict[str, Any], expected: dict[str, Any]) -> None:
    assert pod(service(health=given))["spec"]["containers"][1]["startupProbe"] == expected


@pytest.mark.parametrize(
    ("volume", "source", "read_only"),
    [
        ({"source": None, "path": "/d", "mode": None}, {"emptyDir": {}}, False),
        ({"source": "/var/d", "path": "/d", "mode": "rw"}, {"hostPath": {"path": "/var/d"}}, False),
        ({"source": "c", "path": "/d", "mode": "ro"}, {"persistentVolumeClaim": {"claimName": "c"}}, True),
    ],
)
def test_volumes_of_services(volume: dict[str, Any], source: dict[str, Any], read_only: bool) -> None:
    spec = pod(service(volumes=[volume]))["spec"]
    assert spec["volumes"][-1] == {"name": "service-db-1", **source}
    (mount,) = spec["containers"][1]["volumeMounts"]
    assert (mount["mountPath"], mount.get("readOnly", False)) == ("/d", read_only)


@pytest.mark.parametrize(
    ("services", "part"),
    [
        ([service(ports=[port(5432, 15432)])], "cannot publish port 5432 as 15432"),
        (
            [service(ports=[port(80)]), service("web", ports=[port(80)])],
            "'db' has: containers of a pod share",
        ),
    ],
)
def test_ports_that_a_pod_cannot_give(services: list[dict[str, Any]], part: str) -> None:
    with pytest.raises(ServiceFailed, match=part) as caught:
        pod(*services)
    assert caught.value.error["category"] == "configuration"


def test_ports_under_their_own_number() -> None:
    assert pod(service(ports=[port(80, 80), port(81)]))


def test_logins_of_registries() -> None:
    class Connection:
        host, port, login, password = "registry.example.com", None, "u", "p"

    data = login(Connection())
    assert json.loads(data) == {
        "auths": {"registry.example.com": {"username": "u", "password": "p", "auth": "dTpw"}}
    }
    first, second = secrets_of(work(), Cargo([{"part-000": b""}], []), [data])
    assert (first["type"], second["type"]) == ("Opaque", "kubernetes.io/dockerconfigjson")
    assert base64.b64decode(second["data"][".dockerconfigjson"]) == data
    found = pod(service(conn="c"), service("web", conn="c"), service("more", conn="d"))
    name = work().name
    assert found["spec"]["imagePullSecrets"] == [{"name": f"{name}-1"}, {"name": f"{name}-2"}]
    assert found["metadata"]["annotations"]["stagecoach.secrets"] == "3"


# -- what they are waited for -----------------------------------------------------------------


def running(*services: dict[str, Any], age: float = 1, **states: Any) -> dict[str, Any]:
    """A pod with services in the states that the cluster tells."""
    began = (NOW - timedelta(seconds=age)).strftime("%Y-%m-%dT%H:%M:%SZ")
    statuses = [{"name": f"service-{name}", **state} for name, state in states.items()]
    stage = {"name": "stage", "state": {"running": {"startedAt": began}}}
    return {**pod(*services), "status": {"containerStatuses": [stage, *statuses]}}


UP = {"state": {"running": {}}}


@pytest.mark.parametrize(
    ("services", "states", "state"),
    [
        ([service()], {"db": UP}, None),
        ([service()], {}, "pending"),
        ([service()], {"db": {"state": {"waiting": {"reason": "ContainerCreating"}}}}, "pending"),
        ([service(health=health())], {"db": {**UP, "started": False}}, "pending"),
        ([service(health=health())], {"db": {**UP, "started": True}}, None),
        ([service(), service("web", health=health())], {"db": UP, "web": UP}, "pending"),
    ],
)
def test_waiting(services: list[dict[str, Any]], states: dict[str, Any], state: str | None) -> None:
    found = waits_for(running(*services, **states), list, NOW)
    assert (None if found is None else found.state) == state


KILLING = {
    "reason": "Killing",
    "message": "Container service-db failed startup probe, will be restarted",
    "involvedObject": {"fieldPath": "spec.containers{service-db}"},
}
UNHEALTHY = {**KILLING, "reason": "Unhealthy", "message": "Startup probe failed: no response\n"}


def terminated(code: int, **more: Any) -> dict[str, Any]:
    return {"state": {"terminated": {"exitCode": code, **more}}, "started": False}


@pytest.mark.parametrize(
    ("check", "status", "events", "reason", "part"),
    [
        (None, terminated(1), [], "ServiceFailed", "ended with exit code 1 before the job could start"),
        (None, terminated(0), [], "ServiceFailed", "exit code 0"),
        (None, terminated(137), [], "killed", "exit code 137"),
        (None, terminated(143), [], "terminated", "exit code 143"),
        (None, terminated(137, reason="OOMKilled"), [], "OOMKilled", "ran out of memory"),
        (health(), terminated(137), [UNHEALTHY, KILLING], "ServiceUnhealthy", "its check says: no response"),
        (health(), terminated(1), [UNHEALTHY], "ServiceFailed", "exit code 1"),
        (
            None,
            {"state": {"waiting": {"reason": "ErrImageNeverPull", "message": "not there"}}},
            [],
            "ErrImageNeverPull",
            "cannot be started: not there",
        ),
    ],
)
def test_services_that_cannot_be_used(
    check: Any, status: dict[str, Any], events: list[Any], reason: str, part: str
) -> None:
    found = waits_for(running(service(health=check), db=status), lambda: events, NOW)
    assert found is not None
    assert (found.state, found.reason) == ("ended", reason)
    assert part in str(found.message)
    assert str(found.message).startswith("service 'db' (postgres:17) ")


@pytest.mark.parametrize(("age", "state"), [(599, "pending"), (601, "ended")])
def test_the_longest_wait(age: float, state: str) -> None:
    found = waits_for(running(service(health=health()), age=age, db=UP), list, NOW)
    assert found is not None
    assert found.state == state


def test_titles_of_logs() -> None:
    found = running(service(), service("web"), db=terminated(3), web=UP)
    assert dict(described(found)) == {
        "service-db": "Service db (ended with exit code 3): its last lines",
        "service-web": "Service web (runs): its last lines",
    }


# -- image stages -----------------------------------------------------------------------------


def image_stage(document_dir: Path | None = None, **settings: Any) -> tuple[Work, KubernetesConfig]:
    container = {
        "image": "convert:2",
        "env": {"A": "1", "STAGE_OUTPUT": "/stagecoach/output"},
        "folder": "/stagecoach/work/in",
        "command": ["convert", "$(A)"],
    }
    unit = {"container": container, "document_dir": str(document_dir) if document_dir else None}
    return work(**unit), KubernetesConfig.model_validate(settings)


def test_the_pod_of_an_image_stage() -> None:
    the_work, config = image_stage(kind="job", env={"B": "2", "A": "0"}, secrets={"A": "s/k", "C": "s/k"})
    cargo = cargo_of(the_work, config)
    assert cargo.secrets == [{"A": b"1", "B": b"2", "STAGE_OUTPUT": b"/stagecoach/output"}]
    found = pod_of(the_work, config, cargo, grace=10)
    (container,) = found["spec"]["containers"]
    assert container == {
        "name": "stage",
        "image": "convert:2",
        "args": ["convert", "$$(A)"],
        "workingDir": "/stagecoach/work/in",
        "env": [{"name": "C", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
        "envFrom": [{"secretRef": {"name": f"{the_work.name}-0"}}],
        "volumeMounts": [{"name": "stagecoach", "mountPath": "/stagecoach/work"}],
        "terminationMessagePath": "/stagecoach/output",
        "terminationMessagePolicy": "File",
    }
    assert found["metadata"]["annotations"]["stagecoach.image-stage"] == "true"


def test_files_of_an_image_stage(tmp_path: Path) -> None:
    (tmp_path / "sql").mkdir()
    (tmp_path / "sql" / "a.sql").write_text("select")
    (tmp_path / "run.sh").write_text("true")
    (tmp_path / "run.sh").chmod(0o755)
    (tmp_path / "big.bin").write_bytes(bytes(800_000))
    the_work, config = image_stage(tmp_path, ship=["**/*"])
    found = files(the_work, config)
    names = {item["path"]: item["mode"] for items in found.items for item in items}
    assert names == {"sql/a.sql": 0o644, "run.sh": 0o755, "big.bin": 0o644}
    for secret, items in zip(found.secrets, found.items, strict=True):
        assert {item["key"] for item in items} == secret.keys()
        assert sum(map(len, secret.values())) < 900_000
    spec = pod_of(the_work, config, cargo_of(the_work, config), grace=10)["spec"]
    sources = spec["volumes"][1]["projected"]["sources"]
    assert [source["secret"]["name"] for source in sources] == [
        f"{the_work.name}-{number}" for number in range(1, len(found.secrets) + 1)
    ]
    assert spec["containers"][0]["volumeMounts"][1]["mountPath"] == "/stagecoach/document"


def test_a_file_that_is_too_large_for_a_secret(tmp_path: Path) -> None:
    (tmp_path / "big.bin").write_bytes(bytes(900_001))
    with pytest.raises(ShipmentError, match=r"ship: 'big.bin' takes 0\.9 MB"):
        files(*image_stage(tmp_path, ship=["big.bin"]))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("$HOME", "$HOME"), ("$(HOME)", "$$(HOME)"), ("$$", "$$$$"), ("a $b $(c)", "a $$b $$(c)"), ("", "")],
)
def test_kubernetes_puts_in_no_variables(text: str, expected: str) -> None:
    assert literal([text]) == [expected]


def test_what_an_image_stage_leaves() -> None:
    state = {
        "exitCode": 0,
        "message": "rows=3\n",
        "startedAt": "2026-01-31T00:00:00Z",
        "finishedAt": "2026-01-31T00:00:01Z",
    }
    of = {"status": {"containerStatuses": [{"name": "stage", "state": {"terminated": state}}]}}
    found = ended(of, ["one", "two"])
    assert (found.began, found.ended) == ("2026-01-31T00:00:00+00:00", "2026-01-31T00:00:01+00:00")
    assert b"".join(data for _, data in found.output) == b"one\ntwo\n"
    assert found.written == written(of) == b"rows=3\n"


def test_an_image_stage_that_never_ran() -> None:
    state = {"exitCode": 128, "startedAt": "1970-01-01T00:00:00Z", "finishedAt": "2026-01-31T00:00:01Z"}
    of = {"status": {"containerStatuses": [{"name": "stage", "state": {"terminated": state}}]}}
    assert ended(of, []).began == "2026-01-31T00:00:01+00:00"
