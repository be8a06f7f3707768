"""A runner as its users see it: over HTTP."""

from __future__ import annotations

import concurrent.futures
import itertools
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from airflow_stagecoach.backends.shipment import pack_unit
from tests.runner.server import TOKEN, Server

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.runs

_numbers = itertools.count(1)


def pack(script: str, **more: Any) -> bytes:
    unit: Any = {"stages": [{"kind": "bash", "id": "a", "bash": script}], **more}
    return pack_unit(unit)


class Client(httpx.Client):
    """With the token, and jobs whose names are taken from a count."""

    def __init__(self, server: Server) -> None:
        super().__init__(
            base_url=server.url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60, trust_env=False
        )

    def put_job(
        self, script: str = "true", name: str | None = None, key: str = "k", **header: Any
    ) -> httpx.Response:
        name = name or f"job-{next(_numbers)}"
        described = json.dumps({"key": key, **header})
        return self.put(f"/jobs/{name}", content=pack(script), headers={"Stagecoach-Job": described})

    def start(self, script: str, **more: Any) -> str:
        response = self.put_job(script, **more)
        assert response.status_code == 201, response.text
        name: str = response.json()["name"]
        return name

    def job(self, name: str) -> Any:
        response = self.get(f"/jobs/{name}")
        return response.json() if response.is_success else None

    def wait_for(self, name: str, *states: str) -> Any:
        until = time.monotonic() + 60
        while (job := self.job(name)) is None or job["state"] not in states:
            assert time.monotonic() < until, job
            time.sleep(0.05)
        return job

    def wait_for_output(self, name: str, text: bytes) -> None:
        until = time.monotonic() + 60
        while text not in self.get(f"/jobs/{name}/log").content:
            assert time.monotonic() < until
            time.sleep(0.05)


