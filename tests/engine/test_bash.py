from __future__ import annotations

import os
import stat
import tempfile
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_stagecoach.engine.bash import read_output_file, shell_command
from airflow_stagecoach.engine.errors import StageError
from tests.engine.harness import bash, run

if TYPE_CHECKING:
    from pathlib import Path


def test_outputs_are_code_and_streams(tmp_path: Path) -> None:
    ran = run(bash('echo "Hello World";\nVAR=\'Foo\';\necho "Variable $VAR";\n'), workdir=str(tmp_path))
    assert ran.outputs == {"return_code": 0, "stdout": "Hello World\nVariable Foo", "stderr": None}
    assert ran.texts == ["Hello World", "Variable Foo"]


def test_failure_has_code_and_tail_of_stderr_and_no_outputs() -> None:
    ran = run(bash("echo out; echo 'failed here' >&2; exit 3"))
    assert ran.only["outputs"] == {}
    assert ran.error["exit_code"] == 3
    assert ran.error["type"] == "ExitCode"
    assert ran.error["stderr"] == "failed here"
    assert ran.error["message"] == "the script ended with exit code 3: failed here"


def test_errors_never_hold_the_script_or_the_environment() -> None:
    ran = run(bash("false # hidden-script", env={"TOKEN": "hidden-env"}))
    assert "hidden" not in str(ran.error)


def test_the_script_stops_at_the_first_error() -> None:
    assert run(bash("false; echo not reached")).error["exit_code"] == 1


@pytest.mark.parametrize(("number", "name"), [(9, "SIGKILL"), (15, "SIGTERM"), (11, "SIGSEGV")])
def test_death_by_a_signal_fails(number: int, name: str) -> None:
    error = run(bash(f"kill -{number} $$; sleep 5")).error
    assert error["type"] == "Signal"
    assert error["signal"] == name
    assert error["exit_code"] == -number
    assert name in error["message"]


def test_a_command_killed_inside_is_explained() -> None:
    error = run(bash("sh -c 'kill -9 $$'")).error
    assert error["exit_code"] == 137
    assert "SIGKILL" in error["message"]


def test_expressions_are_evaluated_and_never_again() -> None:
    ran = run(bash("printf %s '${{ params.x }}'"), contexts={"params": {"x": "${{ params.y }}"}})
    assert ran.outputs["stdout"] == "${{ params.y }}"


@pytest.mark.parametrize(
    ("shell", "script", "stdout"),
    [
        (None, "set -o | grep -c 'errexit.*on'", "1"),
        ("bash", "shopt -op pipefail", "set -o pipefail"),
        ("sh", "echo ok", "ok"),
        ("bash -x {0}", "echo ok", "ok"),
        ("python3 {0}", "print(1 + 1)", "2"),
    ],
)
def test_shells(shell: str | None, script: str, stdout: str) -> None:
    keys = {} if shell is None else {"shell": shell}
    assert run(bash(script, **keys)).outputs["stdout"] == stdout


@pytest.mark.parametrize("shell", ["zsh", "python3", "bash '{0}"])
def test_a_shell_without_a_place_for_the_script_is_refused(shell: str) -> None:
    assert "shell:" in run(bash("echo", shell=shell)).error["message"]


def test_a_shell_that_does_not_exist() -> None:
    error = run(bash("echo", shell="no-such-shell {0}")).error
    assert error["type"] == "ShellNotFound"
    assert "no-such-shell" in error["message"]


def test_without_bash_it_is_sh(tmp_path: Path) -> None:
    assert shell_command(None, "/s", {"PATH": str(tmp_path)}) == ["sh", "-e", "/s"]


def test_the_script_stands_in_a_private_folder_that_goes_away(tmp_path: Path) -> None:
    ran = run(bash('stat -c %a "$(dirname "$0")"; echo "$0"; ls -A'), workdir=str(tmp_path))
    mode, script = ran.outputs["stdout"].split("\n")
    assert mode == "700"
    assert not os.path.exists(os.path.dirname(script))


