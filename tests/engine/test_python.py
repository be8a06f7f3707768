from __future__ import annotations

import _thread
import datetime
import os
import sys
import textwrap
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from airflow_stagecoach.engine import Hooks, Runner
from tests.engine.harness import bash, named, python, run, wait_for

if TYPE_CHECKING:
    from pathlib import Path


def py(source: str, **keys: Any) -> dict[str, Any]:
    return python(textwrap.dedent(source), **keys)


@pytest.mark.parametrize(
    ("source", "outputs"),
    [
        ("x = 1", {"x": 1}),
        ("x: int = 1\ny: str", {"x": 1}),
        ("a, (b, *c) = 1, (2, 3, 4)", {"a": 1, "b": 2, "c": [3, 4]}),
        ("for i in range(3): pass", {"i": 2}),
        ("import os, json as j\nfrom math import pi\nx = 1", {"x": 1}),
        ("from math import pi\npi = pi + 1 - pi", {"pi": pytest.approx(1.0)}),
        ("_hidden = 1\ndef f(): pass\nclass C: pass\ng = lambda: 1\nl = len", {}),
        ("[z for z in range(3)]\nn = [y := 5 for _ in range(1)]", {"n": [5], "y": 5}),
        ("def f():\n    global g\n    g = 2\nf()", {"g": 2}),
        ("with open('/dev/null') as file: pass\ndel file\nx = 1", {"x": 1}),
        ("try:\n    1/0\nexcept ZeroDivisionError as e:\n    pass", {}),
        ("x = (1, {2})", {"x": [1, [2]]}),
        ("result: str = 'fast'", {"result": "fast"}),
        ("result = 1\nx = 2", {"result": 1, "x": 2}),
        ("result.outputs = {'a': 1}\nx = 2", {"a": 1}),
        ("result.outputs['a'] = 1\nx = 2", {"a": 1}),
        ("result.outputs = {}\nx = 2", {}),
        ("params.a = 5\nx = params", {"x": {"p": 1}}),
        ("params = 7", {"params": 7}),
        ("def f():\n    params = 1\nf()", {}),
        ("match_ = 1\n", {"match_": 1}),
    ],
)
def test_outputs(source: str, outputs: dict[str, Any]) -> None:
    assert run(python(source), contexts={"params": {"p": 1}}).outputs == outputs


@pytest.mark.skipif(sys.version_info < (3, 10), reason="match")
def test_names_bound_by_match() -> None:
    source = "match [1, 2, {'k': 3}]:\n  case [a, *b, {'k': c, **d}]: pass"
    assert run(python(source)).outputs == {"a": 1, "b": [2], "c": 3, "d": {}}


def test_values_as_json() -> None:
    outputs = run(
        py("""
        import datetime, decimal, pathlib, enum, dataclasses, uuid
        when = datetime.datetime(2026, 1, 31, 12, tzinfo=datetime.timezone.utc)
        day = when.date()
        money = decimal.Decimal("1.10")
        path = pathlib.PurePosixPath("/a/b")
        number = uuid.UUID(int=1)
        class Color(enum.Enum):
            RED = "red"
        color = Color.RED
        @dataclasses.dataclass
        class Point:
            x: int
            y: "list[int]"
        point = Point(1, [2])
        keys = {1: "a", False: "b"}
        """)
    ).outputs
    assert outputs == {
        "when": "2026-01-31T12:00:00+00:00",
        "day": "2026-01-31",
        "money": "1.10",
        "path": "/a/b",
        "number": "00000000-0000-0000-0000-000000000001",
        "color": "red",
        "point": {"x": 1, "y": [2]},
        "keys": {"1": "a", "false": "b"},
    }


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("x = object()", "object"),
        ("x = float('nan')", "NaN"),
        ("x = b'a'", "bytes"),
        ("x = {'k': [1, print]}", "['k'][1]"),
        ("x = []\nx.append(x)", "holds itself"),
        ("x = 'a\\0b'", "NUL"),
        ("x = '\\ud800'", "Unicode"),
        ("x = {(1, 2): 3}", "key"),
        ("import threading\nx = threading.Lock()", "lock"),
    ],
)
def test_what_cannot_be_stored_is_left_out_and_explained_on_use(source: str, reason: str) -> None:
    ran = run(python(source + "\ny = 1"))
    first = ran.only
    assert first["outputs"] == {"y": 1}
    assert reason in first["omitted"]["x"]
    assert any(level == "warning" and "'x'" in text for level, text in ran.lines)
    # The next stage is another task.
    second = run(python("z = '${{ stages.s1.outputs.x }}'"), contexts={"stages": {"s1": first}})
    assert "stages.s1.outputs.x was not stored" in second.error["message"]
    assert reason in second.error["message"]


