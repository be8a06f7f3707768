"""One set of documents, with the same outcome on every backend: only ``runs-on`` changes.

The workflows stand in ``suite/*.yaml``, each file with what is expected under ``x-expect``: the outcome of
``stagecoach run --json`` with those keys alone that matter, ``log`` (lines that come in this order) and
``errors`` (of failed stages). Whatever else an outcome holds must be what it is on the worker itself.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from airflow_stagecoach.backends.docker import DockerBackend
from tests.backends import images

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.backends.cluster.cluster import Cluster
    from tests.backends.docker_engine import DockerEngine

pytest_plugins = ["tests.backends.cluster.fixture"]
pytestmark = pytest.mark.runs

SUITE = Path(__file__).parent / "suite"

#: Name of a workflow -> its file and what is expected of it.
WORKFLOWS: dict[str, tuple[Path, dict[str, Any]]] = {
    name: (file, expected)
    for file in sorted(SUITE.glob("*.yaml"))
    for name, expected in yaml.safe_load(file.read_text())["x-expect"].items()
}

#: In the lines of a traceback.
_MODULE = re.compile(r'File "/.*/(?=tasks.py")')

#: Pods take seconds to start, so there run those workflows whose outcome depends on the place: what travels there, what
#: comes back, and how. The stages of a-shared-folder have none in common there.
ON_KUBERNETES = (
    "second-try",
    "one-task",
    "one-task-that-fails",
    "files-that-travel",
    "operators-stay-on-the-worker",
    "legs",
    "one-item-fails",
    "one-in-another",
    "bash-exit-code",
    "python-exception",
    "kind-call",
    "layers-of-env",
    "text-of-every-sort",
    "secrets-stay-hidden",
    "types-of-outputs",
    "output-that-cannot-be-stored",
    "large-outputs",
    "much-output",
)

#: What a document travels with where it leaves the worker.
SHIP = ["note.txt"]


#: What workflows give on the worker, which every backend is compared with: some of them after all other tests.
_LOCAL: dict[str, dict[str, Any]] = {}


class Runner:
    """A process that runs workflows on one backend.

    :param outcomes: of those that have run already
    """

    def __init__(self, runs_on: dict[str, Any], outcomes: dict[str, dict[str, Any]]) -> None:
        self.runs_on = runs_on
        self.outcomes = outcomes
        self._process: subprocess.Popen[str] | None = None

    @property
    def process(self) -> subprocess.Popen[str]:
        """Started when it is needed."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, str(SUITE / "runner.py")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "AIRFLOW_VAR_SUITE_TOKEN": "swordfish-swordfish"},
            )
        return self._process

    def outcome(self, name: str) -> dict[str, Any]:
        """What a workflow gives; it runs once."""
        if name not in self.outcomes:
            file, expected = WORKFLOWS[name]
            request = {
                "file": str(file),
                "workflow": name,
                "params": expected.get("params", {}),
                "runs_on": self.runs_on,
            }
            assert self.process.stdin is not None
            assert self.process.stdout is not None
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            self.outcomes[name] = json.loads(self.process.stdout.readline())
        return self.outcomes[name]

    def close(self) -> None:
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait(60)


def serving(runs_on: dict[str, Any], outcomes: dict[str, dict[str, Any]] | None = None) -> Iterator[Runner]:
    runner = Runner(runs_on, {} if outcomes is None else outcomes)
    yield runner
    runner.close()


@pytest.fixture(scope="module")
def local() -> Iterator[Runner]:
    yield from serving({"type": "local"}, _LOCAL)


@pytest.fixture(scope="module")
def emulated() -> Iterator[Runner]:
    settings = {"image": "nothing/of-this-name", "ship": SHIP}
    yield from serving({"type": "docker", "emulate": True, "with_": settings})


@pytest.fixture(scope="module")
def docker(engine: DockerEngine) -> Iterator[Runner]:
    settings = {"image": images.PYTHON, "host": engine.url, "pull": "never", "ship": SHIP}
    yield from serving({"type": DockerBackend.type, "with_": settings})
    # Nor a volume of a leg that failed: nobody comes back to `stagecoach run`.
    assert engine.containers() == (engine.client.volumes()["Volumes"] or []) == [], "something is left"


@pytest.fixture(scope="module")
def kubernetes(cluster: Cluster) -> Iterator[Runner]:
    namespace = cluster.make_namespace("suite")
    settings = {
        "image": images.PYTHON,
        "config-file": cluster.kubeconfig,
        "namespace": namespace,
        "ship": SHIP,
    }
    yield from serving({"type": "kubernetes", "with_": settings})
    assert cluster.left(namespace) == [], "something is left"


