"""Stages with ``resources`` in limited processes of their own, for real."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from airflow_stagecoach.engine import Hooks, Runner, limits
from tests.engine.harness import alive, bash, empty, named, python, read, wait_for
from tests.engine.harness import run as run_plain

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1024 * 1024
SMALL = {"memory": 64 * MIB}
ROOMY = {"memory": 1024 * MIB}

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits of processes are Linux's")


@pytest.fixture(autouse=True)
def _no_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same on every machine: groups have tests of their own."""
    monkeypatch.setattr("airflow_stagecoach.engine.cgroup.delegated", lambda controllers: None)


def run(*stages: Any, **unit: Any) -> Any:
    return run_plain(*stages, enforce_resources=True, **unit)


def test_only_where_the_engine_is_to_enforce() -> None:
    assert run_plain(python("import os\npid = os.getpid()", resources=SMALL)).outputs["pid"] == os.getpid()
    assert run(python("import os\npid = os.getpid()", resources=SMALL)).outputs["pid"] != os.getpid()
    assert run(python("import os\npid = os.getpid()")).outputs["pid"] == os.getpid()


@pytest.mark.parametrize(
    "stage",
    [
        python("x = bytearray(1024 ** 3)"),
        python("import numpy\nnumpy.ones(10 ** 9)"),
        bash('python3 -c "x = bytearray(1024 ** 3)"'),
        bash("head -c 1G /dev/zero | tail"),
        {"kind": "foreach", "foreach": [1], "stages": [python("x = bytearray(1024 ** 3)", id="i")]},
        {"kind": "foreach", "foreach": [1], "stages": [bash("tail < /dev/zero", id="i")]},
    ],
    ids=["python", "numpy", "bash python", "bash tail", "nested python", "nested bash"],
)
def test_more_memory_than_the_limit(stage: Any) -> None:
    if "numpy" in str(stage):
        pytest.importorskip("numpy")
        stage = {**stage, "resources": {"memory": 512 * MIB}}
    error = run({"resources": SMALL, **stage}).error
    assert error["category"] == "resource", error
    assert error["reason"] == "out-of-memory"
    assert "MiB of memory: `resources`" in error["message"]


def test_the_limit_counts_where_there_is_one_beside_the_request() -> None:
    stage = python("x = bytearray(100 * 1024 * 1024)\nn = len(x)\ndel x")
    assert (
        run({**stage, "resources": {"memory": 32 * MIB, "limits": {"memory": 256 * MIB}}}).state == "success"
    )
    assert run({**stage, "resources": SMALL}).state == "failed"


def limited(*stages: Any, **unit: Any) -> Any:
    return run(*({**stage, "resources": ROOMY} for stage in stages), **unit)


def test_python_there(tmp_path: Path) -> None:
    import datetime

    ran = limited(
        python(
            "import os, sys\nprint('printed')\nprint('::metric name=rows value=3')\nmetric('rows', 4)\n"
            "logger.warning('warned')\nlogger.debug('hidden')\nos.system('echo past Python')\n"
            "year = ${{ params.day }}.year\na = os.environ['A']\nfolder = os.getcwd()\nlist_ = [1, {'a': None}]\n"
            "_left = open",
            env={"A": "${{ params.x }}"},
            logging={"level": "info"},
            outputs={"b": "${{ outputs.a }}!"},
        ),
        workdir=str(tmp_path),
        attempt=3,
        contexts={"params": {"x": "quote \" ' ${{ y", "day": datetime.date(2026, 1, 2)}},
    )
    outputs = ran.outputs
    assert outputs == {
        "year": 2026,
        "a": "quote \" ' ${{ y",
        "folder": str(tmp_path),
        "list_": [1, {"a": None}],
        "b": "quote \" ' ${{ y!",
    }
    assert sorted(ran.lines) == sorted(
        [
            ("info", "printed"),
            ("info", "::metric name=rows value=3"),
            ("warning", "warned"),
            ("info", "past Python"),
        ]
    )
    assert ran.only["metrics"] == {"rows": 7}
    assert ran.only["cpu_seconds"] >= 0
    assert 5 * MIB < ran.only["peak_memory"] < 200 * MIB