@pytest.mark.parametrize(
    "stage", [python("z = 'the ${{ stages.s1.outputs.x }}'"), bash("echo ${{ stages.s1.outputs.x }}")]
)
def test_an_object_inside_text_is_an_error_that_says_so(stage: dict[str, Any]) -> None:
    error = run(python("x = object()"), stage).stages["s2"]["error"]
    assert error is not None
    assert "object" in error["message"]


def test_result_outputs_must_be_a_map() -> None:
    assert "list" in run(python("result.outputs = [1]")).error["message"]


def test_it_sees_contexts_by_attribute_and_item() -> None:
    contexts = {
        "params": {"region": "eu", "run-date": "d"},
        "matrix": {"n": 1},
        "needs": {"a": {"outputs": {"x": [{"y": 2}]}}},
        "jobs": {"a": {"result": "success"}},
        "run": {"id": "manual"},
        "secrets": {"token": "hidden"},
    }
    ran = run(
        py("""
        a = params.region + params["run-date"]
        b = matrix.get("n"), matrix.get("nope", 0)
        c = needs.a.outputs.x[0].y
        d = jobs["a"].result
        e = env.LEVEL, env["LEVEL"]
        f = run.id
        g = context.params.region, context["attempt"], context.attempt, sorted(context)
        """),
        contexts=contexts,
        env=[{"LEVEL": "info"}],
        attempt=3,
    )
    outputs = ran.outputs
    assert outputs["a"] == "eud"
    assert outputs["b"] == [1, 0]
    assert (outputs["c"], outputs["d"], outputs["e"], outputs["f"]) == (
        2,
        "success",
        ["info", "info"],
        "manual",
    )
    names = ["attempt", "env", "jobs", "matrix", "needs", "params", "run", "stages"]
    assert outputs["g"] == ["eu", 3, 3, names]


@pytest.mark.parametrize("access", ["params.regoin", "params['regoin']"])
def test_a_missing_name_says_the_nearest(access: str) -> None:
    assert "'region'" in run(python(access), contexts={"params": {"region": 1}}).error["message"]


def test_contexts_are_copies() -> None:
    contexts = {"params": {"l": [1], "m": {"k": 1}}}
    ran = run(
        python("params.l.append(2); params['m']['k'] = 2; matrix['x'] = 1; params.clear()"),
        python("x = params"),
        contexts=contexts,
    )
    assert ran.stages["s2"]["outputs"]["x"] == {"l": [1], "m": {"k": 1}}
    assert contexts == {"params": {"l": [1], "m": {"k": 1}}}


def test_earlier_stages_and_vars() -> None:
    ran = run(
        python("old = x\nx: str = 'New Name'", id="hello", vars={"x": "${{ params.name }}"}),
        python("old = x\nx: int = 1", id="next", vars={"x": "${{ stages.hello.outputs.x }}"}),
        python("y = stages.next.outputs.x, stages.hello.state, stages.hello.result", id="last"),
        contexts={"params": {"name": "Foo"}},
    )
    assert ran.stages["hello"]["outputs"] == {"old": "Foo", "x": "New Name"}
    assert ran.stages["next"]["outputs"] == {"old": "New Name", "x": 1}
    assert ran.stages["last"]["outputs"] == {"y": [1, "success", "success"]}


