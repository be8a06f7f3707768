"""A Docker daemon on another machine: over TCP and TLS, and over a network that does not hold."""

from __future__ import annotations

import socket
import ssl
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_stagecoach.backends import remote
from airflow_stagecoach.backends.conformance import Log
from airflow_stagecoach.backends.docker import DockerBackend
from airflow_stagecoach.backends.ownership import leg_key
from airflow_stagecoach.backends.work import Work
from tests.backends import images
from tests.backends.docker_engine import DockerEngine, why_not
from tests.backends.proxy import Cut, Proxy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_stagecoach.engine.contract import Result
    from tests.backends.certificates import Authority

pytest.importorskip("airflow.providers.docker")

ONE_BY_ONE = "for n in $(seq 1 30); do echo line $n; sleep 0.1; done; seq 1 2000"
LINES = [*(f"line {n}" for n in range(1, 31)), *map(str, range(1, 2001))]


def unit(*stages: dict[str, Any], task: str = "job.stage", **more: Any) -> Any:
    identity = {
        "dag_id": "remote",
        "run_id": f"run {time.time_ns()}",
        "task_id": task,
        "map_index": -1,
        "try_number": 1,
    }
    return {"stages": list(stages), "identity": identity, **more}


def bash(script: str) -> dict[str, Any]:
    return {"kind": "bash", "id": "a", "bash": script}


def error_of(result: Result) -> dict[str, Any]:
    (error,) = [stage["error"] for stage in result["stages"].values() if stage["error"]]
    return dict(error)


class Following(threading.Thread):
    """Runs a unit beside the test."""

    def __init__(self, backend: DockerBackend, the_unit: Any) -> None:
        super().__init__(daemon=True)
        self.backend, self.unit, self.log = backend, the_unit, Log()
        self._results: list[Result] = []
        self.start()

    def run(self) -> None:
        self._results.append(self.backend.run(self.unit, self.log.hooks))

    def result(self, seconds: float = 120) -> Result:
        self.join(seconds)
        assert self._results, f"it goes on: {self.log.lines[-20:]}"
        return self._results[0]

    def lines(self) -> list[str]:
        """What the stage wrote."""
        return [line for line in self.log.lines if line in LINES]


# -- certificates -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture(scope="module")
def authority(folder: Path) -> Authority:
    pytest.importorskip("cryptography")
    from tests.backends.certificates import Authority

    return Authority(folder / "ours")


@pytest.fixture(scope="module")
def other_authority(folder: Path) -> Authority:
    pytest.importorskip("cryptography")
    from tests.backends.certificates import Authority

    return Authority(folder / "another")


def tls(authority: Authority, certificate: tuple[str, str], **more: Any) -> dict[str, Any]:
    return {"ca-cert": authority.path, "client-cert": certificate[0], "client-key": certificate[1], **more}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


class FakeDaemon:
    """Shows a certificate, or nothing at all, to whoever comes. Start it by ``with``."""

    def __init__(self, certificate: tuple[str, str] | None = None) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._context = None
        if certificate is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(*certificate)

    def __enter__(self) -> FakeDaemon:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                try:
                    if self._context is not None:
                        with self._context.wrap_socket(connection, server_side=True):
                            pass
                    elif connection.recv(1000)[:1].isalpha():
                        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
                    else:
                        connection.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
                except OSError:
                    pass  # It hung up, which is what the tests are about.


def refused(host: str, certificates: dict[str, Any] | None, category: str, reason: str) -> str:
    """The message of a run that the way to the daemon ends."""
    settings: dict[str, Any] = {"image": images.PYTHON, "host": host, "pull": "never"}
    if certificates is not None:
        settings["tls"] = certificates
    error = error_of(DockerBackend(settings).run(unit(bash("true")), Log().hooks))
    assert (error["category"], error["reason"]) == (category, reason), error["message"]
    return str(error["message"])


@pytest.mark.parametrize(
    ("left", "address", "part"),
    [(-1, "127.0.0.1", "has expired"), (1, "127.0.0.9", "is for another name"), (1, "127.0.0.1", None)],
)
def test_the_certificate_of_the_daemon(
    authority: Authority, other_authority: Authority, left: int, address: str, part: str | None
) -> None:
    from tests.backends.certificates import DAY

    signer = authority if part else other_authority
    certificate = signer.issue("daemon", address=address, left=left * DAY)
    with FakeDaemon(certificate) as daemon:
        host = f"tcp://127.0.0.1:{daemon.port}"
        message = refused(host, tls(authority, authority.issue("me")), "configuration", "certificate")
    assert (part or "is not signed by `ca-cert`") in message
    assert host in message


