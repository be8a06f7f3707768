"""What Python code prints: whose log it becomes, and what stays as it was."""

from __future__ import annotations

import io
import sys
import textwrap
import threading
from typing import TYPE_CHECKING, Any

import pytest

from airflow_stagecoach.engine import Hooks, Runner, metric
from airflow_stagecoach.engine.streams import LONGEST_LINE
from tests.engine.harness import named, python, run

if TYPE_CHECKING:
    from pathlib import Path


def py(source: str, **keys: Any) -> dict[str, Any]:
    return python(textwrap.dedent(source), **keys)


@pytest.mark.parametrize(
    ("source", "texts"),
    [
        ("print('a'); print('b', 'c')", ["a", "b c"]),
        ("print('a', end=''); print('b')", ["ab"]),
        ("print('no end', end='')", ["no end"]),
        ("print('a\\n\\nb')", ["a", "", "b"]),
        ("print()", [""]),
        ("print('dos\\r')", ["dos"]),
        ("import sys\nsys.stderr.write('err\\n')", ["err"]),
        (
            "import sys\nsys.stdout.buffer.write('é'.encode()[:1]); sys.stdout.buffer.write(b'\\xa9\\n')",
            ["é"],
        ),
        ("import sys\nsys.stdout.buffer.write(b'\\xff\\n')", ["�"]),
        ("import sys\nsys.stdout.writelines(['a\\n', 'b\\n'])", ["a", "b"]),
        ("import sys\nsys.stdout.flush(); print(sys.stdout.isatty(), sys.stdout.encoding)", ["False utf-8"]),
        ("import sys\nsys.stdout.reconfigure(line_buffering=True); print('x')", ["x"]),
        ("import sys\nsys.stdout.close(); print('still')", ["still"]),
        ("import sys\nprint(sys.stdout.name == sys.__stdout__.name or sys.stdout.name)", None),
        (
            "import threading\n_t = threading.Thread(target=print, args=('far',)); _t.start(); _t.join()",
            ["far"],
        ),
        (
            "import asyncio\nasync def f():\n    print('a')\n    await asyncio.to_thread(print, 'b')\n"
            "asyncio.run(f())",
            ["a", "b"],
        ),
        (
            "import contextlib, io\nwith contextlib.redirect_stdout(io.StringIO()) as _held:\n    print('own')\n"
            "print('got ' + _held.getvalue())",
            ["got own", ""],
        ),
    ],
)
def test_lines(source: str, texts: list[str] | None, capfd: pytest.CaptureFixture[str]) -> None:
    ran = run(python(source))
    assert ran.state == "success", ran.only
    assert {level for level, _ in ran.lines} == {"info"}
    assert texts is None or ran.texts == texts
    assert capfd.readouterr() == ("", "")


def test_the_streams_are_put_back_whatever_the_code_did() -> None:
    before = (sys.stdout, sys.stderr)
    run(python("import sys, io\nsys.stdout = io.StringIO()\nsys.stderr = None"))
    assert (sys.stdout, sys.stderr) == before
    run(python("print('x')\n1/0"))
    assert (sys.stdout, sys.stderr) == before


def test_what_comes_before_an_error_stands_before_it() -> None:
    ran = run(python("print('half', end='')\n1/0"))
    assert ran.texts[0] == "half"
    assert "ZeroDivisionError" in ran.texts[-1]


def test_a_long_line_comes_in_pieces() -> None:
    ran = run(python("print('x' * 10_000_000)"))
    assert max(map(len, ran.texts)) == LONGEST_LINE
    assert sum(map(len, ran.texts)) == 10_000_000


def test_branches_at_the_same_time_do_not_mix() -> None:
    def branch(name: str) -> list[dict[str, Any]]:
        source = f"""
            import sys, time
            for at in range(40):
                sys.stdout.write('{name}')
                time.sleep(0.0005)
                sys.stdout.write(f'{name}')
                print(end='\\n')
        """
        return [py(source, id="s", name=name)]

    ran = run({"kind": "parallel", "max_workers": 3, "parallel": {name: branch(name) for name in "abc"}})
    lines = [text for text in ran.texts if not text.startswith("::")]
    assert sorted(lines) == ["aa"] * 40 + ["bb"] * 40 + ["cc"] * 40
    group = ""
    for text in ran.texts:
        if text.startswith("::group::"):
            group = text
        elif not text.startswith("::"):
            assert f"/ {text[0]}" in group