def test_a_var_is_an_output_only_when_assigned() -> None:
    assert run(python("y = x", vars={"x": 1})).outputs == {"y": 1}
    assert run(python("x = 1", vars={"x": 1})).outputs == {"x": 1}


def test_functions_see_other_names() -> None:
    outputs = run(
        py("""
        import math
        base = 2
        def power(n): return 1 if n == 0 else base * power(n - 1)
        class Shape:
            side = base
            def area(self): return math.floor(power(self.side))
        total = sum(power(i) for i in range(3))
        area = Shape().area()
        """)
    ).outputs
    assert outputs == {"base": 2, "total": 7, "area": 4}


def test_it_is_a_real_module_for_the_duration() -> None:
    before = set(sys.modules)
    outputs = run(
        py("""
        from __future__ import annotations
        import dataclasses, pickle, sys, typing
        @dataclasses.dataclass
        class Point:
            x: typing.ClassVar[int]
            y: int = 0
        copy = pickle.loads(pickle.dumps(Point(3)))
        y = copy.y
        hints = sorted(typing.get_type_hints(Point))
        there = __name__ in sys.modules
        del copy
        """)
    ).outputs
    assert outputs == {"y": 3, "hints": ["x", "y"], "there": True}
    assert not [name for name in set(sys.modules) - before if name.startswith("stagecoach_stage")]


def test_traceback_begins_at_the_code_and_shows_it() -> None:
    ran = run(
        py(
            """
            def inner():
                value = "${{ params.x }}"
                raise ValueError("broken on purpose")

            inner()
            """,
            id="work",
        ),
        contexts={"params": {"x": 1}},
    )
    text = "\n".join(text for level, text in ran.lines if level == "error")
    assert text.startswith(
        'Traceback (most recent call last):\n  File "<stage work>", line 6, in <module>\n    inner()'
    )
    assert '  File "<stage work>", line 4, in inner\n    raise ValueError("broken on purpose")' in text
    assert "airflow_stagecoach" not in text
    assert ran.error["type"] == "ValueError"
    assert ran.error["message"] == "ValueError: broken on purpose"
    assert ran.texts.count(ran.error["message"]) == 1  # the last line of the traceback
    assert ran.error["classes"] == ["builtins.ValueError"]
    assert ran.only["outputs"] == {}


def test_a_secret_in_the_code_is_not_in_the_traceback() -> None:
    ran = run(python("x = '${{ secrets.t }}'; 1/0"), contexts={"secrets": {"t": "hidden"}})
    assert "hidden" not in str(ran)


def test_an_error_without_text_and_one_that_cannot_be_told() -> None:
    assert run(python("raise RuntimeError")).error["message"] == "RuntimeError"
    assert run(python("{}['b']")).error["message"] == "KeyError: 'b'"
    error = run(python("class E(Exception):\n  def __str__(self): 1/0\nraise E")).error
    assert error["message"] == "E"


@pytest.mark.parametrize(
    ("call", "outputs"), [("exit()", {"x": 1}), ("exit(0)", {"x": 1}), ("exit(None)", {"x": 1})]
)
def test_sys_exit_zero_ends_the_code_well(call: str, outputs: dict[str, Any]) -> None:
    assert run(python(f"import sys\nx = 1\nsys.{call}\nx = 2")).outputs == outputs


@pytest.mark.parametrize(("argument", "code"), [("3", 3), ("'no way'", 1), ("-1", -1), ("True", 1)])
def test_sys_exit_with_a_code_fails_the_stage_not_the_worker(argument: str, code: int) -> None:
    error = run(python(f"import sys; sys.exit({argument})")).error
    assert error["type"] == "SystemExit"
    assert error["exit_code"] == code