def test_no_tls_at_its_port(authority: Authority) -> None:
    with FakeDaemon() as daemon:
        certificates = tls(authority, authority.issue("me"))
        message = refused(f"tcp://127.0.0.1:{daemon.port}", certificates, "configuration", "no-tls")
    assert "leave `tls`" in message


@pytest.mark.parametrize("wrong", ["key", "certificate", "authority"])
def test_files_that_are_no_certificates(
    authority: Authority, other_authority: Authority, tmp_path: Path, wrong: str
) -> None:
    certificates = tls(authority, authority.issue("me"))
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("nothing")
    if wrong == "key":
        certificates["client-key"] = other_authority.issue("me")[1]
    else:
        certificates["client-cert" if wrong == "certificate" else "ca-cert"] = str(garbage)
    with FakeDaemon(authority.issue("daemon", address="127.0.0.1")) as daemon:
        message = refused(f"tcp://127.0.0.1:{daemon.port}", certificates, "configuration", "certificate")
    assert "cannot be used" in message


# -- a real daemon ----------------------------------------------------------------------------


class TlsEngine(DockerEngine):
    """Listens on TCP as well, and wants certificates there."""

    def __init__(self, authority: Authority) -> None:
        from tests.backends.certificates import DAY

        self.port = free_port()
        self.tls_url = f"tcp://127.0.0.1:{self.port}"
        certificate, key = authority.issue("engine", address="127.0.0.1", left=DAY)
        options = ["-H", self.tls_url, "--tlsverify", "--tlscacert", authority.path]
        options += ["--tlscert", certificate, "--tlskey", key]
        super().__init__(Path(tempfile.mkdtemp(prefix="sc-docker-")), options, isolated=False)


@pytest.fixture(scope="module")
def secured(authority: Authority) -> Iterator[TlsEngine]:
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    engine = TlsEngine(authority)
    with engine:
        yield engine


@pytest.mark.runs
class TestTls:
    def test_a_whole_job(self, secured: TlsEngine, authority: Authority, tmp_path: Path) -> None:
        (tmp_path / "note.txt").write_text("from the worker")
        settings = {
            "image": images.PYTHON,
            "host": secured.tls_url,
            "pull": "never",
            "tls": tls(authority, authority.issue("me")),
            "ship": ["note.txt"],
        }
        write = unit(bash(f'{ONE_BY_ONE}; cp "$WORKFLOW_DIR/note.txt" note; echo "n=5" >>"$STAGE_OUTPUT"'))
        write["document_dir"] = str(tmp_path)
        key = leg_key(write["identity"])
        write["leg"] = {"key": key, "keep": False}
        request = DockerBackend(settings).render(Work.of(write["identity"], write))
        assert request["host_config"]["binds"] == [f"stagecoach-{key}:/stagecoach/work"]
        following = Following(DockerBackend(settings), write)
        outputs = following.result()["stages"]["a"]["outputs"]
        assert outputs["n"] == "5"
        assert following.lines() == LINES
        times = dict(zip(following.log.lines, following.log.times, strict=True))
        assert times["line 30"] - times["line 1"] > 1, "its output came at the end"
        read: Any = {**write, "identity": {**write["identity"], "task_id": "job.other"}}
        read["stages"] = [{"kind": "python", "id": "b", "run": "text = open('note').read()"}]
        result = DockerBackend(settings).run(read, Log().hooks)
        assert result["stages"]["b"]["outputs"] == {"text": "from the worker"}
        DockerBackend(settings).clean_leg(key)
        assert secured.containers() == []

    def test_certificates_of_the_environment(
        self, secured: TlsEngine, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        certificate, key = authority.issue("me")
        for name, path in (("ca", authority.path), ("cert", certificate), ("key", key)):
            (tmp_path / f"{name}.pem").write_bytes(Path(path).read_bytes())
        monkeypatch.setenv("DOCKER_HOST", secured.tls_url)
        monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
        monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path))
        assert DockerBackend({"image": "x"}).check().startswith("Docker ")

    @pytest.mark.parametrize(
        ("which", "part"),
        [
            ("signed by another", "refuses the `client-cert`"),
            ("expired", "it has expired at "),
            ("a daemon's", "refuses the `client-cert`"),
        ],
    )
    def test_a_client_that_the_daemon_refuses(
        self, secured: TlsEngine, authority: Authority, other_authority: Authority, which: str, part: str
    ) -> None:
        from tests.backends.certificates import DAY

        if which == "signed by another":
            certificate = other_authority.issue("stranger")
        elif which == "expired":
            certificate = authority.issue("late", left=-DAY)
        else:
            certificate = authority.issue("server", address="127.0.0.1")
        message = refused(secured.tls_url, tls(authority, certificate), "configuration", "certificate")
        assert part in message

    def test_without_tls(self, secured: TlsEngine) -> None:
        message = refused(secured.tls_url, None, "configuration", "tls-needed")
        assert "`ca-cert`" in message


