"""What a cluster says, as statuses and failures; the script in the container; all without a cluster."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import types
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest

from airflow_stagecoach.backends._kubernetes_api import _output
from airflow_stagecoach.backends._kubernetes_errors import explain, refusal
from airflow_stagecoach.backends._kubernetes_log import lines_of, stamp
from airflow_stagecoach.backends._kubernetes_script import script, waiting, without_mark
from airflow_stagecoach.backends._kubernetes_status import message_of, removal, status_of
from airflow_stagecoach.backends.kubernetes import KubernetesBackend
from airflow_stagecoach.backends.shipment import pack_unit

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_stagecoach.backends.work import Status

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=timezone.utc)


def pod(state: dict[str, Any] | None = None, *, age: int = 1, **status: Any) -> dict[str, Any]:
    created = f"2026-01-31T11:{59 - (age - 1) // 60:02}:{60 - ((age - 1) % 60 + 1):02}Z"
    if state is not None:
        status["containerStatuses"] = [
            {"name": "proxy", "state": {"running": {}}},
            {"name": "stage", "image": "x:1", "state": state},
        ]
    return {"metadata": {"creationTimestamp": created, "name": "p", "uid": "u"}, "status": status}


def look(of: dict[str, Any], events: list[dict[str, Any]] | None = None) -> Status:
    return status_of(of, start_timeout=600, events=lambda: events or [], now=NOW)


def failed_pull(text: str, count: int = 1) -> dict[str, Any]:
    message = f'Failed to pull image "x:1": {text}'
    return {"reason": "Failed", "message": message, "count": count, "lastTimestamp": "2026-01-31T11:59:59Z"}


# -- one look ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("of", "state", "reason", "code"),
    [
        (pod(), "pending", None, None),
        (pod({"waiting": {"reason": "ContainerCreating"}}), "pending", None, None),
        (pod({"running": {}}), "running", None, None),
        (pod({"terminated": {"exitCode": 0, "reason": "Completed"}}), "ended", None, 0),
        (pod({"terminated": {"exitCode": 3, "reason": "Error"}}), "ended", None, 3),
        (pod({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}), "ended", "OOMKilled", 137),
        (pod({"terminated": {"exitCode": 128, "reason": "StartError"}}), "ended", "StartError", 128),
        (
            pod({"terminated": {"exitCode": 137, "reason": "ContainerStatusUnknown"}}),
            "ended",
            "ContainerStatusUnknown",
            137,
        ),
        (pod(phase="Failed", reason="Evicted", message="low on memory"), "ended", "Evicted", None),
        (pod(phase="Failed", reason="OutOfcpu"), "ended", "OutOfcpu", None),
        (pod({"running": {}}, phase="Failed", reason="DeadlineExceeded"), "ended", "DeadlineExceeded", None),
        (
            pod({"terminated": {"exitCode": 143}}, phase="Failed", reason="DeadlineExceeded"),
            "ended",
            "DeadlineExceeded",
            143,
        ),
        (pod({"running": {}}, reason="NodeLost"), "lost", "NodeLost", None),
        (pod({"waiting": {"reason": "ErrImageNeverPull"}}), "ended", "ErrImageNeverPull", None),
        (pod({"waiting": {"reason": "InvalidImageName"}}), "ended", "InvalidImageName", None),
        (
            pod({"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "x" not found'}}),
            "ended",
            "CreateContainerConfigError",
            None,
        ),
        (
            pod({"waiting": {"reason": "CreateContainerError", "message": "context deadline exceeded"}}),
            "pending",
            "CreateContainerError",
            None,
        ),
    ],
)
def test_status(of: dict[str, Any], state: str, reason: str | None, code: int | None) -> None:
    found = look(of)
    assert (found.state, found.reason, found.exit_code) == (state, reason, code)


@pytest.mark.parametrize(
    ("wait", "event", "state", "reason", "part"),
    [
        ("ErrImagePull", failed_pull("not found"), "ended", "ErrImagePull", "name and tag"),
        ("ImagePullBackOff", failed_pull("denied"), "ended", "ImagePullBackOff", "image-pull-secrets"),
        ("ImagePullBackOff", None, "ended", "ImagePullBackOff", "Back-off"),
        ("ErrImagePull", failed_pull("dial tcp: no such host"), "pending", "RegistryUnavailable", "no such"),
        ("ImagePullBackOff", failed_pull("i/o timeout", 2), "ended", "RegistryUnavailable", "timeout"),
        ("ImagePullBackOff", failed_pull("denied: dial tcp", 2), "ended", "ImagePullBackOff", "denied"),
    ],
)
def test_pulling(wait: str, event: dict[str, Any] | None, state: str, reason: str, part: str) -> None:
    of = pod({"waiting": {"reason": wait, "message": 'Back-off pulling image "x:1"'}})
    found = look(of, [event] if event else [])
    assert (found.state, found.reason) == (state, reason)
    assert part in str(found.message)
    assert "x:1" in str(found.message)


UNSCHEDULABLE = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "0/1 nodes are available: 1 Insufficient memory.",
}


@pytest.mark.parametrize(("age", "state"), [(1, "pending"), (599, "pending"), (602, "ended")])
def test_no_node(age: int, state: str) -> None:
    found = look(pod(age=age, conditions=[UNSCHEDULABLE], phase="Pending"))
    assert (found.state, found.reason) == (state, "Unschedulable")
    assert "1 Insufficient memory" in str(found.message)


def test_a_claim_that_is_not_there_is_not_the_fault_of_nodes() -> None:
    condition = {
        **UNSCHEDULABLE,
        "message": '0/1 nodes are available: 1 persistentvolumeclaim "x" not found.',
    }
    found = look(pod(age=700, conditions=[condition], phase="Pending"))
    assert (found.state, found.reason) == ("ended", "CreateContainerConfigError")


@pytest.mark.parametrize(
    ("age", "state", "reason", "told"),
    [
        (1, "pending", None, False),
        (10, "pending", "CreateContainerConfigError", True),
        (700, "ended", "CreateContainerConfigError", True),
    ],
)
def test_a_volume_that_cannot_be_mounted(age: int, state: str, reason: str | None, told: bool) -> None:
    event = {
        "reason": "FailedMount",
        "message": 'claim "x" not found',
        "lastTimestamp": "2026-01-31T11:59:00Z",
    }
    found = look(pod({"waiting": {"reason": "ContainerCreating"}}, age=age), [event])
    assert (found.state, found.reason) == (state, reason)
    assert ("FailedMount" in str(found.message)) is told


@pytest.mark.parametrize(("age", "told"), [(10, False), (70, True)])
def test_a_job_that_waits_for_its_secrets_for_a_moment(age: int, told: bool) -> None:
    message = 'MountVolume.SetUp failed for volume "stagecoach-unit" : secret "w-0" not found'
    found = look(pod(age=age), [{"reason": "FailedMount", "message": message}])
    assert (found.message is not None) is told


def test_nothing_is_known_of_a_pod_that_does_not_start() -> None:
    found = look(pod(age=700))
    assert (found.state, found.reason) == ("ended", "DeadlineExceeded")
    assert "did not start within 600 s" in str(found.message)


@pytest.mark.parametrize(("kind", "reason"), [("waiting", "ErrImageNeverPull"), ("terminated", "StartError")])
def test_containers_that_come_first(kind: str, reason: str) -> None:
    state = {"waiting": {"reason": reason}} if kind == "waiting" else {"terminated": {"exitCode": 2}}
    first = [{"name": "copy", "state": state}]
    phase = "Pending" if kind == "waiting" else "Failed"
    waits = {"waiting": {"reason": "PodInitializing"}}
    found = look(pod(waits, initContainerStatuses=first, phase=phase))
    assert (found.state, found.reason) == ("ended", reason)
    assert "copy" in str(found.message)


@pytest.mark.parametrize(
    ("message", "reason", "part"),
    [
        ("stagecoach-refused the image has no wc", "StartError", "the image has no wc"),
        ("stagecoach-expired 5000000", "ResultExpired", "5000000 bytes was not taken"),
    ],
)
def test_what_the_container_says_last(message: str, reason: str, part: str) -> None:
    found = look(pod({"terminated": {"exitCode": 127, "reason": "Error", "message": message}}))
    assert (found.state, found.reason) == ("ended", reason)
    assert part in str(found.message)
    assert message_of(pod({"terminated": {"exitCode": 127, "message": message}})) is None


def test_a_removed_pod() -> None:
    assert removal(None).reason == "Removed"
    condition = {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "PreemptionByScheduler",
        "message": "m",
    }
    found = removal(pod({"running": {}}, conditions=[condition]))
    assert (found.state, found.reason) == ("lost", "PreemptionByScheduler")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ('{"state": "success"}', b'{"state": "success"}'),
        ("gzip\n" + base64.b64encode(gzip.compress(b"\xff\x00 text")).decode(), b"\xff\x00 text"),
        ("gzip\n" + base64.encodebytes(gzip.compress(b"a" * 9)).decode(), b"a" * 9),
        ("", None),
        ("Error: something", None),
    ],
    # An archive has the time in it.
    ids=["plain", "packed", "packed in lines", "none", "other"],
)
def test_results_in_messages(message: str, expected: bytes | None) -> None:
    assert message_of(pod({"terminated": {"exitCode": 0, "message": message}})) == expected


def test_a_damaged_message_is_no_missing_one() -> None:
    assert message_of(pod({"terminated": {"exitCode": 0, "message": "gzip\nAAAA"}})) == b"gzip\nAAAA"


def test_the_result_of_work_that_the_cluster_ended_says_nothing() -> None:
    ended = {"terminated": {"exitCode": 143, "message": "{}"}}
    assert message_of(pod(ended, reason="Evicted")) is None
    assert message_of(pod({"terminated": {"exitCode": 0, "message": "{}"}}, reason="Evicted")) == b"{}"


# -- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "text", "category", "reason", "part"),
    [
        (401, "Unauthorized", "configuration", "Unauthorized", "has expired"),
        (
            403,
            'pods is forbidden: User "u" cannot create resource "pods"',
            "configuration",
            "Forbidden",
            "may not",
        ),
        (
            403,
            "pods x is forbidden: exceeded quota: q, requested: pods=1",
            "resource",
            "QuotaExceeded",
            "no room",
        ),
        (
            403,
            'pods "x" is forbidden: error looking up service account a/b: not found',
            "configuration",
            "Forbidden",
            "`service-account`",
        ),
        (403, "violates PodSecurity", "configuration", "Forbidden", "a rule of the cluster"),
        (404, 'namespaces "n" not found', "configuration", "NamespaceNotFound", "`namespace`"),
        (422, 'Pod "x" is invalid: spec.volumes[0].name', "configuration", "InvalidPod", "spec.volumes"),
        (400, 'admission webhook "w" denied the request', "configuration", "InvalidPod", "webhook"),
        (409, "Operation cannot be fulfilled on resourcequotas", "system", "Conflict", "quotas"),
        (429, "too many requests", "network", "TooManyRequests", "too much to do"),
        (500, "etcdserver: request timed out", "system", "http-500", "etcdserver"),
        (504, "", "system", "http-504", "fault"),
    ],
)
def test_refusals(status: int, text: str, category: str, reason: str, part: str) -> None:
    error = refusal(status, text, "n").error
    assert (error["category"], error["reason"]) == (category, reason)
    assert part in error["message"]


def api_error(status: int, reason: str, body: Any = None) -> Exception:
    exceptions = pytest.importorskip("kubernetes.client.exceptions")
    error: Exception = exceptions.ApiException(status=status, reason=reason)
    error.body = body  # type: ignore[attr-defined]  # of the SDK's exception
    return error


def test_what_the_api_says_is_told() -> None:
    body = json.dumps({"message": 'namespaces "n" not found', "code": 404})
    error = explain(api_error(404, "Not Found", body), "n")
    assert error is not None
    assert error["reason"] == "NamespaceNotFound"


@pytest.mark.parametrize(
    ("status", "text", "category", "reason"),
    [
        (0, "Handshake status 403 Forbidden -+-+- {...}", "configuration", "Forbidden"),
        (0, "connection reset", "network", "api-unreachable"),
        (502, "Bad Gateway", "system", "http-502"),
    ],
)
def test_commands_that_are_refused(status: int, text: str, category: str, reason: str) -> None:
    error = explain(api_error(status, text), "n")
    assert error is not None
    assert (error["category"], error["reason"]) == (category, reason)


@pytest.mark.parametrize(
    ("text", "category", "reason"),
    [
        ("Max retries exceeded: Connection refused", "network", "api-unreachable"),
        ("SSLError(SSLCertVerificationError: CERTIFICATE_VERIFY_FAILED)", "configuration", "certificate"),
    ],
)
def test_an_api_that_cannot_be_reached(text: str, category: str, reason: str) -> None:
    pytest.importorskip("kubernetes")
    from urllib3.exceptions import HTTPError

    error = explain(HTTPError(text), "n")
    assert error is not None
    assert (error["category"], error["reason"]) == (category, reason)


def test_no_cluster_is_known() -> None:
    config = pytest.importorskip("kubernetes.config")
    error = explain(config.ConfigException("Invalid kube-config file."), "n")
    assert error is not None
    assert (error["category"], error["reason"]) == ("configuration", "NoCluster")


def test_a_cluster_that_is_named_twice() -> None:
    pytest.importorskip("kubernetes")
    error = explain(RuntimeError("Options kube_config, in_cluster are mutually exclusive."), "n")
    assert error is not None
    assert (error["category"], error["reason"]) == ("configuration", "NoCluster")


def test_a_kubeconfig_that_cannot_be_read(tmp_path: Path) -> None:
    pytest.importorskip("kubernetes")
    from kubernetes import config

    with pytest.raises(IsADirectoryError) as raised:
        config.load_kube_config(str(tmp_path))
    error = explain(raised.value, "n")
    assert error is not None
    assert (error["category"], error["reason"]) == ("configuration", "NoCluster")
    assert f"`config-file` {tmp_path} cannot be read: Is a directory" in error["message"]


def test_a_failure_that_is_not_the_clusters() -> None:
    assert explain(KeyError("x"), "n") is None
    assert explain(ModuleNotFoundError("no", name="tasks"), "n") is None


def test_without_the_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_stagecoach.backends.conformance import Log

    monkeypatch.setitem(sys.modules, "airflow.providers.cncf.kubernetes.hooks.kubernetes", None)
    unit: Any = {"stages": [{"kind": "bash", "id": "a", "bash": ""}], "identity": IDENTITY}
    result = KubernetesBackend({"image": "x"}).run(unit, Log().hooks)
    error = result["stages"]["a"]["error"]
    assert error is not None
    assert error["category"] == "configuration"
    assert "pip install 'airflow-provider-stagecoach[kubernetes]'" in error["message"]


# -- commands in pods -------------------------------------------------------------------------


class Session:
    """A command's connection that gives these frames: operation code and data."""

    def __init__(self, *frames: tuple[int, bytes]) -> None:
        self.sock, self._frames = self, list(frames)

    def settimeout(self, seconds: float) -> None:
        pass

    def recv_data_frame(self, control: bool) -> tuple[int, Any]:
        if not self._frames:
            from websocket import WebSocketConnectionClosedException

            raise WebSocketConnectionClosedException("it is closed")
        code, data = self._frames.pop(0)
        return code, types.SimpleNamespace(data=data)