@pytest.mark.parametrize("kind", ["KeyboardInterrupt", "GeneratorExit"])
def test_other_base_exceptions_pass_through(kind: str) -> None:
    with pytest.raises((KeyboardInterrupt, GeneratorExit)):
        run(python(f"raise {kind}"))


@pytest.mark.parametrize(
    "source",
    [
        "from airflow_stagecoach.engine import SkipStage\nraise SkipStage('not today')",
        "class AirflowSkipException(Exception): pass\nraise AirflowSkipException('not today')",
        "class AirflowSkipException(Exception): pass\n"
        "class Mine(AirflowSkipException): pass\nraise Mine('not today')",
    ],
)
def test_skipping_from_the_code(source: str) -> None:
    ran = run(python(source))
    assert ran.state == "skipped"
    assert ran.only["outcome"] == "skipped"
    assert ran.only["error"]["message"] == "not today"
    assert not any("Traceback" in text for text in ran.texts)


def test_a_final_failure_keeps_its_type() -> None:
    source = "class AirflowFailException(Exception): pass\nraise AirflowFailException('for good')"
    assert run(python(source)).error["type"] == "AirflowFailException"


def test_print_and_logger_go_to_the_hooks(capfd: pytest.CaptureFixture[str]) -> None:
    ran = run(
        python(
            "print('printed')\nlogger.info('told %s', 1)\nlogger.warning('w')\n"
            "logger.debug('d')\nlogger.critical('c')"
        )
    )
    assert capfd.readouterr().out == ""
    assert ran.lines == [
        ("info", "printed"),
        ("info", "told 1"),
        ("warning", "w"),
        ("debug", "d"),
        ("error", "c"),
    ]
    assert ran.outputs == {}


def test_process_environment_and_folder_for_the_duration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__X", "hidden")
    monkeypatch.setenv("KEPT", "worker")
    before, folder = dict(os.environ), os.getcwd()
    outputs = run(
        py("""
        import os
        seen = [os.environ.get(name) for name in ("A", "KEPT", "AIRFLOW__CORE__X", "WORKFLOW_DIR")]
        where = os.getcwd()
        os.environ["LEAK"] = "1"
        del os.environ["KEPT"]
        """),
        env=[{"A": "1"}],
        workdir=str(tmp_path / "w"),
        document_dir="/docs",
    ).outputs
    assert outputs["seen"] == ["1", "worker", None, "/docs"]
    assert outputs["where"] == str((tmp_path / "w").resolve())
    assert dict(os.environ) == before
    assert os.getcwd() == folder


def test_the_folder_of_the_document_is_in_env() -> None:
    source = (
        "import os\nx = env.WORKFLOW_DIR, '${{ env.WORKFLOW_DIR }}', os.environ['WORKFLOW_DIR'], env['E']"
    )
    outputs = run(python(source, env={"E": "${{ env.WORKFLOW_DIR }}/e"}), document_dir="/docs").outputs
    assert outputs["x"] == ["/docs", "/docs", "/docs", "/docs/e"]


def test_a_continued_failure_is_told_with_its_reason() -> None:
    ran = run(python("1/0", continue_on_error=True))
    assert ran.texts[-1] == "ZeroDivisionError: division by zero (continuing: continue-on-error)"