def test_calls_bash_and_nested_stages_there(tmp_path: Path) -> None:
    (tmp_path / "limited_tasks.py").write_text(
        "from airflow_stagecoach import tag\n\n@tag('v1')\ndef add(a: int, *, context, extras) -> dict:\n"
        "    print('adding')\n    return {'sum': a + extras['b'], 'attempt': context.attempt}\n"
    )
    ran = limited(
        {"kind": "call", "uses": "limited_tasks/add@v1", "with": {"a": 2}},
        bash("echo $A ${{ stages.s1.outputs.sum }}; echo k=v >> $STAGE_OUTPUT", env={"A": "${{ env.B }}"}),
        {
            "kind": "foreach",
            "foreach": "${{ params.items }}",
            "stages": [python("y = ${{ item }} * 2", id="y"), bash("echo ${{ stages.y.outputs.y }}", id="b")],
        },
        document_dir=str(tmp_path),
        attempt=3,
        extras={"b": 5},
        env=[{"B": "layer"}],
        contexts={"params": {"items": [1, 2]}},
    )
    assert ran.state == "success", ran.stages
    assert ran.stages["s1"]["outputs"] == {"sum": 7, "attempt": 3}
    assert ran.stages["s2"]["outputs"] == {"return_code": 0, "stdout": "layer 7", "stderr": None, "k": "v"}
    inner = ran.stages["s3"]["outputs"]["foreach"]["2"]["stages"]
    assert inner["b"]["outputs"]["stdout"] == "4"


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        (python("raise ConnectionError('x')"), {"type": "ConnectionError", "category": "network"}),
        (python("import sys\nsys.exit(4)"), {"type": "SystemExit", "exit_code": 4}),
        (bash("echo why >&2; exit 5"), {"type": "ExitCode", "exit_code": 5, "stderr": "why"}),
        (python("import os\nos._exit(3)"), {"type": "ExitCode", "exit_code": 3, "category": "component"}),
        (python("import os\nos._exit(0)"), {"type": "NoResult", "category": "component"}),
        (
            python("import os\nos.kill(os.getpid(), 9)"),
            {"type": "Signal", "category": "system", "reason": "killed"},
        ),
        (python("${{ params.none }}"), {"category": "configuration"}),
        (
            {
                "kind": "foreach",
                "foreach": [1],
                "stages": [{"kind": "trigger", "trigger": "other", "id": "t"}],
            },
            {"type": "NestedStageFailed", "category": "configuration"},
        ),
    ],
)
def test_failures_there(stage: Any, expected: dict[str, Any]) -> None:
    ran = limited(stage, trigger=lambda *_: {"state": "success", "outputs": {}})
    assert ran.error.items() >= expected.items()
    if stage["kind"] == "foreach":
        assert "move the trigger out of it" in ran.error["message"]
        assert ran.only["outputs"]["foreach"]["1"]["state"] == "failed"


def test_its_error_stands_once_in_the_log() -> None:
    ran = limited(python("1 / 0"))
    assert sum("ZeroDivisionError: division by zero" in text for text in ran.texts) == 1
    assert {level for level, _ in ran.lines} == {"error"}


@pytest.mark.parametrize(
    "source", ["class AirflowSkipException(Exception): pass\nraise AirflowSkipException('no')"]
)
def test_skipping_there(source: str) -> None:
    ran = limited(python(source), {"kind": "case", "case": 1, "match": [], "skip_not_match": True})
    assert [stage["state"] for stage in ran.stages.values()] == ["skipped", "skipped"]


def test_a_stage_that_does_not_run_costs_no_process() -> None:
    started = time.monotonic()
    assert limited(*[empty(**{"if": "false"})] * 20, python("x", **{"if": "false"})).state == "skipped"
    assert time.monotonic() - started < 1


def test_timeout_retry_and_attempt_there(tmp_path: Path) -> None:
    ran = limited(
        python(
            f"import time\nopen('{tmp_path}/tries', 'a').write(str(context.attempt))\ntime.sleep(60)",
            timeout=1.0,
            retry={"max": 1, "delay": 0},
        ),
        enforce_timeouts=True,
        enforce_retries=True,
    )
    assert ran.error["type"] == "TimedOut"
    assert read(tmp_path / "tries") == "12"