def runs(pid: int) -> bool:
    """Whether a process is there that has not ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


@pytest.fixture
def client(shared: Server) -> Iterator[Client]:
    with Client(shared) as made:
        yield made


@pytest.fixture
def small(tmp_path: Path) -> Iterator[tuple[Server, Client]]:
    """A runner with one slot and one place in its queue, which stops jobs after three seconds."""
    with (
        Server(tmp_path / "small", "--jobs", "1", "--queue", "1", "--max-minutes", "0.05") as server,
        Client(server) as made,
    ):
        yield server, made


# -- who may ask


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer wrong",
        f"Basic {TOKEN}",
        TOKEN,
        f"Bearer {TOKEN}x",
        b"Bearer \xff",
    ],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/jobs"),
        ("PUT", "/jobs/a"),
        ("GET", "/jobs/a/log"),
        ("DELETE", "/jobs/a"),
        ("POST", "/drain"),
        ("GET", "/metrics"),
        ("GET", "/runner"),
        ("GET", "/legs"),
        ("DELETE", "/legs/a"),
    ],
)
def test_without_the_token(header: Any, method: str, path: str, client: Client) -> None:
    headers = {} if header is None else {"Authorization": header}
    with httpx.Client(base_url=client.base_url, trust_env=False) as stranger:
        response = stranger.request(method, path, headers=headers)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"


def test_health_needs_none_and_tells_little(client: Client) -> None:
    with httpx.Client(base_url=client.base_url, trust_env=False) as stranger:
        answer = stranger.get("/health")
        assert (answer.status_code, answer.json()["status"]) == (200, "ok")
        assert stranger.get("/openapi.json").status_code == stranger.get("/docs").status_code == 404


# -- jobs


def test_one_job(client: Client, shared: Server) -> None:
    name = client.start('echo hello; echo "$STAGECOACH_RUNNER_TOKEN."; pwd; ps -o pgid= $$', key="one")
    job = client.wait_for(name, "ended")
    assert (job["exit_code"], job["reason"]) == (0, None)
    assert job["queued"] <= job["started"] <= job["ended"]
    log = client.get(f"/jobs/{name}/log")
    lines = log.content.decode().splitlines()
    assert lines[:2] == ["hello", "."], "the job must not know the token"
    assert lines[2].startswith(str(shared.folder / "jobs" / name))
    result = client.get(f"/jobs/{name}/result").json()
    assert result["stages"]["a"]["outputs"]["return_code"] == 0
    position = log.headers["Stagecoach-Position"]
    assert client.get(f"/jobs/{name}/log", params={"from": position}).content == b""
    assert client.get(f"/jobs/{name}/log", params={"from": 6}).content.startswith(b".\n")
    folder = shared.folder / "jobs" / name
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [job["name"] for job in client.get("/jobs", params={"key": "one"}).json()["jobs"]] == [name]
    assert client.delete(f"/jobs/{name}").status_code == 204
    assert not folder.exists()
    assert client.get("/jobs", params={"key": "one"}).json()["jobs"] == []
    for path in (f"/jobs/{name}", f"/jobs/{name}/log", f"/jobs/{name}/result"):
        assert client.get(path).status_code == 404
    assert client.post(f"/jobs/{name}/stop").status_code == 404
    assert client.delete(f"/jobs/{name}").status_code == 204


def test_the_same_name_is_the_same_job(client: Client, tmp_path: Path) -> None:
    script = f"echo x >>{tmp_path}/count"
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: client.put_job(script, name="only-one").status_code, range(8)))
    assert sorted(answers) == [200] * 7 + [201]
    client.wait_for("only-one", "ended")
    assert client.put_job(script, name="only-one").status_code == 200
    assert (tmp_path / "count").read_text() == "x\n"
    client.delete("/jobs/only-one")


def test_jobs_of_a_leg_share_a_folder(client: Client, shared: Server) -> None:
    leg = {"key": "0123abc", "keep": False}
    for script in ("echo 42 >number", "cat number"):
        name = client.start(script, leg=leg)
        client.wait_for(name, "ended")
    assert client.get(f"/jobs/{name}/log").content == b"42\n"
    assert [one["key"] for one in client.get("/legs").json()["legs"]] == ["0123abc"]
    assert (shared.folder / "legs" / "0123abc").stat().st_mode & 0o777 == 0o700
    for _ in range(2):
        assert client.delete("/legs/0123abc").status_code == 204
    assert not (shared.folder / "legs" / "0123abc").exists()
    assert client.get("/legs").json()["legs"] == []


def test_stopping_a_job(client: Client) -> None:
    name = client.start("echo up; sleep 60")
    client.wait_for_output(name, b"up")
    assert client.post(f"/jobs/{name}/stop").json()["stopping"]
    job = client.wait_for(name, "ended")
    assert (job["reason"], job["stopping"]) == ("Stopped", False)
    assert client.get(f"/jobs/{name}/result").json()["outcome"] == "cancelled"
    assert client.post(f"/jobs/{name}/stop").status_code == 202
    client.delete(f"/jobs/{name}")


def test_deleting_what_runs_stops_it(client: Client, shared: Server) -> None:
    name = client.start("echo up; echo $$ >pid; sleep 60")
    client.wait_for_output(name, b"up")
    identity = int((shared.folder / "jobs" / name / "process").read_text().split()[0])
    assert client.delete(f"/jobs/{name}").status_code == 202
    assert client.put_job(name=name).status_code == 409
    until = time.monotonic() + 60
    while client.job(name) is not None:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert not runs(identity)
    assert not (shared.folder / "jobs" / name).exists()


def test_a_lost_process_is_told(client: Client, shared: Server) -> None:
    name = client.start("echo up; sleep 60")
    client.wait_for_output(name, b"up")
    os.killpg(int((shared.folder / "jobs" / name / "process").read_text().split()[0]), 9)
    assert "gone" in client.wait_for(name, "lost")["message"]
    client.delete(f"/jobs/{name}")


# -- what is refused


@pytest.mark.parametrize("name", ["A", "1a", "-a", "a" * 64, "a_b", "a.b", "..", "%2e%2e%2fx", "a%00"])
def test_names_that_are_none(name: str, client: Client) -> None:
    for method in ("PUT", "GET", "DELETE"):
        headers = {"Stagecoach-Job": '{"key": "k"}'}
        assert client.request(method, f"/jobs/{name}", headers=headers).status_code in (404, 405, 422)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "x",
        "[]",
        "{}",
        '{"key": ""}',
        '{"key": 3}',
        '{"key": "k", "labels": "gpu"}',
        '{"key": "k", "labels": [3]}',
        '{"key": "k", "leg": "x"}',
        '{"key": "k", "leg": {"key": "../x"}}',
        '{"key": "k", "owner": 3}',
    ],
)
def test_headers_that_are_wrong(header: str, client: Client) -> None:
    response = client.put("/jobs/a", content=pack("true"), headers={"Stagecoach-Job": header})
    assert response.status_code == 422
    assert client.job("a") is None


def test_a_label_that_it_has_not(client: Client) -> None:
    response = client.put_job(labels=["gpu", "arm"])
    assert (response.status_code, "arm" in response.json()["detail"]) == (422, True)


@pytest.mark.parametrize("data", [b"", b"x" * 2000, pack("true")[:3000]])
def test_what_is_no_archive(data: bytes, client: Client, shared: Server) -> None:
    response = client.put("/jobs/a", content=data, headers={"Stagecoach-Job": '{"key": "k"}'})
    assert response.status_code == 400
    assert client.job("a") is None
    assert list((shared.folder / "incoming").iterdir()) == []


@pytest.mark.parametrize("chunked", [False, True])
def test_too_much(chunked: bool, client: Client, shared: Server) -> None:
    data = b"x" * (61 * 1000 * 1000)
    content: Any = (data[i : i + 1000_000] for i in range(0, len(data), 1000_000)) if chunked else data
    response = client.put("/jobs/a", content=content, headers={"Stagecoach-Job": '{"key": "k"}'})
    assert (response.status_code, "60 MB" in response.json()["detail"]) == (413, True)
    assert list((shared.folder / "incoming").iterdir()) == []


def test_a_runner_that_is_full_and_one_that_takes_too_long(small: tuple[Server, Client]) -> None:
    _, client = small
    first = client.start("echo up; sleep 60")
    client.wait_for_output(first, b"up")
    second = client.start("echo second")
    third = client.put_job()
    assert (third.status_code, third.headers["Retry-After"]) == (429, "5")
    assert client.job(second)["state"] == "queued"
    metrics = client.get("/metrics").text
    for line in (
        'stagecoach_runner_jobs{state="queued"} 1',
        'stagecoach_runner_jobs{state="running"} 1',
        'stagecoach_runner_jobs_total{event="refused"} 1',
        "stagecoach_runner_slots 1",
        "# TYPE stagecoach_runner_jobs_total counter",
    ):
        assert line in metrics.splitlines()
    # The first is stopped by the limit of --max-minutes, which makes room for the second.
    job = client.wait_for(first, "ended")
    assert (job["reason"], "0.05 minutes" in job["message"]) == ("DeadlineExceeded", True)
    assert client.get(f"/jobs/{first}/result").status_code == 404
    assert client.wait_for(second, "ended")["exit_code"] == 0
    assert client.get(f"/jobs/{second}/log").content == b"second\n"


def test_what_waits_is_stopped_at_once(small: tuple[Server, Client]) -> None:
    _, client = small
    first, second = client.start("sleep 60"), client.start("echo never")
    job = client.post(f"/jobs/{second}/stop").json()
    assert (job["state"], job["reason"], job["started"]) == ("ended", "Stopped", None)
    assert client.delete(f"/jobs/{second}").status_code == 204
    client.delete(f"/jobs/{first}")