def test_concurrent_stages_see_their_own_environment_and_leave_the_process_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KEPT", "worker")
    monkeypatch.setenv("AIRFLOW__CORE__X", "hidden")
    before, folder = dict(os.environ), os.getcwd()
    branch = [
        py(
            """
            import os, time
            from os import environ
            assert "LEFT" not in os.environ
            os.environ["LEFT"] = branch
            del os.environ["KEPT"]
            time.sleep(0.1)
            x = [os.getenv("BRANCH"), environ.get("LEFT"), os.environ.get("KEPT"), environ["WORKFLOW_DIR"]]
            y = "AIRFLOW__CORE__X" in os.environ
            """,
            env={"BRANCH": "${{ branch }}"},
        ),
        python("import os\nx = os.getenv('LEFT'), os.getenv('KEPT'), 'BRANCH' in os.environ"),
    ]
    spec = {"kind": "parallel", "parallel": {"a": named(branch), "b": named(branch)}}
    outputs = run(spec, document_dir="/docs").outputs
    for name in "ab":
        first, second = (outputs["parallel"][name]["stages"][stage]["outputs"] for stage in ("s1", "s2"))
        assert first == {"x": [name, name, None, "/docs"], "y": False}
        assert second["x"] == [None, "worker", False]
    assert dict(os.environ) == before
    assert os.getcwd() == folder


def test_typed_values_keep_their_type() -> None:
    contexts = {"params": {"d": datetime.date(2026, 1, 31), "n": 0.5, "none": None}}
    outputs = run(
        python("a = ${{ params.d }}.year\nb = ${{ params.n }} * 2\nc = ${{ params.none }} is None"),
        contexts=contexts,
    ).outputs
    assert outputs == {"a": 2026, "b": 1.0, "c": True}


def test_vars_do_not_leak_between_stages() -> None:
    ran = run(python("x = 1"), python("x"))
    assert ran.stages["s2"]["error"]["type"] == "NameError"


def test_code_that_forks_finds_no_threads() -> None:
    before = _thread._count()
    assert run(python("import _thread\ncount = _thread._count()")).outputs == {"count": before}


class TestStopping:
    @pytest.mark.parametrize("blocking", ["import time\ntime.sleep(60)", "while True: pass"])
    def test_timeout_in_the_main_thread(self, blocking: str) -> None:
        ran = run(python(blocking, timeout=0.3), enforce_timeouts=True)
        assert ran.error["type"] == "TimedOut"
        assert ran.seconds < 3

    def test_code_that_swallows_everything_is_stopped_all_the_same(self) -> None:
        source = "import time\ntry:\n    time.sleep(60)\nexcept Exception:\n    x = 'swallowed'\n"
        assert run(python(source, timeout=0.3), enforce_timeouts=True).error["type"] == "TimedOut"
        source = "import time\ntry:\n    time.sleep(60)\nexcept BaseException:\n    pass\ntime.sleep(60)"
        ran = run(python(source, timeout=0.3), enforce_timeouts=True)
        assert ran.error["type"] == "TimedOut"
        assert ran.seconds < 5

    def test_timeout_in_a_thread(self) -> None:
        stage = python("while True: pass", id="s", timeout=0.3)
        ran = run({"kind": "parallel", "parallel": {"a": [stage], "b": [{"kind": "empty", "id": "e"}]}})
        inner = ran.only["outputs"]["parallel"]
        assert inner["a"]["stages"]["s"]["error"]["type"] == "TimedOut"
        assert inner["b"]["state"] == "success"
        assert ran.seconds < 5

    def test_cancel(self, tmp_path: Path) -> None:
        source = f"open('{tmp_path}/on', 'w').close()\nimport time\ntime.sleep(60)"
        runner = Runner({"stages": named([python(source)])}, Hooks(log=lambda *_: None))

        def cancel() -> None:
            wait_for((tmp_path / "on").exists)
            runner.cancel()

        threading.Thread(target=cancel).start()
        started = time.monotonic()
        assert runner.run()["outcome"] == "cancelled"
        assert time.monotonic() - started < 5

    def test_the_runner_may_live_in_another_thread(self) -> None:
        results: list[Any] = []
        thread = threading.Thread(
            target=lambda: results.append(run(python("while True: pass", timeout=0.3), enforce_timeouts=True))
        )
        thread.start()
        thread.join(10)
        assert results[0].error["type"] == "TimedOut"