# -- a network that does not hold -------------------------------------------------------------


@pytest.fixture
def proxy(engine: DockerEngine) -> Iterator[Proxy]:
    with Proxy(engine.url.removeprefix("unix://")) as started:
        yield started
    assert engine.containers() == []


def stalled(proxy: Proxy, following: Following) -> None:
    """Hold all back; the worker notices soon."""
    following.backend.client.timeout = 2
    proxy.stall()


def flows_again(proxy: Proxy, following: Following) -> None:
    # A loaded machine takes its time to remove a container.
    following.backend.client.timeout = 60
    proxy.resume()


def over(proxy: Proxy, **settings: Any) -> DockerBackend:
    return DockerBackend({"image": images.BUSYBOX, "host": proxy.url, "pull": "never", **settings})


@pytest.mark.runs
@pytest.mark.parametrize("how", ["stall", "hang_up"])
def test_the_network_goes_away_for_a_while(proxy: Proxy, how: str) -> None:
    following = Following(over(proxy), unit(bash(ONE_BY_ONE)))
    following.log.wait_for("line 2")
    if how == "stall":
        stalled(proxy, following)
    else:
        proxy.hang_up()
    following.log.wait_for("docker does not answer, trying again")
    flows_again(proxy, following)
    assert following.result()["state"] == "success"
    assert following.lines() == LINES


@pytest.mark.runs
def test_a_stop_while_the_network_stalls(proxy: Proxy, engine: DockerEngine) -> None:
    following = Following(over(proxy), unit(bash("echo up; sleep 600")))
    following.log.wait_for("up")
    stalled(proxy, following)
    asked = time.monotonic()
    following.backend.cancel()
    following.log.wait_for("does not answer")
    flows_again(proxy, following)
    assert following.result()["outcome"] == "cancelled"
    assert time.monotonic() - asked < 60


@pytest.mark.runs
@pytest.mark.parametrize("request_", ["POST /v1.41/containers/create", "/start HTTP"])
def test_an_answer_is_lost_at_the_start(proxy: Proxy, engine: DockerEngine, request_: str) -> None:
    """The try fails, the next one knows what became of it: nothing is started twice."""
    the_unit = unit(bash("cat /proc/uptime; sleep 2"))
    api = engine.client.version()["ApiVersion"]
    proxy.cut = Cut(request_.replace("1.41", api).encode(), 0)
    error = error_of(over(proxy).run(the_unit, Log().hooks))
    assert (error["category"], error["reason"]) == ("network", "daemon-unreachable")
    assert proxy.cuts == 1
    again: Any = {**the_unit, "identity": {**the_unit["identity"], "try_number": 2}}
    assert over(proxy).run(again, Log().hooks)["state"] == "success"


@pytest.mark.runs
@pytest.mark.parametrize("request_", ["result.json", "/logs?"])
def test_an_answer_is_cut_off(proxy: Proxy, request_: str) -> None:
    the_unit = unit(
        {"kind": "python", "id": "a", "run": "text = 'x' * 3_000_000\nfor n in range(1, 2001): print(n)"}
    )
    backend = over(proxy, image=images.PYTHON)
    handle = backend.start(Work.of(the_unit["identity"], the_unit))
    until = time.monotonic() + 60
    while backend.poll(handle).state != "ended":
        assert time.monotonic() < until
        time.sleep(0.1)
    proxy.cut = Cut(request_.encode(), 5000)
    following = Following(backend, the_unit)
    result = following.result()
    assert len(result["stages"]["a"]["outputs"]["text"]) == 3_000_000
    assert following.lines() == LINES[30:]
    assert proxy.cuts == 1
    assert any("trying again" in line for line in following.log.lines)


@pytest.mark.runs
def test_a_daemon_that_stands_still(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "PATIENCE", 4.0)
    the_unit = unit(bash("echo up; sleep 600"))
    following = Following(over(proxy), the_unit)
    following.log.wait_for("up")
    stalled(proxy, following)
    error = error_of(following.result())
    assert (error["category"], error["reason"]) == ("network", "Unreachable")
    assert "does not answer in time" in error["message"]
    proxy.resume()
    work = Work.of(the_unit["identity"], the_unit)
    handle = over(proxy).find(work)
    assert handle is not None
    over(proxy).stop(handle)
    over(proxy).clean(handle)
