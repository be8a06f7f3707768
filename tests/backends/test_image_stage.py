"""Tests of airflow_stagecoach.backends._image_stage: evaluated here, run in a real engine, its result made here."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_stagecoach.backends._docker_image_stage import explain
from airflow_stagecoach.backends._image_stage import Ended, compose, prepare
from airflow_stagecoach.backends.conformance import Log
from airflow_stagecoach.backends.docker import DockerBackend
from airflow_stagecoach.backends.emulated import EmulatedBackend
from airflow_stagecoach.backends.ownership import leg_key
from airflow_stagecoach.backends.shipment import pack_image_stage
from airflow_stagecoach.backends.work import Status, StillRunning, Work
from tests.backends import images

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.backends.docker_engine import DockerEngine

WORKDIR = "/stagecoach/work"


def unit(spec: dict[str, Any], **more: Any) -> Any:
    identity = {
        "dag_id": "images",
        "run_id": f"run {time.time_ns()}",
        "task_id": "job.stage",
        "map_index": -1,
        "try_number": 1,
    }
    stage = {"kind": "image", "id": "a", "image": images.BUSYBOX, **spec}
    return {"stages": [stage], "identity": identity, **more}


# -- evaluated on the worker ------------------------------------------------------------------

CONTEXTS = {
    "params": {"n": 1, "list": ["x", 2], "text": "a 'b c'", "none": None},
    "secrets": {"T": "swordfish"},
}


def prepared(spec: dict[str, Any], **more: Any) -> Any:
    return prepare(unit(spec, contexts=CONTEXTS, **more), "/stagecoach", WORKDIR)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, {"image": images.BUSYBOX, "folder": WORKDIR}),
        ({"image": "a:${{ params.n }}"}, {"image": "a:1", "folder": WORKDIR}),
        ({"command": ["x", "${{ params.n }}", "${{ params.text }}"]}, {"command": ["x", "1", "a 'b c'"]}),
        ({"command": "${{ params.text }}"}, {"command": ["a", "b c"]}),
        ({"command": "${{ params.list }}"}, {"command": ["x", "2"]}),
        ({"command": "${{ params.n }}"}, {"command": ["1"]}),
        ({"entrypoint": ["sh", "-c"], "command": ["${{ params.none }}"]}, {"entrypoint": ["sh", "-c"], "command": [""]}),
        ({"working_directory": "in/${{ params.n }}"}, {"folder": f"{WORKDIR}/in/1"}),
        ({"working_directory": "/app/"}, {"folder": "/app"}),
        ({"env": {"A": "${{ env.B }}!", "T": "${{ secrets.T }}"}}, {"env": {"B": "1", "A": "1!", "T": "swordfish"}}),
    ],
)  # fmt: skip
def test_prepare(spec: dict[str, Any], expected: dict[str, Any]) -> None:
    found = prepared(spec, env=[{"B": "${{ params.n }}"}] if "env" in spec else [])
    assert found.result is None
    ours = {"STAGE_OUTPUT": "/stagecoach/output", "WORKFLOW_DIR": "/stagecoach/document"}
    if "env" in expected:
        expected = {**expected, "env": {**expected["env"], **ours}}
    assert {key: found.container[key] for key in expected} == expected
    assert found.container["env"].items() >= ours.items()


@pytest.mark.parametrize("command", ["${{ params.none }}", "${{ fromJson('[]') }}", "${{ '' }}"])
def test_an_empty_command_leaves_that_of_the_image(command: str) -> None:
    assert "command" not in prepared({"command": command}).container


def test_nothing_of_the_workers_environment_travels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", "x")
    assert "MINE" not in prepared({}).container["env"]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"image": "${{ params.none }}"}, "image: it is empty"),
        ({"image": "${{ params.gone }}"}, "image: "),
        ({"command": "${{ params }}"}, "command: expected text or a list of words, found a map"),
        ({"command": "${{ 'a \"b' }}"}, "command: no closing quotation in the text"),
        ({"entrypoint": ["${{ params.gone }}"]}, "entrypoint: "),
        ({"if": "params.n"}, "if: "),
        ({"env": {"A": "${{ params.gone }}"}}, ""),
    ],
)
def test_what_is_wrong_starts_nothing(spec: dict[str, Any], message: str) -> None:
    found = prepared(spec)
    assert found.container is None
    assert (found.result["state"], found.result["outcome"]) == ("failed", "failure")
    error = found.result["stages"]["a"]["error"]
    assert error["message"].startswith(message)
    assert error["category"] == "configuration"


def test_a_false_condition() -> None:
    found = prepared({"if": "params.n == 2"})
    assert (found.container, found.result["state"], found.result["stages"]["a"]["error"]) == (
        None,
        "skipped",
        None,
    )


def test_a_tolerated_fault() -> None:
    result = prepared({"image": "${{ params.none }}", "continue_on_error": True}).result
    assert (result["state"], result["stages"]["a"]["outputs"]) == ("success", {"outcome": "failure"})


# -- made a result of -------------------------------------------------------------------------

ENDED = Ended("2026-01-31T00:00:00+00:00", "2026-01-31T00:00:05+00:00", [], b"")


def composed(spec: dict[str, Any], status: Status, **left: Any) -> Any:
    result = compose(unit(spec, contexts=CONTEXTS), status, ENDED._replace(**left))
    return result["stages"]["a"]


def test_compose() -> None:
    output = [("stdout", b"one\ntw"), ("stderr", b"err\n"), ("stdout", b"o\n::metric name=rows value=3\n")]
    spec = {"outputs": {"twice": "${{ outputs.x }}${{ outputs.x }}", "m": "${{ env.A }}"}, "env": {"A": "q"}}
    stage = composed(
        spec,
        Status("ended", 0),
        output=[*output, ("stdout", b"::metric name=rows value=4")],
        written=b"x=4\ny<<E\n1\n2\nE\n",
    )
    assert stage == {
        "state": "success",
        "outcome": "success",
        "error": None,
        "start": ENDED.began,
        "end": ENDED.ended,
        "outputs": {
            "return_code": 0,
            "stdout": "one\ntwo\n::metric name=rows value=3\n::metric name=rows value=4",
            "stderr": "err",
            "x": "4",
            "y": "1\n2",
            "twice": "44",
            "m": "q",
        },
        "metrics": {"rows": 7},
        "peak_memory": 0,
    }  # fmt: skip


def test_only_the_end_of_the_output_is_kept() -> None:
    pieces = ((("stdout", b"x" * 1023 + b"\n")) for _ in range(1000))
    text = composed({}, Status("ended", 0), output=pieces)["outputs"]["stdout"]
    assert text.startswith(f"[the first {1024 * 1000 - 64 * 1024} bytes are left out]\n")
    assert len(text) < 66 * 1024


@pytest.mark.parametrize(
    ("status", "category", "reason", "part"),
    [
        (Status("ended", 3), "component", "exit-3", "exit code 3: no such row"),
        (Status("ended", 137), "system", "killed", "SIGKILL"),
        (Status("ended", 137, "OOMKilled", "the container ran out of memory"), "resource", "OOMKilled", "memory"),
        (Status("ended", 1, "OOMKilled"), "resource", "OOMKilled", "exit code 1"),
        (Status("ended", 127), "configuration", "command-not-found", "127"),
        (Status("ended", 1, "Evicted", "the node is full"), "resource", "Evicted", "(the node is full)"),
        (Status("ended", None), "system", "NoResult", "nobody knows"),
    ],
)  # fmt: skip
def test_failures(status: Status, category: str, reason: str, part: str) -> None:
    stage = composed({}, status, output=[("stderr", b"no such row\n")], written=b"x=1\n")
    error = stage["error"]
    assert (stage["state"], stage["outputs"]) == ("failed", {})
    assert (error["category"], error["reason"]) == (category, reason)
    assert part in error["message"]


def test_a_reason_beside_exit_code_0_is_none() -> None:
    """A process of it may have been killed for its memory, and the container still does what it should."""
    assert composed({}, Status("ended", 0, "OOMKilled"))["state"] == "success"


@pytest.mark.parametrize("written", [b"nonsense\n", b"x" * (1024 * 1024 + 1)])
def test_a_bad_output_file(written: bytes) -> None:
    error = composed({}, Status("ended", 0), written=written)["error"]
    assert error["message"].startswith("STAGE_OUTPUT: ")


def test_a_tolerated_failure() -> None:
    stage = composed({"continue_on_error": True}, Status("ended", 3))
    assert (stage["state"], stage["outcome"], stage["outputs"]) == (
        "success",
        "failure",
        {"outcome": "failure"},
    )


# -- what travels -----------------------------------------------------------------------------


def test_nothing_of_ours_travels(tmp_path: Path) -> None:
    (tmp_path / "a.sql").write_text("select 1")
    (tmp_path / "run.sh").write_text("echo")
    (tmp_path / "run.sh").chmod(0o700)
    data = pack_image_stage(unit({}, document_dir=str(tmp_path)), ship=["*"])
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        found = {member.name: (member.isdir(), member.size, member.mode) for member in archive}
    assert found == {
        "document": (True, 0, 0o777),
        "work": (True, 0, 0o777),
        "document/a.sql": (False, 8, 0o644),
        "document/run.sh": (False, 4, 0o755),
        "output": (False, 0, 0o666),
    }


def test_a_place_without_containers() -> None:
    result = EmulatedBackend().run(unit({}), Log().hooks)
    error = result["stages"]["a"]["error"]
    assert error is not None
    assert error["category"] == "configuration"
    assert "runs no `image:` stages" in error["message"]


def test_what_is_shown_of_it() -> None:
    secret = unit({"command": ["${{ secrets.T }}"]}, contexts={"secrets": {"T": "hunter2-hunter2"}})
    container = prepare(secret, "/stagecoach", WORKDIR).container
    assert container is not None
    assert container["command"] == ["hunter2-hunter2"]
    secret["container"] = container
    shown = DockerBackend({"env": {"A": "1"}, "user": "7"}).render(Work.of(secret["identity"], secret))
    assert (shown["image"], shown["command"], shown["user"]) == (images.BUSYBOX, ["***"], "7")
    assert shown["environment"]["A"] == "1"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ('runc create failed: unable to start container process: exec: "nope": executable file not found in $PATH', "'nope'"),
        ("No command specified", "has no program of its own"),
        ("exec /bin/x: exec format error", "'tool'"),
        ("conflict: the name is in use", None),
    ],
)  # fmt: skip
def test_programs_that_cannot_be_run(text: str, part: str | None) -> None:
    errors = pytest.importorskip("docker.errors")
    container: Any = {"image": "x:1", "command": ["tool", "a"]}
    found = explain(errors.APIError("refused", explanation=text), container)
    if part is None:
        assert found is None
    else:
        assert found is not None
        assert (found["category"], found["reason"]) == ("configuration", "StartError")
        assert part in found["message"]


# -- in an engine -----------------------------------------------------------------------------


def scratch_layer() -> bytes:
    """A root file system with one program, and nothing else."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = archive.gettarinfo(Path(shutil.which("busybox") or "").resolve(), "busybox")
        info.uid = info.gid = 0
        with open(Path(shutil.which("busybox") or "").resolve(), "rb") as file:
            archive.addfile(info, file)
    return buffer.getvalue()


