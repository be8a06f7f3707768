"""The kubernetes backend, in a real cluster: the contract of all backends, and what is large or long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_stagecoach.backends.conformance import BackendConformance, Log
from airflow_stagecoach.backends.kubernetes import KubernetesBackend
from tests.backends import images

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.backends.cluster.cluster import Cluster

pytest_plugins = ["tests.backends.cluster.fixture"]
pytestmark = pytest.mark.runs

#: Tests of the kit whose units are one bash stage, and that go another way without Python.
_BASH_ALONE = {
    "test_bash",
    "test_a_failing_script",
    "test_a_timeout",
    "test_every_line_once_and_in_order",
    "test_binary_output_and_a_last_line_without_an_end",
    "test_stop",
    "test_the_next_try_finds_what_runs",
}


@pytest.fixture(scope="class")
def namespace(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    name = cluster.make_namespace(f"kit-{request.cls.__name__.lower()}")
    yield name
    assert cluster.left(name) == []


class Kit(BackendConformance):
    """In a namespace of its own, in which nothing may be left."""

    shares_folders = False
    image = images.PYTHON
    kind = "pod"

    @pytest.fixture(autouse=True)
    def started(self, cluster: Cluster, namespace: str) -> None:
        self._settings: dict[str, Any] = {
            "image": self.image,
            "kind": self.kind,
            "namespace": namespace,
            "config-file": cluster.kubeconfig,
        }

    def backend(self, **settings: Any) -> KubernetesBackend:
        return KubernetesBackend({**self._settings, **settings})


class TestPod(Kit):
    @pytest.mark.parametrize("size", [3000, 1024 * 1024, 10 * 1024 * 1024 - 2000])
    def test_results_of_every_size_come_whole(self, size: int) -> None:
        # Nothing that a compression could make small.
        code = f"import hashlib\ntext = ''.join(hashlib.sha256(str(n).encode()).hexdigest() for n in range({size} // 64 + 1))[:{size}]"
        result = self.run(self.unit({"kind": "python", "id": "a", "run": code}))
        stage = result["stages"]["a"]
        assert stage["state"] == "success", stage["error"]
        assert len(stage["outputs"]["text"]) == size

    def test_a_large_unit_travels_in_parts(self) -> None:
        contexts = {"params": {"text": "".join(map(str, range(700_000)))}}
        code = "n = len(params['text'])"
        result = self.run(self.unit({"kind": "python", "id": "a", "run": code}, contexts=contexts))
        assert result["stages"]["a"]["outputs"] == {"n": len(contexts["params"]["text"])}

    def test_a_line_longer_than_a_part_of_the_log(self) -> None:
        log = Log()
        script = "head -c 100000 /dev/zero | tr '\\0' x; echo; echo end"
        self.run(self.unit({"kind": "bash", "id": "a", "bash": script}), log)
        parts = log.lines[1:]
        assert parts.pop() == "end"
        assert "".join(parts) == "x" * 100_000

    def test_a_log_of_some_megabytes(self) -> None:
        """Less than the 10 MiB after which a node begins a new file, in which alone the API reads."""
        log = Log()
        code = "for n in range(1, 70001):\n    print('line', n, 'of a long log, to see that all of it comes')"
        self.run(self.unit({"kind": "python", "id": "a", "run": code}), log)
        numbers = [int(line.split()[1]) for line in log.lines if line.startswith("line ")]
        assert numbers == list(range(1, 70_001))


class TestJob(Kit):
    kind = "job"


class TestWithoutPython(Kit):
    """Bash stages need nothing but a shell; what needs Python is tested above."""

    image = images.BUSYBOX

    @pytest.fixture(autouse=True)
    def chosen(self, request: pytest.FixtureRequest) -> None:
        if request.node.name not in _BASH_ALONE:
            pytest.skip("needs Python")