@pytest.fixture(scope="module")
def self_hosted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    for package in ("fastapi", "uvicorn", "httpx"):
        pytest.importorskip(package)
    from tests.runner.server import TOKEN, Server

    with Server(tmp_path_factory.mktemp("suite") / "runner", "--jobs", "4") as server:
        settings = {"host": f"http://127.0.0.1:{server.port}", "token": TOKEN, "ship": SHIP}
        yield from serving({"type": "self-hosted", "with_": settings})


@pytest.mark.parametrize("name", WORKFLOWS)
def test_local(name: str, local: Runner) -> None:
    agrees(WORKFLOWS[name][1], local.outcome(name))


@pytest.mark.parametrize("name", WORKFLOWS)
def test_emulated(name: str, emulated: Runner, local: Runner) -> None:
    agrees(WORKFLOWS[name][1], emulated.outcome(name))
    same(local.outcome(name), emulated.outcome(name))


@pytest.mark.parametrize("name", WORKFLOWS)
def test_docker(name: str, docker: Runner, local: Runner) -> None:
    agrees(WORKFLOWS[name][1], docker.outcome(name))
    same(local.outcome(name), docker.outcome(name))


@pytest.mark.parametrize("name", WORKFLOWS)
def test_self_hosted(name: str, self_hosted: Runner, local: Runner) -> None:
    agrees(WORKFLOWS[name][1], self_hosted.outcome(name))
    same(local.outcome(name), self_hosted.outcome(name))


@pytest.mark.parametrize("name", ON_KUBERNETES)
def test_kubernetes(name: str, kubernetes: Runner, local: Runner) -> None:
    agrees(WORKFLOWS[name][1], kubernetes.outcome(name))
    same(local.outcome(name), kubernetes.outcome(name))


# -- comparing ------------------------------------------------------------------------------


def agrees(expected: dict[str, Any], outcome: dict[str, Any]) -> None:
    """The outcome is what the document expects."""
    for key in ("state", "jobs"):
        if key in expected:
            assert difference(expected[key], outcome[key], key) is None
    found = errors_of(outcome)
    for place, error in expected.get("errors", {}).items():
        assert difference(error, found[place], f"error of {place}") is None
    lines = (text for text, _ in outcome["log"])
    for line in expected.get("log", ()):
        assert line in lines, f"no line {line!r} came, or not there: {outcome['log'][:50]}"


def difference(expected: Any, found: Any, path: str) -> str | None:
    """Where ``found`` is not what is expected; further keys of a map do not count."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key, value in expected.items():
            if key not in found:
                return f"{path}.{key} is missing; there is {sorted(found)}"
            wrong = difference(value, found[key], f"{path}.{key}")
            if wrong:
                return wrong
        return None
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        parts = (difference(*pair, path) for pair in zip(expected, found, strict=True))
        return next(filter(None, parts), None)
    return None if expected == found else f"{path}: expected {expected!r}, found {found!r}"


def same(local: dict[str, Any], other: dict[str, Any]) -> None:
    """All that the author of a document sees is the same."""
    assert plain(other["jobs"]) == plain(local["jobs"])
    assert errors_of(other) == errors_of(local)
    assert shown(other) == shown(local)


def plain(value: Any) -> Any:
    """An outcome without what is measured."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items() if key != "record"}
    return [plain(item) for item in value] if isinstance(value, list) else value


def shown(outcome: dict[str, Any]) -> list[list[str]]:
    """Lines that stages wrote and their levels, in an order that does not depend on time.

    Where the document's modules lie differs, and how often the log turns from one concurrent item to another.
    """
    lines = [[_MODULE.sub('File "', text), level] for text, level in outcome["log"]]
    return sorted(line for line in lines if not line[0].startswith(("Started ", "::group::", "::endgroup::")))


def errors_of(outcome: dict[str, Any]) -> dict[str, Any]:
    """``job.stage`` (with the number of a leg) -> what failed, by what tells failures apart."""
    keys = ("type", "message", "category", "reason", "exit_code")
    found = {}
    for job_id, job in outcome["jobs"].items():
        for number, leg in enumerate(job.get("legs") or [job]):
            for stage_id, stage in leg.get("stages", {}).items():
                record = stage.get("record") or {}
                error = {**record, **(record.get("error") or {})}
                if stage["state"] == "failed" or error.get("message"):
                    place = f"{job_id}.{number}.{stage_id}" if "legs" in job else f"{job_id}.{stage_id}"
                    found[place] = {key: error[key] for key in keys if error.get(key) is not None}
    return found