BINARY, CLOSE, PING = 2, 8, 9
SUCCESS = (BINARY, b'\x03{"status": "Success"}')


def test_the_output_of_a_command() -> None:
    pytest.importorskip("websocket")
    frames = [
        (BINARY, b"\x01one\xff"),
        (PING, b""),
        (BINARY, b"\x02oh"),
        (BINARY, b"\x01two"),
        (BINARY, b"\x01"),
    ]
    assert _output(Session(*frames, SUCCESS, (CLOSE, b"")), "cat") == b"one\xfftwo"


@pytest.mark.parametrize(
    ("frames", "part"),
    [
        ([(BINARY, b"\x01half")], "the connection to cat in the pod broke: it is closed"),
        ([(BINARY, b"\x01half"), (CLOSE, b"")], "nobody tells how cat in the pod ended"),
        (
            [(BINARY, b'\x03{"status": "Failure", "message": "exit code 1"}'), (CLOSE, b"")],
            "cat failed in the pod: exit code 1",
        ),
    ],
)
def test_commands_that_break(frames: list[tuple[int, bytes]], part: str) -> None:
    pytest.importorskip("websocket")
    with pytest.raises(OSError, match=part):
        _output(Session(*frames), "cat")


# -- logs -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (("2026-01-31T00:00:00", "12", "Z"), "2026-01-31T00:00:00.120000000Z"),
        (("2026-01-31T00:00:00", "", "Z"), "2026-01-31T00:00:00.000000000Z"),
        (("2026-01-31T01:30:00", "5", "+01:00"), "2026-01-31T00:30:00.500000000Z"),
    ],
)
def test_times_sort_as_text(parts: tuple[str, str, str], expected: str) -> None:
    assert stamp(*parts) == expected


