"""``bash:`` stages."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import tempfile
from typing import TYPE_CHECKING, Any, Dict, List

from airflow_stagecoach import expressions
from airflow_stagecoach.engine.errors import StageError
from airflow_stagecoach.engine.failures import shorten
from airflow_stagecoach.engine.process import run_process
from airflow_stagecoach.engine.usage import forget_peak

if TYPE_CHECKING:
    from airflow_stagecoach.engine.frame import Work
    from airflow_stagecoach.engine.process import Finished

#: Shells by name, as GitHub Actions has them. Anything else is a command that holds ``{0}``.
_SHELLS = {
    "bash": ("bash", "--noprofile", "--norc", "-eo", "pipefail", "{0}"),
    "sh": ("sh", "-e", "{0}"),
}

#: A file behind ``$STAGE_OUTPUT`` may be so large, in bytes. (It becomes an XCom.)
LARGEST_OUTPUT = 1024 * 1024

#: How much of stderr goes into the error, in bytes.
_ERROR_TAIL = 4 * 1024

#: A name in ``$STAGE_OUTPUT``, up to ``=`` or ``<<``, whichever comes first.
_ASSIGNMENT = re.compile(r"(?P<name>[^\s=<]+)(?P<sign>=|<<)(?P<rest>.*)", re.DOTALL)


def run_bash(work: Work) -> Dict[str, Any]:
    """Run a script in a session of its own.

    :return: ``return_code``, ``stdout``, ``stderr`` and what was written to ``$STAGE_OUTPUT``
    :raises StageError: it ended with another code than 0, by a signal, or could not be started
    """
    script = expressions.to_text(work.render("bash"))
    folder = working_folder(work)
    private = tempfile.mkdtemp(prefix="stagecoach-")
    try:
        script_path = os.path.join(private, "stage.sh")
        output_path = os.path.join(private, "output")
        with open(script_path, "w", encoding="utf-8", newline="\n") as file:
            file.write(script if script.endswith("\n") else script + "\n")
        with open(output_path, "wb"):
            pass
        env = {**work.env, "STAGE_OUTPUT": output_path}
        command = shell_command(work.spec.get("shell"), script_path, env)
        if not work.frame.concurrent:
            forget_peak()
        try:
            finished = run_process(
                command, env=env, folder=folder, scope=work.scope, log=work.output, usage=work.usage
            )
        except OSError as error:
            raise StageError(
                f"shell: {command[0]} does not start: {error.strerror}", type="ShellNotFound"
            ) from error
        check_exit(finished, "the script")
        return {
            "return_code": finished.code,
            "stdout": finished.stdout.text(),
            "stderr": finished.stderr.text(),
            **read_output_file(output_path),
        }
    finally:
        shutil.rmtree(private, ignore_errors=True)


def working_folder(work: Work) -> str:
    """Where the process runs: the unit's folder, or ``working-directory`` (relative to it).

    :raises StageError: there is no such folder
    """
    workdir = work.frame.place.made_workdir()
    wanted = expressions.to_text(work.render("working_directory"))
    if not wanted:
        return workdir
    folder = os.path.join(workdir, os.path.expanduser(wanted))
    if not os.path.isdir(folder):
        raise StageError(
            f"working-directory: there is no folder {wanted!r} "
            "(relative ones start at the scratch folder of the stage)",
            type="FolderNotFound",
        )
    return folder


def shell_command(shell: str | None, script: str, env: Dict[str, str]) -> List[str]:
    """The command that runs a script file.

    Without ``shell:`` it is ``bash -e``, or ``sh -e`` where there is no bash.

    :param shell: ``bash``, ``sh``, or a command that holds ``{0}`` for the path of the script
    :raises StageError: it is none of these
    """
    if shell is None:
        has_bash = shutil.which("bash", path=env.get("PATH", os.defpath)) is not None
        return ["bash" if has_bash else "sh", "-e", script]
    parts = list(_SHELLS.get(shell, ()))
    if not parts:
        try:
            parts = shlex.split(shell)
        except ValueError as error:
            raise StageError(f"shell: {error}", type="InvalidValue") from error
        if not any("{0}" in part for part in parts):
            raise StageError(
                "shell: write bash, sh, or a command that holds {0} for the path of the script, "
                f"not {shell!r}",
                type="InvalidValue",
            )
    return [part.replace("{0}", script) for part in parts]


def check_exit(finished: Finished, what: str) -> None:
    """Refuse every end but exit code 0.

    :raises StageError: names the code or the signal, and holds the last of stderr
    """
    code = finished.code
    if code == 0:
        return
    stderr = finished.stderr.text(_ERROR_TAIL)
    details: Dict[str, Any] = {"stderr": stderr} if stderr else {}
    if code < 0:
        name = _signal_name(-code)
        message = f"{what} was killed by {name}"
        if name == "SIGKILL":
            message += " (often: out of memory)"
        details["signal"] = name
        raise StageError(message, type="Signal", exit_code=code, details=details)
    message = f"{what} ended with exit code {code}"
    if code > 128 and code - 128 in set(signal.Signals):
        message += f" (as when a command in it is killed by {_signal_name(code - 128)})"
    last = (stderr or "").rstrip().rpartition("\n")[2].strip()
    if last:
        message += f": {shorten(last)}"
    raise StageError(message, type="ExitCode", exit_code=code, details=details)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def read_output_file(path: str) -> Dict[str, str]:
    """What a stage wrote to ``$STAGE_OUTPUT``, see :func:`parse_output`; nothing when the file is gone.

    :raises StageError: what it holds is wrong, or too large
    """
    try:
        with open(path, "rb") as file:
            return parse_output(file.read(LARGEST_OUTPUT + 1))
    except FileNotFoundError:
        return {}


def parse_output(data: bytes) -> Dict[str, str]:
    """Outputs from lines ``name=value``, or ``name<<END`` up to a line ``END``.

    :return: name -> text; the last one of a name counts
    :raises StageError: a line is neither, or it is more than :data:`LARGEST_OUTPUT`
    """
    if len(data) > LARGEST_OUTPUT:
        raise StageError(
            f"STAGE_OUTPUT: more than {LARGEST_OUTPUT} bytes; write a file and hand on its name",
            type="OutputFile",
        )
    lines = data.decode("utf-8", "replace").replace("\0", "\ufffd").split("\n")
    outputs: Dict[str, str] = {}
    numbered = enumerate(lines, 1)
    for number, line in numbered:
        line = line[:-1] if line.endswith("\r") else line
        if not line.strip():
            continue
        found = _ASSIGNMENT.fullmatch(line)
        if found is None:
            raise StageError(
                f"STAGE_OUTPUT: line {number} is neither name=value nor name<<END", type="OutputFile"
            )
        name, rest = found.group("name"), found.group("rest")
        if found.group("sign") == "=":
            outputs[name] = rest
            continue
        if not rest:
            raise StageError(
                f"STAGE_OUTPUT: line {number}: after << comes the word that ends the text", type="OutputFile"
            )
        text: List[str] = []
        for _, inner in numbered:
            inner = inner[:-1] if inner.endswith("\r") else inner
            if inner == rest:
                break
            text.append(inner)
        else:
            raise StageError(
                f"STAGE_OUTPUT: the text of {name!r} from line {number} on has no end; write its last word "
                "alone on a line",
                type="OutputFile",
            )
        outputs[name] = "\n".join(text)
    return outputs
