"""Tests of airflow_stagecoach.backends._bash_alone: a shell tells the same of a stage as the engine."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from airflow_stagecoach.backends._bash_alone import compose, fallback, is_bash_alone
from airflow_stagecoach.engine import Hooks, Runner

if TYPE_CHECKING:
    from pathlib import Path

#: Shells that images have: Debian's, and that of Alpine.
SHELLS = [[name] for name in ("bash", "dash") if shutil.which(name)]
if shutil.which("busybox"):
    SHELLS.append(["busybox", "sh"])


@pytest.fixture(params=SHELLS, ids=lambda command: command[0])
def shell(request: pytest.FixtureRequest) -> list[str]:
    command: list[str] = request.param
    return command


def unit(spec: dict[str, Any], **more: Any) -> Any:
    return {"stages": [{"kind": "bash", "id": "a", **spec}], "enforce_timeouts": True, **more}


class There:
    """A folder as it is in a container."""

    def __init__(self, folder: Path, the_unit: Any) -> None:
        self.folder = folder
        self.unit = the_unit
        self.prepared = fallback(the_unit, str(folder), str(folder / "work"))
        (folder / "work").mkdir()
        (folder / "no-python.json").write_text("no python\n")
        for name, text in self.prepared.files.items():
            (folder / name).write_text(text)

    def start(self, shell: list[str], **env: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [str(shutil.which(shell[0])), *shell[1:], str(self.folder / "otherwise.sh")],
            env={"PATH": os.environ["PATH"], **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def run(self, shell: list[str]) -> Any:
        process = self.start(shell)
        self.out, self.err = process.communicate(timeout=60)
        self.code = process.returncode
        return compose(self.unit, (self.folder / "result.json").read_bytes())


def facts(result: Any) -> Any:
    """What has to be equal: not times, and not what nobody measures."""
    stages = {}
    for name, stage in result["stages"].items():
        error = stage["error"]
        told = (
            {key: error.get(key) for key in ("type", "message", "exit_code", "category", "reason", "stderr")}
            if error
            else None
        )
        stages[name] = (stage["state"], stage["outcome"], stage["outputs"], told, stage.get("metrics"))
    return result["state"], result["outcome"], stages


CASES: dict[str, dict[str, Any]] = {
    "output": {"bash": "echo out; echo err >&2; echo n=1 >>$STAGE_OUTPUT"},
    "nothing": {"bash": ":"},
    "no-last-newline": {"bash": "printf x; printf y >&2"},
    "several": {"bash": "printf 'a<<E\\n1\\n2\\nE\\nb=ä→😀\\n' >>$STAGE_OUTPUT"},
    "bad-output": {"bash": "echo nonsense >>$STAGE_OUTPUT"},
    "failing": {"bash": "echo why >&2; exit 3"},
    "stops-at-an-error": {"bash": "false; echo never"},
    "command-not-found": {"bash": "no-such-command-here 2>/dev/null"},
    "killed": {"bash": "exit 137"},
    "quotes": {"bash": "echo \"it's $A\" '$B'", "env": {"A": "a 'b' \"c\" $d `e` \\ \n f", "B": "x"}},
    "env-in-expressions": {"bash": "echo ${{ env.A }} $B", "env": {"A": "1", "B": "${{ env.A }}2"}},
    "odd-names": {"bash": "env | grep -c '^a-b=c$'", "env": {"a-b": "c"}},
    "contexts": {"bash": "echo ${{ params.n + 1 }} ${{ matrix.m }}", "id": "s-${{ matrix.m }}"},
    "declared": {
        "bash": "echo x=4 >>$STAGE_OUTPUT",
        "outputs": {"y": "${{ outputs.x }}0", "z": "${{ env.Q }}"},
        "env": {"Q": "q"},
    },
    "declared-wrongly": {"bash": "echo", "outputs": {"y": "${{ outputs.none }}"}},
    "tolerated": {"bash": "exit 4", "continue_on_error": True},
    "skipped": {"bash": "echo never", "if": "params.n == 2"},
    "condition-with-env": {"bash": "echo never", "if": "env.L == 'no'"},
    "wrong-condition": {"bash": "echo never", "if": "params.none.x"},
    "wrong-expression": {"bash": "echo ${{ params.none.x }}"},
    "sh": {"bash": "echo $0 | grep -c stage.sh", "shell": "sh"},
    "another-shell": {"bash": "1 2 3", "shell": "cat {0}"},
    "no-such-shell": {"bash": "echo", "shell": "no-such-shell-here {0}"},
    "no-such-folder": {"bash": "echo", "working_directory": "nowhere"},
    "long": {
        "bash": 'i=0; while [ $i -lt 3000 ]; do echo "$i 0123456789012345678901234567890123456789"; i=$((i+1)); done'
    },
    "binary": {"bash": "printf '\\377\\376\\000x\\n'; printf 'the end'"},
    "metrics": {
        "bash": "echo '::metric name=rows value=10'; echo '::metric name=rows value=5'; echo '::metric x'"
    },
    "timeout": {"bash": "sleep 20", "timeout": 1},
    "background": {"bash": "sleep 600 & echo done"},
}
CONTEXTS = {"params": {"n": 1}, "matrix": {"m": "x"}}
LAYERS = [{"L": "layer"}, {"M": "${{ env.L }}2"}]


@pytest.mark.runs
@pytest.mark.parametrize("case", CASES)
def test_the_same_as_the_engine(case: str, tmp_path: Path) -> None:
    shell = SHELLS[-1]
    the_unit = unit(CASES[case], contexts=CONTEXTS, env=LAYERS)
    expected = Runner(
        {**the_unit, "workdir": str(tmp_path / "here")}, Hooks(log=lambda text, level: None)
    ).run()
    (tmp_path / "there").mkdir()
    there = There(tmp_path / "there", the_unit)
    result = there.prepared.result or there.run(shell)
    found, wanted = facts(result), facts(expected)
    if case in ("no-such-shell",):  # The engine knows why it did not start.
        assert [stage[3]["type"] for stage in found[2].values()] == ["ShellNotFound"]
    else:
        assert found == wanted


@pytest.mark.runs
def test_output_goes_on_as_it_comes(shell: list[str], tmp_path: Path) -> None:
    there = There(
        tmp_path, unit({"bash": "echo first; until [ -e go ]; do sleep 0.1; done; echo second >&2"})
    )
    process = there.start(shell)
    assert process.stdout is not None
    assert process.stdout.readline() == b"first\n"
    (tmp_path / "work" / "go").touch()
    assert process.communicate(timeout=60) == (b"", b"second\n")
    assert process.returncode == 0


@pytest.mark.runs
def test_secrets_are_hidden(shell: list[str], tmp_path: Path) -> None:
    secret = "s3cr.t/*[x]$^\\end"
    contexts = {"secrets": {"T": secret}, "conn": {"db": {"password": "pass word", "login": "me"}}}
    spec = {
        "bash": 'echo "a $T b"; echo "${{ conn.db.password }}" >&2; echo open',
        "env": {"T": "${{ secrets.T }}"},
    }
    there = There(tmp_path, unit(spec, contexts=contexts))
    result = there.run(shell)
    assert (there.out, there.err) == (b"a *** b\nopen\n", b"***\n")
    assert result["state"] == "success"


@pytest.mark.runs
def test_stopped(shell: list[str], tmp_path: Path) -> None:
    there = There(tmp_path, unit({"bash": "echo up; sleep 60"}))
    process = there.start(shell)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    asked = time.monotonic()
    process.send_signal(signal.SIGTERM)
    until = time.monotonic() + 60
    while not (tmp_path / "result.json").exists():
        assert time.monotonic() < until
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert time.monotonic() - asked < 30
    assert compose(there.unit, (tmp_path / "result.json").read_bytes())["outcome"] == "cancelled"


@pytest.mark.runs
def test_an_image_that_lacks_a_tool(shell: list[str], tmp_path: Path) -> None:
    there = There(tmp_path, unit({"bash": "echo"}))
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "mv").symlink_to(str(shutil.which("mv")))
    (tools / "date").symlink_to(str(shutil.which("date")))
    if shell[-1] == "sh":
        pytest.skip("busybox has its tools built in")
    process = there.start(shell, PATH=str(tools))
    process.communicate(timeout=60)
    assert process.returncode == 127
    assert (tmp_path / "result.json").read_text() == "no python"


@pytest.mark.parametrize(
    ("stages", "more", "alone"),
    [
        ([{"kind": "bash"}], {}, True),
        ([{"kind": "bash"}, {"kind": "bash"}], {}, False),
        ([{"kind": "python"}], {}, False),
        ([{"kind": "bash", "retry": {"max": 1}}], {}, True),
        ([{"kind": "bash", "retry": {"max": 1}}], {"enforce_retries": True}, False),
    ],
)
def test_which_units_need_no_python(stages: Any, more: dict[str, Any], alone: bool) -> None:
    the_unit: Any = {"stages": stages, **more}
    assert is_bash_alone(the_unit) is alone


@pytest.mark.parametrize(
    "text", [b"", b" ", b"- 0", b"- 0 x y 1 1 9 9\nabc", b"odd 0 x y 0 0 0 0\n", b"- x x y 0 0 0 0\n"]
)
def test_damaged(text: bytes) -> None:
    with pytest.raises((ValueError, IndexError)):
        compose(unit({"bash": "echo"}), b"stagecoach-shell 1 " + text)