def test_lines_however_they_come() -> None:
    log = b"2026-01-31T00:00:00.1Z one\n2026-01-31T00:00:00.12Z \n2026-01-31T00:00:01Z \xff\r\n2026-01-31T00:00:02Z end"
    for size in (1, 7, 1000):
        chunks = [log[at : at + size] for at in range(0, len(log), size)]
        assert [text for _, text in lines_of(chunks)] == ["one", "", "\ufffd", "end"]
    stamps = [at for at, _ in lines_of([log])]
    assert stamps == sorted(stamps)


def test_long_lines_come_in_parts() -> None:
    part = b"x" * 16384
    log = (
        b"2026-01-31T00:00:00.1Z " + part + b"2026-01-31T00:00:00.2Z " + part + b"2026-01-31T00:00:00.3Z y\n"
    )
    assert [text for _, text in lines_of([log])] == ["x" * 32768 + "y"]


def test_what_the_machine_says_is_no_line() -> None:
    assert list(lines_of([b"unable to retrieve container logs for containerd://x"])) == []


@pytest.mark.parametrize(
    ("line", "shown", "size"),
    [
        ("::stagecoach-result::w 5000 - 0", None, 5000),
        (f"::stagecoach-result::w 5 {'a' * 64} 1 oom", None, 5),
        ("no end::stagecoach-result::w 5 - 0", "no end", 5),
        ("::stagecoach-result::other 5 - 0", None, None),
        ("::stagecoach-result::w 5 - 0 and more", "::stagecoach-result::w 5 - 0 and more", None),
        ("plain", "plain", None),
    ],
)
def test_marks(line: str, shown: str | None, size: int | None) -> None:
    found = waiting(line, "w")
    assert (None if found is None else found.size) == size
    assert without_mark(line) == shown
    if found is not None:
        assert found.oom is line.endswith("oom")