@pytest.mark.parametrize("inner", [bash("echo $$ > {file}; trap '' TERM; sleep 60 & wait; sleep 60"), None])
def test_cancel_reaches_what_runs_there(tmp_path: Path, inner: Any) -> None:
    file = tmp_path / "pid"
    stage = (
        {**inner, "bash": inner["bash"].replace("{file}", str(file))}
        if inner
        else python(f"import os, time\nopen('{file}', 'w').write(f'{{os.getpid()}}\\n')\ntime.sleep(60)")
    )
    runner = Runner(
        {"stages": named([{**stage, "resources": ROOMY}]), "enforce_resources": True},
        Hooks(log=lambda *_: None),
    )

    def cancel() -> None:
        wait_for(lambda: read(file).endswith("\n"), 30)
        runner.cancel()

    thread = threading.Thread(target=cancel)
    thread.start()
    result = runner.run()
    thread.join()
    assert result["outcome"] == "cancelled"
    pid = int(read(file))
    wait_for(lambda: not alive(pid))


def test_a_killed_child_takes_its_script_along(tmp_path: Path) -> None:
    script = f"echo $$ > {tmp_path}/pid; echo $PPID > {tmp_path}/parent; sleep 60"
    ran: list[Any] = []
    thread = threading.Thread(target=lambda: ran.append(limited(bash(script))))
    thread.start()
    pid, parent = (int(wait_for(lambda name=name: read(tmp_path / name), 30)) for name in ("pid", "parent"))
    os.kill(parent, 9)
    thread.join(30)
    assert ran[0].error["reason"] == "killed"
    wait_for(lambda: not alive(pid))


def test_cores() -> None:
    ran = run(
        python("import os\ncores = len(os.sched_getaffinity(0))", resources={"cpu": 1.0}),
        bash("nproc", resources={"cpu": 1}),
    )
    assert ran.stages["s1"]["outputs"]["cores"] == 1
    assert ran.stages["s2"]["outputs"]["stdout"] == "1"


@pytest.mark.parametrize(
    ("resources", "says"),
    [
        ({"gpu": 1}, "gpu"),
        ({"cpu": 0.5}, "write 1"),
        ({"limits": {"cpu": 0.5}}, "write 1"),
        ({"ephemeral_storage": MIB}, "ephemeral-storage"),
        ({"limits": {"ephemeral_storage": MIB}}, "ephemeral-storage"),
        ({"memory": 1024}, "write at least"),
        ({"cpu": 10_000}, "this worker has"),
        ({"memory": 1 << 60}, "this worker has"),
    ],
)
def test_what_cannot_be_enforced_is_refused_or_told(resources: Any, says: str) -> None:
    stage = python("done = True", resources=resources)
    ran = run(stage)
    assert ran.error["type"] == "ResourcesUnavailable"
    assert (ran.error["category"], ran.error["reason"]) == ("configuration", "resources-unavailable")
    assert says in ran.error["message"]
    ran = run({**stage, "resources": {**resources, "enforce": "best-effort"}})
    assert ran.outputs == {"done": True}
    (warning,) = (text for level, text in ran.lines if level == "warning" and says in text)
    assert "set `enforce: best-effort`" not in warning


def test_a_limit_above_the_machine_limits_nothing() -> None:
    assert run(python("x = 1", resources={"limits": {"cpu": 10_000, "memory": 1 << 50}})).state == "success"


def test_the_worker_itself_stays_as_it_was() -> None:
    before = (resource.getrlimit(resource.RLIMIT_DATA), os.sched_getaffinity(0))
    run(python("x = 1", resources={"memory": 64 * MIB, "cpu": 1}))
    assert (resource.getrlimit(resource.RLIMIT_DATA), os.sched_getaffinity(0)) == before


def test_a_system_that_ignores_the_limit_is_found_out() -> None:
    code = (
        "import resource\nfrom airflow_stagecoach.engine import limits\n"
        "resource.setrlimit = lambda *a: None\nprint(limits.apply(None, 64 * 1024 * 1024, None))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert "does not enforce" in done.stdout
    assert limits.apply(None, None, None) is None