def test_workdir_is_made_and_stdin_is_empty(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    ran = run(bash("cat; pwd -P; ps -o sid= -p $$ | tr -d ' '; echo $$"), workdir=str(folder))
    where, session, pid = ran.outputs["stdout"].split("\n")
    assert where == str(folder.resolve())
    assert session == pid


def test_without_workdir_there_is_a_folder_for_the_unit() -> None:
    ran = run(bash("pwd; touch made"), bash("ls"))
    assert ran.stages["s2"]["outputs"]["stdout"] == "made"
    assert not os.path.exists(ran.stages["s1"]["outputs"]["stdout"])


def test_working_directory(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    ran = run(
        bash("pwd -P", working_directory="${{ params.d }}"),
        contexts={"params": {"d": "sub"}},
        workdir=str(tmp_path),
    )
    assert ran.outputs["stdout"] == str((tmp_path / "sub").resolve())
    error = run(bash("pwd", working_directory="nowhere"), workdir=str(tmp_path)).error
    assert error["type"] == "FolderNotFound"
    assert "'nowhere'" in error["message"]


def test_workflow_dir(tmp_path: Path) -> None:
    assert run(bash("echo $WORKFLOW_DIR"), document_dir=str(tmp_path)).outputs["stdout"] == str(tmp_path)


def test_airflow_settings_are_withheld(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "hidden")
    monkeypatch.setenv("AIRFLOW_CTX_DAG_ID", "shown")
    assert (
        run(bash("echo ${AIRFLOW__CORE__FERNET_KEY-none} $AIRFLOW_CTX_DAG_ID")).outputs["stdout"]
        == "none shown"
    )


def test_stage_output_end_to_end() -> None:
    script = 'exec >> "$STAGE_OUTPUT"; echo a=1; echo "b<<EOF"; echo x=y; echo; echo "EOF "; echo EOF'
    outputs = run(bash(script)).outputs
    assert outputs["a"] == "1"
    assert outputs["b"] == "x=y\n\nEOF "


def test_stage_output_that_was_removed() -> None:
    assert run(bash('rm "$STAGE_OUTPUT"')).outputs["return_code"] == 0


@pytest.mark.parametrize(
    ("text", "outputs"),
    [
        ("", {}),
        ("\n  \n", {}),
        ("a=", {"a": ""}),
        ("a=1\na=2", {"a": "2"}),
        ("a= b = c ", {"a": " b = c "}),
        ("a=x<<y", {"a": "x<<y"}),
        ("a=1\r\nb=2\r\n", {"a": "1", "b": "2"}),
        ("a<<E\n\nE", {"a": ""}),
        ("a<<E\nE", {"a": ""}),
        ("a<<E\none\ntwo\nE\nb=1", {"a": "one\ntwo", "b": "1"}),
        ("my.key-1=v", {"my.key-1": "v"}),
        ("ключ=значение", {"ключ": "значение"}),
    ],
)
def test_stage_output_format(tmp_path: Path, text: str, outputs: dict[str, Any]) -> None:
    path = tmp_path / "o"
    path.write_bytes(text.encode())
    assert read_output_file(str(path)) == outputs


@settings(deadline=None)
@given(
    st.dictionaries(
        st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]*", fullmatch=True), st.text(alphabet="ab=<\n EOF$'é")
    )
)
def test_stage_output_gives_back_any_text(values: dict[str, str]) -> None:
    text = "".join(
        f"{name}<<END-{at}\n{value}\nEND-{at}\n" for at, (name, value) in enumerate(values.items())
    )
    with tempfile.NamedTemporaryFile() as file:
        file.write(text.encode())
        file.flush()
        assert read_output_file(file.name) == values


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a=1\nnonsense", "line 2"),
        ("=1", "line 1"),
        ("a b=1", "line 1"),
        ("a<<\nx", "line 1"),
        ("x=1\na<<E\nnever ended", "line 2"),
    ],
)
def test_stage_output_malformed(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "o"
    path.write_text(text)
    with pytest.raises(StageError, match=message) as caught:
        read_output_file(str(path))
    assert "nonsense" not in str(caught.value)


def test_stage_output_too_large() -> None:
    assert "STAGE_OUTPUT" in run(bash('head -c 1100000 /dev/zero > "$STAGE_OUTPUT"')).error["message"]


def test_script_file_is_not_readable_by_others() -> None:
    mode = run(bash('stat -c %a "$0"')).outputs["stdout"]
    assert stat.S_IMODE(int(mode, 8)) in (0o644, 0o600, 0o640)