def test_a_log_that_prints_itself_is_no_circle(capsys: pytest.CaptureFixture[str]) -> None:
    hooks = Hooks(log=lambda text, level: print("log:", text))
    Runner({"stages": named([python("print('once')")])}, hooks).run()
    Runner({"stages": named([python("print('again')")])}).run()
    assert capsys.readouterr().out == "log: once\nagain\n"


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork")  # threads of other tests
def test_forked_code_prints_as_ever(capfd: pytest.CaptureFixture[str]) -> None:
    ran = run(
        py("""
        import os, sys
        child = os.fork()
        if child == 0:
            print("from the child")
            sys.stdout.flush()
            os._exit(0)
        os.waitpid(child, 0)
        print("from the parent")
        """)
    )
    assert ran.texts == ["from the parent"]
    assert capfd.readouterr().out == "from the child\n"


def test_other_threads_of_the_process_are_put_back_too() -> None:
    seen: list[Any] = []
    thread = threading.Thread(target=lambda: seen.append(run(python("print('t')")).texts))
    thread.start()
    thread.join()
    assert seen == [["t"]]
    assert not type(sys.stdout).__module__.startswith("airflow_stagecoach")


def test_what_a_module_prints_when_it_is_imported(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "noisy_module_a.py").write_text(
        "from airflow_stagecoach.engine import metric\nfrom airflow_stagecoach.engine.tag import tag\n"
        "print('imported')\n@tag('v1')\ndef f(): print('called'); metric('rows', 2)\n"
    )
    ran = run({"kind": "call", "uses": "noisy_module_a/f@v1"}, document_dir=str(tmp_path))
    assert ran.texts == ["imported", "called"]
    assert ran.only["metrics"] == {"rows": 2}
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    ("logging", "unit", "levels"),
    [
        (None, {}, ["debug", "info", "warning", "error"]),
        ({"level": "debug"}, {}, ["debug", "info", "warning", "error"]),
        ({"level": "info"}, {}, ["info", "warning", "error"]),
        ({"level": "warning"}, {}, ["warning", "error"]),
        ({"level": "error"}, {}, ["error"]),
        ({"level": "critical"}, {}, []),
        (None, {"log_level": "warning"}, ["warning", "error"]),
        ({"level": "debug"}, {"log_level": "warning"}, ["debug", "info", "warning", "error"]),
    ],
)
def test_the_level_of_the_logger(logging: Any, unit: Any, levels: list[str]) -> None:
    source = "for level in ('debug', 'info', 'warning', 'error'): getattr(logger, level)('x')"
    stage = python(source, **({"logging": logging} if logging else {}))
    assert [level for level, _ in run(stage, **unit).lines] == levels
    inner = {"kind": "case", "case": 1, "match": [{"case": 1, "stages": [python(source, id="i")]}]}
    nested = run({**inner, **({"logging": logging} if logging else {})}, **unit)
    assert [level for level, text in nested.lines if text == "x"] == levels


@pytest.mark.parametrize(
    ("stage", "layers", "expected"),
    [
        ({"logging": {"level": "debug"}}, [], "DEBUG"),
        ({"logging": {"level": "debug"}}, [{"OTHER": "x"}], "DEBUG"),
        ({"logging": {"level": "debug"}}, [{"LOG_LEVEL": "own"}], "own"),
        ({"logging": {"level": "debug"}, "env": {"LOG_LEVEL": "mine"}}, [], "mine"),
        ({}, [], "of the worker"),
    ],
)
def test_programs_are_told_the_level(
    stage: Any, layers: Any, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOG_LEVEL", "of the worker")
    assert run({"kind": "bash", "bash": "echo $LOG_LEVEL", **stage}, env=layers).texts == [expected]
    told = python("import os; print(os.environ['LOG_LEVEL'])", id="i")
    loud = {**told, "logging": {"level": "error"}}
    nested = {"kind": "case", "case": 1, "match": [{"case": 1, "stages": [told, {**loud, "id": "j"}]}]}
    texts = [text for text in run({**nested, **stage}, env=layers).texts if not text.startswith("::")]
    assert texts == [expected, expected if expected in ("own", "mine") else "ERROR"]


def test_metric_outside_of_a_stage_does_nothing() -> None:
    metric("rows", 3)
    metric("no name", "x")  # type: ignore[arg-type]  # what is wrong does nothing either


def test_the_default_hooks_write_to_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    held = io.StringIO()
    monkeypatch.setattr(sys, "stdout", held)
    Runner({"stages": named([python("print('x')\nlogger.warning('w')")])}).run()
    assert held.getvalue() == "x\nWARNING w\n"