# -- the script in the container --------------------------------------------------------------

IDENTITY: Any = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1, "try_number": 1}


_TOOLS = ("cat", "sleep", "wc", "tar", "date", "env", "mkfifo", "mv", "tail", "tee", "gzip", "base64", "sh")


class Container:
    """The script as the container runs it, with other folders."""

    def __init__(self, folder: Path, stage: dict[str, Any], *, wait: int = 60, python: bool = True) -> None:
        self.folder, self._message = folder / "f", folder / "message"
        parts = folder / "parts"
        for path in (self.folder, parts):
            path.mkdir()
        unit: Any = {"stages": [stage], "identity": IDENTITY}
        archive = pack_unit(unit, folder=str(self.folder))
        (parts / "part-000").write_bytes(archive[:5000])
        (parts / "part-001").write_bytes(archive[5000:])
        text = script("w", wait)
        for there, here in (
            ("/stagecoach-unit", str(parts)),
            ("/stagecoach/", f"{self.folder}/"),
            ("F=/stagecoach\n", f"F={self.folder}\n"),
            ('extractall("/stagecoach")', f'extractall("{self.folder}")'),
            ("/dev/termination-log", str(self._message)),
        ):
            text = text.replace(there, here)
        self.path = os.environ["PATH"] if python else str(self._tools(folder / "bin"))
        self.script = text
        self.parts = parts

    def start(self, **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["/bin/sh", "-c", self.script],
            env={"PATH": self.path, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )

    def run(self, **env: str) -> tuple[int, str]:
        process = self.start(**env)
        output, _ = process.communicate(timeout=60)
        return process.returncode, output

    @property
    def message(self) -> str:
        return self._message.read_text() if self._message.exists() else ""

    def result(self) -> dict[str, Any]:
        data = message_of(pod({"terminated": {"exitCode": 0, "message": self.message}}))
        assert data is not None, self.message
        found: dict[str, Any] = json.loads(data)
        return found

    @staticmethod
    def _tools(folder: Path) -> Path:
        folder.mkdir()
        for name in _TOOLS:
            (folder / name).symlink_to(str(shutil.which(name)))
        return folder


BASH = {"kind": "bash", "id": "a", "bash": "echo hello; exit 3"}


def test_a_small_result_is_the_message(tmp_path: Path) -> None:
    container = Container(tmp_path, BASH)
    code, output = container.run()
    assert (code, output.splitlines()[0]) == (1, "hello")
    assert container.result()["stages"]["a"]["outputs"] == {}
    assert container.message.startswith("{")


def test_a_result_is_packed_to_be_the_message(tmp_path: Path) -> None:
    container = Container(tmp_path, {"kind": "python", "id": "a", "run": "text = 'x' * 20000"})
    assert container.run() == (0, "")
    assert container.message.startswith("gzip\n")
    assert len(container.message) <= 4096
    assert container.result()["stages"]["a"]["outputs"]["text"] == "x" * 20000


def test_a_shell_leaves_a_result_that_is_no_text(tmp_path: Path) -> None:
    container = Container(tmp_path, {**BASH, "bash": r"printf '\377\000'"}, python=False)
    code, _ = container.run()
    assert code == 0
    data = message_of(pod({"terminated": {"exitCode": 0, "message": container.message}}))
    assert data is not None
    assert data.startswith(b"stagecoach-shell 1 ")
    assert b"\xff\x00" in data


def test_a_large_result_waits_until_it_is_taken(tmp_path: Path) -> None:
    import hashlib

    code = "import os\ntext = os.urandom(100000).hex()"
    container = Container(tmp_path, {"kind": "python", "id": "a", "run": code})
    process = container.start()
    assert process.stdout is not None
    found = waiting(process.stdout.readline().rstrip("\n"), "w")
    assert found is not None
    data = (container.folder / "result.json").read_bytes()
    assert (found.size, found.exit_code, found.oom) == (len(data), 0, False)
    assert found.sha256 == hashlib.sha256(data).hexdigest()
    assert process.poll() is None
    (container.folder / "taken").touch()
    assert process.wait(30) == 0


def test_a_large_result_that_nobody_takes(tmp_path: Path) -> None:
    code = "import os\ntext = os.urandom(100000).hex()"
    container = Container(tmp_path, {"kind": "python", "id": "a", "run": code}, wait=1)
    assert container.run()[0] == 0
    assert look(pod({"terminated": {"exitCode": 0, "message": container.message}})).reason == "ResultExpired"


@pytest.mark.parametrize("python", [True, False])
def test_a_signal_ends_the_stage(tmp_path: Path, python: bool) -> None:
    stage = {"kind": "bash", "id": "a", "bash": "echo up; exec sleep 60"}
    container = Container(tmp_path, stage, python=python)
    process = container.start()
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 143
    assert time.monotonic() - begun < 15
    assert message_of(pod({"terminated": {"exitCode": 143, "message": container.message}})) is not None


@pytest.mark.parametrize(("chosen", "code"), [("u-1", 1), ("u-2", 127)])
def test_only_the_chosen_pod_works(tmp_path: Path, chosen: str, code: int) -> None:
    container = Container(tmp_path, BASH)
    (container.parts / "pod").write_text(f"{chosen}\n")
    found, output = container.run(STAGECOACH_POD="u-1")
    assert found == code
    assert ("hello" in output) is (code == 1)
    if code == 127:
        assert (
            container.message == "stagecoach-refused another pod of this job has done the work, or part of it"
        )


def test_the_own_id_is_not_handed_on(tmp_path: Path) -> None:
    container = Container(tmp_path, {**BASH, "bash": 'echo "<$STAGECOACH_POD>"'})
    (container.parts / "pod").write_text("u-1\n")
    assert container.run(STAGECOACH_POD="u-1") == (0, "<>\n")


@pytest.mark.parametrize("missing", ["wc", "tar"])
def test_an_image_without_tools(tmp_path: Path, missing: str) -> None:
    container = Container(tmp_path, BASH, python=False)
    os.remove(f"{container.path}/{missing}")
    code, output = container.run()
    assert (code, output) == (127, "")
    assert container.message.startswith("stagecoach-refused the image has n")
    assert missing in container.message


def test_what_travels_comes_whole(tmp_path: Path) -> None:
    container = Container(tmp_path, BASH)
    container.run()
    data = b"".join(path.read_bytes() for path in sorted(container.parts.glob("part-*")))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert {"stagecoach.pyz", "unit.json"} <= set(os.listdir(container.folder)) & set(archive.getnames())