@pytest.mark.runs
class TestContainers:
    @pytest.fixture(autouse=True)
    def started(self, engine: DockerEngine) -> Iterator[None]:
        self.engine = engine
        yield
        assert engine.containers() == []
        assert engine.client.volumes()["Volumes"] in (None, [])

    def backend(self, **settings: Any) -> DockerBackend:
        return DockerBackend({"host": self.engine.url, "pull": "never", "network": "none", **settings})

    def run(self, the_unit: Any, log: Log | None = None, **settings: Any) -> Any:
        (stage,) = self.backend(**settings).run(the_unit, (log or Log()).hooks)["stages"].values()
        return stage

    def script(self, text: str, **spec: Any) -> dict[str, Any]:
        return {"entrypoint": ["sh", "-c"], "command": [text], **spec}

    def test_outputs(self) -> None:
        log = Log()
        script = "pwd; echo $GREETING >&2; echo x=4 >>$STAGE_OUTPUT; echo '::metric name=rows value=7'; ls $WORKFLOW_DIR"
        stage = self.run(unit(self.script(script, env={"GREETING": "hello"})), log)
        assert stage["outputs"] == {
            "return_code": 0,
            "stdout": f"{WORKDIR}\n::metric name=rows value=7",
            "stderr": "hello",
            "x": "4",
        }
        assert stage["metrics"] == {"rows": 7}
        assert stage["start"] < stage["end"]
        assert {WORKDIR, "hello"} <= set(log.lines)

    @pytest.mark.parametrize("settings", [{}, {"user": "4711:4711"}])
    def test_an_image_with_nothing_in_it(self, settings: dict[str, Any]) -> None:
        """No folder, no shell, no user of that number: outputs and files work all the same."""
        name = ("stagecoach-test/scratch", "1")
        self.engine.client.import_image_from_data(scratch_layer(), *name, changes=['ENTRYPOINT ["/busybox"]'])
        stage = self.run(unit({"image": ":".join(name), "command": ["sh", "-c", "echo n=5 >>$STAGE_OUTPUT; echo x >file; read y <file; echo $y"]}), **settings)  # fmt: skip
        assert stage["error"] is None
        assert (stage["outputs"]["n"], stage["outputs"]["stdout"]) == ("5", "x")
        stage = self.run(unit({"image": ":".join(name), "command": ["echo", "a  b", "$HOME"]}), **settings)
        assert stage["outputs"]["stdout"] == "a  b $HOME"

    def test_stages_of_a_leg_share_files(self) -> None:
        of = [unit({})["identity"] for _ in range(3)]
        for number, one in enumerate(of):
            one.update(run_id=of[0]["run_id"], task_id=f"job.s{number}")
        key = leg_key(of[0])
        leg = {"key": key, "keep": False}
        bash = {"kind": "bash", "id": "b", "bash": "echo bash >f; mkdir sub"}
        assert (
            self.run({"stages": [bash], "identity": of[0], "leg": leg}, image=images.PYTHON)["state"]
            == "success"
        )
        here = unit(self.script("pwd; cat ../f; echo image >g", working_directory="sub"), leg=leg)
        stage = self.run({**here, "identity": of[1]})
        assert stage["outputs"]["stdout"] == f"{WORKDIR}/sub\nbash"
        bash = {"kind": "bash", "id": "b", "bash": "cat sub/g"}
        stage = self.run({"stages": [bash], "identity": of[2], "leg": leg}, image=images.BUSYBOX)
        assert stage["outputs"]["stdout"] == "image"
        self.backend().clean_leg(key)

    def test_files_of_a_worker_go_in_and_come_back(self, tmp_path: Path) -> None:
        folder = tmp_path / "leg"
        (folder / "sub").mkdir(parents=True)
        (folder / "sub" / "in").write_text("here")
        (folder / "gone").write_text("x")
        os.mkfifo(folder / "pipe")
        script = "cat sub/in; rm gone; echo there >sub/out; ln -s /etc/passwd out; ln -s sub/in in; chmod 700 sub/out; exit 3"
        stage = self.run(unit(self.script(script), files=str(folder)), user="1000:1000")
        assert stage["error"]["exit_code"] == 3
        assert sorted(os.listdir(folder)) == ["in", "sub"]
        assert (folder / "sub" / "out").read_text() == "there\n"
        assert (folder / "in").read_text() == "here"
        assert os.listdir(tmp_path) == ["leg"]

    def test_there_may_be_no_files_yet(self, tmp_path: Path) -> None:
        folder = tmp_path / "deep" / "leg"
        assert self.run(unit(self.script("echo x >f"), files=str(folder)))["state"] == "success"
        assert (folder / "f").read_text() == "x\n"

    @pytest.mark.parametrize(
        ("spec", "settings", "category", "reason"),
        [
            ({"command": ["sh", "-c", "exit 5"]}, {}, "component", "exit-5"),
            ({"command": ["/nowhere/x"]}, {}, "configuration", "StartError"),
            ({}, {}, "configuration", "StartError"),
            ({"image": "stagecoach-test/none:1"}, {}, "configuration", "ErrImageNeverPull"),
            ({"image": "Not an image"}, {}, "configuration", "CreateContainerError"),
            ({"command": ["echo"]}, {"host": "unix:///nowhere/docker.sock"}, "network", "daemon-unreachable"),
        ],
    )  # fmt: skip
    def test_failures(
        self, spec: dict[str, Any], settings: dict[str, Any], category: str, reason: str
    ) -> None:
        error = self.run(unit(spec), **settings)["error"]
        assert error is not None
        assert (error["category"], error["reason"]) == (category, reason), error

    def test_too_little_memory(self) -> None:
        the_unit = unit(self.script("tail /dev/zero"), resources={"limits": {"memory": 8 * 1024 * 1024}})
        error = self.run(the_unit)["error"]
        assert (error["category"], error["reason"]) == ("resource", "OOMKilled"), error

    def test_much_output(self) -> None:
        log = Log()
        stage = self.run(unit(self.script("seq 1 100000; printf end")), log)
        assert [line for line in log.lines if line.isdigit()] == [str(n) for n in range(1, 100001)]
        assert log.lines[-1] == "end"
        assert stage["outputs"]["stdout"].startswith("[the first ")
        assert stage["outputs"]["stdout"].endswith("\n100000\nend")

    def test_the_next_try_finds_what_runs(self) -> None:
        the_unit = unit(self.script("echo start; sleep 3; echo done; echo n=1 >>$STAGE_OUTPUT"))
        with pytest.raises(StillRunning) as caught:
            self.backend().run(the_unit, Log().hooks, wait=0.5)
        again = {**the_unit, "identity": {**the_unit["identity"], "try_number": 2}}
        log = Log()
        stage = self.run(again, log)
        assert (stage["outputs"]["stdout"], stage["outputs"]["n"]) == ("start\ndone", "1")
        assert any(caught.value.handle["name"] in line for line in log.lines)

    def test_the_next_try_of_what_was_stopped_starts_anew(self) -> None:
        """A cleared task: its trigger stops the container while the next try looks for it."""
        the_unit = unit(self.script("echo started; trap 'exit 0' TERM; sleep 60 & wait"))
        with pytest.raises(StillRunning) as caught:
            self.backend().run(the_unit, Log().hooks, wait=1)
        for _ in range(2):
            self.backend().stop(caught.value.handle)
        again = unit(self.script("echo again"))
        again["identity"] = {**the_unit["identity"], "try_number": 2}
        assert self.run(again)["outputs"]["stdout"] == "again"

    def test_stop(self, monkeypatch: pytest.MonkeyPatch) -> None:
        backend = self.backend()
        monkeypatch.setattr(DockerBackend, "grace", 1)
        log = Log()
        original = log.hooks.log

        def line(text: str, level: str = "info") -> None:
            original(text, level)
            if text == "up":
                backend.cancel()

        log.hooks.log = line  # type: ignore[method-assign]  # to stop it as soon as it is there
        result = backend.run(unit(self.script("echo up; sleep 60")), log.hooks)
        assert result["outcome"] == "cancelled"


@pytest.mark.runs
def test_the_example(engine: DockerEngine) -> None:
    """Nothing says where it runs: stages on the worker and containers beside it share files."""
    file = Path(__file__).parents[2] / "dags_examples" / "19_image.yaml"
    command = [sys.executable, "-m", "airflow_stagecoach.cli.main", "run", "--json", str(file)]
    done = subprocess.run(
        [*command, "-p", f"image={images.BUSYBOX}"],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "DOCKER_HOST": engine.url},
        check=False,
    )
    assert done.stdout, done.stderr
    outcome = json.loads(done.stdout)
    assert outcome["state"] == "success", done.stderr
    assert outcome["jobs"]["prices"]["outputs"] == {"total": 1673, "cheapest": "tea 468"}
    assert "| 1673 in all" in done.stderr
    assert engine.containers() == []
    assert engine.client.volumes()["Volumes"] in (None, [])
